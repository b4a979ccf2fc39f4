"""Inputs on which a graph runs and gives numbers, looked for among several kinds.

Random numbers do not suit every graph: a length beyond the sequence that it counts makes a Gather
fail, a row that is masked out as a whole makes a Softmax divide by zero, the logarithm of a
negative number is none. So where those of :func:`tripoint.numeric.inputs.generate` do not do,
others are tried: masks of ones, integers as large as one of the sizes, or of 1, positive floats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric import meanings, ort
from tripoint.numeric.inputs import Arrays, How, InputSpecs, generate
from tripoint.numeric.meanings import is_mask
from tripoint.symbols import evaluate

Values = Mapping[str, tuple[float, float]]
"""Smallest and largest value by input name."""

UNSUITED = (
    "the inputs that were made up do not suit the model: give real ones with --inputs, or the "
    "range of their values with --values"
)

_APART = 1000
"""How far the seeds of inputs that are looked for lie from those of the points."""
_SAID = 3
"""Ranges of values that a note lists."""
_POSITIVE = (0.1, 1.0)
_SEEDS = 2
"""Other seeds that are tried before other ranges."""
_SPREADS = (
    *((-0.1, 0.1), (0.0, 1.0), (-10.0, 10.0), (0.0, 255.0), (-10.0, 0.0)),
    *((-100.0, 100.0), (-1000.0, 1000.0)),
)
"""Ranges of floats that are tried to move an output, the usual ones of real inputs first."""
_COUNTS = ((0.0, 7.0), (0.0, 255.0), (-100.0, 100.0))
_LENGTHS = 4
"""Sizes that are tried as the value of an integer."""
_NUMBERS = frozenset({ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64})
"""Integers that may count something; those of 8 bits hold pixels or quantized numbers."""


@dataclass(frozen=True)
class Trial:
    """Inputs, and what a graph computes from them.

    Args:
        inputs: Array by input name.
        outputs: In graph order.
        values: The ranges that the inputs were drawn from; empty for the usual ones.
        holes: Share of the numbers that are NaN, of the output with most of them.
        before: The first inputs on which it runs, if these give NaN; else None.
    """

    inputs: Arrays
    outputs: Sequence[Any]
    values: Values
    holes: float
    before: Trial | None = None


def first(
    run: Callable[[Arrays], Sequence[Any]], candidates: Iterable[tuple[Values, Arrays]]
) -> Trial:
    """The first inputs on which a graph runs without NaN, else those with the fewest.

    Args:
        run: Computes all outputs.
        candidates: Inputs to try, with the ranges that they were drawn from.

    Raises:
        TripointError: If it runs on none; the reason is that for the first ones.
    """
    best: Trial | None = None
    failed: TripointError | None = None
    for values, arrays in candidates:
        try:
            outputs = run(arrays)
        except TripointError as error:
            failed = failed or error
            continue
        trial = Trial(arrays, outputs, values, holes(outputs))
        if best is None or trial.holes < best.holes:
            best = trial if best is None else replace(trial, before=best.before or best)
        if not best.holes:
            break
    if best is None:
        raise failed or TripointError("no inputs were tried")
    return best


def suited(
    model: Model,
    inputs: InputSpecs,
    points: Iterable[tuple[Mapping[str, int], int]],
    *,
    ranges: Values | None = None,
    like: Arrays | None = None,
) -> Iterator[Trial | None]:
    """The first inputs at each point on which ONNX Runtime gives no NaN, see :func:`first`.

    Args:
        model: The graph.
        inputs: Element type and shape by input name.
        points: Size of each symbol, and a seed.
        ranges: Values that stay as they are.
        like: Examples that the usual ones follow.

    Yields:
        None where the graph runs on no inputs.
    """
    try:
        session = ort.Session(model)
    except TripointError:
        yield from (None for _ in points)
        return
    for bindings, seed in points:
        try:
            tried = feeds(model, inputs, bindings, seed, ranges=ranges, like=like)
            yield first(session.run, tried)
        except TripointError:
            yield None


def feeds(
    model: Model,
    inputs: InputSpecs,
    bindings: Mapping[str, int],
    seed: int,
    *,
    ranges: Values | None = None,
    like: Arrays | None = None,
) -> Iterator[tuple[Values, Arrays]]:
    """Inputs to try in turn, the usual ones first.

    Args:
        model: The graph.
        inputs: Element type and shape by input name.
        bindings: Size of each symbol.
        seed: As :func:`tripoint.numeric.inputs.generate` takes it.
        ranges: Values that stay as they are.
        like: Examples that the usual ones follow.

    Raises:
        UsageError: As :func:`tripoint.numeric.inputs.generate`.
    """
    for values, draw in _kinds(model, inputs, bindings, ranges or {}):
        drawn = {**values, **(ranges or {})}
        yield (
            values,
            generate(inputs, bindings, seed, model=model, values=drawn, like=like, draw=draw),
        )


@dataclass(frozen=True)
class _Free:
    """Names of the inputs whose range may be chosen."""

    masks: Sequence[str]
    floats: Sequence[str]
    integers: Sequence[str]


def _free(model: Model, inputs: InputSpecs, bindings: Mapping[str, int], ranges: Values) -> _Free:
    meant = meanings.of(model, inputs, bindings)
    tables = {name for name, each in meant.items() if each.index}
    kinds = {name: ir.DataType[dtype.upper()] for name, (dtype, _) in inputs.items()}
    free = {name: kind for name, kind in kinds.items() if name not in ranges}
    masks = [name for name, kind in free.items() if is_mask(name, kind)]
    floats = [name for name, kind in free.items() if kind.is_floating_point()]
    integers = [
        name
        for name, kind in free.items()
        if kind in _NUMBERS and name not in tables and name not in masks
    ]
    return _Free(masks, floats, integers)


def _kinds(
    model: Model, inputs: InputSpecs, bindings: Mapping[str, int], ranges: Values
) -> Iterator[tuple[Values, How]]:
    meant = meanings.of(model, inputs, bindings).values()
    if any(each.limits is not None for each in meant):
        yield {}, "unlimited"
    yield {}, "usual"
    if any(not each.index for each in meant):
        yield {}, "plain"
    free = _free(model, inputs, bindings, ranges)
    integers = free.integers
    sizes = {evaluate(dim, bindings) or 1 for _, shape in inputs.values() for dim in shape}
    lengths = sorted((size for size in sizes if size > 1), reverse=True)[:_LENGTHS]
    # All as long as can be, so that nothing is masked out; then any length up to that.
    counts = [*((size, size) for size in lengths), *((1, size) for size in lengths), (1, 1)]
    ones = dict.fromkeys(free.masks, (1.0, 1.0))
    for positive in ({}, dict.fromkeys(free.floats, _POSITIVE)):
        for low, high in counts if integers else counts[-1:]:
            values = {**ones, **positive, **dict.fromkeys(integers, (float(low), float(high)))}
            if values:
                yield values, "plain"


def same(one: Arrays, other: Arrays) -> bool:
    """Return whether two sets of inputs are the same numbers."""
    return all(
        np.array_equal(array.view(np.uint8), other[name].view(np.uint8))
        if array.ndim
        else bool(array == other[name])
        for name, array in one.items()
    )


def others(
    model: Model,
    inputs: InputSpecs,
    bindings: Mapping[str, int],
    seed: int,
    *,
    ranges: Values | None = None,
    like: Arrays | None = None,
) -> Iterator[tuple[int, Values, Arrays]]:
    """Inputs of the same sizes that may move what the usual ones do not.

    Other seeds come first, then narrower and wider ranges, then masks of one number.

    Args:
        model: The graph.
        inputs: Element type and shape by input name.
        bindings: Size of each symbol.
        seed: The one whose inputs are known.
        ranges: Values that stay as they are.
        like: Examples that the usual ones follow.

    Yields:
        The seed, the ranges that are not the usual ones, and the arrays.

    Raises:
        UsageError: As :func:`tripoint.numeric.inputs.generate`.
    """
    ranges = ranges or {}
    free = _free(model, inputs, bindings, ranges)
    kinds: list[Values] = [{} for _ in range(_SEEDS)]
    kinds += [dict.fromkeys(free.floats, spread) for spread in _SPREADS if free.floats]
    kinds += [dict.fromkeys(free.integers, count) for count in _COUNTS if free.integers]
    if free.floats and free.integers:
        wide = dict.fromkeys(free.integers, _COUNTS[-1])
        kinds.append({**dict.fromkeys(free.floats, _SPREADS[-1]), **wide})
    kinds += [dict.fromkeys(free.masks, (each, each)) for each in (1.0, 0.0) if free.masks]
    for number, values in enumerate(kinds, start=1):
        drawn = {**values, **ranges}
        other = seed + _APART + number
        yield other, values, generate(inputs, bindings, other, model=model, values=drawn, like=like)


def holes(outputs: Sequence[Any]) -> float:
    """Share of the numbers that are NaN, of the output with most of them."""
    shares = [0.0]
    for array in outputs:
        if isinstance(array, list):
            shares.append(holes(array))
        elif array is not None and array.dtype.kind not in "iubOSU" and array.size:
            shares.append(float(np.isnan(array.astype(np.float32)).mean()))
    return max(shares)


def told(values: Values) -> str:
    """Ranges as the command line takes them: ``--values n:1..8``."""
    return " ".join(f"--values {name}:{low:g}..{high:g}" for name, (low, high) in values.items())


def note(each_drawn: Iterable[Values]) -> str | None:
    """Describe inputs that were searched for; None if they are all the usual ones."""
    drawn = dict.fromkeys(told(values) for values in each_drawn if values)
    if not drawn:
        return None
    said = "; ".join(itertools.islice(drawn, _SAID))
    said += f"; and {len(drawn) - _SAID} more" if len(drawn) > _SAID else ""
    return f"the usual made-up inputs do not suit the model; used: {said}"
