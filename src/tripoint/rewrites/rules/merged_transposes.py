"""Two Transposes in a row are one, or none.

    Transpose(Transpose(x, p), q) = Transpose(x, [p[i] for i in q])

Holds where nothing else reads the tensor in between.

Why: each is a layer.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.axes import permutation
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.reshaping import new_node


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    between = node.inputs[0]
    first = between.producer() if between is not None else None
    if between is None or first is None or first.op_type != "Transpose" or first.domain:
        return None
    x, rank = first.inputs[0], between.shape.rank() if between.shape is not None else None
    if x is None or rank is None or len(between.uses()) > 1 or between.is_graph_output():
        return None
    inner, outer = permutation(first, rank), permutation(node, rank)
    perm = [inner[axis] for axis in outer]
    if perm == sorted(perm):
        return Replacement([first, node], [node.outputs[0]], [], [x])
    new = new_node("Transpose", [x], perm=perm)
    return Replacement([first, node], [node.outputs[0]], [new], list(new.outputs))


REWRITE = Rewrite(
    name="merged-transposes",
    title="Transpose once instead of twice in a row",
    find=_find,
    may_match=lambda node: node.op_type == "Transpose" and not node.domain,
)
