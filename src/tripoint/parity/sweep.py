"""Sizes at which legs are compared.

A bug may show at one size only: kernels work in tiles of 4, 8, 16 or 32, and what is left over
takes another path. So besides the ends and the middle of the range, sizes are tried that leave
something over for every such tile (3, 7, 17), lie one inside an end of the range, or one beside a
power of two. A range of few sizes is tried as a whole. A bug at one size that is not among them
stays unseen, so reports list the sizes that were tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain, product

from tripoint.profiles.sampling import Allowed, Point, distinct, drawn, empty, ends
from tripoint.spec import Range

POINTS = 8
_LEFT_OVER = (3, 7, 17)
_POWERS = tuple(2**exponent for exponent in range(2, 20))


def points(
    ranges: Mapping[str, Range],
    count: int = POINTS,
    seed: int = 0,
    *,
    allowed: Allowed = lambda _: True,
) -> tuple[Point, ...]:
    """Sizes to try: all at min, opt and max, those with one 0, awkward ones and random ones.

    Args:
        ranges: Range by symbol.
        count: How many points to give; all there are, if the ranges hold no more.
        seed: Decides the random points; the same seed gives the same.
        allowed: Whether the model takes some sizes; asked of all but min, opt and max.

    Returns:
        Distinct points, each a size by symbol; one empty point if there is no symbol.
    """
    start = ends(ranges)
    if math.prod(size.max - size.min + 1 for size in ranges.values()) <= count:
        more = filter(allowed, _every(ranges))
    else:
        random_ones = 1 if count > len(distinct(start, count)) else 0
        awkward = filter(allowed, chain(empty(ranges), _awkward(ranges)))
        start = distinct(chain(start, awkward), count - random_ones)
        more = filter(allowed, drawn(ranges, count, seed))
    return tuple(distinct(chain(start, more), count))


def _every(ranges: Mapping[str, Range]) -> Iterator[Point]:
    for sizes in product(*(range(size.min, size.max + 1) for size in ranges.values())):
        yield dict(zip(ranges, sizes, strict=True))


def _awkward(ranges: Mapping[str, Range]) -> Iterator[Point]:
    """Points of awkward sizes; no two symbols take theirs from the same place in the list."""
    lists = {symbol: _awkward_sizes(size) or [size.opt] for symbol, size in ranges.items()}
    for index in range(max(map(len, lists.values()), default=0)):
        yield {
            symbol: sizes[(index + shift) % len(sizes)]
            for shift, (symbol, sizes) in enumerate(lists.items())
        }


def _awkward_sizes(bounds: Range) -> list[int]:
    beside = [power + step for power in _POWERS for step in (-1, 1)]
    candidates = [*_LEFT_OVER, bounds.max - 1, bounds.min + 1, *beside]
    inside = [size for size in candidates if bounds.min < size < bounds.max and size != bounds.opt]
    return list(dict.fromkeys(inside))
