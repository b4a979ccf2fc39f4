"""Distance of one tensor from another, where NaN and infinity may be meant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tripoint.tolerance.derivation import Tolerance
from tripoint.tolerance.measure import is_exact

Status = Literal["equal", "different", "nan", "inf", "shape", "dtype"]
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Deviation:
    """One tensor of two legs.

    Args:
        status: ``"nan"`` or ``"inf"`` if one of them is not finite where the other is, or not in
            the same way; ``"shape"`` or ``"dtype"`` if these cannot be compared.
        max_abs: Largest difference of finite elements; infinite if ``status`` is none of
            ``"equal"`` and ``"different"``.
        scale: Root mean square of the reference, 1 if that is zero.
        tolerance: What was allowed.
        detail: What differs, where the status does not say it all.
        tied: Whether nothing differs but which of several equal numbers was chosen.
    """

    status: Status
    max_abs: float
    scale: float
    tolerance: Tolerance
    detail: str = ""
    tied: bool = False

    @property
    def agrees(self) -> bool:
        """Return whether the difference is within the tolerance."""
        return self.status == "equal"

    @property
    def relative(self) -> float:
        """The largest difference relative to a typical element."""
        return self.max_abs / self.scale


def measure(
    reference: np.ndarray[Any, Any], other: np.ndarray[Any, Any], tolerance: Tolerance
) -> Deviation:
    """Compare two tensors, a part at a time.

    Elements that are NaN, or infinite with the same sign, in both are equal: masks of attention
    are minus infinity on purpose. Floating-point types may differ; the values count.

    Args:
        reference: The one that is taken to be right.
        other: The other.
        tolerance: What to allow. Integers and booleans are exact anyway.
    """
    if reference.shape != other.shape:
        detail = f"{list(reference.shape)} and {list(other.shape)}"
        return Deviation("shape", math.inf, 1.0, tolerance, detail)
    exact = [is_exact(array.dtype) for array in (reference, other)]
    if any(array.dtype.kind in "OSU" for array in (reference, other)) or exact[0] != exact[1]:
        detail = f"{reference.dtype} and {other.dtype}"
        return Deviation("dtype", math.inf, 1.0, tolerance, detail)
    if all(exact):
        tolerance = Tolerance(0.0, 0.0, "integers and booleans are exact")
    largest = square = 0.0
    count = 0
    status: Status = "equal"
    absolute = np.asarray(tolerance.absolute)
    atols = _chunks(absolute) if absolute.ndim else itertools.repeat(absolute)
    for raw_a, raw_b, each in zip(_chunks(reference), _chunks(other), atols, strict=False):
        atol = np.broadcast_to(each, raw_a.shape)
        a, b = raw_a.astype(np.float64), raw_b.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        if not finite.all():
            odd = ~finite & ~((a == b) | (np.isnan(a) & np.isnan(b)))
            if odd.any():
                is_nan = np.isnan(a[odd]).any() or np.isnan(b[odd]).any()
                status = "nan" if is_nan or status == "nan" else "inf"
            a, b, atol = a[finite], b[finite], atol[finite]
        difference = np.abs(a - b)
        largest = max(largest, float(difference.max(initial=0.0)))
        square += float(a @ a)
        count += a.size
        # Large integers do not survive the conversion to float64.
        same = (
            np.array_equal(raw_a, raw_b)
            if all(exact)
            else bool((difference <= atol + tolerance.rtol * np.abs(a)).all())
        )
        if not same and status == "equal":
            status = "different"
    scale = math.sqrt(square / count) if square else 1.0
    worst = largest if status in ("equal", "different") else math.inf
    return Deviation(status, worst, scale, replace(tolerance, parts=None))


def _chunks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]
