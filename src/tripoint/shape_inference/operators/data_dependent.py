"""Shapes of operators whose output sizes are counts of values, with the least and the most."""

from __future__ import annotations

import onnx_ir as ir

from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element

_NO_LIMIT = 2**31 - 1


def nonzero(ctx: Context, node: ir.Node) -> None:
    """NonZero: one column for each element that is not 0."""
    data = node.inputs[0]
    dims, array = dims_of(data), ctx.array(data)
    count: Element = UNKNOWN
    if array is not None:
        count = 0
        for element in array.flat:
            count = e.add(count, e.invert(e.is_equal(element, 0)))
    most = e.product(dims) if dims is not None else UNKNOWN
    # A scalar counts as a vector of one element.
    rank = (len(dims) or 1) if dims is not None else UNKNOWN
    ctx.set_dims(node.outputs[0], [rank, count], ir.DataType.INT64, most=[UNKNOWN, most])


def compress(ctx: Context, node: ir.Node) -> None:
    """Compress: the slices of an axis, or the elements, for which the condition holds."""
    data, condition = node.inputs[0], operand(node, 1)
    dims, conditions = dims_of(data), dims_of(condition)
    axis = node.attributes.get_int("axis", None)
    dtype = data.dtype if data is not None else None
    array = ctx.array(condition)
    count: Element = UNKNOWN
    if array is not None:
        count = 0
        for element in array.flat:
            count = e.add(count, element)
    most = UNKNOWN
    if dims is not None:
        most = e.product(dims) if axis is None else dims[axis]
        if conditions:
            most = e.minimum(most, conditions[0])
    if axis is None:
        ctx.set_dims(node.outputs[0], [count], dtype, most=[most])
    elif dims is not None:
        dims[axis] = count
        limits: list[Element] = [UNKNOWN] * len(dims)
        limits[axis] = most
        ctx.set_dims(node.outputs[0], dims, dtype, most=limits)
    else:
        ctx.set_dims(node.outputs[0], None, dtype)


def unique(ctx: Context, node: ir.Node) -> None:
    """Unique: of all elements or of the slices of an axis; there is one at least."""
    data = node.inputs[0]
    dims = dims_of(data)
    axis = node.attributes.get_int("axis", None)
    total: Element = UNKNOWN
    if dims is not None:
        total = e.product(dims) if axis is None else dims[axis]
    least = 1 if e.is_negative(e.negate(total)) == 1 else 0
    count = e.from_dim(ctx.fresh(least, total))
    whole: list[Element] | None = [count]
    if axis is not None:
        whole = dims
        if whole is not None:
            whole[axis] = count
    dtypes = (data.dtype if data is not None else None, *[ir.DataType.INT64] * 3)
    shapes = (whole, [count], [total], [count])
    for output, dims, dtype in zip(node.outputs, shapes, dtypes, strict=False):
        ctx.set_dims(output, dims, dtype)


def non_max_suppression(ctx: Context, node: ir.Node) -> None:
    """NonMaxSuppression: at most so many boxes for each batch and class."""
    boxes, scores = dims_of(operand(node, 0)), dims_of(operand(node, 1))
    each = boxes[1] if boxes is not None else UNKNOWN
    limit = operand(node, 2)
    # Without a limit nothing is selected.
    asked = ctx.scalar(limit) if limit is not None else 0
    # Exporters write the largest integer for no limit.
    if e.is_known(asked) and not (isinstance(asked, int) and asked >= _NO_LIMIT):
        asked = e.maximum(asked, 0)
        each = e.minimum(asked, each) if e.is_known(each) else asked
    most = e.multiply(each, e.multiply(*scores[:2])) if scores is not None else UNKNOWN
    count = 0 if most == 0 else UNKNOWN
    ctx.set_dims(node.outputs[0], [count, 3], ir.DataType.INT64, most=[most, UNKNOWN])
