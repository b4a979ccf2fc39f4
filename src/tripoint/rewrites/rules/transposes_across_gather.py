"""Two Transposes with a Gather between them cancel each other.

    Transpose(Relu(Gather(Transpose(x, p), i, axis=a)), q) = Relu(Gather(x, i, axis=p[a]))

Holds where ``q`` undoes ``p``, the indices have one axis, so that no axis comes or goes, what
stands beside the Gather computes element by element, and nothing else reads the tensors in between.

Why: each is a layer. Behind a Split that became Gathers the keys of an attention are transposed
back to where they came from.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import POINTWISE
from tripoint.rewrites.axes import normalized, permutation
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    chain = _chain(node)
    if chain is None:
        return None
    gather = next(each for each in chain if each.op_type == "Gather")
    source, indices, shape = chain[0].inputs[0], gather.inputs[1], shape_of(node.outputs[0])
    if source is None or indices is None or shape is None or len(shape_of(indices) or ()) != 1:
        return None
    first = permutation(chain[0], len(shape))
    if [first[axis] for axis in permutation(node, len(shape))] != list(range(len(shape))):
        return None
    axis = first[normalized(gather.attributes.get_int("axis", 0), len(shape))]
    new_nodes: list[ir.Node] = []
    x = source
    for old in chain[1:-1]:
        if old is gather:
            new = new_node("Gather", [x, indices], axis=axis)
        else:
            new = ir.node(old.op_type, [x, *old.inputs[1:]], dict(old.attributes))
        new_nodes.append(new)
        x = new.outputs[0]
    return Replacement(chain, [node.outputs[0]], new_nodes, [x])


def _chain(node: ir.Node) -> list[ir.Node] | None:
    """From one Transpose to the other, the given one last, with one Gather in between."""
    chain, gathers = [node], 0
    while True:
        value = chain[0].inputs[0]
        producer = value.producer() if value is not None else None
        if value is None or producer is None or producer.domain or value.is_graph_output():
            return None
        if producer.op_type == "Transpose":
            return [producer, *chain] if gathers == 1 else None
        if len(value.uses()) > 1 or len(producer.outputs) > 1:
            return None
        gathers += producer.op_type == "Gather"
        if gathers > 1 or producer.op_type not in POINTWISE | {"Gather"}:
            return None
        chain.insert(0, producer)


REWRITE = Rewrite(
    name="transposes-across-gather",
    title="Gather from the axis where the elements were before two Transposes that cancel",
    find=_find,
    may_match=lambda node: node.op_type == "Transpose" and not node.domain,
)
