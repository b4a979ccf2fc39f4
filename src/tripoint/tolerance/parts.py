"""Parts of an output whose elements are of like size, so that none sets the scale of another.

Errors are judged relative to the size of a typical element. One output may hold several kinds of
numbers: boxes in pixels beside probabilities, or logits beside the -1e9 of a mask. They are told
apart in two ways:

* by the graph: the inputs of a Concat that only operators which work element by element or move
  axes separate from the output (:func:`seams`);
* by a gap: no element lies within a factor of 100 between two groups, and the smaller one holds at
  least four (:func:`split`). Of elements with a continuous density, k lie below such a gap with a
  probability of about 100⁻ᵏ, so that a gap by chance is rarer than one in ten million. It is none
  if the smaller numbers are of the size to which the larger ones are rounded, as the imaginary
  parts of the first bins of a transform are, or fewer than a quarter of them, as the tail of a GELU
  is, unless those are a few constants, which nothing rounds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.shape_inference import truth
from tripoint.symbols import evaluate
from tripoint.tolerance.measure import chunks

Array = np.ndarray[Any, Any]
Seams = Mapping[int, tuple[int, ...]]
"""By axis the indices at which another part begins."""
Starts = dict[int, set[int]]

_GAP = 100.0
_FEWEST = 4
_MANY = 8
_CONSTANTS = 4
_TAIL = 0.25
_MOST_LEVELS = 4
_MOST_PARTS = 64
_SAMPLE = 1 << 16
_ELEMENTWISE = frozenset(
    {
        *("Identity", "Cast", "Sigmoid", "Tanh", "Relu", "Exp", "Log", "Sqrt", "Neg", "Abs"),
        *("Clip", "Softplus", "HardSigmoid", "LeakyRelu", "Elu", "Mul", "Add", "Sub", "Div"),
        *("Where", "Max", "Min", "Pow", "Dropout"),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of one array.

    Args:
        labels: The number of the part of each element, in the shape of the array; None if there
            is one part.
        scales: Typical size of the finite elements of each part: their root mean square, more
            where they are few; 1 where they are all zero.
    """

    labels: Array | None
    scales: tuple[float, ...]

    def spread(self, numbers: Sequence[float]) -> Array | float:
        """A number for each part as one for each element."""
        if self.labels is None:
            return numbers[0]
        spread: Array = np.asarray(numbers, np.float64)[self.labels]
        return spread

    def chances(self, size: int) -> tuple[float, ...]:
        """By how much the largest of errors may be too small by chance; 1 where a part has many.

        Args:
            size: Number of elements of the array.
        """
        labels = np.zeros(size, np.uint8) if self.labels is None else self.labels.ravel()
        counts = np.bincount(labels, minlength=len(self.scales))
        return tuple(map(float, _chance(counts)))

    def arranged(self, how: Callable[[Array], Array]) -> Parts:
        """The parts of an array whose elements were rearranged in some way."""
        return self if self.labels is None else Parts(how(self.labels), self.scales)

    def moving(self, array: Array) -> tuple[int, ...]:
        """Count the nonzero elements of an array of the same shape, by part."""
        if self.labels is None:
            return (int(np.count_nonzero(array)),)
        counts = np.bincount(self.labels[array != 0].ravel(), minlength=len(self.scales))
        return tuple(map(int, counts))

    def largest(self, array: Array) -> tuple[float, ...]:
        """The largest element of each part of an array of the same shape without NaN."""
        if self.labels is None:
            return (float(array.max(initial=0.0)),)
        most = np.zeros(len(self.scales))
        np.maximum.at(most, self.labels.ravel(), array.ravel())
        return tuple(map(float, most))


def split(array: Array, seams: Seams | None = None, *, noise: float = 0.0) -> Parts:
    """The parts of an array of floating-point numbers.

    Args:
        array: Complex numbers count with their absolute value.
        seams: Where the graph says that other parts begin.
        noise: What numbers are off by, as a share of them.
    """
    if array.dtype.kind == "c":
        array = np.abs(array)
    along = _along(array.shape, seams or {})
    limits = _limits(array, along, noise)
    if along is None and not limits:
        return Parts(None, _typical(array, None, 1))
    labels = np.zeros(array.shape, np.uint8) if along is None else along
    numbered = _numbered(array, labels, limits)
    count = int(numbered.max(initial=0)) + 1
    return Parts(numbered, _typical(array, numbered, count))


def seams(graph: ir.Model, bindings: Mapping[str, int]) -> dict[str, dict[int, tuple[int, ...]]]:
    """Return the offsets of parts of graph outputs, by output name, for those with several.

    Args:
        graph: Its values carry their true shapes.
        bindings: Size of each input symbol.
    """
    starts_of: dict[ir.Value, Starts] = {}
    for node in graph.graph:
        starts: Starts = {}
        for each in _of_inputs(node, bindings, starts_of):
            for axis, at in each.items():
                starts.setdefault(axis, set()).update(at)
        if any(starts.values()):
            starts_of[node.outputs[0]] = starts
    outputs = {
        value.name or "": starts_of[value] for value in graph.graph.outputs if value in starts_of
    }
    return {
        name: {axis: tuple(sorted(at)) for axis, at in starts.items() if at}
        for name, starts in outputs.items()
    }


def _of_inputs(
    node: ir.Node, bindings: Mapping[str, int], starts_of: Mapping[ir.Value, Starts]
) -> Iterator[Starts]:
    """Starts of parts of what a node produces, by input that they come from."""
    if node.op_type == "Concat":
        yield from _of_concat(node, bindings, starts_of)
        return
    inputs = [value for value in node.inputs if value is not None and value in starts_of]
    if not inputs:
        return
    output = node.outputs[0]
    if node.op_type == "Transpose":
        rank = len(truth.shape_of(output) or ())
        order = list(node.attributes.get_ints("perm", list(range(rank))[::-1]))
        yield {order.index(axis): at for axis, at in starts_of[inputs[0]].items() if axis in order}
    elif node.op_type in RESHAPING:
        before, after = (_sizes(value, bindings) for value in (inputs[0], output))
        if before is not None and after is not None:
            same = _same_axes(before, after)
            yield {same[axis]: at for axis, at in starts_of[inputs[0]].items() if axis in same}
    elif node.op_type in _ELEMENTWISE:
        sizes = _sizes(output, bindings)
        for value in inputs:
            if sizes is not None and _sizes(value, bindings) == sizes:
                yield starts_of[value]


def _same_axes(before: Sequence[int], after: Sequence[int]) -> dict[int, int]:
    """The axes that a reshape keeps: of the same size, with as many elements in front."""
    place = {(size, math.prod(after[:axis])): axis for axis, size in enumerate(after) if size != 1}
    keys = ((size, math.prod(before[:axis])) for axis, size in enumerate(before))
    return {axis: place[key] for axis, key in enumerate(keys) if key in place}


def _of_concat(
    node: ir.Node, bindings: Mapping[str, int], starts_of: Mapping[ir.Value, Starts]
) -> Iterator[Starts]:
    start = 0
    for value in node.inputs:
        sizes = _sizes(value, bindings) if value is not None else None
        if sizes is None or value is None:
            return
        along = node.attributes.get_int("axis", 0)
        along += len(sizes) if along < 0 else 0
        if along >= len(sizes):
            return
        inner = starts_of.get(value, {})
        moved = {axis: at for axis, at in inner.items() if axis != along}
        moved[along] = {start + at for at in inner.get(along, ())} | ({start} if start else set())
        yield moved
        start += sizes[along]


def _along(shape: tuple[int, ...], seams: Seams) -> Array | None:
    """The part of each element as the graph tells it; None if it tells of one."""
    labels: Array | None = None
    count = 1
    for axis, starts in seams.items():
        inside = [start for start in starts if axis < len(shape) and 0 < start < shape[axis]]
        if not inside or count * (len(inside) + 1) > _MOST_PARTS:
            continue
        index = np.searchsorted(inside, np.arange(shape[axis]), side="right").astype(np.uint8)
        index = index.reshape([-1 if each == axis else 1 for each in range(len(shape))])
        before = np.zeros(shape, np.uint8) if labels is None else labels
        labels = before * np.uint8(len(inside) + 1) + index
        count *= len(inside) + 1
    return labels


def _limits(array: Array, along: Array | None, noise: float) -> dict[int, list[float]]:
    """By part that the graph tells of, the sizes that lie in a gap, for those that have one."""
    stride = max(1, array.size // _SAMPLE)
    sizes = _sizes_of(array.reshape(-1)[::stride])
    if along is None:
        # A single element that is far larger need not be in the sample.
        largest = [chunk[np.isfinite(chunk)].max(initial=0.0) for chunk in _chunks(array)]
        groups = {0: np.append(sizes, np.asarray(largest))}
    else:
        numbers = along.reshape(-1)[::stride]
        groups = {int(number): sizes[numbers == number] for number in np.unique(numbers)}
    limits_of = {number: _gaps(group, noise) for number, group in groups.items()}
    return {number: limits for number, limits in limits_of.items() if limits}


def _gaps(sizes: Array, noise: float) -> list[float]:
    """Sizes that lie in a gap, the widest ones, in order."""
    ordered = np.sort(sizes[np.isfinite(sizes) & (sizes > 0)])
    wide = np.flatnonzero(ordered[1:] / ordered[:-1] >= _GAP) + 1
    gaps: list[tuple[float, float]] = []
    below = 0
    for at in wide:
        if at - below >= _FEWEST and not _is_noise(ordered[below:at], ordered[at:], noise):
            low, high = float(ordered[at - 1]), float(ordered[at])
            gaps.append((high / low, math.sqrt(low) * math.sqrt(high)))
            below = int(at)
    widest = sorted(gaps, reverse=True)[: _MOST_LEVELS - 1]
    return sorted(limit for _, limit in widest)


def _is_noise(smaller: Array, larger: Array, noise: float) -> bool:
    """Return whether numbers are as small as the error of the larger ones, or the tail of these."""
    if np.unique(larger).size <= max(_CONSTANTS, larger.size // 8):
        return False
    if smaller.size < _TAIL * larger.size:
        return True
    return float(smaller[-1]) <= noise * float(larger[-1])


def _numbered(array: Array, labels: Array, limits: Mapping[int, Sequence[float]]) -> Array:
    """Labels that tell elements of other sizes apart as well, without numbers left out."""
    labelled = np.empty(array.size, np.uint8)
    start = 0
    for sizes, before in zip(_chunks(array), _chunks(labels, np.uint8), strict=True):
        level = np.zeros(sizes.size, np.intp)
        for number, at in limits.items():
            here = before == number
            level[here] = np.searchsorted(at, sizes[here])
        labelled[start : start + sizes.size] = before * _MOST_LEVELS + level
        start += sizes.size
    used = np.flatnonzero(np.bincount(labelled, minlength=1))
    dense = np.zeros(256, np.uint8)
    dense[used] = np.arange(used.size)
    numbered: Array = dense[labelled].reshape(array.shape)
    return numbered


def _typical(array: Array, labels: Array | None, count: int) -> tuple[float, ...]:
    """Typical size of each part; that of few elements may be small by chance, as terms cancel."""
    most = max(
        (float(chunk[np.isfinite(chunk)].max(initial=0.0)) for chunk in _chunks(array)),
        default=0.0,
    )
    squares, elements = np.zeros(count), np.zeros(count)
    numbers = _chunks(labels, np.uint8) if labels is not None else itertools.repeat(None)
    for sizes, number in zip(_chunks(array), numbers, strict=False):
        finite = np.isfinite(sizes)
        # Scaled, since squares of large numbers overflow.
        shares = np.square(np.where(finite, sizes / (most or 1.0), 0.0))
        if number is None:
            squares[0] += shares.sum()
            elements[0] += np.count_nonzero(finite)
        else:
            squares += np.bincount(number, shares, minlength=count)
            elements += np.bincount(number, finite, minlength=count)
    rms = most * np.sqrt(squares / np.maximum(elements, 1))
    whole = most * math.sqrt(squares.sum() / max(elements.sum(), 1))
    sizes = np.maximum(rms, np.minimum(rms * _chance(elements), whole))
    return tuple(float(size) or 1.0 for size in sizes)


def _chance(elements: Array) -> Array:
    """By how much so few numbers may be smaller by chance than numbers of their kind are."""
    few = (elements > 0) & (elements < _MANY)
    return np.where(few, (_MANY / np.maximum(elements, 1)) ** 1.5, 1.0)


def _sizes_of(array: Array) -> Array:
    sizes: Array = np.abs(array.astype(np.float64))
    return sizes


def _chunks(array: Array, dtype: type[Any] = np.float64) -> Iterator[Array]:
    for (chunk,) in chunks(array, dtype=dtype):
        yield np.abs(chunk)


def _sizes(value: ir.Value, bindings: Mapping[str, int]) -> list[int] | None:
    shape = truth.shape_of(value)
    sizes = [evaluate(dim, bindings) for dim in shape] if shape is not None else [None]
    return None if None in sizes else [size for size in sizes if size is not None]
