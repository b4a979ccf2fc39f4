"""A Squeeze, Unsqueeze or Flatten at which dims are lost is a Reshape with a constant operand.

    Squeeze(x, axes) = Reshape(x, [0, 64, 49])      x: (N, 64, 49, 1)

Holds where TensorRT loses a dim of the result, and where that can be told from the shape of ``x``
by known sizes, copied dims (0) and one -1.

Why: TensorRT 7.x makes every dim of a squeezed, unsqueezed or flattened tensor unknown as soon as
one is; with a constant operand a Reshape keeps each dim by itself.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.reshaping import reshaped


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    x, output = node.inputs[0] if node.inputs else None, node.outputs[0]
    if x is None or not site.lost(output):
        return None
    return reshaped(x, output, [node])


REWRITE = Rewrite(
    name="explicit-reshape",
    title="Reshape with known sizes where squeezing or flattening loses them",
    find=_find,
    may_match=lambda node: node.op_type in RESHAPING - {"Reshape"} and not node.domain,
    when="lost",
)
