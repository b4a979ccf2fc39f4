"""Sizes at which legs are compared.

A bug may show at one size only: kernels work in tiles of 4, 8, 16 or 32, and what is left over
takes another path. So besides the ends and the middle of the range, sizes are tried that leave
something over for every such tile (3, 7, 17), lie one inside an end of the range, or one beside a
power of two. A range of few sizes is tried as a whole. A bug at one size that is not among them
stays unseen, so reports list the sizes that were tried.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from tripoint.spec import Range

POINTS = 8
_LEFT_OVER = (3, 7, 17)
_POWERS = tuple(2**exponent for exponent in range(2, 20))
_TRIES = 64


def points(
    ranges: Mapping[str, Range],
    count: int = POINTS,
    seed: int = 0,
    *,
    allowed: Callable[[Mapping[str, int]], bool] = lambda _: True,
) -> tuple[dict[str, int], ...]:
    """Sizes to try: all at min, all at opt, all at max, awkward ones and random ones.

    Args:
        ranges: Range by symbol.
        count: How many points to give; all there are, if the ranges hold no more.
        seed: Decides the random points; the same seed gives the same.
        allowed: Whether the model takes some sizes; asked of all but min, opt and max.

    Returns:
        Distinct points, each a size by symbol; one empty point if there is no symbol.
    """
    bounds = list(ranges.values())

    def fits(sizes: tuple[int, ...]) -> bool:
        return allowed(dict(zip(ranges, sizes, strict=True)))

    if math.prod(size.max - size.min + 1 for size in bounds) <= count:
        every = itertools.product(*(range(size.min, size.max + 1) for size in bounds))
        chosen = dict.fromkeys([*_ends(bounds), *filter(fits, every)])
    else:
        chosen = dict.fromkeys(_ends(bounds))
        random_ones = 1 if count > len(chosen) else 0
        _extend(chosen, filter(fits, _awkward(bounds)), count - random_ones)
        _extend(chosen, filter(fits, _random(bounds, count, seed)), count)
    return tuple(dict(zip(ranges, sizes, strict=True)) for sizes in list(chosen)[:count])


def _extend(
    chosen: dict[tuple[int, ...], None], more: Iterator[tuple[int, ...]], count: int
) -> None:
    for sizes in more:
        if len(chosen) >= count:
            return
        chosen[sizes] = None


def _ends(bounds: Sequence[Range]) -> list[tuple[int, ...]]:
    return [tuple(getattr(size, end) for size in bounds) for end in ("min", "opt", "max")]


def _awkward(bounds: Sequence[Range]) -> Iterator[tuple[int, ...]]:
    """Points of awkward sizes; no two symbols take theirs from the same place in the list."""
    lists = [_awkward_sizes(size) or [size.opt] for size in bounds]
    for index in range(max(map(len, lists), default=0)):
        yield tuple(sizes[(index + shift) % len(sizes)] for shift, sizes in enumerate(lists))


def _awkward_sizes(bounds: Range) -> list[int]:
    beside = [power + step for power in _POWERS for step in (-1, 1)]
    candidates = [*_LEFT_OVER, bounds.max - 1, bounds.min + 1, *beside]
    inside = [size for size in candidates if bounds.min < size < bounds.max and size != bounds.opt]
    return list(dict.fromkeys(inside))


def _random(bounds: Sequence[Range], count: int, seed: int) -> Iterator[tuple[int, ...]]:
    source = random.Random(seed)  # noqa: S311 - points to try, not secrets
    for _ in range(_TRIES * count):
        yield tuple(source.randint(size.min, size.max) for size in bounds)
