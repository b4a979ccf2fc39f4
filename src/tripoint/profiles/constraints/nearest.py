"""Legal sizes near an illegal one, and what they have in common."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import sympy

from tripoint import symbols
from tripoint.shape_inference.constraints import Equation
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds

_NEAR = 1024
"""Least distance around a size in which others are tried; the size itself if it is larger."""
_FARTHEST = 1 << 16
_TOGETHER = 64
"""Distance by which two sizes are moved together."""
_RULE = 1024
"""Sizes from 1 on that show what legal ones have in common, at least."""

Change = Mapping[str, int]
"""New sizes by symbol."""


def legal(equations: Sequence[Equation], broken: Equation, at: Mapping[str, int]) -> list[Change]:
    """The nearest sizes at which a broken equation holds, and if possible all others.

    One size is changed where that is enough, else two together. Sizes that broadcast are made the
    same, and 1 only where nothing else is near.

    Args:
        equations: All that should hold.
        broken: One that does not.
        at: The size of every symbol.

    Returns:
        Per symbol the nearest smaller and the nearest larger size; empty if none is near.
    """
    own = sorted(broken.symbols)
    for wanted, strict in itertools.product((equations, (broken,)), (True, False)):
        changes = [change for name in own for change in _single(wanted, name, at, strict)]
        if not changes and len(own) >= 2:
            changes = [
                change
                for index, name in enumerate(own)
                for other in own[:index]
                for change in _double(wanted, other, name, at, strict)
            ]
        if changes:
            return changes
    return []


def reach_of(equations: Iterable[Equation], size: int) -> int:
    """Return how far around a size others are worth trying."""
    return min(max(_NEAR, size, *map(_scale, equations)), _FARTHEST)


def _single(
    equations: Sequence[Equation], name: str, at: Mapping[str, int], strict: bool
) -> list[Change]:
    reach = reach_of(equations, at[name])
    sizes = np.arange(max(1, at[name] - reach), at[name] + reach + 1, dtype=object)
    good = sizes[_all(equations, {name}, {**at, name: sizes}, len(sizes), strict)]
    below, above = good[good < at[name]], good[good > at[name]]
    return [{name: int(size)} for size in (*below[-1:], *above[:1])]


def _double(
    equations: Sequence[Equation], a: str, b: str, at: Mapping[str, int], strict: bool
) -> list[Change]:
    axes = [
        np.arange(max(1, at[name] - _TOGETHER), at[name] + _TOGETHER + 1, dtype=object)
        for name in (a, b)
    ]
    first, second = (grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij"))
    good = _all(equations, {a, b}, {**at, a: first, b: second}, len(first), strict)
    if not good.any():
        return []
    moves = np.abs(first[good] - at[a]), np.abs(second[good] - at[b])
    # Of those as near as each other, the one that moves both alike.
    away = (moves[0] + moves[1]) * (2 * _TOGETHER + 1) + np.abs(moves[0] - moves[1])
    best = int(np.argmin(away.astype(np.int64)))
    return [{a: int(first[good][best]), b: int(second[good][best])}]


def _all(
    equations: Sequence[Equation],
    moved: set[str],
    sizes: Mapping[str, object],
    count: int,
    strict: bool,
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    good = np.ones(count, dtype=bool)
    for equation in equations:
        if equation.symbols & moved:
            try:
                good &= holds(equation, sizes, strict=strict)
            except UndecidedError:
                continue
    return good


def rule(equation: Equation) -> str | None:
    """Return what the legal sizes of an equation have in common.

    It is read off the sizes up to one behind which the numbers in the equation make no more
    difference.

    Returns:
        A sentence such as ``"H must be a multiple of 32"``; None if it is nothing simple, or if
        the equation has several symbols.
    """
    if len(equation.symbols) != 1:
        return None
    (name,) = equation.symbols
    most = max(_RULE, _scale(equation))
    if most > _FARTHEST:
        return None
    sizes = np.arange(1, most + 1, dtype=object)
    try:
        good = np.asarray(holds(equation, {name: sizes}))
    except UndecidedError:
        return None
    legal_sizes = sizes[good]
    if not len(legal_sizes):
        return None
    first, last = int(legal_sizes[0]), int(legal_sizes[-1])
    if len(legal_sizes) == 1:
        return f"{name} must be {first}"
    if len(legal_sizes) == 2 and equation.kind == "broadcast":
        return f"{name} must be {first} or {last}"
    if last == first + len(legal_sizes) - 1:
        if first > 1 and last == most:
            return f"{name} must be at least {first}"
        if first == 1 and last < most:
            return f"{name} must be at most {last}"
        if first > 1:
            return f"{name} must lie between {first} and {last}"
    if first > 1 and np.array_equal(good, sizes % first == 0):
        return f"{name} must be a multiple of {first}"
    return _residue(name, sizes, good)


@functools.lru_cache(maxsize=1024)
def _scale(equation: Equation) -> int:
    """A size by which expressions that are no more than linear have passed their constants."""
    largest, divisor = 1, 1
    for side in (equation.left, equation.right):
        for number in symbols.expression(side).atoms(sympy.Rational):
            largest = max(largest, abs(int(number.p)))
            divisor = math.lcm(divisor, int(number.q))
    return 2 * (largest + 1) * divisor


def _residue(
    name: str,
    sizes: np.ndarray[tuple[int, ...], np.dtype[np.object_]],
    good: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> str | None:
    """A rule such as ``H - 1 must be a multiple of 8``."""
    legal_sizes = sizes[good]
    first = int(legal_sizes[0])
    step = int(legal_sizes[1]) - first
    if step > 1 and np.array_equal(good, (sizes >= first) & ((sizes - first) % step == 0)):
        offset = first % step
        least = f", and at least {first}" if first > step else ""
        if offset == 0:
            return f"{name} must be a multiple of {step}{least}"
        return f"{name} - {offset} must be a multiple of {step}{least}"
    return None
