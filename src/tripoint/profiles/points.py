"""Sizes to try inside the range of every symbol, for all that is compared at several sizes.

A bug may show at one size only: kernels work in tiles of 4, 8, 16 or 32, and what is left over
takes another path. So where legs are compared, sizes are tried besides the ends and the middle of
the range that leave something over for every such tile (3, 7, 17), lie one inside an end of the
range, or one beside a power of two. A range of few sizes is tried as a whole. A bug at one size
that is not among them stays unseen, so reports list the sizes that were tried.

Sizes without a range are made up in :mod:`tripoint.rewrites.points`, and the inputs of these sizes
in :mod:`tripoint.parity.points`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, product

from tripoint.numeric.inputs import MINIMUM_POINTS
from tripoint.profiles.profile import Profile
from tripoint.spec import ENDS, Range
from tripoint.symbols import Shape, is_plain

Point = dict[str, int]
"""A size by symbol."""

Allowed = Callable[[Mapping[str, int]], bool]
"""Test whether a graph takes some sizes."""

SWEEP = 8
"""Points at which legs are compared, where nobody says how many."""

_TRIES = 64
_LEFT_OVER = (3, 7, 17)
_POWERS = tuple(2**exponent for exponent in range(2, 20))


def few(
    ranges: Mapping[str, Range],
    count: int = 4,
    seed: int = 0,
    *,
    allowed: Allowed = lambda _: True,
) -> list[Point]:
    """Return all at min, opt and max, those with one 0, then random ones inside the ranges.

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


def sweep(
    ranges: Mapping[str, Range],
    count: int = SWEEP,
    seed: int = 0,
    *,
    allowed: Allowed = lambda _: True,
) -> list[Point]:
    """Return all at min, opt and max, those with one 0, awkward ones and random ones.

    Arguments and result are those of :func:`few`; all points there are, if the ranges hold no more
    than ``count``.
    """
    start = ends(ranges)
    if math.prod(size.max - size.min + 1 for size in ranges.values()) <= count:
        more = filter(allowed, _every(ranges))
    else:
        random_ones = 1 if count > len(distinct(start, count)) else 0
        awkward = filter(allowed, chain(empty(ranges), _awkward(ranges)))
        start = distinct(chain(start, awkward), count - random_ones)
        more = filter(allowed, drawn(ranges, count, seed))
    return distinct(chain(start, more), count)


def ends_of(shapes: Mapping[str, Shape], profiles: Sequence[Profile]) -> list[Point]:
    """Return the ends of every optimization profile.

    Args:
        shapes: True shape by graph input.
        profiles: The profiles, none for a static model.

    Returns:
        Distinct points; one alone is repeated, for other random inputs.
    """
    ends = (
        {
            dim: size
            for entry in profile.inputs
            if not entry.values
            for dim, size in zip(shapes[entry.name], getattr(entry, end), strict=True)
            if isinstance(dim, str) and is_plain(dim)
        }
        for profile in profiles
        for end in ENDS
    )
    points = list({tuple(point.items()): point for point in ends}.values()) or [{}]
    return points * (MINIMUM_POINTS if len(points) == 1 else 1)


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
    unique: dict[tuple[int, ...], Point] = {}
    for point in candidates:
        unique.setdefault(tuple(point.values()), point)
        if len(unique) >= count:
            break
    return list(unique.values())


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
