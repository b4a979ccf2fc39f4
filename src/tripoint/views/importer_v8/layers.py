"""Rules of the core library from 8.0 on: dims of a layer from the dims of its inputs."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from tripoint.views.importer.context import RefusedError
from tripoint.views.importer.core import (
    asked_of_deconvolution,
    check_output_shape,
    paddings,
    per_axis,
)
from tripoint.views.importer_v8.algebra import COPY, Algebra, Dim, Dims, Expression
from tripoint.views.importer_v8.context import Node, view_of
from tripoint.views.importer_v8.reasons import PART


def broadcast(node: Node, shapes: Sequence[Dims]) -> Dims:
    """Elementwise and Select layers; operands of lower rank are reshaped first.

    Raises:
        RefusedError: If sizes do not fit together.
    """
    rank = max(len(dims) for dims in shapes)
    aligned = [align(node.algebra, dims, rank) for dims in shapes]
    return tuple(
        functools.reduce(functools.partial(_broadcast, node.algebra), dims)
        for dims in zip(*aligned, strict=True)
    )


def _broadcast(algebra: Algebra, a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int) and a != b and 1 not in (a, b):
        raise RefusedError(f"cannot broadcast a dim of {a} with one of {b}")
    return algebra.broadcast(a, b)


def align(algebra: Algebra, dims: Dims, rank: int) -> Dims:
    """Leading ones up to a rank, which is a reshape."""
    if len(dims) == rank:
        return dims
    return resized(algebra, dims, (1,) * (rank - len(dims)) + dims)


def resized(algebra: Algebra, dims: Dims, target: Dims) -> Dims:
    """A reshape that the parser makes: no size of it is a placeholder.

    The core does not know that; a size that may be -1 for all it knows, it does not inherit.
    """
    if all(isinstance(size, int) for size in target):
        return target
    return tuple(
        algebra.size(PART, size, algebra.product(dims))
        if isinstance(size, Expression) and size.low < 0
        else size
        for size in target
    )


def reshape(algebra: Algebra, dims: Dims, target: Sequence[Dim], *, copies: bool) -> Dims:
    """Shuffle layer: one -1 is solved, and a 0 copies a dim of the input.

    Args:
        algebra: Makes the expressions.
        dims: Of the input.
        target: Of the output.
        copies: Whether a 0 copies, or means 0.

    Raises:
        RefusedError: If the number of elements does not fit.
    """
    wildcards = [axis for axis, size in enumerate(target) if size == -1]
    if len(wildcards) > 1 or any(isinstance(size, int) and size < -1 for size in target):
        raise RefusedError(_misfit(dims, target))
    result: list[Dim] = []
    for axis, size in enumerate(target):
        if isinstance(size, int):
            if size == 0 and copies:
                if axis >= len(dims):
                    raise RefusedError(_misfit(dims, target))
                size = dims[axis]
        elif size.low < 0:
            size = algebra.size(PART, size, algebra.product(dims))
        elif size.low == 0 and copies and axis < len(dims) and size is not dims[axis]:
            size = algebra.size(COPY, size, dims[axis])
        result.append(size)
    others = [size for axis, size in enumerate(result) if axis not in wildcards]
    total, rest = algebra.product(dims), algebra.product(others)
    if isinstance(total, int) and isinstance(rest, int):
        fits = total % rest == 0 if wildcards and rest else total == rest
        if not fits or (wildcards and not rest):
            raise RefusedError(_misfit(dims, target))
    elif not wildcards and algebra.never_equal(total, rest):
        raise RefusedError(_misfit(dims, target))
    for axis in wildcards:
        result[axis] = algebra.solve(dims, others)
    return tuple(result)


def _misfit(dims: Dims, target: Sequence[Dim]) -> str:
    return f"cannot reshape {view_of(dims)} to {view_of(target)}, and says so while it parses"


def concatenate(node: Node, shapes: Sequence[Dims], axis: int) -> Dims:
    """Concatenation layer: other axes are known if any input knows them.

    Raises:
        RefusedError: If ranks or sizes do not fit together.
    """
    listed = ", ".join(map(node.printed, shapes))
    if len({len(dims) for dims in shapes}) > 1:
        raise RefusedError(f"cannot concatenate {listed}")
    result: list[Dim] = []
    for position, dims in enumerate(zip(*shapes, strict=True)):
        integers = {dim for dim in dims if isinstance(dim, int)}
        if position == axis:
            result.append(functools.reduce(node.algebra.add, dims))
        elif len(integers) > 1:
            raise RefusedError(f"cannot concatenate {listed}")
        else:
            result.append(integers.pop() if integers else dims[0])
    return tuple(result)


def matrix_multiply(node: Node, a: Dims, b: Dims) -> Dims:
    """MatrixMultiply layer on operands of one rank; two vectors give a scalar.

    Raises:
        RefusedError: If sizes do not fit together.
    """
    if len(a) == 1:
        check_equal(a[0], b[0])
        return ()
    check_equal(a[-1], b[-2])
    return (*broadcast(node, [a[:-2], b[:-2]]), a[-2], b[-1]) if len(a) > 2 else (a[0], b[1])


def merge(node: Node, a: Dim | None, b: Dim) -> Dim:
    """Dim of a label that two operands of Einsum share."""
    return b if a is None else broadcast(node, [(a,), (b,)])[0]


def check_equal(a: Dim, b: Dim) -> None:
    """Two sizes that are multiplied away must agree where both are known.

    Raises:
        RefusedError: If they do not.
    """
    if isinstance(a, int) and isinstance(b, int) and a != b:
        raise RefusedError(f"cannot match a dim of {a} with one of {b}")


def window(node: Node, spatial: Dims, kernel: Sequence[int], *, plain: bool = False) -> Dims:
    """Spatial dims of Convolution and Pooling layers.

    Args:
        node: The node.
        spatial: Spatial dims of the input.
        kernel: Sizes of the window.
        plain: Whether neither dilations nor ``ceil_mode`` are read.

    Raises:
        RefusedError: If the kernel is larger than the padded input.
    """
    algebra, count = node.algebra, len(spatial)
    strides = per_axis(node, "strides", count)
    dilations = (1,) * count if plain else per_axis(node, "dilations", count)
    padding = paddings(node, count)
    same = node.attribute_text("auto_pad", "NOTSET").startswith("SAME")
    up = bool(node.attribute_int("ceil_mode", 0)) and node.opset >= 10 and not plain
    if len(kernel) != count or min((*strides, *dilations, *kernel), default=1) < 1:
        raise RefusedError(f"takes no such kernel, strides or dilations for {node.op}")
    result = []
    for axis, size in enumerate(spatial):
        stride, reach = strides[axis], dilations[axis] * (kernel[axis] - 1) + 1
        free = algebra.add(size, padding[axis] - reach)
        if isinstance(free, int) and free < 0 and not same:
            raise RefusedError(f"cannot lay a window of {reach} over a dim of {size}")
        if same:
            result.append(algebra.floor_div(algebra.add(size, stride - 1), stride))
            continue
        steps = algebra.floor_div(algebra.add(free, stride - 1) if up else free, stride)
        result.append(algebra.add(steps, 1))
    return tuple(result)


def deconvolution(node: Node, spatial: Dims, kernel: Sequence[int]) -> Dims:
    """Spatial dims of a Deconvolution layer."""
    algebra, count = node.algebra, len(spatial)
    asked, extra = asked_of_deconvolution(node, count)
    strides = per_axis(node, "strides", count)
    dilations = per_axis(node, "dilations", count)
    padding = paddings(node, count)
    same = node.attribute_text("auto_pad", "NOTSET").startswith("SAME")
    if len(kernel) != count or (asked is not None and len(asked) < count):
        raise RefusedError(f"takes no such kernel or output_shape for {node.op}")
    result: list[Dim] = []
    for axis, size in enumerate(spatial):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if asked is not None:
            # An unknown size counts as -1 where the padding is worked out.
            length = size if isinstance(size, int) else -1
            grown_to = (length - 1) * strides[axis] + reach + extra[axis]
            check_output_shape(node, asked[axis - count], grown_to)
            result.append(
                asked[axis - count]
                if isinstance(size, int)
                else node.algebra.size("deconvolution", size, asked[axis - count])
            )
        elif same:
            result.append(algebra.mul(size, strides[axis]))
        else:
            grown = algebra.mul(algebra.sub(size, 1), strides[axis])
            result.append(algebra.add(grown, reach - padding[axis] + extra[axis]))
    return tuple(result)


def scaled(algebra: Algebra, size: Dim, scale: float) -> Dim:
    """``floor(size * scale)`` in single precision."""
    if isinstance(size, int):
        return math.floor(np.float32(size) * np.float32(scale))
    if scale == 1:
        return size
    return algebra.size("scaled", size, float(np.float32(scale)))


def decoded_slice(
    algebra: Algebra, dim: Dim, start: Dim, end: Dim, step: Dim, *, plain: bool, clamps: bool
) -> tuple[Dim, Dim]:
    """First element and number of elements of a slice along one axis, as the parser computes it.

    Args:
        algebra: Makes the expressions.
        dim: Of the data.
        start: As in ONNX.
        end: As in ONNX.
        step: As in ONNX.
        plain: Whether the parser knows that all steps are 1.
        clamps: Whether a negative number becomes 0.
    """

    def clamp(value: Dim, low: Dim, high: Dim) -> Dim:
        return algebra.minimum(algebra.maximum(value, low), high)

    def from_front(index: Dim) -> Dim:
        return algebra.sub(index, algebra.mul(clamp(index, -1, 0), dim))

    backwards = clamp(step, -1, 0)
    first = clamp(from_front(start), 0, algebra.add(dim, backwards))
    last = clamp(from_front(end), backwards, dim)
    if plain:
        count = algebra.sub(last, first)
    else:
        count = algebra.sub(0, algebra.floor_div(algebra.sub(first, last), step))
    return first, algebra.maximum(0, count) if clamps else count
