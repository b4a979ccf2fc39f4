"""Agreement of two classifiers in the chosen class; told beside the tolerance, never instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BEST = 5
_ELEMENTS_AT_ONCE = 1 << 16
_NAMES = re.compile(r"logit|prob|score|class|cls|pred|label", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TopAgreement:
    """Frequencies with which two outputs rank classes the same way.

    Args:
        rows: Number of rows along the last axis.
        top1: Share of them in which both choose the same class.
        top5: Share of them in which the reference's choice is among the other's five best; None
            for less than ten classes.
    """

    rows: int
    top1: float
    top5: float | None


def looks_like_classes(name: str, array: Array) -> bool:
    """Return whether the last axis of an output seems to count classes.

    That is so for floats of the shape (rows, classes), and for those of a higher rank whose name
    speaks of logits, probabilities, scores, classes or labels.
    """
    if array.ndim < 2 or array.shape[-1] < 2 or not array.size:
        return False
    return array.ndim == 2 or bool(_NAMES.search(name))


def top_agreement(reference: Array, other: Array) -> TopAgreement:
    """Compare the ranking along the last axis.

    Args:
        reference: Floats of shape ``(..., classes)`` without NaN.
        other: The same shape.
    """
    classes = reference.shape[-1]
    rows = reference.size // classes
    first = among = 0
    for a, b in _rows(reference, other):
        choice = a.argmax(-1)
        first += int(np.count_nonzero(choice == b.argmax(-1)))
        if classes >= 2 * _BEST:
            best = np.argpartition(b, -_BEST, -1)[:, -_BEST:]
            among += int(np.count_nonzero((best == choice[:, None]).any(-1)))
    return TopAgreement(rows, first / rows, among / rows if classes >= 2 * _BEST else None)


def _rows(*arrays: Array) -> Iterator[list[Array]]:
    classes = arrays[0].shape[-1]
    flat = [array.reshape(-1, classes) for array in arrays]
    step = max(1, _ELEMENTS_AT_ONCE // classes)
    for start in range(0, len(flat[0]), step):
        yield [array[start : start + step].astype(np.float64) for array in flat]
