"""Checks that need no reference: relations that hold between runs of one leg.

* a second run on the same inputs repeats the first;
* a batch that holds one row again and again gives one result again and again, and the same as
  that row had among others;
* permuting the rows of a batch permutes the rows of the result;
* an engine that is built again computes the same;
* no output holds NaN or infinity. (Where one does, the others compare the rest of it.)

Those of the rows hold only for a model in which one symbol is the leading dim of every input and
of every output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.compare import OutputComparison, compare_outputs
from tripoint.symbols import Shape
from tripoint.tolerance.derivation import Tolerance
from tripoint.tolerance.measure import is_exact, not_finite

Array = np.ndarray[Any, Any]
Check = Literal[
    "second run repeats", "same row twice", "permuted batch", "rebuild agrees", "no NaN or Inf"
]
SECOND_RUN: Check = "second run repeats"
REBUILD: Check = "rebuild agrees"
FINITE: Check = "no NaN or Inf"
_NEED_A_BATCH: tuple[Check, ...] = ("same row twice", "permuted batch")


@dataclass(frozen=True, slots=True)
class MetamorphicCheck:
    """The outcome of one check on one leg.

    Args:
        check: What was checked.
        status: Whether the relation holds.
        leg: Which leg, empty where the check applies to none.
        reason: Why it does not apply, or which outputs break it and how.
        has_nan: Whether outputs hold NaN, for the check that none does.
    """

    check: Check
    status: Literal["equal", "different", "not applicable"]
    leg: str = ""
    reason: str = ""
    has_nan: bool = False


@dataclass(frozen=True)
class Probe:
    """Inputs of one check.

    Args:
        check: What is checked.
        inputs: Array by input name.
    """

    check: Check
    inputs: Mapping[str, Array]


@dataclass(frozen=True)
class Plan:
    """Checks to run.

    Args:
        point: Index of the point that they vary.
        probes: What is run after it.
        refused: The checks that do not apply, with the reason.
    """

    point: int
    probes: tuple[Probe, ...]
    refused: tuple[MetamorphicCheck, ...]


def plan(
    points: Sequence[Arrays], inputs: Mapping[str, Shape], outputs: Mapping[str, Shape | None]
) -> Plan:
    """Decide which checks apply.

    Args:
        points: Inputs of each point, at least one.
        inputs: True shape by input name.
        outputs: True shape by output name.
    """
    reason = _why_no_batch({**inputs, **outputs})
    first = next(iter(inputs), None)
    rows = [len(point[first]) if first and point[first].ndim else 0 for point in points]
    # Of two rows, a leak from one to the other looks like one from the other to the one.
    several = [index for index, count in enumerate(rows) if count >= 3]
    several = several or [index for index, count in enumerate(rows) if count == 2]
    if not reason and not several:
        reason = "no point has a batch of 2 or more"
    if reason:
        refused = [MetamorphicCheck(check, "not applicable", "", reason) for check in _NEED_A_BATCH]
        return Plan(0, (Probe(SECOND_RUN, points[0]),), tuple(refused))
    index = min(several, key=rows.__getitem__)
    point = points[index]
    return Plan(
        index,
        (
            Probe(SECOND_RUN, point),
            Probe("same row twice", {name: _repeated(array) for name, array in point.items()}),
            Probe("permuted batch", {name: _reversed(array) for name, array in point.items()}),
        ),
        (),
    )


def judge(
    check: Check, leg: str, before: Arrays, after: Arrays, tolerances: Mapping[str, Tolerance]
) -> MetamorphicCheck:
    """Compare the result of a probe with what the relation demands.

    Args:
        check: What is checked.
        leg: Name of the leg.
        before: Outputs at the point that the probe varies.
        after: Outputs of the probe.
        tolerances: What to allow, by output name.
    """
    tolerances = {
        name: tolerances[name].arranged(how) for name, how in _arrangements(check, after).items()
    }
    return judged(check, leg, compare_outputs(expected(check, before, after), after, tolerances))


def expected(check: Check, before: Arrays, after: Arrays) -> dict[str, Array]:
    """Return the outputs of a probe that the relation demands, by name.

    Args:
        check: What is checked.
        before: Outputs at the point that the probe varies.
        after: Outputs of the probe.
    """
    return {name: how(before[name]) for name, how in _arrangements(check, after).items()}


def judged(check: Check, leg: str, entries: Iterable[OutputComparison]) -> MetamorphicCheck:
    """The outcome of a check.

    Args:
        check: What was checked.
        leg: Name of the leg.
        entries: Its outputs, compared with what the relation demands.
    """
    wrong = [entry for entry in entries if entry.wrong]
    if wrong:
        reason = "in " + ", ".join(_how(entry) for entry in wrong)
        return MetamorphicCheck(check, "different", leg, reason)
    return MetamorphicCheck(check, "equal", leg)


def all_finite(leg: str, outputs: Arrays) -> MetamorphicCheck:
    """Return whether the outputs of a leg are finite.

    Args:
        leg: Name of the leg.
        outputs: Array by output name.
    """
    bad = {
        name: detail
        for name, array in outputs.items()
        if not is_exact(array.dtype) and (detail := not_finite(array)) is not None
    }
    if bad:
        holes = [f"{name} ({n} of {outputs[name].size} {kind})" for name, (kind, n) in bad.items()]
        has_nan = any(kind == "nan" for kind, _ in bad.values())
        return MetamorphicCheck(FINITE, "different", leg, f"in {', '.join(holes)}", has_nan)
    return MetamorphicCheck(FINITE, "equal", leg)


def _how(entry: OutputComparison) -> str:
    if entry.status != "different" or entry.max_abs is None:
        return f"{entry.name} ({entry.detail or entry.status})"
    return f"{entry.name} (off by {entry.max_abs:.3g})"


def _why_no_batch(shapes: Mapping[str, Shape | None]) -> str:
    leading = {name: shape[0] if shape else None for name, shape in shapes.items()}
    for name, dim in leading.items():
        if not isinstance(dim, str):
            return f"the first dim of {name} is no symbol"
    if not _same(leading.values()):
        return "the inputs and outputs do not share their first dim"
    return ""


def _same(values: Iterable[object]) -> bool:
    return len(set(values)) <= 1


def _arrangements(check: Check, after: Arrays) -> dict[str, Callable[[Array], Array]]:
    return {
        name: _arrangement(check, array.shape[0] if array.ndim else 1)
        for name, array in after.items()
    }


def _arrangement(check: Check, rows: int) -> Callable[[Array], Array]:
    """Return the map from an output's elements in order to where a check expects them."""
    if check == "same row twice":
        return lambda array: np.repeat(array[:1], rows, axis=0)
    return (lambda array: array[::-1]) if check == "permuted batch" else lambda array: array


def _repeated(array: Array) -> Array:
    return np.repeat(array[:1], len(array), axis=0)


def _reversed(array: Array) -> Array:
    """Not rotated: what leaks from each row into the next would rotate along."""
    return np.ascontiguousarray(array[::-1])
