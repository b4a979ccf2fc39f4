"""Compute common subexpressions once.

    f(x, y), f(x, y) = the first of them, read twice

Holds for operators of the default domain, without randomness and nested graphs, that have the same
attributes and the same operands; small constants are the same if their elements are. Graph outputs
stay, and so does each DequantizeLinear: TensorRT fuses it with the one node behind it.

Why: exporters write the same shape arithmetic at each place that needs it.
"""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from tripoint.graph.subgraphs import graphs_of
from tripoint.rewrites.base import NOT_REPEATABLE, Replacement, Rewrite, Site
from tripoint.rewrites.constants import elements
from tripoint.rewrites.quantization import is_explicit


def _find(node: ir.Node, site: Site) -> Replacement | None:
    if node.op_type in NOT_REPEATABLE or graphs_of(node) or not any(node.inputs):
        return None
    if is_explicit(node):
        return None
    nodes: dict[Hashable, ir.Node] = site.notes.setdefault("expressions", {})
    expression = _expression(node)
    first = nodes.get(expression)
    if first is None or first.graph is not node.graph:
        nodes[expression] = node
        return None
    if any(value.is_graph_output() for value in node.outputs):
        return None
    return Replacement([node], list(node.outputs), [], list(first.outputs), support=[first])


def _expression(node: ir.Node) -> Hashable:
    attributes = tuple((name, _content(a)) for name, a in sorted(node.attributes.items()))
    operands = tuple(map(_operand, node.inputs))
    return node.op_identifier(), len(node.outputs), attributes, operands


def _content(attribute: ir.Attr) -> Hashable:
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return tensor.dtype, tuple(tensor.shape), tensor.tobytes()
    content = attribute.value
    return tuple(content) if isinstance(content, list | tuple) else str(content)


def _operand(value: ir.Value | None) -> Hashable:
    numbers = elements(value)
    if value is None or numbers is None:
        return value
    return value.dtype, numbers.shape, numbers.tobytes()


REWRITE = Rewrite(
    name="common-subexpressions",
    title="Compute what is computed twice only once",
    find=_find,
    may_match=lambda node: node.op_type != "Constant" and not node.domain,
)
