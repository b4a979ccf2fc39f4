"""A mean over all spatial axes that keeps them is a global average pool.

    ReduceMean(x, axes=(2, …, rank-1), keepdims=1) = GlobalAveragePool(x)

Holds when ``x`` is floating point of known rank ≥ 3 and the axes are a constant *input*, as
since opset 18; with an attribute nothing is gained.

Why: every TensorRT before 10.0 ignores the axes input of ReduceMean and averages over all axes,
without a message. GlobalAveragePool is read right by all versions.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.axes import constant_axes, normalized
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.reshaping import new_node


def _find(node: ir.Node, site: Site) -> Replacement | str | None:  # noqa: ARG001
    x, mean = node.inputs[0], node.outputs[0]
    if x is None or len(node.inputs) != 2 or node.inputs[1] is None:
        return None
    rank = x.shape.rank() if x.shape is not None else None
    if rank is None:
        return f"the rank of `{x.name}` is not known"
    if rank < 3:
        return f"`{x.name}` has no spatial axes"
    if x.dtype is None or not x.dtype.is_floating_point():
        return f"`{x.name}` is not floating point"
    reduced = constant_axes(node)
    if reduced is None:
        return f"the axes of `{mean.name}` are computed at run time"
    if sorted(normalized(axis, rank) for axis in reduced) != list(range(2, rank)):
        return f"`{mean.name}` does not reduce exactly the spatial axes"
    if not node.attributes.get_int("keepdims", 1):
        return f"`{mean.name}` drops the axes that it reduces"
    pool = new_node("GlobalAveragePool", [x])
    return Replacement([node], [mean], [pool], pool.outputs)


REWRITE = Rewrite(
    name="global-average-pool",
    title="Pool instead of averaging over axes that old TensorRT versions do not read",
    find=_find,
    may_match=lambda node: node.op_type == "ReduceMean" and not node.domain,
)
