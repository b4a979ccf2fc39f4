"""Moves of the elements of shape tensors: one function an operator, which computes none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.symbolic_values import Element

Array = np.ndarray[Any, Any]
"""An object array of elements."""

Found = Array | Sequence[Array] | None
Compute = Callable[[ir.Node, Sequence[Array | None]], Found]


def vector(elements: Sequence[Element]) -> Array:
    """A tensor of rank 1."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def scalar(element: Element) -> Array:
    """A tensor of rank 0."""
    array = np.empty((), dtype=object)
    array[()] = element
    return array


def _reshaped(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    shape = node.outputs[0].shape
    return inputs[0].reshape(tuple(shape)) if inputs[0] is not None and shape is not None else None


def _transpose(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    return inputs[0].transpose(node.attributes.get_ints("perm")) if inputs[0] is not None else None


def _concat(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    arrays = [array for array in inputs if array is not None]
    if len(arrays) < len(inputs):
        return None
    return np.concatenate(arrays, axis=node.attributes.get_int("axis", 1))


def _slice(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data = inputs[0]
    if data is None:
        return None
    operands: list[list[Any] | None]
    if len(node.inputs) > 1:
        operands = [None if array is None else list(array.flat) for array in inputs[1:]]
    else:
        attributes = (node.attributes.get_ints(name) for name in ("starts", "ends", "axes"))
        operands = [None if attribute is None else list(attribute) for attribute in attributes]
    starts, ends, axes, steps = (operands + [None] * 4)[:4]
    if starts is None or ends is None:
        return None
    taken: list[slice] = [slice(None)] * data.ndim
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[index] if steps else 1
        axis = axes[index] if axes else index
        if not all(isinstance(bound, int) for bound in (start, end, step, axis)):
            return None
        size = data.shape[axis]
        # Below -size the end lies before the first element, which numpy spells None.
        stop = None if step < 0 and end < -size else end
        taken[axis] = slice(start, stop, step)
    return data[tuple(taken)]


def _split(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    axis = node.attributes.get_int("axis", 0)
    data, offset, parts = inputs[0], 0, []
    for output in node.outputs:
        size = output.shape[axis] if output.shape is not None else None
        if data is None or not isinstance(size, int):
            return None
        parts.append(np.take(data, range(offset, offset + size), axis))
        offset += size
    return parts


def _gather(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data, indices = inputs[:2]
    if data is None or indices is None or any(not isinstance(i, int) for i in indices.flat):
        return None
    axis = node.attributes.get_int("axis", 0)
    taken = np.take(data, indices.astype(np.int64).reshape(-1), axis)
    return taken.reshape(data.shape[:axis] + indices.shape + data.shape[axis:][1:])


def _gather_elements(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data, indices = inputs[:2]
    if data is None or indices is None:
        return None
    axis = node.attributes.get_int("axis", 0)
    return np.take_along_axis(data, indices.astype(np.int64), axis)


def _scatter(put: Callable[[ir.Node, Array, Array, Array], None]) -> Compute:
    """Replaces elements in a copy of the data; what combines them with the old ones is left out."""

    def compute(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
        data, indices, updates = inputs[:3]
        if data is None or indices is None or updates is None:
            return None
        if node.attributes.get_string("reduction", "none") != "none":
            return None
        result = data.copy()
        put(node, result, indices.astype(np.int64), updates)
        return result

    return compute


def _put_elements(node: ir.Node, target: Array, indices: Array, updates: Array) -> None:
    np.put_along_axis(target, indices, updates, node.attributes.get_int("axis", 0))


def _put_parts(_: ir.Node, target: Array, indices: Array, updates: Array) -> None:
    for index in np.ndindex(*indices.shape[:-1]):
        target[tuple(indices[index])] = updates[index]


def _expand(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    shape = node.outputs[0].shape
    if inputs[0] is None or shape is None:
        return None
    return np.broadcast_to(inputs[0], [dim for dim in shape if isinstance(dim, int)])


def _tile(_: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data, repeats = inputs[:2]
    if data is None or repeats is None:
        return None
    return np.tile(data, [int(count) for count in repeats.flat])


def _pad(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    """Pad: negative pads cut off, the others repeat what is left or add a number."""
    data, counts = inputs[0], inputs[1] if len(inputs) > 1 else None
    pads = list(counts.flat) if counts is not None else list(node.attributes.get_ints("pads") or ())
    if data is None or not pads or not all(isinstance(pad, int) for pad in pads):
        return None
    axes = list(range(data.ndim))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        if inputs[3] is None:
            return None
        axes = [int(axis) % data.ndim for axis in inputs[3].flat]
    around = [(0, 0)] * data.ndim
    for place, axis in enumerate(axes):
        around[axis] = (pads[place], pads[place + len(axes)])
    cut = tuple(
        slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(around, data.shape, strict=True)
    )
    left, more = data[cut], [(max(0, a), max(0, b)) for a, b in around]
    mode = node.attributes.get_string("mode", "constant")
    if mode != "constant":
        # Of places, because numpy computes with what it pads.
        places = np.pad(np.arange(left.size).reshape(left.shape), more, mode=_PADDINGS[mode])
        return left.reshape(-1)[places]
    fill: Element = 0
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        if inputs[2] is None:
            return None
        fill = inputs[2].flat[0]
    whole = np.empty([a + n + b for (a, b), n in zip(more, left.shape, strict=True)], dtype=object)
    whole.fill(fill)
    whole[tuple(slice(a, a + n) for (a, _), n in zip(more, left.shape, strict=True))] = left
    return whole


_PADDINGS: dict[str, Any] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _compress(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data, condition = inputs[:2]
    if data is None or condition is None or not _are_integers(condition):
        return None
    taken = [index for index, element in enumerate(condition.flat) if element]
    return np.take(data, taken, node.attributes.get_int("axis", None))


def _nonzero(_: ir.Node, inputs: Sequence[Array | None]) -> Found:
    if inputs[0] is None:
        return None
    zero = [e.is_zero(element) for element in inputs[0].flat]
    if not _are_integers(np.array(zero, dtype=object)):
        return None
    whole = np.array(zero, dtype=np.int64).reshape(inputs[0].shape or (1,))
    return _integers(np.array(np.nonzero(whole == 0)))


def _gather_parts(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data, indices = inputs[:2]
    if data is None or indices is None or node.attributes.get_int("batch_dims", 0) != 0:
        return None
    places = indices.astype(np.int64)
    result = np.empty(places.shape[:-1] + data.shape[places.shape[-1] :], dtype=object)
    for index in np.ndindex(*places.shape[:-1]):
        result[index] = data[tuple(places[index])]
    return result


def _eye_like(node: ir.Node, _: Sequence[Array | None]) -> Found:
    shape = node.outputs[0].shape
    if shape is None:
        return None
    rows, columns = (int(dim) for dim in shape if isinstance(dim, int))
    return _integers(np.eye(rows, columns, node.attributes.get_int("k", 0), dtype=np.int64))


def _triangle(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data = inputs[0]
    k = 0 if len(inputs) < 2 or inputs[1] is None else int(inputs[1].flat[0])
    if data is None:
        return None
    upper = node.attributes.get_int("upper", 1) != 0
    ones = np.ones(data.shape, dtype=bool)
    return np.where(np.triu(ones, k) if upper else np.tril(ones, k), data, 0)


def _integers(numbers: Any) -> Array:
    return np.array(numbers.tolist(), dtype=object).reshape(numbers.shape)


def _are_integers(array: Array) -> bool:
    return all(isinstance(element, int) for element in array.flat)


COMPUTE: dict[str, Compute] = {
    **dict.fromkeys(RESHAPING | {"Identity", "Dropout"}, _reshaped),
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "ScatterElements": _scatter(_put_elements),
    "ScatterND": _scatter(_put_parts),
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "Compress": _compress,
    "NonZero": _nonzero,
    "GatherND": _gather_parts,
    "EyeLike": _eye_like,
    "Trilu": _triangle,
}
"""Functions that work out where elements go, by operator."""
