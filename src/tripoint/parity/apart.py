"""Differences between two arrays of which one may have additional rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tripoint.tolerance.derivation import Tolerance
from tripoint.tolerance.measure import is_exact

Array = np.ndarray[Any, Any]


def apart(reference: Array, other: Array, tolerance: Tolerance) -> Array:
    """Return a mask of elements that differ by more than a tolerance in two arrays of one shape."""
    return _beyond(reference, other, tolerance.absolute, tolerance.rtol)


def _beyond(reference: Array, other: Array, absolute: float | Array, rtol: float) -> Array:
    if is_exact(reference.dtype) or is_exact(other.dtype):
        return np.asarray(reference != other)
    a, b = reference.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = (
            (np.abs(a - b) <= absolute + rtol * np.abs(a)) | (a == b) | (np.isnan(a) & np.isnan(b))
        )
    return ~np.asarray(near)


def distance(reference: Array, other: Array, tolerance: Tolerance) -> int:
    """Count elements that differ; with additional rows, those between the first and the last."""
    if reference.shape == other.shape:
        return int(np.count_nonzero(apart(reference, other, tolerance)))
    axes = [
        axis
        for axis, sizes in enumerate(zip(reference.shape, other.shape, strict=False))
        if len({*sizes}) > 1
    ]
    if reference.ndim != other.ndim or len(axes) > 1:
        return max(reference.size, other.size) + 1
    absolute = np.broadcast_to(tolerance.absolute, reference.shape)
    a, b, limit = (np.moveaxis(each, axes[0], 0) for each in (reference, other, absolute))
    count = min(len(a), len(b))
    same = 0
    for way in (slice(None), slice(None, None, -1)):
        first, second, absolute = (each[way][:count] for each in (a, b, limit))
        wrong = (
            _beyond(first, second, absolute, tolerance.rtol)
            .reshape(count, math.prod(a.shape[1:]))
            .any(axis=1)
        )
        same += int(wrong.argmax()) if wrong.any() else count
    return (max(len(a), len(b)) - min(same, count)) * math.prod(a.shape[1:])
