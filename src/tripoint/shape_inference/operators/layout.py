"""Shapes of operators that move elements about: their sizes come from operands and attributes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.broadcast import broadcast_dim
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element

_MOST = 2**31 - 1
"""Bounds from here on mean all that is left."""


def reshape(ctx: Context, node: ir.Node) -> None:
    """Reshape: ``0`` copies a dim, ``-1`` takes what is left; an attribute before opset 5."""
    (data,) = node.inputs[:1]
    dims = dims_of(data)
    target = wanted(ctx, node)
    dtype = data.dtype if data is not None else None
    if target is None:
        ctx.set_dims(node.outputs[0], None, dtype)
        return
    copies = not node.attributes.get_int("allowzero", 0)
    if dims is not None:
        output_dims = reshaped(dims, target, copies=copies)
        if sum(isinstance(size, int) and size == -1 for size in target) > 1:
            ctx.record_error(node, "more than one size is -1")
    else:
        output_dims = [UNKNOWN if size == -1 or (size == 0 and copies) else size for size in target]
    ctx.set_dims(node.outputs[0], output_dims, dtype)


def wanted(ctx: Context, node: ir.Node) -> list[Element] | None:
    """The sizes that a Reshape asks for, None if the rank is unknown."""
    if len(node.inputs) > 1:
        return ctx.elements(node.inputs[1])
    attribute = node.attributes.get_ints("shape")
    return list(attribute) if attribute is not None else None


def reshaped(
    dims: Sequence[Element], target: Sequence[Element], *, copies: bool = True
) -> list[Element]:
    """The dims that a Reshape gives.

    Args:
        dims: Those of its input.
        target: The sizes that are asked for.
        copies: Whether 0 copies a dim, which ``allowzero`` turns off.
    """
    output_dims = [
        (dims[axis] if axis < len(dims) else UNKNOWN) if copies and size == 0 else size
        for axis, size in enumerate(target)
    ]
    unknown = [axis for axis, size in enumerate(output_dims) if size is UNKNOWN or size == -1]
    if len(unknown) == 1:
        # Whatever an unknown element is: the volume stays the same.
        rest = e.product(size for axis, size in enumerate(output_dims) if axis not in unknown)
        output_dims[unknown[0]] = e.divide(e.product(dims), rest)
        return output_dims
    return [UNKNOWN if axis in unknown else size for axis, size in enumerate(output_dims)]


def expand(ctx: Context, node: ir.Node) -> None:
    """Expand: both ways, as broadcasting."""
    data = node.inputs[0]
    dims, target = dims_of(data), ctx.elements(operand(node, 1))
    if dims is None or target is None:
        ctx.set_dims(node.outputs[0], None, data.dtype if data is not None else None)
        return
    rank = max(len(dims), len(target))
    pairs = zip([1] * (rank - len(dims)) + dims, [1] * (rank - len(target)) + target, strict=True)
    output_dims = [broadcast_dim(ctx, node, pair) for pair in pairs]
    ctx.set_dims(node.outputs[0], output_dims, data.dtype if data is not None else None)


def tile(ctx: Context, node: ir.Node) -> None:
    """Tile: each dim times its count; before opset 6 one axis."""
    data = node.inputs[0]
    dims, repeats = dims_of(data), ctx.elements(operand(node, 1))
    if dims is not None and repeats is None:
        repeats = [UNKNOWN] * len(dims)
    if dims is not None and len(node.inputs) == 3:
        count, axis = ctx.scalar(node.inputs[1]), ctx.scalar(node.inputs[2])
        repeats = [
            (count if index == axis else 1) if e.is_known(axis) else UNKNOWN
            for index in range(len(dims))
        ]
    output_dims = None
    if dims is not None and repeats is not None:
        output_dims = [e.multiply(dim, count) for dim, count in zip(dims, repeats, strict=True)]
    ctx.set_dims(node.outputs[0], output_dims, data.dtype if data is not None else None)


def pad(ctx: Context, node: ir.Node) -> None:
    """Pad: sizes as an operand since opset 11, as ``pads`` or ``paddings`` before."""
    data = node.inputs[0]
    dims = dims_of(data)
    output_dims = None
    if dims is not None:
        axes: list[int] | None = list(range(len(dims)))
        if operand(node, 3) is not None:
            axes = ctx.integers(node.inputs[3])
        sizes = ctx.elements(operand(node, 1))
        for name in ("pads", "paddings"):
            attribute = node.attributes.get_ints(name)
            sizes = list(attribute) if attribute is not None else sizes
        if axes is None or sizes is None:
            output_dims = [UNKNOWN] * len(dims)
        else:
            output_dims = list(dims)
            for axis, before, after in zip(
                axes, sizes[: len(axes)], sizes[len(axes) :], strict=True
            ):
                output_dims[axis] = e.add(dims[axis], e.add(before, after))
    ctx.set_dims(node.outputs[0], output_dims, data.dtype if data is not None else None)


def slice_(ctx: Context, node: ir.Node) -> None:
    """Slice: starts, ends, axes and steps as operands since opset 10, as attributes before."""
    data = node.inputs[0]
    dims = dims_of(data)
    if data is None or dims is None:
        return
    operands: list[list[Element] | None]
    if len(node.inputs) > 1:
        operands = [ctx.elements(operand(node, position)) for position in range(1, 5)]
        # What is there but unknown is not the default.
        unclear = any(
            operand(node, position) is not None and operands[position - 1] is None
            for position in range(1, 5)
        )
    else:
        names = ("starts", "ends", "axes", "steps")
        attributes = [node.attributes.get_ints(name) for name in names]
        operands = [list(attribute) if attribute is not None else None for attribute in attributes]
        unclear = False
    starts, ends, axes, steps = operands
    if starts is None or ends is None or unclear:
        axes = (
            axes if axes and all(isinstance(axis, int) for axis in axes) else list(range(len(dims)))
        )
        output_dims = [UNKNOWN if _has(axes, i, len(dims)) else dim for i, dim in enumerate(dims)]
        ctx.set_dims(node.outputs[0], output_dims, data.dtype, most=dims)
        return
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps if steps is not None else [1] * len(starts)
    if not all(isinstance(axis, int) for axis in axes):
        ctx.set_dims(node.outputs[0], [UNKNOWN] * len(dims), data.dtype, most=dims)
        return
    output_dims = list(dims)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            ctx.record_error(node, "a step is 0")
            return
        output_dims[axis] = sliced(dims[axis], start, end, step)
    ctx.set_dims(node.outputs[0], output_dims, data.dtype, most=dims)


def _has(axes: Sequence[int], axis: int, rank: int) -> bool:
    return axis in axes or axis - rank in axes


def sliced(dim: Element, start: Element, end: Element, step: Element) -> Element:
    """Number of elements that ``[start:end:step]`` takes of a dim."""
    if not isinstance(step, int):
        return UNKNOWN
    if step > 0:
        if isinstance(start, int) and start == 0 and isinstance(end, int) and end >= _MOST:
            return e.divide_up(dim, step)
        first, last = _bound(dim, start, 0, dim), _bound(dim, end, 0, dim)
        return e.maximum(0, e.divide_up(e.subtract(last, first), step))
    highest = e.subtract(dim, 1)
    first, last = _bound(dim, start, 0, highest), _bound(dim, end, -1, highest)
    return e.maximum(0, e.divide_up(e.subtract(first, last), -step))


def _bound(dim: Element, position: Element, lowest: Element, highest: Element) -> Element:
    """A start or end counted from the front and moved into the allowed range."""
    if isinstance(position, int) and abs(position) >= _MOST:
        return highest if position > 0 else lowest
    negative = e.is_negative(position)
    if negative is UNKNOWN:
        # 0 from position 0 on, 1 below: only a formula holds for all sizes.
        negative = e.subtract(1, e.minimum(1, e.maximum(0, e.add(position, 1))))
    counted = e.add(position, e.multiply(dim, negative))
    return e.minimum(highest, e.maximum(lowest, counted))


def split(ctx: Context, node: ir.Node) -> None:
    """Split: sizes as an operand since opset 13, as an attribute before, or equal parts."""
    data = node.inputs[0]
    dims = dims_of(data)
    if data is None or dims is None:
        return
    axis = node.attributes.get_int("axis", 0)
    count, whole = len(node.outputs), dims[axis]
    attribute = node.attributes.get_ints("split")
    sizes: list[Element] | None = list(attribute) if attribute is not None else None
    if operand(node, 1) is not None:
        sizes = ctx.elements(node.inputs[1]) or [UNKNOWN] * count
    elif sizes is None:
        # Since opset 18 the last part is smaller where the parts cannot be equal.
        part = e.divide_up(whole, count) if ctx.opset >= 18 else e.divide(whole, count)
        sizes = [part] * (count - 1) + [e.subtract(whole, e.multiply(part, count - 1))]
    for output, size in zip(node.outputs, sizes, strict=True):
        output_dims = list(dims)
        output_dims[axis] = size
        ctx.set_dims(output, output_dims, data.dtype, most=dims)


def squeeze(ctx: Context, node: ir.Node) -> None:
    """Squeeze: the given axes, or all that are 1; a symbolic dim is taken for more than 1."""
    data = node.inputs[0]
    dims, (axes, count) = dims_of(data), _axes(ctx, node)
    if data is None or dims is None:
        return
    output_dims: list[Element] | None
    if axes is not None:
        removed = {_counted(axis, len(dims)) for axis in axes}
        for axis in sorted(removed):
            if isinstance(dims[axis], int) and dims[axis] != 1:
                ctx.record_error(node, f"axis {axis} of size {dims[axis]} cannot be squeezed")
                return
        output_dims = [dim for axis, dim in enumerate(dims) if axis not in removed]
    elif count == 0:
        output_dims = [dim for dim in dims if dim != 1]
    else:
        output_dims = [UNKNOWN] * (len(dims) - count) if count is not None else None
    ctx.set_dims(node.outputs[0], output_dims, data.dtype)


def unsqueeze(ctx: Context, node: ir.Node) -> None:
    """Unsqueeze: a 1 at each of the axes, which are counted in the output."""
    data = node.inputs[0]
    dims, (listed, count) = dims_of(data), _axes(ctx, node)
    if data is None or dims is None:
        return
    output_dims: list[Element] | None
    if listed is not None:
        rank = len(dims) + len(listed)
        axes = {_counted(axis, rank) for axis in listed}
        if len(axes) != len(listed):
            ctx.record_error(node, f"axes {listed} name one axis twice")
            return
        rest = iter(dims)
        output_dims = [1 if axis in axes else next(rest) for axis in range(rank)]
    else:
        output_dims = [UNKNOWN] * (len(dims) + count) if count is not None else None
    ctx.set_dims(node.outputs[0], output_dims, data.dtype)


def _axes(ctx: Context, node: ir.Node) -> tuple[list[int] | None, int | None]:
    """The axes, if they are known, and their number, 0 if there are none."""
    value = operand(node, 1)
    if value is None:
        attribute = node.attributes.get_ints("axes")
        return (list(attribute), len(attribute)) if attribute is not None else (None, 0)
    numbers, some = ctx.integers(value), ctx.elements(value)
    return numbers, len(some) if some is not None else None


def _counted(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is outside of rank {rank}")
    return axis % rank


def concat(ctx: Context, node: ir.Node) -> None:
    """Concat: sizes add up along the axis; the other dims agree, so one known is enough."""
    shapes = [dims_of(value) for value in node.inputs]
    dtype = next((v.dtype for v in node.inputs if v is not None and v.dtype is not None), None)
    ranked = [dims for dims in shapes if dims is not None]
    if len(ranked) < len(shapes) or not ranked:
        ctx.set_dims(node.outputs[0], None, dtype)
        return
    rank = len(ranked[0])
    if any(len(dims) != rank for dims in ranked):
        ctx.record_error(node, f"its inputs have the ranks {sorted({len(d) for d in ranked})}")
        return
    along = _counted(node.attributes.get_int("axis", 1), rank)
    output_dims: list[Element] = []
    for axis in range(rank):
        sizes = [dims[axis] for dims in ranked]
        if axis == along:
            total: Element = 0
            for size in sizes:
                total = e.add(total, size)
            output_dims.append(total)
            continue
        integers = {size for size in sizes if isinstance(size, int)}
        if len(integers) > 1:
            ctx.record_error(node, f"axis {axis} has the sizes {sorted(integers)}")
        output_dims.append(next(iter(integers), sizes[0]))
    ctx.set_dims(node.outputs[0], output_dims, dtype)


def depth_to_space(ctx: Context, node: ir.Node) -> None:
    """DepthToSpace and SpaceToDepth, the latter dividing exactly."""
    data = node.inputs[0]
    dims = dims_of(data)
    if data is None or dims is None or len(dims) != 4:
        return
    block = node.attributes.get_int("blocksize", 0)
    batch, channels, height, width = dims
    if node.op_type == "DepthToSpace":
        parts = e.divide(channels, block * block)
        output_dims = [batch, parts, e.multiply(height, block), e.multiply(width, block)]
    else:
        parts = e.multiply(channels, block * block)
        output_dims = [batch, parts, e.divide(height, block), e.divide(width, block)]
    if any(
        e.is_known(dim) and not isinstance(dim, int) and not _integral(dim) for dim in output_dims
    ):
        ctx.record_error(node, f"its sizes cannot be divided by {block}")
        return
    ctx.set_dims(node.outputs[0], output_dims, data.dtype)


def _integral(dim: Element) -> bool:
    return bool(getattr(dim, "free_symbols", ()))
