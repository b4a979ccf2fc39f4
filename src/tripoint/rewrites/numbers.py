"""The numeric obligation of a rewrite: the same numbers at some points of the input range.

ONNX Runtime computes them without graph optimizations. Where no arithmetic is reordered the
tolerance is zero. Where it is, each of the L terms of the longest reduction may round differently,
and the allowed difference is ``4 · sqrt(L) · eps · max(1, max|reference|)``: the spread of L
independent roundings, four times. Where a graph enlarges errors and that is exceeded, what such
errors do to the original is measured (:mod:`tripoint.tolerance.sensitivity`); and where it rounds
to a grid, an output that such errors change by steps is decided at other points only.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import ExternalStepError, TripointError
from tripoint.model import Model
from tripoint.numeric import ort, trials
from tripoint.numeric.dtypes import epsilon, is_foreign
from tripoint.numeric.feed import Feed
from tripoint.numeric.inputs import MINIMUM_POINTS, Arrays, InputSpecs, generate, inputs_of
from tripoint.numeric.reductions import longest_reduction
from tripoint.rewrites.base import Numeric
from tripoint.rewrites.points import SIZES, Points
from tripoint.rewrites.transaction import FREE_INITIALIZERS
from tripoint.symbols import symbols_of
from tripoint.tolerance.derivation import Products
from tripoint.tolerance.sensitivity import Sensitivity, Steps
from tripoint.words import number_of

_SMALL = 1024
"""Elements of an initializer that may say a size, and is no weight."""

_PATIENCE = 6
"""Points without inputs on which a graph runs, after which fewer inputs are tried."""

_MOST_MOVED = 0.5
"""Share of the largest number of an output that errors may move it by, to be compared there."""

Terms = Callable[[Mapping[str, int]], int]
"""Terms of the longest sum when the symbols have these sizes."""


def terms_of(*annotated: ir.Model) -> Terms:
    """Terms of the longest sum in any of some graphs whose values carry their true shapes."""
    return lambda point: max(longest_reduction(model, point) for model in annotated)


def compare(
    before: Model, after: Model, points: Points, terms_at: Terms, *, is_part: bool
) -> Numeric:
    """Run two models with the same inputs and outputs, and compare.

    Args:
        before: The graph as it was; its values carry their true shapes.
        after: The graph as it would be.
        points: Where numbers are compared. At points at which the original itself does not run
            there is nothing to compare; where less than three remain, they are taken again with
            other inputs.
        terms_at: Terms of the longest sum in them, see :func:`terms_of`.
        is_part: Whether they are parts of a model. Integers that enter a part may be anything;
            those that enter a model mostly mean something.
    """
    try:
        runs = _runs(ort.Session(before), before, points, is_part=is_part)
    except TripointError as error:
        return Numeric("undecided", (), None, None, error.fact)
    if not runs.usable:
        reason = (
            f"the original runs at none of the {number_of(len(points.candidates), 'point')} tried"
        )
        detail = f" ({runs.passed_over})" if runs.passed_over else ""
        return Numeric("undecided", (), None, None, reason + detail)
    # The other session is gone by now, so that the weights are in memory once.
    try:
        candidate = ort.Session(after)
    except ExternalStepError as error:
        return Numeric("fails", (), None, None, error.fact)
    names = [value.name or "" for value in before.ir.graph.outputs]
    sensitivity = Sensitivity(before.ir)
    terms = 0
    used: list[Mapping[str, int]] = []
    worst = allowed = 0.0
    settled, unsettled, measured = set[str](), set[str](), False
    # Where a graph gives NaN, others have to give it too.
    further = [_Run(run.point, outcome) for run in runs.usable if (outcome := run.reference.before)]
    for run in (*runs.usable, *further, *runs.empty):
        used.append(run.point)
        if len(used) > 1 and not run.reference.inputs:
            continue  # Without inputs both compute what they computed before.
        try:
            actual = candidate.run(run.reference.inputs)
        except ExternalStepError as error:
            return Numeric("fails", tuple(used), None, None, f"does not run: {error.fact}")
        terms = max(terms, terms_at(run.point))
        steps: tuple[Mapping[str, float], Mapping[str, Steps]] | None = None
        for name, a, b in zip(names, run.reference.outputs, actual, strict=True):
            difference, tolerance = _difference(a, b, terms)
            if not difference <= tolerance and terms and isinstance(a, np.ndarray):
                if steps is None:
                    feed = run.reference.inputs
                    steps = sensitivity.in_steps(feed, run.point, Products.ROUNDED)
                moved = steps[0].get(name, 0.0)
                in_steps = name in steps[1] and steps[1][name].explain(*_steps(a, b))
                # What errors move as far as the numbers are large says nothing.
                if in_steps or moved > _MOST_MOVED * np.abs(a).max(initial=0.0) > 0:
                    unsettled.add(name)
                    continue
                tolerance, measured = max(tolerance, moved), True
            worst, allowed = max(worst, difference), max(allowed, tolerance)
            if not difference <= tolerance:
                reason = f"differs by {difference:.3g}, allowed is {tolerance:.3g}"
                return Numeric("fails", tuple(used), difference, tolerance, reason)
            settled.add(name)
    if unsettled - settled:
        reason = (
            f"`{min(unsettled - settled)}` is another one at every point tried if the sums behind "
            "it are added in another order: it is rounded to steps, or errors grow too large"
        )
        return Numeric("undecided", tuple(used), None, None, reason)
    reason = _tolerance_reason(terms)
    if measured:
        reason += ", and errors of that size were measured to move it so far"
    if any(run.reference.holes for run in runs.usable):
        reason += "; some are NaN, at the same places in both"
    drawn = dict.fromkeys(trials.told(run.reference.values) for run in runs.usable)
    if said := "; ".join(each for each in drawn if each):
        reason += f"; inputs as with {said}, since the usual ones do not suit it"
    reason += "".join(f"; {note}" for note in candidate.notes)
    if runs.again:
        reason += f"; {runs.again}"
    compared = tuple(run.point for run in (*runs.usable, *runs.empty))
    return Numeric("holds", compared, worst, allowed, reason)


@dataclass(frozen=True, slots=True)
class _Run:
    point: Mapping[str, int]
    reference: trials.Trial


@dataclass(frozen=True, slots=True)
class _Runs:
    """Outputs of a graph at some points.

    Args:
        usable: Run by run.
        passed_over: Why it does not run at the last point that was passed over.
        again: That points were taken again, since it runs at too few; else empty.
        empty: Runs that give no numbers, where others do. They have to give none either.
    """

    usable: Sequence[_Run]
    passed_over: str
    again: str = ""
    empty: Sequence[_Run] = ()


def _runs(session: ort.Session, model: Model, points: Points, *, is_part: bool) -> _Runs:
    inputs = inputs_of(model, named=True)
    runs: list[_Run] = []
    nothing: list[_Run] = []
    passed_over = ""
    refusals = 0
    for seed, point in enumerate(points.candidates):
        if runs and not inputs:
            runs.append(_Run(point, runs[0].reference))
            if len(runs) == MINIMUM_POINTS:
                break
            continue
        try:
            feeds = _feeds(model, inputs, point, seed, points.feed, is_part=is_part)
            if refusals >= _PATIENCE:
                feeds = itertools.islice(feeds, 2 if is_part else 1)
            empty = _is_empty(inputs, point)
            run = _Run(point, _reference(session, feeds, is_part=is_part, empty=empty))
            (nothing if _has_no_numbers(run.reference.outputs) else runs).append(run)
        except TripointError as error:
            passed_over = error.fact
            refusals += 1
            continue
        if points.guessed and len(runs) == MINIMUM_POINTS:
            break
    if not runs:
        # Where a model never gives any numbers, that is all there is to compare.
        runs, nothing = nothing, []
    count = len(runs)
    if not 0 < count < MINIMUM_POINTS or (points.feed.arrays and not is_part):
        return _Runs(runs, passed_over, empty=nothing)
    for index in range(count, MINIMUM_POINTS):
        point, seed = runs[index % count].point, len(points.candidates) + index
        with contextlib.suppress(TripointError):
            feeds = _feeds(model, inputs, point, seed, points.feed, is_part=is_part)
            empty = _is_empty(inputs, point)
            runs.append(_Run(point, _reference(session, feeds, is_part=is_part, empty=empty)))
    tried = number_of(len(points.candidates), "point")
    again = f"the original runs at {count} of the {tried} tried"
    return _Runs(runs, passed_over, f"{again}, taken again with other inputs", nothing)


def _has_no_numbers(outputs: Sequence[Any]) -> bool:
    return all(isinstance(each, np.ndarray) and each.size == 0 for each in outputs)


def _reference(
    session: ort.Session,
    feeds: Iterable[tuple[trials.Values, Arrays]],
    *,
    is_part: bool,
    empty: bool,
) -> trials.Trial:
    """Inputs on which a graph runs, and what it computes.

    Raises:
        TripointError: If it runs on none that were tried, or a whole model gives an output of
            nothing but NaN, which equals any other.
    """

    def run(feed: Arrays) -> Sequence[Any]:
        # Of what is not 0 by itself, too little is left to compare.
        if not empty and any(array.size == 0 for array in feed.values()):
            raise ExternalStepError("an input has no elements")
        return session.run(feed)

    trial = trials.first(run, feeds)
    if trial.holes == 1.0 and not is_part:
        raise ExternalStepError("every number of an output is NaN with all inputs made up for it")
    return trial


def _is_empty(inputs: InputSpecs, point: Mapping[str, int]) -> bool:
    """Return whether an input is meant to have no elements."""
    return 0 in point.values() or any(0 in shape for _, shape in inputs.values())


def _feeds(
    model: Model,
    inputs: InputSpecs,
    point: Mapping[str, int],
    seed: int,
    feed: Feed,
    *,
    is_part: bool,
) -> Iterator[tuple[trials.Values, Arrays]]:
    """Inputs to try at a point."""
    if feed.arrays and not is_part:
        yield {}, feed.arrays[seed]
        return
    # What is said of the inputs of a model says nothing of those of a part.
    values, like = (None, None) if is_part else (feed.values, feed.like)
    for sizes in _completed(point, inputs, seed) if is_part else [point]:
        if is_part:
            yield {}, generate(inputs, sizes, seed, model=model, wide=True, draw="unlimited")
        # They may be the sizes or positions of something, which not all integers can be.
        yield from trials.feeds(model, inputs, sizes, seed, ranges=values, like=like)


def _completed(
    point: Mapping[str, int], inputs: InputSpecs, seed: int
) -> Iterator[Mapping[str, int]]:
    """A point with sizes for those symbols of a part that tensor values decide in the model."""
    used = dict.fromkeys(
        symbol for _, shape in inputs.values() for dim in shape for symbol in symbols_of(dim)
    )
    missing = [symbol for symbol in used if symbol not in point]
    size = SIZES[1 + seed % 3]
    yield {**{name: size + index for index, name in enumerate(missing)}, **point}
    if len(missing) > 1:
        yield {**dict.fromkeys(missing, size), **point}


def unloadable(before: Model, after: Model) -> Numeric | None:
    """Return the reason if ONNX Runtime loads a model but not its rewritten form; else None.

    Both are loaded without their weights.
    """
    try:
        ort.Session(_without_weights(before))
    except ExternalStepError:
        return None
    try:
        ort.Session(_without_weights(after))
    except ExternalStepError as error:
        return Numeric("fails", (), None, None, error.fact)
    return None


def _without_weights(model: Model) -> Model:
    """The same graph with inputs in place of its large initializers."""
    stripped = model.ir.clone()
    stripped.ir_version = max(stripped.ir_version, FREE_INITIALIZERS)
    graph = stripped.graph
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or not (isinstance(tensor, ir.ExternalTensor) or tensor.size > _SMALL):
            continue
        if value.is_graph_output():
            continue
        graph.initializers.pop(name)
        value.const_value = None
        value.shape, value.type = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
        if not value.is_graph_input():
            graph.inputs.append(value)
    return Model(stripped)


def _steps(expected: Any, actual: Any) -> tuple[float, float]:
    """Share of the elements that differ, and how far; 1 and infinity if the shapes do."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return 1.0, math.inf
    moved = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    return float((expected != actual).mean()), float(moved.max(initial=0.0))


def _difference(expected: Any, actual: Any, terms: int) -> tuple[float, float]:
    """Largest absolute difference and the one that is allowed; infinite if not comparable."""
    if isinstance(expected, list) or expected is None:
        return _difference_of_lists(expected, actual, terms)
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return math.inf, 0.0
    eps = epsilon(expected.dtype) if expected.dtype.kind != "c" else None
    if eps is None:
        return (0.0 if np.array_equal(expected, actual) else math.inf), 0.0
    if expected.size == 0:
        return 0.0, 0.0
    if is_foreign(expected.dtype):
        expected, actual = expected.astype(np.float32), actual.astype(np.float32)
    if not terms and np.array_equal(expected, actual, equal_nan=True):
        return 0.0, 0.0
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(expected.astype(np.float64) - actual)).max()
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    return float(error), 4 * math.sqrt(terms) * eps * scale if terms else 0.0


def _difference_of_lists(expected: Any, actual: Any, terms: int) -> tuple[float, float]:
    """Of sequences, element by element; None is an optional that holds nothing."""
    if expected is None or not isinstance(actual, list) or len(actual) != len(expected):
        return (0.0 if expected is actual is None else math.inf), 0.0
    pairs = [_difference(a, b, terms) for a, b in zip(expected, actual, strict=True)]
    # The element that is furthest beyond what is allowed speaks for all.
    return max(pairs, key=lambda pair: pair[0] - pair[1], default=(0.0, 0.0))


def _tolerance_reason(terms: int) -> str:
    if not terms:
        return "no arithmetic is reordered, so the numbers must be identical"
    return f"the longest reduction adds {number_of(terms, 'term')}, whose order may change"
