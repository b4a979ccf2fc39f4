"""An If whose condition is constant is its live branch.

    If(true) {then} {else} = then

Holds where the condition is an initializer or a Constant. The nodes of the branch keep their names,
metadata and the tensors that they read from outside.

Why: TensorRT before 8.2 reads no If, and later versions lose the dims in which its branches differ.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import elements


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    condition = elements(node.inputs[0], 1) if node.inputs else None
    if condition is None or condition.size != 1:
        return None
    live = node.attributes.get("then_branch" if condition.item() else "else_branch")
    if live is None or live.type != ir.AttributeType.GRAPH:
        return None
    branch = live.as_graph().clone(allow_outer_scope_values=True)
    outputs, nodes = list(branch.outputs), list(branch)
    initializers = list(branch.initializers.values())
    if len(outputs) != len(node.outputs):
        return None
    branch.outputs.clear()
    branch.initializers.clear()
    branch.remove(nodes)
    return Replacement([node], list(node.outputs), nodes, outputs, initializers, named=True)


REWRITE = Rewrite(
    name="decided-if",
    title="Put the live branch in place of an If whose condition is constant",
    find=_find,
    may_match=lambda node: node.op_type == "If" and not node.domain,
)
