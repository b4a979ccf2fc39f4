"""Outputs that say nothing, since other inputs would have given what passes for the same.

Where an output is all zero, saturated, or the same for every input, a leg that ignores its inputs
agrees as well. So the elements of ONNX Runtime's outputs are watched: which of them other inputs of
the same sizes move by more than what is allowed. Where none is moved although the output depends on
values of an input, other inputs are looked for, and only where nothing moves it, it is `vacuous`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric import ort, trials
from tripoint.numeric.inputs import Arrays, InputSpecs
from tripoint.numeric.trials import Values
from tripoint.parity.dependence import Depends
from tripoint.parity.points import Point
from tripoint.parity.results import Variation, Verification
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Budget, Tolerance
from tripoint.tolerance.measure import is_exact
from tripoint.words import number_of

Array = np.ndarray[Any, Any]
Sizes = Mapping[str, int]

_ENOUGH = 3
"""Inputs of the same sizes that tell what moves."""
_FEWEST = 16
"""Elements below which integers, or one input, may be the same by chance."""
_MOST = 1 << 20
"""Elements of an output that are watched; of a larger one, as many that lie evenly."""
_CHUNK = 1 << 16
_MOST_KINDS = 3
"""Kinds of other inputs that are added."""
_MANY = 0.25
"""Share of the elements that other inputs move, from which no better ones are looked for."""


def repeated(points: Sequence[Point]) -> Point | None:
    """The point at whose sizes further inputs are to be drawn; None if enough share theirs."""
    groups: dict[frozenset[tuple[str, int]], int] = {}
    for point in points:
        groups[_key(point.sizes)] = groups.get(_key(point.sizes), 0) + 1
    if max(groups.values(), default=_ENOUGH) >= _ENOUGH:
        return None
    made_up = [point for point in points if point.made_up] or points
    # At the smallest sizes an axis of one element may leave nothing to vary.
    ordered = sorted(made_up, key=lambda point: sum(each.size for each in point.inputs.values()))
    return ordered[len(ordered) // 2]


@dataclass
class _Seen:
    number: float | None = None
    elements: int = 0
    points: int = 0
    first: dict[frozenset[tuple[str, int]], Array] = field(default_factory=dict)
    moved: dict[frozenset[tuple[str, int]], Array] = field(default_factory=dict)
    inputs: dict[frozenset[tuple[str, int]], int] = field(default_factory=dict)
    exact: bool = False


class Watch:
    """Record of the elements of the outputs that vary.

    Args:
        depends: What each output depends on.
        sizes: Those of all inputs to come; outputs of sizes that come once only are not held.
    """

    def __init__(self, depends: Mapping[str, Depends], sizes: Iterable[Sizes]) -> None:
        self._depends = depends
        self._seen: dict[str, _Seen] = {}
        keys = [_key(each) for each in sizes]
        self._several = {key for key in keys if keys.count(key) > 1}
        self._allowed: dict[frozenset[tuple[str, int]], Mapping[str, Tolerance]] = {}

    def add(
        self,
        sizes: Sizes,
        outputs: Arrays,
        allowed: Callable[[], Mapping[str, Tolerance]],
        *,
        compared: bool = True,
    ) -> None:
        """Take in what ONNX Runtime computes at a point.

        Args:
            sizes: Size by symbol.
            outputs: Array by output name.
            allowed: What is allowed of them.
            compared: Whether the other legs are compared with it there.
        """
        key = _key(sizes)
        if key in self._several and key not in self._allowed:
            self._allowed[key] = allowed()
        for name, array in outputs.items():
            seen = self._seen.setdefault(name, _Seen(exact=is_exact(array.dtype)))
            if compared and array.size:
                number = _one_number(array)
                seen.number = number if not seen.points or seen.number == number else None
                seen.points += 1
                seen.elements += array.size
            if key not in self._several:
                continue
            seen.inputs[key] = seen.inputs.get(key, 0) + 1
            if key not in seen.first:
                seen.first[key] = _sample(array).copy()
                seen.moved[key] = np.zeros(seen.first[key].shape, np.bool_)
            else:
                moved = _moved(seen.first[key], array, self._allowed[key].get(name))
                seen.moved[key] = seen.moved[key] | moved

    def variation(self) -> dict[str, Variation]:
        """Return the variation of each output."""
        return {name: self._of(name, seen) for name, seen in self._seen.items()}

    def _of(self, name: str, seen: _Seen) -> Variation:
        counts = {key: n for key, n in seen.inputs.items() if n > 1 and seen.moved[key].size}
        watched = sum(seen.moved[key].size for key in counts)
        moved = sum(int(np.count_nonzero(seen.moved[key])) for key in counts)
        return Variation(
            depends=self._depends.get(name, "values"),
            unchanged=1.0 - moved / watched if watched else None,
            number=seen.number,
            inputs=max(counts.values(), default=1),
            elements=seen.elements,
            points=seen.points,
            by_chance=seen.exact and watched + seen.elements < _FEWEST,
        )


def varies_not(variation: Variation) -> bool:
    """Return whether nothing moves an output that depends on values, as far as was seen."""
    if variation.depends != "values" or not variation.elements:
        return False
    several = variation.points > 1 or variation.elements >= _FEWEST
    return variation.unchanged == 1.0 or (variation.number is not None and several)


def moving(
    model: Model,
    inputs: InputSpecs,
    point: Point,
    names: Iterable[str],
    *,
    ranges: Values | None = None,
    like: Arrays | None = None,
) -> tuple[list[Point], int]:
    """Inputs of the sizes of a point that move outputs, and how many were tried.

    Args:
        model: The graph.
        inputs: Element type and shape by input name.
        point: Where these outputs are as they always are.
        names: The outputs.
        ranges: Values that stay as they are.
        like: Examples that the usual inputs follow.

    Returns:
        Inputs of a few kinds that each move some outputs most, in the order in which they were
        tried; none if nothing moves any.
    """
    graph = model.ir.clone()
    truth.annotate(graph)
    best: dict[str, tuple[float, Point]] = {}
    tried = 0
    try:
        session = ort.Session(model)
        base = dict(zip(session.outputs, session.run(point.inputs), strict=True))
        allowed = Budget(graph).allowed(base, point.sizes)
        still = [name for name in names if name in base]
        for seed, values, arrays in trials.others(
            model, inputs, point.sizes, point.seed or 0, ranges=ranges, like=like
        ):
            try:
                outputs = dict(zip(session.outputs, session.run(arrays), strict=True))
            except TripointError:
                continue
            if not all(_finite(array) for array in outputs.values()):
                continue
            tried += 1
            for name in still:
                share = float(_moved(_sample(base[name]), outputs[name], allowed[name]).mean())
                if share > best.get(name, (0.0, point))[0]:
                    best[name] = share, Point(point.sizes, arrays, seed, values)
            still = [name for name in still if best.get(name, (0.0, point))[0] < _MANY]
            if not still:
                break
    except TripointError:
        return [], tried
    chosen = {id(each): each for _, each in best.values()}
    return list(chosen.values())[:_MOST_KINDS], tried


def judged(result: Verification, tried: int = 0) -> Verification:
    """A verification in which outputs that say nothing are called `vacuous`, not equal.

    Args:
        result: What legs computed.
        tried: Other inputs that were tried, and move nothing.
    """
    vacuous = {
        name: variation
        for name, variation in result.variation.items()
        if varies_not(variation) and not (variation.by_chance and tried + 1 < _FEWEST // 2)
    }
    if not vacuous:
        return result
    points = tuple(
        replace(
            point,
            outputs=tuple(
                replace(entry, status="vacuous", detail="other inputs give the same")
                if entry.equal and entry.name in vacuous
                else entry
                for entry in point.outputs
            ),
        )
        for point in result.points
    )
    reasons = [told(name, variation, tried) for name, variation in vacuous.items()]
    return replace(
        result,
        verdict="unproven" if result.verdict == "equal" else result.verdict,
        reasons=(*result.reasons, *reasons),
        points=points,
        vacuous=tuple(vacuous),
    )


def told(name: str, variation: Variation, tried: int) -> str:
    """The reason why nothing is proven of an output."""
    if variation.number is not None:
        where = "at all points" if variation.points > 1 else "at the only point"
        what = f"every element is {variation.number:g} {where}"
    else:
        count = number_of(variation.inputs, "input")
        what = f"100 % of its elements are the same for all {count} of the same sizes"
    others = f", {number_of(tried, 'other input')} tried move none" if tried else ""
    return (
        f"output {name} is vacuous: {what}{others}, so that the legs agree says nothing; "
        "give inputs that move it with --inputs or --values"
    )


def _key(sizes: Sizes) -> frozenset[tuple[str, int]]:
    return frozenset(sizes.items())


def _one_number(array: Array) -> float | None:
    if array.dtype.kind == "c":
        return None
    first = array.flat[0]
    return float(first) + 0.0 if bool((array == first).all()) else None


def _sample(array: Array) -> Array:
    flat = array.reshape(-1)
    return flat[:: max(1, -(-flat.size // _MOST))]


def _moved(base: Array, array: Array, tolerance: Tolerance | None) -> Array:
    """Return the elements of a sample that differ by more than is allowed, as booleans."""
    other = _sample(array)
    if base.shape != other.shape or base.dtype != other.dtype:
        return np.ones(base.shape, np.bool_)
    if is_exact(base.dtype) or tolerance is None:
        return np.asarray(base != other)
    sharp = tolerance.sharp.arranged(_sample)
    limits = np.broadcast_to(np.asarray(sharp.absolute), base.shape)
    wide = np.complex128 if base.dtype.kind == "c" else np.float64
    moved = np.empty(base.shape, np.bool_)
    for start in range(0, base.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        a, b = base[part].astype(wide), other[part].astype(wide)
        with np.errstate(invalid="ignore"):
            near = np.abs(a - b) <= limits[part] + sharp.rtol * np.abs(a)
        moved[part] = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
    return moved


def _finite(array: Array) -> bool:
    if is_exact(array.dtype):
        return True
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return bool(np.isfinite(array.astype(wide)).all())
