"""Checks that need no reference: relations that hold between runs of one leg.

* a second run on the same inputs repeats the first;
* a row that stands twice in a batch gives twice the same row;
* permuting the rows of a batch permutes the rows of the result.

The last two hold only for a model in which one symbol is the leading dim of every input and of
every output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tripoint.facts.table import Shape
from tripoint.numeric.inputs import Arrays
from tripoint.parity.compare import compare_outputs
from tripoint.parity.tolerance import Tolerance

Check = Literal["second run repeats", "same row twice", "permuted batch"]
_NEED_A_BATCH: tuple[Check, ...] = ("same row twice", "permuted batch")


@dataclass(frozen=True, slots=True)
class MetamorphicCheck:
    """The outcome of one check on one leg.

    Args:
        check: What was checked.
        status: Whether the relation holds.
        leg: Which leg, empty where the check applies to none.
        reason: Why it does not apply, or which outputs break it.
    """

    check: Check
    status: Literal["equal", "different", "not applicable"]
    leg: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Probe:
    """Inputs of one check, to be compared with the results of a point.

    Args:
        check: What is checked.
        point: Index of the point that it varies.
        inputs: Array by input name.
    """

    check: Check
    point: int
    inputs: Mapping[str, np.ndarray[Any, Any]]


def plan(
    points: list[Arrays], inputs: Mapping[str, Shape], outputs: Mapping[str, Shape | None]
) -> tuple[list[Probe], list[MetamorphicCheck]]:
    """Decide which checks apply.

    Args:
        points: Inputs of each point, at least one.
        inputs: True shape by input name.
        outputs: True shape by output name.

    Returns:
        The inputs to run, and the checks that do not apply, with the reason.
    """
    probes = [Probe("second run repeats", 0, points[0])]
    reason = _why_no_batch({**inputs, **outputs})
    first = next(iter(inputs), None)
    sized = [index for index, point in enumerate(points) if first and len(point[first]) > 1]
    if not reason and not sized:
        reason = "no point has a batch of 2 or more"
    if reason:
        refused = [MetamorphicCheck(check, "not applicable", "", reason) for check in _NEED_A_BATCH]
        return probes, refused
    index = sized[0]
    point = points[index]
    probes.append(Probe("same row twice", index, {k: _twins(v) for k, v in point.items()}))
    probes.append(Probe("permuted batch", index, {k: _rotated(v) for k, v in point.items()}))
    return probes, []


def judge(
    probe: Probe, leg: str, before: Arrays, after: Arrays, tolerances: Mapping[str, Tolerance]
) -> MetamorphicCheck:
    """Compare the result of a probe with what the relation demands.

    Args:
        probe: The probe.
        leg: Name of the leg.
        before: Outputs at the point that the probe varies.
        after: Outputs of the probe.
        tolerances: What to allow, by output name.
    """
    if probe.check == "same row twice":
        expected = {name: array[:1] for name, array in after.items()}
        found = {name: array[1:2] for name, array in after.items()}
    elif probe.check == "permuted batch":
        expected, found = {name: _rotated(array) for name, array in before.items()}, dict(after)
    else:
        expected, found = dict(before), dict(after)
    compared = compare_outputs(expected, found, tolerances)
    wrong = [entry.name for entry in compared if not entry.equal]
    if wrong:
        return MetamorphicCheck(probe.check, "different", leg, f"in {', '.join(wrong)}")
    return MetamorphicCheck(probe.check, "equal", leg)


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


def _twins(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    copy = array.copy()
    copy[1] = copy[0]
    return copy


def _rotated(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.roll(array, 1, axis=0)
