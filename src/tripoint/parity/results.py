"""What a verification found; the fields are the keys of the JSON output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tripoint.parity.compare import OutputComparison
from tripoint.parity.metamorphic import MetamorphicCheck

Verdict = Literal["equal", "different", "unproven"]
PYTORCH = "PyTorch"
ONNX_RUNTIME = "ONNX Runtime"
FIXED = "ONNX Runtime (fixed)"
TENSORRT = "TensorRT"
LEGS = (PYTORCH, ONNX_RUNTIME, FIXED, TENSORRT)


@dataclass(frozen=True, slots=True)
class LegReport:
    """One leg and whether it ran.

    Args:
        name: ``"PyTorch"``, ``"ONNX Runtime"``, ``"ONNX Runtime (fixed)"`` or ``"TensorRT"``.
        status: ``"failed"`` if it started and raised.
        version: Version of its library, None if it did not run.
        device: Where it ran, None if it did not run.
        reason: Why it did not run or failed.
        tf32: Whether it may round float32 products to TF32, None if it did not run.
    """

    name: str
    status: Literal["ran", "failed", "not run"]
    version: str | None = None
    device: str | None = None
    reason: str | None = None
    tf32: bool | None = None


@dataclass(frozen=True, slots=True)
class PointReport:
    """The comparisons at one set of input sizes.

    Args:
        shapes: Sizes by input name.
        seed: Seed of its inputs, None where they were given.
        outputs: One entry for each pair of legs and output.
    """

    shapes: Mapping[str, tuple[int, ...]]
    seed: int | None
    outputs: tuple[OutputComparison, ...]


@dataclass(frozen=True, slots=True)
class Permutation:
    """Outputs that changed places between two legs, the same way at every point.

    Args:
        pair: The two legs, the reference first.
        outputs: For each output of the second leg that is out of place, the name whose values
            it holds.
    """

    pair: str
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether PyTorch, ONNX Runtime and TensorRT compute the same.

    Args:
        verdict: ``"different"`` if any compared pair differs; ``"equal"`` only if all three ran
            and agree; otherwise ``"unproven"``.
        reasons: Why the verdict is not ``"equal"``.
        legs: Every leg, those that did not run included.
        points: The comparisons.
        permutation: Set if the differences are nothing but outputs in each other's place.
        metamorphic: Checks that need no reference.
        notes: What was assumed to make the legs comparable.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    legs: tuple[LegReport, ...]
    points: tuple[PointReport, ...]
    permutation: Permutation | None
    metamorphic: tuple[MetamorphicCheck, ...]
    notes: tuple[str, ...]


def decide(
    legs: Sequence[LegReport],
    points: Sequence[PointReport],
    metamorphic: Sequence[MetamorphicCheck],
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and the reasons for it."""
    wrong: dict[tuple[str, str, str], int] = {}
    for point in points:
        for entry in point.outputs:
            if not entry.equal:
                key = (entry.pair, entry.name, entry.status)
                wrong[key] = wrong.get(key, 0) + 1
    reasons = [
        f"{pair}: output {name} is {status} at {count} of {len(points)} points"
        for (pair, name, status), count in wrong.items()
    ]
    open_points = [
        f"{leg.name} {'failed' if leg.status == 'failed' else 'was not run'}: {leg.reason}"
        for leg in legs
        if leg.status != "ran"
    ]
    open_points += [
        f"{check.leg}: {check.check} is different {check.reason}"
        for check in metamorphic
        if check.status == "different"
    ]
    if wrong:
        return "different", (*reasons, *open_points)
    return ("unproven" if open_points else "equal"), tuple(open_points)
