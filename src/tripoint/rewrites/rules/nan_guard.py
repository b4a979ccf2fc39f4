"""Unsafe: the guard that replaces NaN downstream of a Softmax is removed.

    Where(IsNaN(Softmax(x)), 0, Softmax(x)) = Softmax(x)

Holds where the Softmax has no NaN: it has, along the whole axis, where all of ``x`` is -inf or any
of ``x`` is NaN or +inf. Exporters write the guard for attention masks that hide a whole row.

Why: two more layers for each attention, which keep TensorRT from fusing it; TensorRT before 8.5
has no IsNaN.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import elements


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    if len(node.inputs) != 3:
        return None
    condition, zero, x = node.inputs
    guard = condition.producer() if condition is not None else None
    softmax = x.producer() if x is not None else None
    if x is None or guard is None or softmax is None:
        return None
    if guard.op_type != "IsNaN" or guard.inputs[0] is not x or softmax.op_type != "Softmax":
        return None
    numbers = elements(zero)
    if numbers is None or numbers.size != 1 or numbers.any():
        return None
    return Replacement([guard, node], [node.outputs[0]], [], [x], support=[softmax])


REWRITE = Rewrite(
    name="nan-guard",
    title="Remove the guard against NaN downstream of a Softmax",
    find=_find,
    may_match=lambda node: node.op_type == "Where" and not node.domain,
    safety="unsafe",
    corner_case="where a whole row is masked out, the result is NaN instead of 0",
)
