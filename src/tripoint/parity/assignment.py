"""Telling outputs that changed places from outputs that are wrong."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.compare import within
from tripoint.tolerance.derivation import Tolerance

_SAMPLE = 1 << 16
"""Elements that are looked at for each choice of a place."""


def find_permutation(
    reference: Arrays,
    other: Arrays,
    tolerances: Mapping[str, Tolerance],
    wrong: Collection[str] | None = None,
) -> dict[str, str] | None:
    """Match the outputs of ``other`` to those of ``reference`` by value; None if there is no match.

    The best assignment by distance, among outputs of the same shape and dtype, is taken only if
    after it every output agrees; so a numeric error is never explained away.

    Args:
        reference: Array by output name.
        other: Array by output name, the same names.
        tolerances: What to allow, by name of the reference.
        wrong: The outputs that do not agree where they are, for which alone others are tried;
            None for all.

    Returns:
        For each output that is out of place, the name whose values it holds; None if the names
        differ, all are in their place, or no permutation makes them agree.
    """
    if not reference or reference.keys() != other.keys():
        return None
    from scipy.optimize import linear_sum_assignment

    names = list(reference) if wrong is None else [name for name in reference if name in wrong]
    first = {name: _sample(reference[name], len(names)) for name in names}
    second = {name: _sample(other[name], len(names)) for name in names}
    if not all(np.isfinite(sample).all() for sample in (*first.values(), *second.values())):
        return None
    costs = np.array(
        [
            [
                _distance(first[held], second[name], held == name)
                if _alike(reference[held], other[name])
                else math.inf
                for held in names
            ]
            for name in names
        ]
    )
    finite = costs[np.isfinite(costs)]
    # scipy refuses a matrix in which no assignment has a finite cost.
    limit = (float(finite.max()) if finite.size else 0.0) * len(names) + 1.0
    rows, columns = linear_sum_assignment(np.where(np.isfinite(costs), costs, limit))
    holds = {names[row]: names[column] for row, column in zip(rows, columns, strict=True)}
    moved = {name: held for name, held in holds.items() if name != held}
    if not moved:
        return None
    agree = all(
        within(reference[held], other[name], tolerances[held]) for name, held in holds.items()
    )
    return moved if agree else None


def _alike(reference: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return bool(reference.shape == other.shape and reference.dtype == other.dtype)


def _sample(array: np.ndarray[Any, Any], outputs: int) -> np.ndarray[Any, Any]:
    """Some elements, the fewer the more outputs there are."""
    stride = max(1, array.size * outputs // _SAMPLE)
    return np.asarray(array.reshape(-1)[::stride].astype(np.float64))


def _distance(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], in_place: bool) -> float:
    if not a.size:
        return 0.0
    scale = float(np.abs(a).mean() + np.abs(b).mean()) or 1.0
    distance = float(np.abs(a - b).mean()) / scale
    # Of two outputs with equal values, neither should seem to have moved.
    return distance if in_place else distance + 1e-12
