"""Two sets of outputs, matched by name and by nothing else."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.classes import TopAgreement, looks_like_classes, top_agreement
from tripoint.parity.ties import Settled, Tie
from tripoint.tolerance.derivation import Tolerance
from tripoint.tolerance.measure import (
    is_exact,
    measure,
    not_finite,
    same_elements,
    without_same_holes,
)

Status = Literal[
    "equal",
    "covered",
    "vacuous",
    "random",
    "different",
    "missing",
    "extra",
    "nan",
    "inf",
    "shape",
    "dtype",
]
Array = np.ndarray[Any, Any]
_MOST_AXES = 5
_PROBE = 4096


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output of two legs.

    Args:
        name: Output name.
        pair: The two legs, the reference first: ``"PyTorch / ONNX Runtime"``.
        status: ``"missing"`` if only the reference has it, ``"extra"`` if only the other has
            it, ``"nan"`` or ``"inf"`` if one holds one where the other does not, ``"shape"`` or
            ``"dtype"`` if these differ, otherwise ``"equal"``, ``"different"``, or ``"covered"``
            if it agrees, but only within a tolerance as large as its numbers, or holds none;
            ``"vacuous"`` if it agrees, but other inputs give the same; ``"random"`` if it differs
            behind random numbers, which each leg draws for itself.
        max_abs: Largest difference; None where the values were not compared.
        max_rel: Largest difference relative to a reference value that is not zero.
        cosine: Cosine of the angle between the two as vectors, None if one of them is zero.
        tolerance: What was allowed; None where the values were not compared.
        detail: What differs, where the status does not say it all.
        excess: Largest difference as a multiple of what is allowed where it occurs.
        index: Where that is.
        agreement: Share of the elements that are the same, for integers and booleans.
        top: Agreement of the ranking, for outputs that look like those of a classifier.
        axes: Set if the other holds the values of the reference with its axes in this order.
        same_nan: Whether NaN lies at the same places in both; the numbers beside it are compared.
        visible: The smallest fault of one element that would have been seen for certain, as a
            share of a typical element of the least sharp part: what is allowed, and what the two
            differ by already. 0 for integers and booleans; None where nothing was compared.
        ties: Elements that differ because the graph decides by numbers that are tied, see
            :mod:`tripoint.parity.ties`. They agree with what the graph gives with those decisions,
            and the numbers here are of the comparison with that.
    """

    name: str
    pair: str
    status: Status
    max_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    tolerance: Tolerance | None = None
    detail: str | None = None
    excess: float | None = None
    index: tuple[int, ...] | None = None
    agreement: float | None = None
    top: TopAgreement | None = None
    axes: tuple[int, ...] | None = None
    same_nan: bool = False
    visible: float | None = None
    ties: int = 0

    @property
    def equal(self) -> bool:
        """True if this output agrees within a tolerance that would have shown a difference."""
        return self.status == "equal"

    @property
    def wrong(self) -> bool:
        """Return whether this output is known to differ."""
        return self.status not in ("equal", "covered", "vacuous", "random")


def compare_outputs(
    reference: Arrays, other: Arrays, tolerances: Mapping[str, Tolerance], *, pair: str = ""
) -> list[OutputComparison]:
    """Compare outputs that have the same name; none is ever matched by its position.

    Args:
        reference: Array by output name.
        other: Array by output name.
        tolerances: What to allow, by output name. Integers and booleans are exact anyway.
        pair: How to call the two in the result: ``"PyTorch / ONNX Runtime"``.

    Returns:
        One entry for each name of either side: those of the reference, then the extra ones.
    """
    compared = [
        _compare(name, pair, array, other[name], tolerances[name])
        if name in other
        else OutputComparison(name, pair, "missing")
        for name, array in reference.items()
    ]
    extra = [OutputComparison(name, pair, "extra") for name in other if name not in reference]
    return compared + extra


def compare_settled(
    reference: Arrays,
    other: Arrays,
    settled: Settled,
    tolerances: Mapping[str, Tolerance],
    *,
    pair: str = "",
) -> list[OutputComparison]:
    """Compare outputs of which some elements differ by ties, and say so.

    Args:
        reference: Array by output name.
        other: Array by output name.
        settled: The reference with the ties of the other in it.
        tolerances: What to allow, by output name.
        pair: How to call the two in the result.
    """
    return [
        _with_tie(entry, reference, other, settled.ties[entry.name], tolerances)
        if entry.name in settled.ties
        else entry
        for entry in compare_outputs(settled.reference, other, tolerances, pair=pair)
    ]


def _with_tie(
    entry: OutputComparison,
    reference: Arrays,
    other: Arrays,
    tie: Tie,
    tolerances: Mapping[str, Tolerance],
) -> OutputComparison:
    """Return the comparison of an output with ties left out of account."""
    name, detail, agreement = entry.name, entry.detail, entry.agreement
    ours, theirs = reference[name], other[name]
    if entry.status == "different" and agreement is not None:
        detail = f"{agreement:.4%} agree with these counted as equal"
    if agreement is not None and ours.shape == theirs.shape:
        agreement = same_elements(ours, theirs)
    if tie.rule and not entry.wrong:
        entry = _compare(name, entry.pair, ours, theirs, tolerances[name])
        detail = None
        if not entry.wrong:
            entry = replace(entry, status="different")
    detail = f"{tie.said}; {detail}" if detail else tie.said
    return replace(entry, detail=detail, agreement=agreement, ties=tie.count)


def within(reference: Array, other: Array, tolerance: Tolerance) -> bool:
    """Return whether two arrays have the same shape and dtype and agree within a tolerance."""
    if reference.shape != other.shape or reference.dtype != other.dtype:
        return False
    if is_exact(reference.dtype):
        return same_elements(reference, other) == 1.0
    reference, other, _ = without_same_holes(reference, other)
    if not_finite(reference) or not_finite(other):
        return False
    return measure(reference, other, tolerance.absolute, tolerance.rtol).excess <= 1.0


def _compare(
    name: str, pair: str, reference: Array, other: Array, tolerance: Tolerance
) -> OutputComparison:
    if reference.shape != other.shape:
        detail = f"{list(reference.shape)} and {list(other.shape)}"
        entry = OutputComparison(name, pair, "shape", detail=detail)
        return _with_axes(entry, reference, other, tolerance)
    if reference.dtype != other.dtype:
        detail = f"{reference.dtype} and {other.dtype}"
        return OutputComparison(name, pair, "dtype", detail=detail)
    if is_exact(reference.dtype):
        entry = _compare_exactly(name, pair, reference, other)
    else:
        entry = _compare_floats(name, pair, reference, other, tolerance)
    if entry.status == "different":
        entry = _with_axes(entry, reference, other, tolerance)
    return entry


def _compare_exactly(name: str, pair: str, reference: Array, other: Array) -> OutputComparison:
    # Large integers do not survive the conversion to float64, so equality is asked for apart.
    agreement = same_elements(reference, other)
    numbers = measure(reference, other, 0.0, 0.0)
    return OutputComparison(
        name,
        pair,
        "equal" if agreement == 1.0 else "different",
        numbers.max_abs,
        numbers.max_rel,
        numbers.cosine,
        Tolerance(0.0, 0.0, "integers and booleans are exact"),
        detail=None if agreement == 1.0 else f"{agreement:.4%} of the elements agree",
        index=numbers.index,
        agreement=agreement,
        visible=0.0,
    )


def _compare_floats(
    name: str, pair: str, reference: Array, other: Array, tolerance: Tolerance
) -> OutputComparison:
    has_nan = (not_finite(reference) or ("inf", 0))[0] == "nan"
    reference, other, holes = without_same_holes(reference, other)
    bad = _bad_elements(reference, other, pair)
    if bad is not None:
        return OutputComparison(name, pair, bad[0], detail=bad[1])
    detail = f"{holes} of {reference.size} are NaN or infinite in both" if holes else None
    numbers = measure(reference, other, tolerance.absolute, tolerance.rtol)
    status: Status = "equal" if numbers.excess <= 1.0 else "different"
    if holes and holes == reference.size:
        status = "covered"
    elif status == "equal" and tolerance.sharp is not tolerance:
        sharp = tolerance.sharp
        if measure(reference, other, sharp.absolute, sharp.rtol).excess > 1.0:
            status, detail = "covered", "agrees only within a tolerance as large as its numbers"
    return OutputComparison(
        name,
        pair,
        status,
        numbers.max_abs,
        numbers.max_rel,
        numbers.cosine,
        replace(tolerance, parts=None),
        detail=detail,
        excess=numbers.excess,
        index=numbers.index,
        top=top_agreement(reference, other) if looks_like_classes(name, reference) else None,
        same_nan=bool(holes) and has_nan,
        visible=tolerance.visible(reference) * (1.0 + min(1.0, numbers.excess))
        if holes < reference.size
        else None,
    )


def _bad_elements(
    reference: Array, other: Array, pair: str
) -> tuple[Literal["nan", "inf"], str] | None:
    legs = pair.split(" / ") if " / " in pair else ["the reference", "the other"]
    holes = [
        (leg, bad)
        for leg, array in zip(legs, (reference, other), strict=True)
        if (bad := not_finite(array)) is not None
    ]
    if not holes:
        return None
    kind: Literal["nan", "inf"] = "nan" if any(bad[0] == "nan" for _, bad in holes) else "inf"
    places = [f"{bad[1]} of {reference.size} {bad[0]} in {leg}" for leg, bad in holes]
    return kind, ", ".join(places)


def _with_axes(
    entry: OutputComparison, reference: Array, other: Array, tolerance: Tolerance
) -> OutputComparison:
    """Say so if the other holds the reference with its axes in another order."""
    if not 2 <= reference.ndim <= _MOST_AXES or sorted(reference.shape) != sorted(other.shape):
        return entry
    for axes in itertools.permutations(range(reference.ndim)):
        moved = reference.transpose(axes)
        allowed = tolerance.arranged(functools.partial(np.transpose, axes=axes))
        in_order = axes == tuple(range(reference.ndim))
        if in_order or moved.shape != other.shape or not _plausible(moved, other, allowed):
            continue
        if within(moved, other, allowed):
            detail = f"its axes are in the order {list(axes)}"
            detail = f"{entry.detail}; {detail}" if entry.detail else detail
            return replace(entry, axes=axes, detail=detail)
    return entry


def _plausible(moved: Array, other: Array, tolerance: Tolerance) -> bool:
    """Return whether the first elements agree, which tells most orders apart at no cost."""
    count = min(moved.size, _PROBE)
    first, second = (np.asarray(array.flat[:count]) for array in (moved, other))
    return within(first, second, tolerance.arranged(lambda labels: labels.flat[:count]))
