"""Numbers about two arrays, taken a part at a time, so that no copy of their size is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Measures:
    """Distances between two arrays of one shape.

    Args:
        max_abs: Largest difference.
        max_rel: Largest difference relative to a reference value that is not zero.
        cosine: Cosine of the angle between the two as vectors, None if one of them is zero.
        excess: Largest difference as a multiple of what is allowed where it occurs; not more
            than 1 if all is within the tolerance.
        index: Where that is; None if the arrays are the same or empty.
        agreement: Share of the elements that are the same; 1 for empty arrays.
    """

    max_abs: float
    max_rel: float
    cosine: float | None
    excess: float
    index: tuple[int, ...] | None
    agreement: float


def measure(reference: Array, other: Array, atol: float | Array, rtol: float) -> Measures:
    """Compare two arrays of the same shape, without NaN and infinity in them.

    Args:
        reference: Any dtype that converts to float64.
        other: Likewise.
        atol: Absolute part of what is allowed, for each element where it is an array.
        rtol: Part of it that grows with the reference.
    """
    max_abs = max_rel = excess = dot = square_a = square_b = 0.0
    done = same = 0
    worst: int | None = None
    absolute = atol if isinstance(atol, np.ndarray) else np.float64(atol)
    for a, b, allowed in chunks(reference, other, np.broadcast_to(absolute, reference.shape)):
        dot += float(a @ b)
        square_a += float(a @ a)
        square_b += float(b @ b)
        difference = np.subtract(a, b)
        np.abs(difference, out=difference)
        largest = float(difference.max())
        same += a.size - int(np.count_nonzero(difference))
        if largest > 0:
            max_abs = max(max_abs, largest)
            size = np.abs(a)
            max_rel = max(max_rel, float(_ratio(difference, size, where_zero=0.0).max()))
            beyond = _ratio(difference, allowed + rtol * size, where_zero=math.inf)
            at = int(beyond.argmax())
            if beyond[at] > excess:
                excess, worst = float(beyond[at]), done + at
        done += a.size
    norm = math.sqrt(square_a) * math.sqrt(square_b)
    return Measures(
        max_abs,
        max_rel,
        dot / norm if norm else None,
        excess,
        None if worst is None else tuple(map(int, np.unravel_index(worst, reference.shape))),
        same / done if done else 1.0,
    )


def same_elements(reference: Array, other: Array) -> float:
    """Share of the elements of two arrays of one shape and dtype that are equal."""
    if not reference.size:
        return 1.0
    equal = sum(
        int(np.count_nonzero(a == b)) for a, b in chunks(reference, other, dtype=reference.dtype)
    )
    return equal / reference.size


def not_finite(array: Array) -> tuple[Literal["nan", "inf"], int] | None:
    """Return whether an array holds NaN, else whether it holds infinities, and how many."""
    nan = inf = 0
    dtype = array.real.dtype if array.dtype.kind == "c" else array.dtype
    for (chunk,) in chunks(array, dtype=dtype):
        if not np.isfinite(chunk).all():
            nan += int(np.isnan(chunk).sum())
            inf += int(np.isinf(chunk).sum())
    if nan:
        return "nan", nan
    return ("inf", inf) if inf else None


def without_same_holes(a: Array, b: Array) -> tuple[Array, Array, int]:
    """Two arrays with zeros where both hold the same NaN or infinity, and how many these are.

    Nothing is replaced unless both have the same ones at the same places.
    """
    if is_exact(a.dtype) or a.shape != b.shape or not_finite(a) is None:
        return a, b, 0
    holes = ~np.isfinite(a)
    same = np.array_equal(holes, ~np.isfinite(b)) and np.array_equal(
        a[holes].astype(np.float64), b[holes].astype(np.float64), equal_nan=True
    )
    if not same:
        return a, b, 0
    zero = np.zeros((), a.dtype)
    return np.where(holes, zero, a), np.where(holes, zero, b), int(holes.sum())


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype holds integers or booleans, those of ml_dtypes included."""
    if dtype.kind in "iub":
        return True
    import ml_dtypes

    return dtype in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)


def chunks(
    *arrays: Array, dtype: np.dtype[Any] | type[np.float64] = np.float64
) -> Iterator[tuple[Array, ...]]:
    """The elements of arrays of one shape, side by side, in order, as one dtype.

    Each part is valid until the next one is asked for.
    """
    pairs = any(array.dtype.kind == "c" for array in arrays)
    flat = [_real(array) if pairs else array for array in arrays]
    if not flat[0].size:
        return
    parts = np.nditer(
        flat,
        flags=["external_loop", "buffered"],
        op_flags=[["readonly"]] * len(flat),
        op_dtypes=[dtype] * len(flat),
        casting="unsafe",
        order="C",
        buffersize=_CHUNK,
    )
    with parts:
        for part in parts:
            yield part if isinstance(part, tuple) else (part,)


def _real(array: Array) -> Array:
    """Complex numbers as pairs of real ones, and real numbers beside them twice."""
    if array.dtype.kind != "c":
        return np.broadcast_to(array[..., None], (*array.shape, 2))
    pairs: Array = np.ascontiguousarray(array)[..., None].view(array.real.dtype)
    return pairs


def _ratio(above: Array, below: Array, *, where_zero: float) -> Array:
    """``above / below``; where ``below`` is zero, 0 if ``above`` is too, else ``where_zero``."""
    result = np.where(above > 0, where_zero, 0.0)
    np.divide(above, below, out=result, where=below > 0)
    return result
