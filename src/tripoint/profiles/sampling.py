"""Sizes to try inside the range of every symbol: its ends, and random ones that a graph takes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from tripoint.spec import ENDS, Range

Point = dict[str, int]
"""A size by symbol."""

Allowed = Callable[[Mapping[str, int]], bool]
"""Whether a graph takes some sizes."""

_TRIES = 64


def points(
    ranges: Mapping[str, Range],
    count: int = 4,
    seed: int = 0,
    *,
    allowed: Allowed = lambda _: True,
) -> list[Point]:
    """Sizes to try: all at min, opt and max, those with one 0, then random ones inside the ranges.

    Args:
        ranges: Range by symbol.
        count: How many points to give; fewer if the ranges do not hold that many.
        seed: Decides the random points; the same seed gives the same.
        allowed: Asked of all but min, opt and max.

    Returns:
        Distinct points; one empty point if there is no symbol.
    """
    more = chain(empty(ranges), drawn(ranges, count, seed))
    return distinct(chain(ends(ranges), filter(allowed, more)), count)


def ends(ranges: Mapping[str, Range]) -> list[Point]:
    """All at min, all at opt, all at max."""
    return [{symbol: getattr(size, end) for symbol, size in ranges.items()} for end in ENDS]


def empty(ranges: Mapping[str, Range]) -> Iterator[Point]:
    """All at opt, but for one that may be 0, as a cache is at the first step of a decoder."""
    for name, size in ranges.items():
        if size.min == 0 < size.max:
            yield {symbol: 0 if symbol == name else each.opt for symbol, each in ranges.items()}


def drawn(ranges: Mapping[str, Range], count: int, seed: int) -> Iterator[Point]:
    """Random points, many more than ``count``: some may be known already, or not be allowed."""
    source = random.Random(seed)  # noqa: S311 - points to try, not secrets
    for _ in range(_TRIES * count):
        yield {symbol: source.randint(size.min, size.max) for symbol, size in ranges.items()}


def distinct(candidates: Iterable[Point], count: int) -> list[Point]:
    """The first different points, ``count`` at most; no more candidates are taken than needed."""
    found: dict[tuple[int, ...], Point] = {}
    for point in candidates:
        found.setdefault(tuple(point.values()), point)
        if len(found) >= count:
            break
    return list(found.values())
