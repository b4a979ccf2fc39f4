"""Two sets of outputs, matched by name and by nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.tolerance import Tolerance

Status = Literal["equal", "different", "missing", "extra", "nan", "inf", "shape", "dtype"]
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output of two legs.

    Args:
        name: Output name.
        pair: The two legs, the reference first: ``"PyTorch / ONNX Runtime"``.
        status: ``"missing"`` if only the reference has it, ``"extra"`` if only the other has
            it, ``"nan"`` or ``"inf"`` if either holds one, ``"shape"`` or ``"dtype"`` if these
            differ, otherwise ``"equal"`` or ``"different"``.
        max_abs: Largest difference; None where the values were not compared.
        max_rel: Largest difference relative to a reference value that is not zero.
        cosine: Cosine of the angle between the two as vectors, None if one of them is zero.
        tolerance: What was allowed; None where the values were not compared.
        detail: What differs, where the status does not say it all.
    """

    name: str
    pair: str
    status: Status
    max_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    tolerance: Tolerance | None = None
    detail: str | None = None

    @property
    def equal(self) -> bool:
        """Whether this output is no failure."""
        return self.status == "equal"


def compare_outputs(
    reference: Arrays, other: Arrays, tolerances: Mapping[str, Tolerance], *, pair: str = ""
) -> list[OutputComparison]:
    """Compare outputs that have the same name; none is ever matched by its position.

    Args:
        reference: Array by output name.
        other: Array by output name.
        tolerances: What to allow, by output name. Integers and booleans are exact anyway.
        pair: How to call the two in the result.

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


def _compare(
    name: str,
    pair: str,
    reference: np.ndarray[Any, Any],
    other: np.ndarray[Any, Any],
    tolerance: Tolerance,
) -> OutputComparison:
    if reference.shape != other.shape:
        detail = f"{list(reference.shape)} and {list(other.shape)}"
        return OutputComparison(name, pair, "shape", detail=detail)
    if reference.dtype != other.dtype:
        detail = f"{reference.dtype} and {other.dtype}"
        return OutputComparison(name, pair, "dtype", detail=detail)
    exact = reference.dtype.kind in "iub"
    if not exact:
        bad = _not_finite(reference) or _not_finite(other)
        if bad:
            return OutputComparison(name, pair, bad)
    tolerance = Tolerance(0.0, 0.0, "integers and booleans are exact") if exact else tolerance
    max_abs, max_rel, cosine, within = _measure(reference, other, tolerance)
    status: Status = "equal" if within else "different"
    return OutputComparison(name, pair, status, max_abs, max_rel, cosine, tolerance)


def within(
    reference: np.ndarray[Any, Any], other: np.ndarray[Any, Any], tolerance: Tolerance
) -> bool:
    """Whether two arrays have the same shape and dtype and agree within a tolerance."""
    return _compare("", "", reference, other, tolerance).equal


def _not_finite(array: np.ndarray[Any, Any]) -> Literal["nan", "inf"] | None:
    found: Literal["nan", "inf"] | None = None
    for chunk in _chunks(array):
        if np.isnan(chunk).any():
            return "nan"
        if np.isinf(chunk).any():
            found = "inf"
    return found


def _measure(
    reference: np.ndarray[Any, Any], other: np.ndarray[Any, Any], tolerance: Tolerance
) -> tuple[float, float, float | None, bool]:
    """Largest absolute and relative difference, cosine, and whether all is within tolerance."""
    max_abs = max_rel = dot = square_a = square_b = 0.0
    agree = True
    for a, b in zip(_chunks(reference), _chunks(other), strict=True):
        difference = np.abs(a - b)
        size = np.abs(a)
        max_abs = max(max_abs, float(difference.max()))
        nonzero = size > 0
        if nonzero.any():
            max_rel = max(max_rel, float((difference[nonzero] / size[nonzero]).max()))
        agree &= bool((difference <= tolerance.atol + tolerance.rtol * size).all())
        dot += float(a @ b)
        square_a += float(a @ a)
        square_b += float(b @ b)
    norm = math.sqrt(square_a) * math.sqrt(square_b)
    if reference.dtype.kind in "iub":
        # Large integers do not survive the conversion to float64.
        agree = np.array_equal(reference, other)
    return max_abs, max_rel, dot / norm if norm else None, agree


def _chunks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The elements as float64, a part at a time, so that no full-size copy is made."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].astype(np.float64)
