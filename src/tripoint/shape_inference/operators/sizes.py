"""Shapes of operators with computed output sizes, for instance Range, Resize, TopK."""

from __future__ import annotations

from fractions import Fraction

import onnx_ir as ir

from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element


def constant_of_shape(ctx: Context, node: ir.Node) -> None:
    """ConstantOfShape: the operand is the shape."""
    fill = node.attributes.get_tensor("value")
    dtype = fill.dtype if fill is not None else ir.DataType.FLOAT
    ctx.set_dims(node.outputs[0], ctx.elements(node.inputs[0]), dtype)


def range_(ctx: Context, node: ir.Node) -> None:
    """Range: ``max(0, ceil((limit - start) / delta))`` elements."""
    start, limit, delta = (ctx.scalar(operand(node, position)) for position in range(3))
    if isinstance(delta, int) and delta == 0:
        ctx.record_error(node, "its step is 0")
        return
    dtype = node.inputs[0].dtype if node.inputs[0] else None
    # ONNX Runtime takes the difference in the type of the operands, and divides doubles.
    quotient = e.divide(e.rounded(e.subtract(limit, start), dtype), delta)
    if dtype is not None and dtype.is_floating_point():
        quotient = e.rounded(quotient, ir.DataType.DOUBLE)
    ctx.set_dims(node.outputs[0], [e.maximum(0, e.ceiling(quotient))], dtype)


def resize(ctx: Context, node: ir.Node) -> None:
    """Resize and Upsample: by sizes, or by scales with ``floor(dim · scale)``."""
    data = node.inputs[0]
    dims = dims_of(data)
    if data is None or dims is None:
        ctx.set_dims(node.outputs[0], None, data.dtype if data is not None else None)
        return
    axes = [axis % len(dims) for axis in node.attributes.get_ints("axes") or range(len(dims))]
    output_dims: list[Element] = list(dims)
    sizes = ctx.elements(operand(node, 3))
    scales = _scales(ctx, node, len(axes))
    if sizes:
        for axis, size in zip(axes, _fitted(node, [dims[a] for a in axes], sizes), strict=True):
            output_dims[axis] = size
    elif scales:
        for axis, scale in zip(axes, scales, strict=True):
            output_dims[axis] = e.truncate(_float(e.multiply(_float(dims[axis]), scale)))
    else:
        for axis in axes:
            output_dims[axis] = UNKNOWN
    ctx.set_dims(node.outputs[0], output_dims, data.dtype)


def _float(element: Element) -> Element:
    return e.rounded(element, ir.DataType.FLOAT)


def _scales(ctx: Context, node: ir.Node, count: int) -> list[Element] | None:
    if (attribute := node.attributes.get_floats("scales")) is not None:
        return [_float(Fraction(scale)) for scale in attribute]
    if (height := node.attributes.get_float("height_scale")) is not None:
        width = node.attributes.get_float("width_scale") or 1.0
        return [1, 1, _float(Fraction(height)), _float(Fraction(width))]
    early = ctx.opset < 11 or node.op_type == "Upsample"
    value = operand(node, 1 if early else 2)
    elements = ctx.elements(value)
    return elements if elements is not None or value is None else [UNKNOWN] * count


def _fitted(node: ir.Node, dims: list[Element], sizes: list[Element]) -> list[Element]:
    """The sizes after ``keep_aspect_ratio_policy``: one scale for all axes, rounded half up.

    ONNX Runtime works that out in floats of 32 bits.
    """
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes
    ratios = [_float(e.divide(size, dim)) for size, dim in zip(sizes, dims, strict=True)]
    scale = ratios[0]
    for ratio in ratios[1:]:
        scale = (e.minimum if policy == "not_larger" else e.maximum)(scale, ratio)
    return [e.floor(e.add(_float(e.multiply(dim, scale)), Fraction(1, 2))) for dim in dims]


def topk(ctx: Context, node: ir.Node) -> None:
    """TopK: ``k`` elements of an axis."""
    data = node.inputs[0]
    dims = dims_of(data)
    dtypes = (data.dtype if data is not None else None, ir.DataType.INT64)
    if dims is None:
        for output, dtype in zip(node.outputs, dtypes, strict=False):
            ctx.set_dims(output, None, dtype)
        return
    axis = node.attributes.get_int("axis", -1)
    k = node.attributes.get_int("k", None)
    output_dims = list(dims)
    output_dims[axis] = k if k is not None else ctx.scalar(operand(node, 1))
    if e.to_dim(output_dims[axis]) is None:
        output_dims[axis] = e.from_dim(ctx.fresh(most=dims[axis]))
    for output, dtype in zip(node.outputs, dtypes, strict=False):
        ctx.set_dims(output, output_dims, dtype)


def one_hot(ctx: Context, node: ir.Node) -> None:
    """OneHot: a new axis of ``depth``."""
    indices, values = operand(node, 0), operand(node, 2)
    dims = dims_of(indices)
    if dims is not None:
        rank = len(dims) + 1
        axis = node.attributes.get_int("axis", -1)
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} is outside of rank {rank}")
        dims.insert(axis % rank, e.truncate(ctx.scalar(operand(node, 1))))
    ctx.set_dims(node.outputs[0], dims, values.dtype if values is not None else None)


def reduce(ctx: Context, node: ir.Node) -> None:
    """The Reduce operators: axes as an operand since opset 13 or 18, as an attribute before."""
    data, axes_input = node.inputs[0], operand(node, 1)
    dims = dims_of(data)
    dtype = data.dtype if data is not None else None
    if dims is None:
        ctx.set_dims(node.outputs[0], None, dtype)
        return
    keep = bool(node.attributes.get_int("keepdims", 1))
    axes = list(node.attributes.get_ints("axes") or ())
    if axes_input is not None:
        numbers = ctx.integers(axes_input)
        if numbers is None:
            count = ctx.elements(axes_input)
            rank = len(dims) if keep else len(dims) - len(count) if count is not None else None
            output_dims = [UNKNOWN] * rank if rank is not None else None
            # Of nothing, too, one is made.
            most = [e.maximum(1, dim) for dim in dims] if keep else None
            ctx.set_dims(node.outputs[0], output_dims, dtype, most=most)
            return
        axes = numbers
    if not axes and not node.attributes.get_int("noop_with_empty_axes", 0):
        axes = list(range(len(dims)))
    if any(not -len(dims) <= axis < len(dims) for axis in axes):
        raise ValueError(f"axes {axes} are outside of rank {len(dims)}")
    reduced = {axis % len(dims) for axis in axes}
    output_dims = [
        1 if i in reduced else dim for i, dim in enumerate(dims) if keep or i not in reduced
    ]
    ctx.set_dims(node.outputs[0], output_dims, dtype)


def center_crop_pad(ctx: Context, node: ir.Node) -> None:
    """CenterCropPad: the operand has the sizes of the given axes."""
    data = node.inputs[0]
    dims = dims_of(data)
    if data is None or dims is None:
        return
    axes = node.attributes.get_ints("axes") or range(len(dims))
    sizes = ctx.elements(operand(node, 1)) or [UNKNOWN] * len(axes)
    for axis, size in zip(axes, sizes, strict=True):
        dims[axis] = size
    ctx.set_dims(node.outputs[0], dims, data.dtype)


def roi(ctx: Context, node: ir.Node) -> None:
    """RoiAlign and MaxRoiPool: one output for each region."""
    data, regions = dims_of(operand(node, 0)), dims_of(operand(node, 1))
    pooled = node.attributes.get_ints("pooled_shape") or (
        node.attributes.get_int("output_height", 1),
        node.attributes.get_int("output_width", 1),
    )
    output_dims = [regions[0] if regions else UNKNOWN, data[1] if data else UNKNOWN, *pooled]
    ctx.set_dims(node.outputs[0], output_dims, node.inputs[0].dtype if node.inputs[0] else None)


def max_unpool(ctx: Context, node: ir.Node) -> None:
    """MaxUnpool: the operand has the shape, else the inverse of pooling without ``ceil_mode``."""
    data = node.inputs[0]
    dims = dims_of(data)
    if data is None or dims is None:
        return
    if operand(node, 2) is not None:
        output_dims = ctx.elements(node.inputs[2]) or [UNKNOWN] * len(dims)
    else:
        kernel = list(node.attributes.get_ints("kernel_shape") or ())
        count = len(kernel)
        strides = list(node.attributes.get_ints("strides") or [1] * count)
        pads = list(node.attributes.get_ints("pads") or [0] * 2 * count)
        output_dims = dims[:2] + [
            e.add(
                e.multiply(e.subtract(dims[2 + i], 1), strides[i]),
                kernel[i] - pads[i] - pads[i + count],
            )
            for i in range(count)
        ]
    ctx.set_dims(node.outputs[0], output_dims, data.dtype)


def affine_grid(ctx: Context, node: ir.Node) -> None:
    """AffineGrid: ``(N, C, *sizes)`` gives a grid ``(N, *sizes, number of sizes)``."""
    size = ctx.elements(operand(node, 1))
    output_dims = [size[0], *size[2:], len(size) - 2] if size is not None else None
    ctx.set_dims(node.outputs[0], output_dims, node.inputs[0].dtype if node.inputs[0] else None)


def col2im(ctx: Context, node: ir.Node) -> None:
    """Col2Im: the image's sizes are an operand, and its channels what the blocks leave."""
    dims = dims_of(operand(node, 0))
    image, block = ctx.elements(operand(node, 1)), ctx.elements(operand(node, 2))
    output_dims = None
    if dims is not None and image is not None:
        area = e.product(block) if block is not None else UNKNOWN
        output_dims = [dims[0], e.divide(dims[1], area), *image]
    ctx.set_dims(node.outputs[0], output_dims, node.inputs[0].dtype if node.inputs[0] else None)


def mel_weight_matrix(ctx: Context, node: ir.Node) -> None:
    """MelWeightMatrix: a row for each frequency of the spectrum, a column for each mel band."""
    bands, length = (ctx.scalar(operand(node, position)) for position in range(2))
    dtype = ir.DataType(node.attributes.get_int("output_datatype", int(ir.DataType.FLOAT)))
    ctx.set_dims(node.outputs[0], [e.add(e.divide_down(length, 2), 1), bands], dtype)
