"""A Concat without its operands that have no elements.

    Concat(x, Slice(x, starts=0, ends=0, axes=2), axis=2) = x

Holds where the size of an operand on the axis is 0 for all sizes of the inputs. Where every operand
is empty, the first stays. What made the others goes, unless something else reads it.

Why: TensorRT 7.x stops at a tensor without elements, and later versions carry a layer for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    axis = node.attributes.get_int("axis", 1)
    operands = [value for value in node.inputs if value is not None]
    kept = [value for value in operands if not _is_empty(value, axis)] or operands[:1]
    if len(kept) == len(node.inputs):
        return None
    nodes = [*_makers([value for value in operands if value not in kept]), node]
    if len(kept) == 1 and not node.outputs[0].is_graph_output():
        return Replacement(nodes, [node.outputs[0]], [], kept)
    new = new_node("Concat", list(kept), axis=axis)
    return Replacement(nodes, [node.outputs[0]], [new], list(new.outputs))


def _makers(empty: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes that make tensors without elements out of others, in topological order.

    The proof feeds the inputs of what is replaced, and nothing can be fed that is empty.
    """
    nodes: dict[ir.Node, None] = {}
    pending = list(empty)
    while pending:
        node = pending.pop().producer()
        if node is None or 0 not in (shape_of(node.outputs[0]) or ()):
            continue
        nodes.pop(node, None)
        nodes[node] = None
        pending += [value for value in node.inputs if value is not None]
    return list(nodes)[::-1]


def _is_empty(value: ir.Value, axis: int) -> bool:
    shape = shape_of(value)
    return shape is not None and -len(shape) <= axis < len(shape) and shape[axis] == 0


REWRITE = Rewrite(
    name="empty-operands",
    title="Leave out what a Concat joins and has no elements",
    find=_find,
    may_match=lambda node: node.op_type == "Concat" and not node.domain and len(node.inputs) > 1,
)
