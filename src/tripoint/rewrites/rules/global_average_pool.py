"""A mean over all spatial axes that keeps them is a global average pool.

    ReduceMean(x, axes=(2, …, rank-1), keepdims=1) = GlobalAveragePool(x)

Holds when ``x`` is floating point of known rank ≥ 3 and the axes are a constant *input*, as
since opset 18; with an attribute nothing is gained.

Why: every TensorRT before 10.0 ignores the axes input of ReduceMean and averages over all axes,
without a message. GlobalAveragePool is read right by all versions.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from tripoint.rewrites.axes import constant_axes, maker, normalized
from tripoint.rewrites.base import Rewrite


class _GlobalAveragePool(RewriteRuleClassBase):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("global-average-pool")

    def pattern(self, op: Any, x: Any, axes: Any) -> Any:
        return op.ReduceMean(x, axes, _outputs=["mean"])

    def check(self, context: Any, x: ir.Value, axes: ir.Value, mean: ir.Value) -> MatchResult:  # noqa: ARG002
        match = MatchResult()
        rank = x.shape.rank() if x.shape is not None else None
        if rank is None:
            return match.fail(f"the rank of `{x.name}` is not known", [x])
        if rank < 3:
            return match.fail(f"`{x.name}` has no spatial axes", [x])
        if x.dtype is None or not x.dtype.is_floating_point():
            return match.fail(f"`{x.name}` is not floating point", [x])
        reduced = constant_axes(maker(mean))
        if reduced is None:
            return match.fail(f"the axes of `{mean.name}` are computed at run time", [mean])
        if sorted(normalized(axis, rank) for axis in reduced) != list(range(2, rank)):
            return match.fail(f"`{mean.name}` does not reduce exactly the spatial axes", [mean])
        if not maker(mean).attributes.get_int("keepdims", 1):
            return match.fail(f"`{mean.name}` drops the axes that it reduces", [mean])
        return match

    def rewrite(self, op: Any, x: ir.Value, axes: ir.Value, mean: ir.Value) -> Any:  # noqa: ARG002
        return op.GlobalAveragePool(x)


REWRITE = Rewrite(
    name="global-average-pool",
    title="Pool instead of averaging over axes that old TensorRT versions do not read",
    rules=(_GlobalAveragePool.rule(),),
    may_match=lambda node: node.op_type == "ReduceMean",
)
