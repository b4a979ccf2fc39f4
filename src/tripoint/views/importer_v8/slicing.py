"""Importers of Slice, Split and Pad, after onnx-tensorrt release/10.1.

Each takes the node and gives the dims of its output, or a list of those of all outputs. A version
in the name of a function is the newest one that does so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tripoint.views.importer.context import RefusedError
from tripoint.views.importer_v8 import folding, layers
from tripoint.views.importer_v8.algebra import Dim, Dims, Value
from tripoint.views.importer_v8.context import Node, as_values


def slice_(node: Node) -> Dims:
    """Sizes are computed with the operands; a negative one becomes 0."""
    return _slice(node, clamps=True)


def slice_82(node: Node) -> Dims:
    """A negative size is an error."""
    return _slice(node, clamps=False)


def _slice(node: Node, *, clamps: bool) -> Dims:
    algebra, dims = node.algebra, node.dims(0)
    rank = len(dims)
    if node.opset < 10:
        starts: Sequence[Dim] = node.attribute_ints("starts") or ()
        ends: Sequence[Dim] = node.attribute_ints("ends") or ()
        axes = node.attribute_ints("axes") or tuple(range(len(starts)))
        steps: Sequence[Dim] = (1,) * len(starts)
        plain = True
    else:
        starts, ends = node.vector(1), node.vector(2)
        if node.has(3) and not node.is_weights(3):
            raise RefusedError("takes the axes of Slice only as a constant")
        axes = (node.ints(3) if node.has(3) else None) or tuple(range(rank))
        steps = node.vector(4) if node.has(4) else (1,) * len(starts)
        plain = not node.has(4) or (node.is_weights(4) and set(steps) == {1})
    places = [node.axis(axis, rank) for axis in axes]
    lengths = {len(starts), len(ends), len(steps), len(places)}
    if len(lengths) > 1 or 0 in steps or len(set(places)) < len(places):
        raise RefusedError(
            "takes operands of Slice of one length, each axis once, and no step of 0"
        )
    result, firsts, strides = list(dims), [0] * rank, [1] * rank
    in_bounds = True
    for start, end, step, axis in zip(starts, ends, steps, places, strict=True):
        first, count = layers.decoded_slice(
            algebra, dims[axis], start, end, step, plain=plain, clamps=clamps
        )
        if isinstance(count, int) and count < 0:
            raise RefusedError(f"computes a size of {count} on axis {axis}")
        result[axis] = count
        if isinstance(first, int) and isinstance(step, int) and isinstance(count, int):
            firsts[axis], strides[axis] = first, step
        else:
            in_bounds = False
    values, sizes = node.values(0), folding.small(result)
    if values is not None and sizes is not None and in_bounds:
        picks = (
            [first + stride * place for place in range(count)]
            for first, stride, count in zip(firsts, strides, sizes, strict=True)
        )
        node.results[0] = values[np.ix_(*picks)] if rank else values
    return tuple(result)


def split(node: Node) -> list[Dims]:
    """Equal parts but for the last one, or the sizes that are given."""
    dims, axis, count = _splitting(node)
    algebra = node.algebra
    if node.opset >= 18 and node.attribute_int("num_outputs", count) != count:
        raise RefusedError("needs as many outputs of Split as num_outputs says")
    sizes = _given_sizes(node, count)
    if sizes is None:
        part = algebra.floor_div(algebra.add(dims[axis], count - 1), count)
        last = algebra.sub(dims[axis], algebra.mul(part, count - 1))
        if isinstance(last, int) and last < 0:
            raise RefusedError(f"cannot split a dim of {dims[axis]} in {count}")
        sizes = (*(part,) * (count - 1), last)
    return _parts(node, dims, axis, sizes)


def split_86(node: Node) -> list[Dims]:
    """Equal parts, or the sizes that are given."""
    dims, axis, count = _splitting(node)
    sizes = _given_sizes(node, count)
    if sizes is None:
        sizes = (node.algebra.floor_div(dims[axis], count),) * count
    return _parts(node, dims, axis, sizes)


def split_80(node: Node) -> list[Dims]:
    """The sizes must be constant."""
    if node.opset >= 13 and node.has(1) and not node.is_weights(1):
        raise RefusedError("takes the sizes of Split only as a constant")
    return split_86(node)


def _splitting(node: Node) -> tuple[Dims, int, int]:
    dims = node.dims(0)
    return dims, node.axis(node.attribute_int("axis", 0), len(dims)), len(node.onnx.outputs)


def _given_sizes(node: Node, count: int) -> Sequence[Dim] | None:
    if node.opset >= 13:
        sizes: Sequence[Dim] | None = node.vector(1) if node.has(1) else None
    else:
        sizes = node.attribute_ints("split")
    if sizes is not None and len(sizes) != count:
        raise RefusedError(f"needs {count} sizes for this Split, not {len(sizes)}")
    return sizes


def _parts(node: Node, dims: Dims, axis: int, sizes: Sequence[Dim]) -> list[Dims]:
    values = node.values(0)
    first = 0
    for index, part in enumerate(sizes):
        if isinstance(part, int) and part < 0:
            raise RefusedError(f"splits off no part of {part}")
        if values is None or not isinstance(part, int):
            continue
        picked = range(first, min(first + part, values.shape[axis]))
        node.results[index] = np.take(values, picked, axis=axis)
        first += part
    return [(*dims[:axis], part, *dims[axis + 1 :]) for part in sizes]


def pad(node: Node) -> Dims:
    """A slice that may reach beyond the data, along axes that may be given."""
    dims = node.dims(0)
    rank = len(dims)
    axes = tuple(range(rank))
    if node.has(3):
        numbers = node.ints(3)
        if numbers is None:
            raise RefusedError("takes the axes of Pad only as a constant")
        axes = tuple(node.axis(axis, rank) for axis in numbers)
    return _pad(node, axes, ("constant", "reflect", "edge", "wrap"))


def pad_86(node: Node) -> Dims:
    """As :func:`pad`, without axes."""
    if node.has(3):
        raise RefusedError("does not read the axes of Pad, which are an input since opset 18")
    return _pad(node, tuple(range(len(node.dims(0)))), ("constant", "reflect", "edge"))


def pad_80(node: Node) -> Dims:
    """Zeros on at most two axes, by constant pads."""
    if node.has(3):
        raise RefusedError("does not read the axes of Pad, which are an input since opset 18")
    if node.opset >= 11 and not node.is_weights(1):
        raise RefusedError("takes the pads of Pad only as a constant")
    rank = len(node.dims(0))
    pads = _pads(node)
    padded = {axis % rank for axis, size in enumerate(pads) if size != 0} if rank else set()
    if node.attribute_text("mode", "constant") != "constant" or len(padded) > 2:
        node.refuse("pads at most two axes, and only with a constant, so it stops here")
    return _pad(node, tuple(range(rank)), ("constant", "reflect", "edge", "wrap"))


def _pads(node: Node) -> Sequence[Dim]:
    if node.opset < 11:
        return node.attribute_ints("pads") or node.attribute_ints("paddings") or ()
    return node.vector(1)


def _pad(node: Node, axes: Sequence[int], modes: Sequence[str]) -> Dims:
    algebra, dims, pads = node.algebra, node.dims(0), _pads(node)
    mode = node.attribute_text("mode", "constant")
    if mode not in modes:
        node.refuse(f"has no mode {mode} of Pad, so it stops here")
    if not pads and node.opset < 11:
        return dims
    if len(pads) != 2 * len(axes):
        raise RefusedError(f"needs {2 * len(axes)} pads for this Pad, not {len(pads)}")
    constant = node.opset < 11 or node.is_weights(1)
    if constant and any(isinstance(each, int) and each < 0 for each in pads):
        node.refuse("pads by no negative number, so it stops here")
    result = list(dims)
    for place, axis in enumerate(axes):
        both = algebra.add(pads[place], pads[len(axes) + place])
        result[axis] = algebra.add(dims[axis], both)
    values, sizes = node.values(0), folding.small(result)
    if values is not None and values.ndim == 1 and sizes is not None and mode == "constant":
        before, after = pads
        if isinstance(before, int) and isinstance(after, int) and min(before, after) >= 0:
            filler: list[Value] = [0]
            elements = [*filler * before, *values, *filler * after]
            node.results[0] = as_values(elements, sizes)
    return tuple(result)
