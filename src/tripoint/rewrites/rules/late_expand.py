"""An operator that works element by element may come before an Expand.

    f(Expand(x, shape)) = Expand(f(x), shape)

for operators of one tensor. The Expand comes nearer to an operator that broadcasts anyway, so that
:mod:`tripoint.rewrites.rules.redundant_expand` can drop it.

Holds when nothing else reads the Expand. Made only where the target loses a dim of it, and only
operators that broadcast or work element by element read the result.

Why: as for :mod:`tripoint.rewrites.rules.redundant_expand`: TensorRT 7.x evaluates no size operand.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import ELEMENTWISE, POINTWISE
from tripoint.rewrites.base import Replacement, Rewrite, Site

_FURTHER = POINTWISE | ELEMENTWISE


def _find(node: ir.Node, site: Site) -> Replacement | None:
    wide = node.inputs[0]
    expand = wide.producer() if wide is not None else None
    if wide is None or expand is None or expand.op_type != "Expand" or expand.domain != "":
        return None
    shared = len(wide.uses()) != 1 or wide.is_graph_output()
    if shared or len(node.outputs) != 1 or not site.lost(wide) or len(expand.inputs) != 2:
        return None
    readers = [reader.op_type for reader, _ in node.outputs[0].uses()]
    if node.outputs[0].is_graph_output() or not readers or not _FURTHER.issuperset(readers):
        return None
    early = ir.Node(
        "", node.op_type, [expand.inputs[0], *node.inputs[1:]], list(node.attributes.values())
    )
    late = ir.Node("", "Expand", [early.outputs[0], expand.inputs[1]])
    return Replacement([expand, node], node.outputs, [early, late], late.outputs)


REWRITE = Rewrite(
    name="late-expand",
    title="Expand after an operator that works element by element, not before",
    may_match=lambda node: node.op_type in POINTWISE and node.domain == "" and bool(node.inputs),
    find=_find,
)
