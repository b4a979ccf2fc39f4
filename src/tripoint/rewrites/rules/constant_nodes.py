"""A Constant node is an initializer.

Holds for every Constant node that holds numbers in the model file itself, unless its output is a
graph output. Nested graphs keep theirs.

Why: one operand then looks like another, whoever exported it, and TensorRT reads both alike.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import constant, initializer


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    (output,) = node.outputs
    tensor = constant(output)
    if tensor is None or isinstance(tensor, ir.ExternalTensor) or output.is_graph_output():
        return None
    held = initializer(tensor.numpy(), output.name or "constant", tensor.dtype)
    held.metadata_props.update(node.metadata_props)
    return Replacement([node], [output], [], [held], [held])


REWRITE = Rewrite(
    name="constant-nodes",
    title="Hold constants as initializers",
    find=_find,
    may_match=lambda node: node.op_type == "Constant" and not node.domain,
    clean_up=True,
)
