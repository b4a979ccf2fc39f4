"""Meanings of the inputs of a graph, with numbers drawn for each.

From what :mod:`tripoint.numeric.evidence` finds, each input gets a range, numbers that it has to
hold (both ends, both sides of a clamp or a comparison) and words for the report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.model import Model
from tripoint.numeric.dtypes import held
from tripoint.numeric.evidence import Hint, Reader
from tripoint.numeric.lookup import Sizes
from tripoint.shape_inference import truth
from tripoint.symbols import Shape

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...], int], Array]
"""Makes an array of some sizes at a seed; the caller converts it to the dtype of the input."""

WIDE = 1000
"""Size of integers of which nothing is known, in steps of a time or a relative position."""
_COUNTS = 16
"""Largest of the integers that are only known to be positive."""
_MASKED = -1e4
_FAR = 0.25
"""Share of the integers that are far from what they are compared with."""
_MOST_PLACED = 4096
_MOST_EDGES = 16
_MOST_SAID = 4


@dataclass(frozen=True)
class Meaning:
    """Rule to draw an input, with its description.

    Args:
        noun: ``"integers"``, ``"floats"`` or what stands in place of a range.
        low: Smallest number, with ``high`` the range that is told; None if none is.
        high: Largest number.
        why: Where that is from, in words that follow the range; may be empty.
        draw: Makes the numbers.
        corners: Numbers that have to be among them.
        index: Whether it numbers the elements of an axis.
        limits: Where operators need floats to lie where they do, a range that goes beyond.
    """

    noun: str
    low: float | None
    high: float | None
    why: str
    draw: Draw
    corners: tuple[float, ...] = ()
    index: bool = False
    limits: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """In words: ``"integers 0..999 of the table that it indexes"``."""
        return said([self])


def said(alike: Sequence[Meaning]) -> str:
    """Describe an input in words; its range may depend on sizes.

    Args:
        alike: Those at all points, at least one.
    """
    first = alike[0]
    lows = [each.low for each in alike if each.low is not None]
    highs = [each.high for each in alike if each.high is not None]
    span = f" {min(lows):.6g}..{max(highs):.6g}" if lows and highs else ""
    return f"{first.noun}{span}{first.why}"


def of(
    model: Model, inputs: Mapping[str, tuple[str, Shape]], bindings: Mapping[str, int]
) -> dict[str, Meaning]:
    """Return the meanings that the graph gives its inputs, for those of which it says something.

    Args:
        model: The graph.
        inputs: ONNX element type and true shape by input name.
        bindings: Size by symbol; what depends on others is left out.
    """
    graph = truth.inlined(model.ir).graph
    reader = Reader(Sizes({name: shape for name, (_, shape) in inputs.items()}, bindings))
    meant: dict[str, Meaning] = {}
    for value in graph.inputs:
        name = value.name or ""
        if name not in inputs or value.dtype is None:
            continue
        meaning = _meaning(name, value.dtype, reader.hints(value))
        if meaning is not None:
            meant[name] = meaning
    return meant


def is_mask(name: str, dtype: ir.DataType) -> bool:
    """Return whether an input says which elements count: a bool, or an integer named ``*mask*``."""
    return dtype == ir.DataType.BOOL or (dtype.is_integer() and "mask" in name.lower())


def _meaning(name: str, dtype: ir.DataType, hints: Sequence[Hint]) -> Meaning | None:
    masks = [hint for hint in hints if hint.kind == "mask"]
    if is_mask(name, dtype) or masks:
        return mask(dtype, int(masks[0].low) if masks else 1)
    if dtype.is_integer():
        return _integers(dtype, hints)
    return _floats(hints) if dtype.is_floating_point() else None


# what is drawn


def mask(dtype: ir.DataType, keep: int = 1) -> Meaning:
    """Return the meaning of a mask over elements, each row scattered, or padded at its end.

    Args:
        dtype: Element type.
        keep: What says that one does; there is one in every row along the last axis.
    """

    def draw(random: np.random.Generator, sizes: tuple[int, ...], seed: int) -> Array:
        if not sizes:
            return np.asarray((seed + keep) % 2)
        array = random.integers(0, 2, sizes)
        if not array.size:
            return array
        rows, length = array.reshape(-1, sizes[-1]), sizes[-1]
        place = np.arange(length)
        counts = random.integers(1, length + 1, (len(rows), 1))
        padded = random.integers(0, 2, (len(rows), 1))
        scattered = np.where(place == 0, keep, rows)
        right = np.where(place < counts, keep, 1 - keep)
        # A row of which the first is masked out may have nothing before that it attends to, and
        # what a right model makes of that differs from one framework to the next.
        return np.where(padded == 1, right, scattered).reshape(sizes)

    if dtype == ir.DataType.BOOL:
        return Meaning("True or False", None, None, "", draw)
    noun = "floats" if dtype.is_floating_point() else "integers"
    why = "" if dtype.is_integer() else ", as a mask"
    return Meaning(f"{noun} 0 or 1{why}", None, None, "", draw)


def _integers(dtype: ir.DataType, hints: Sequence[Hint]) -> Meaning | None:
    least, most = held(dtype)
    inside, reasons = _inside(hints)
    low, high = math.ceil(max(inside[0], least)), inside[1]
    bounded = [hint for hint in hints if hint.kind == "bounded"]
    edges = sorted({math.floor(hint.low) for hint in hints if hint.kind == "edge"})
    edges = [edge for edge in edges if low <= edge <= min(high, most)]
    scales = [hint for hint in hints if hint.kind == "scale" and hint.deviation is None]
    index = any(hint.kind == "index" for hint in hints)
    if not reasons and not edges and not scales:
        return _free(dtype, hints, bounded)
    if math.isfinite(inside[0]) and math.isfinite(high):
        first, last = low, math.floor(high)
    elif scales and not reasons:
        first, last, reasons = low if low > least else 0, round(scales[0].high), [scales[0].why]
    elif edges:
        width = max(2, abs(edges[0]), abs(edges[-1]))
        first, last = max(low, edges[0] - width), edges[-1] + width
    elif math.isfinite(high):
        first, last = max(low, math.floor(high) - _COUNTS), math.floor(high)
    else:
        first, last = low, low + _COUNTS - 1
    for hint in bounded:
        first, last = max(first, math.ceil(hint.low)), min(last, math.floor(hint.high))
    first, last = max(first, least), min(last, most)
    if first > last:
        return None
    around = [edge + step for edge in edges for step in (0, 1, -1)]
    corners = tuple(dict.fromkeys(each for each in (*around, first, last) if first <= each <= last))
    distinct = any(hint.distinct for hint in hints)
    near = first, last
    sized = any(hint.kind == "used as a size" for hint in hints)
    if edges and not reasons and not scales and not bounded and not sized:
        first, last = min(first, max(least, -WIDE)), max(last, min(most, WIDE))

    def draw(random: np.random.Generator, sizes: tuple[int, ...], seed: int) -> Array:
        if distinct and sizes and sizes[-1] <= last - first + 1 <= 1 << 16:
            order = random.random((*sizes[:-1], last - first + 1)).argsort(-1)
            return first + order[..., : sizes[-1]]
        array = random.integers(*near, sizes, endpoint=True)
        if near != (first, last):
            far = random.integers(first, last, sizes, endpoint=True)
            array = np.where(random.random(sizes) < _FAR, far, array)
        return placed(random, array, corners, seed)

    return Meaning("integers", first, last, _why(reasons, edges), draw, corners, index)


def _free(dtype: ir.DataType, hints: Sequence[Hint], bounded: Sequence[Hint]) -> Meaning | None:
    """Integers that index nothing: half of them 0 or 1, the others far from it."""
    if any(hint.kind == "used as a size" for hint in hints):
        return None
    least, most = held(dtype)
    first, last = max(least, -WIDE), min(most, WIDE)
    for hint in bounded:
        first, last = max(first, math.ceil(hint.low)), min(last, math.floor(hint.high))
    if first > last:
        return None

    def draw(random: np.random.Generator, sizes: tuple[int, ...], seed: int) -> Array:
        array = random.integers(first, last, sizes, endpoint=True)
        if math.prod(sizes) < _FEW:
            return placed(random, array, (last, 0, first, 1) if first < 0 else (last, 1), seed)
        return np.where(random.random(sizes) < 0.5, np.clip(array & 1, first, last), array)

    return Meaning("integers", first, last, ", half of them 0 or 1", draw)


_FEW = 8
_ALONE = 4
"""Elements of which less are placed one by one."""


def _floats(hints: Sequence[Hint]) -> Meaning | None:
    real = _real(hints)
    (low, high), reasons = _inside(hints)
    if real is None or not reasons:
        return real
    ends = [end for end in (low, high) if math.isfinite(end)]
    width = max(3.0, ends[-1] - ends[0])
    return replace(real, limits=(ends[0] - width, ends[-1] + width))


def _real(hints: Sequence[Hint]) -> Meaning | None:
    (low, high), reasons = _inside(hints)
    edges = sorted({hint.low for hint in hints if hint.kind == "edge" and low < hint.low < high})
    scales = [hint for hint in hints if hint.kind == "scale"]
    corners = tuple(each for each in _sides(edges) if low < each < high)
    if not reasons and not scales:
        if any(hint.kind == "penalty" for hint in hints):
            return _penalty()
        if not edges:
            return None
        far = max(abs(edges[0]), abs(edges[-1]))
        if far <= 1.0:
            return _normal(corners)
        width = max(0.5 * (edges[-1] - edges[0]), 0.5 * far, 1.0)
        return _even(min(edges[0] - width, -1.0), max(edges[-1] + width, 1.0), "", edges, corners)
    if scales:
        scale = scales[0]
        reasons = [scale.why, *reasons]
        if scale.deviation is not None:
            return _about(scale.low, scale.deviation, (low, high), _why(reasons, []))
        low, high = max(low, scale.low), min(high, scale.high)
        if low >= high:
            return None
    if math.isfinite(low) and math.isfinite(high):
        return _even(low, high, _why(reasons, []), edges, corners)
    start, sign = (low, 1.0) if math.isfinite(low) else (high, -1.0)

    def draw(random: np.random.Generator, sizes: tuple[int, ...], seed: int) -> Array:
        array = start + sign * np.exp(random.standard_normal(sizes))
        return placed(random, np.asarray(array), corners, seed)

    noun = "positive floats" if start == 0 and sign > 0 else f"floats {_beyond(start, sign)}"
    return Meaning(noun, None, None, _why(reasons, edges), draw, corners)


def _beyond(start: float, sign: float) -> str:
    return f"{'above' if sign > 0 else 'below'} {start:.6g}"


def _even(
    low: float, high: float, why: str, edges: Sequence[float], corners: tuple[float, ...]
) -> Meaning:
    def draw(random: np.random.Generator, sizes: tuple[int, ...], seed: int) -> Array:
        return placed(random, np.asarray(random.uniform(low, high, sizes)), corners, seed)

    return Meaning("floats", low, high, why + _why([], edges), draw, corners)


def _normal(corners: tuple[float, ...]) -> Meaning:
    """Normal numbers, which reach both sides by themselves where they are many."""

    def draw(random: np.random.Generator, sizes: tuple[int, ...], seed: int) -> Array:
        array = np.asarray(random.standard_normal(sizes))
        return placed(random, array, corners if array.size < _FEW else (), seed)

    return Meaning("normal floats", None, None, "", draw, corners)


def _about(middle: float, deviation: float, limits: tuple[float, float], why: str) -> Meaning:
    def draw(random: np.random.Generator, sizes: tuple[int, ...], _: int) -> Array:
        return np.clip(middle + deviation * random.standard_normal(sizes), *limits)

    return Meaning(f"normal floats about {middle:.4g} by {deviation:.4g}", None, None, why, draw)


def _penalty() -> Meaning:
    """Return the meaning of an addend of logits: a bias, or a mask."""

    def draw(random: np.random.Generator, sizes: tuple[int, ...], _: int) -> Array:
        array = np.asarray(random.standard_normal(sizes))
        if not sizes or not array.size:
            return array
        masked = random.random(sizes) < 0.25
        masked[..., 0] = False
        return np.where(masked, _MASKED, array)

    why = f", a quarter of them {_MASKED:g}, as they are added before a Softmax"
    return Meaning("normal floats", None, None, why, draw)


# helpers


def placed(random: np.random.Generator, array: Array, corners: Sequence[float], seed: int) -> Array:
    """Numbers among which are those that have to be.

    Of few elements every second one is a corner, and which, the seed decides; of many, some.

    Args:
        random: Where elements are drawn.
        array: Numbers; they are changed.
        corners: What has to be among them.
        seed: Seed of the point.
    """
    if not corners or not array.size:
        return array
    array = np.array(array)
    flat = array.reshape(-1)
    if flat.size < _ALONE:
        for at in range(flat.size):
            turn = seed + at
            if turn % 2 == 0:
                flat[at] = corners[turn // 2 % len(corners)]
        return array
    # Not in every row, where one may decide alone, as the largest does.
    count = min(max(flat.size // 8, 1), _MOST_PLACED)
    places = (
        random.choice(flat.size, count, replace=False)
        if flat.size < 1 << 20
        else (np.unique(random.integers(0, flat.size, count)))
    )
    flat[places] = np.resize(np.roll(np.asarray(corners), -seed), len(places))
    return array


def _inside(hints: Sequence[Hint]) -> tuple[tuple[float, float], list[str]]:
    """The range that all that limits an input leaves, and the reasons for it.

    What limits it behind several branches of a Where holds in one of them.
    """
    groups: dict[Any, list[Hint]] = {}
    for hint in hints:
        if hint.kind in ("index", "inside"):
            groups.setdefault(hint.at, []).append(hint)
    low, high = -math.inf, math.inf
    reasons: dict[str, None] = {}
    for index_first in ("index", "inside"):
        for group in groups.values():
            if group[0].kind != index_first:
                continue
            first, last = min(hint.low for hint in group), max(hint.high for hint in group)
            if max(low, first) > min(high, last) or (math.isinf(first) and math.isinf(last)):
                continue
            if first > low or last < high:
                reasons[group[0].why] = None
            low, high = max(low, first), min(high, last)
    return (low, high), list(reasons)


def _sides(edges: Sequence[float]) -> Iterable[float]:
    """Numbers on both sides of each edge, nearer to it than to any other."""
    kept = edges if len(edges) <= _MOST_EDGES else edges[:: len(edges) // _MOST_EDGES + 1]
    gaps = [second - first for first, second in itertools.pairwise(kept)]
    for at, edge in enumerate(kept):
        step = max(0.25 * abs(edge), 0.5)
        near = min([step, *(0.5 * gap for gap in gaps[max(at - 1, 0) : at + 1])])
        yield from (edge - near, edge + near)


def _why(reasons: Sequence[str], edges: Sequence[float]) -> str:
    words = ""
    for reason in reasons:
        if reason.startswith("of "):
            words += f" {reason}"
        else:
            words += f", {reason if reason.startswith('as ') else f'since {reason}'}"
    if edges:
        shown = [f"{edge:.4g}" for edge in edges[:_MOST_SAID]]
        more = ["others"] if len(edges) > _MOST_SAID else []
        names = [*shown, *more]
        listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        words += f", on both sides of {listed}"
    return words
