"""Broadcasting of dims that may be symbols.

Two dims broadcast if they are equal or one of them is 1 (ONNX, "Multidirectional broadcasting"), so
of two expressions the result is the larger one wherever the node can run at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from tripoint.graph.ops import COMPARISONS, LOGICAL
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element


def broadcast_dim(ctx: Context, node: ir.Node, dims: Iterable[Element]) -> Element:
    """The dim that several dims broadcast to."""
    distinct = list(dict.fromkeys(dim for dim in dims if not (isinstance(dim, int) and dim == 1)))
    if not distinct:
        return 1
    integers = [dim for dim in distinct if isinstance(dim, int)]
    if len(integers) > 1:
        ctx.record_error(node, f"the sizes {sorted(integers)} do not broadcast")
        return UNKNOWN
    if integers:
        return integers[0]
    if len(distinct) == 1:
        return distinct[0]
    if any(ctx.is_by_data(dim) for dim in distinct):
        # It may be 0, which is less than the 1 that it is broadcast to.
        return UNKNOWN
    largest = distinct[0]
    for dim in distinct[1:]:
        largest = e.maximum(largest, dim)
    return largest


def broadcast(ctx: Context, node: ir.Node, shapes: Sequence[Sequence[Element]]) -> list[Element]:
    """The shape that several shapes broadcast to."""
    rank = max((len(dims) for dims in shapes), default=0)
    aligned = [[1] * (rank - len(dims)) + list(dims) for dims in shapes]
    return [broadcast_dim(ctx, node, column) for column in zip(*aligned, strict=True)]


def elementwise(ctx: Context, node: ir.Node) -> None:
    """Operators that work element by element on operands that broadcast."""
    inputs = [value for value in node.inputs if value is not None]
    shapes = [dims_of(value) for value in inputs]
    ranked = [dims for dims in shapes if dims is not None]
    if len(ranked) < len(shapes) or not ranked:
        output_dims = None
    elif "axis" in node.attributes or ctx.opset < 7:
        # Until opset 6 the second operand is broadcast to the first, from a given axis on.
        output_dims = list(ranked[0])
    else:
        output_dims = broadcast(ctx, node, ranked)
    ctx.set_dims(node.outputs[0], output_dims, _dtype(node, inputs))


def _dtype(node: ir.Node, inputs: Sequence[ir.Value]) -> ir.DataType | None:
    if node.op_type in COMPARISONS | LOGICAL:
        return ir.DataType.BOOL
    if node.op_type == "Where":
        inputs = inputs[1:]
    return next((value.dtype for value in inputs if value.dtype is not None), None)


def matmul(ctx: Context, node: ir.Node) -> None:
    """MatMul and its integer forms, as ``numpy.matmul``."""
    position = 3 if node.op_type == "QLinearMatMul" else 1
    left, right = dims_of(node.inputs[0]), dims_of(node.inputs[position])
    dtype = _matmul_dtype(node)
    if left is None or right is None:
        ctx.set_dims(node.outputs[0], None, dtype)
        return
    if not left or not right:
        ctx.record_error(node, "an operand is a scalar")
        return
    inner, other = left[-1], right[-2] if len(right) > 1 else right[0]
    if isinstance(inner, int) and isinstance(other, int) and inner != other:
        ctx.record_error(node, f"the inner sizes {inner} and {other} differ")
    batch = broadcast(ctx, node, [left[:-2], right[:-2]])
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else []
    ctx.set_dims(node.outputs[0], [*batch, *rows, *columns], dtype)


def _matmul_dtype(node: ir.Node) -> ir.DataType | None:
    if node.op_type == "MatMulInteger":
        return ir.DataType.INT32
    typed = node.inputs[7] if node.op_type == "QLinearMatMul" else node.inputs[0]
    return typed.dtype if typed is not None else None
