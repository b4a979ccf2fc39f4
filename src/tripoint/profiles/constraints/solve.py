"""Sizes at min, opt and max that satisfy all that a graph needs, near those that are wanted.

TensorRT works a graph out at all three, so the three are solved one after the other: max first,
then opt and min, each bounded by the one before. At each the first equation that does not hold is
mended by moving one of its sizes, or all together, until all of them hold.

Sizes that broadcast are taken for sizes that are the same: that one of two symbols is 1 is legal,
but a mask of one column, or one row of a table for all positions, is not what is meant. Only what
cannot be solved otherwise is solved by a 1, or what was wanted to be 1 all along.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tripoint.profiles.constraints.nearest import reach_of
from tripoint.shape_inference.constraints import Equation
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds, is_one
from tripoint.spec import ENDS, Range
from tripoint.symbols import is_plain, symbols_of

_EXPANSIONS = 96
"""States of one end that are looked at."""
_FURTHER = 12
"""States that are looked at after the first solution, for one that moves less."""
_SCALES = 160
"""Factors that several sizes are multiplied with together."""
_TOGETHER = 24
"""Distance around two sizes in which all pairs are tried."""

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Solved:
    """Ranges near those that were wanted.

    Args:
        ranges: Range by symbol.
        legal: Whether min, opt and max satisfy every equation.
    """

    ranges: Mapping[str, Range]
    legal: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    equation: Equation
    strict: bool

    def good(self, sizes: Mapping[str, object], count: int = 0) -> bool | np.ndarray:
        try:
            mask: bool | np.ndarray = holds(self.equation, sizes, strict=self.strict)
        except UndecidedError:
            return np.ones(count, dtype=bool) if count else True
        return mask


def solve(
    equations: Sequence[Equation],
    ranges: Mapping[str, Range],
    free: Sequence[str],
    least: Mapping[str, int] | None = None,
) -> Solved:
    """Move sizes until min, opt and max satisfy all equations that can be worked out.

    Args:
        equations: Those that are undecided, or in symbols without a range, are left out.
        ranges: What is wanted.
        free: The symbols that may be moved.
        least: Smallest size by symbol, where that is not 1.
    """
    own = [each for each in equations if each.decided and each.symbols <= ranges.keys()]
    rules = [_Rule(each, strict=not _meant_as_one(each, ranges)) for each in own]
    best = Solved(ranges, legal=False)
    for _ in range(len(rules) + 1):
        solution, broken = _Ends(rules, ranges, free, least or {}).solved()
        if not broken:
            legal = all(_legal(each, solution) for each in own)
            return Solved(solution, legal)
        best = Solved(solution, legal=False)
        relaxed = next(
            (rule for rule in broken if rule.strict and _has_escape(rule.equation)), None
        )
        if relaxed is None:
            break
        rules = [_Rule(r.equation, r.strict and r is not relaxed) for r in rules]
    if all(_legal(each, best.ranges) for each in own):
        return Solved(best.ranges, legal=True)
    return best


def _legal(equation: Equation, ranges: Mapping[str, Range]) -> bool:
    return all(bool(_Rule(equation, strict=False).good(_at(ranges, end))) for end in ENDS)


def _at(ranges: Mapping[str, Range], end: str) -> dict[str, int]:
    return {name: getattr(size, end) for name, size in ranges.items()}


def _has_escape(equation: Equation) -> bool:
    return equation.kind in ("broadcast", "expands")


def _meant_as_one(equation: Equation, ranges: Mapping[str, Range]) -> bool:
    """Return whether a side that may be 1 was wanted to be that at min, opt and max."""
    if not _has_escape(equation):
        return False
    sides = [equation.right] if equation.kind == "expands" else [equation.left, equation.right]
    try:
        return any(all(is_one(side, _at(ranges, end)) for end in ENDS) for side in sides)
    except UndecidedError:
        return False


class _Ends:
    """Max, opt and min, one after the other."""

    def __init__(
        self,
        rules: Sequence[_Rule],
        wanted: Mapping[str, Range],
        free: Sequence[str],
        least: Mapping[str, int],
    ) -> None:
        self.rules = rules
        self.wanted = wanted
        self.free = [name for name in wanted if name in set(free)]
        self.least = {name: least.get(name, 1) for name in self.free}
        self.defined = _defined(rules)

    def solved(self) -> tuple[dict[str, Range], list[_Rule]]:
        """The ranges, and what does not hold at one of the ends."""
        sizes: dict[str, Sizes] = {}
        broken: list[_Rule] = []
        above: Sizes | None = None
        for end in ("max", "opt", "min"):
            above, wrong = self._end(end, above)
            sizes[end] = above
            broken += [rule for rule in wrong if rule not in broken]
        ranges = dict(self.wanted)
        for name in self.free:
            ranges[name] = Range(*(sizes[end][name] for end in ENDS))
        return ranges, broken

    def _end(self, end: str, above: Sizes | None) -> tuple[Sizes, list[_Rule]]:
        wanted = _at(self.wanted, end)
        high = {name: above[name] if above is not None else math.inf for name in self.free}
        for name in self.free:
            wanted[name] = min(max(wanted[name], self.least[name]), int(min(high[name], 2**62)))
        search = _Search(self, wanted, high, end)
        # What lies between ends that are good is tried last: the bound itself is known to be good.
        starts = [wanted]
        if above is not None:
            starts.append({**wanted, **{name: above[name] for name in self.free}})
        else:
            starts += [
                {**wanted, **{name: getattr(self.wanted[name], other) for name in self.free}}
                for other in ("opt", "min")
            ]
            starts.append({**wanted, **{name: max(1, self.least[name]) for name in self.free}})
        best = search.run(starts[0])
        for start in starts[1:]:
            if not best[1]:
                break
            best = min(best, search.run(start), key=lambda each: len(each[1]))
        return best


def _defined(rules: Sequence[_Rule]) -> frozenset[str]:
    """Symbols that an equation gives as an expression in others: ``M`` in ``P + S == M``."""
    names = set()
    for rule in rules:
        if rule.equation.kind not in ("equal", "broadcast", "expands", "volume"):
            continue
        for one, other in (
            (rule.equation.left, rule.equation.right),
            (rule.equation.right, rule.equation.left),
        ):
            plain = isinstance(one, str) and is_plain(one)
            if plain and len(symbols_of(other)) > 1 and one not in symbols_of(other):
                names.add(str(one))
    return frozenset(names)


class _Search:
    """Sizes at one end, by moving as little as possible."""

    def __init__(
        self, ends: _Ends, wanted: Mapping[str, int], high: Mapping[str, float], end: str
    ) -> None:
        self.ends, self.wanted, self.high, self.end = ends, wanted, high, end
        movable = set(ends.free)
        self.rules = [rule for rule in ends.rules if rule.equation.symbols & movable]
        self.fixed = [
            rule
            for rule in ends.rules
            if not rule.equation.symbols & movable and not rule.good(wanted)
        ]

    def run(self, start: Mapping[str, int]) -> tuple[Sizes, list[_Rule]]:
        """The cheapest sizes that were found, or those that break the fewest rules."""
        seen: set[tuple[int, ...]] = set()
        counter = itertools.count()
        pending: list[tuple[int, float, int, dict[str, int], list[_Rule]]] = []

        def push(sizes: dict[str, int]) -> None:
            key = tuple(sizes[name] for name in self.ends.free)
            if key not in seen:
                seen.add(key)
                broken = [rule for rule in self.rules if not rule.good(sizes)]
                heapq.heappush(
                    pending, (len(broken), self._cost(sizes), next(counter), sizes, broken)
                )

        push(dict(start))
        best = pending[0]
        left = _EXPANSIONS
        while pending and left > 0:
            left -= 1
            state = heapq.heappop(pending)
            if state[:2] < best[:2]:
                best = state
            *_, sizes, broken = state
            if not broken:
                left = min(left, _FURTHER)
                continue
            for change in self._changes(broken[0], sizes):
                push({**sizes, **change})
        *_, sizes, broken = best
        return sizes, [*broken, *self.fixed]

    def _cost(self, sizes: Sizes) -> float:
        """Return how far sizes are from those wanted; beyond them costs more than inside."""
        cost = 0.0
        for name in self.ends.free:
            size, wanted = sizes[name], self.wanted[name]
            if size == wanted:
                continue
            far = abs(math.log2(max(size, 0.5) / max(wanted, 0.5)))
            beyond = size < wanted if self.end == "min" else size > wanted
            once = 1.0 + far + (0.5 if beyond and self.end != "opt" else 0.0)
            cost += once * 0.1 if name in self.ends.defined else once
        return cost

    def _changes(self, broken: _Rule, sizes: Sizes) -> Iterator[Mapping[str, int]]:
        own = [name for name in self.ends.free if name in broken.equation.symbols]
        alone = False
        for name in own:
            for change in self._single(broken, name, sizes):
                alone = True
                yield change
        if len(own) > 1:
            yield from self._scaled(broken, own, sizes)
            if not alone:
                for pair in itertools.combinations(own, 2):
                    yield from self._pair(broken, pair, sizes)

    def _single(self, broken: _Rule, name: str, sizes: Sizes) -> Iterator[Mapping[str, int]]:
        at, low, high = sizes[name], self.ends.least[name], self.high[name]
        reach = reach_of([rule.equation for rule in self.rules], at)
        tried = np.arange(max(low, at - reach), int(min(high, at + reach)) + 1, dtype=object)
        if not len(tried):
            return
        values = {**sizes, name: tried}
        good = np.asarray(broken.good(values, len(tried)), dtype=bool) & np.ones(len(tried), bool)
        candidates = set(_around(tried[good], at))
        for rule in self.rules:
            if name in rule.equation.symbols:
                good = good & np.asarray(rule.good(values, len(tried)), dtype=bool)
        candidates.update(_around(tried[good], at))
        yield from ({name: size} for size in sorted(candidates))

    def _scaled(
        self, broken: _Rule, own: Sequence[str], sizes: Sizes
    ) -> Iterator[Mapping[str, int]]:
        """All sizes multiplied with the factor nearest to 1 that mends the equation."""
        factors = np.unique(
            np.concatenate([np.geomspace(1 / 4096, 1, _SCALES), np.geomspace(1, 64, _SCALES)])
        )
        columns = {
            name: np.array(
                [
                    int(min(max(round(sizes[name] * f), self.ends.least[name]), self.high[name]))
                    for f in factors
                ],
                dtype=object,
            )
            for name in own
        }
        good = np.asarray(broken.good({**sizes, **columns}, len(factors)), dtype=bool)
        for indices in (np.flatnonzero(good & (factors < 1)), np.flatnonzero(good & (factors > 1))):
            if len(indices):
                best = indices[-1] if factors[indices[0]] < 1 else indices[0]
                change = {name: int(columns[name][best]) for name in own}
                yield self._tight(broken, change, sizes)

    def _tight(self, broken: _Rule, change: dict[str, int], sizes: Sizes) -> Mapping[str, int]:
        """The same, and each size by itself as near to where it was as the equation lets it."""
        for name in change:
            step = 1 if sizes[name] > change[name] else -1
            for _ in range(_TOGETHER):
                if change[name] == sizes[name]:
                    break
                nearer = {**change, name: change[name] + step}
                if not bool(broken.good({**sizes, **nearer})):
                    break
                change = nearer
        return change

    def _pair(
        self, broken: _Rule, pair: tuple[str, str], sizes: Sizes
    ) -> Iterator[Mapping[str, int]]:
        axes = [
            np.arange(
                max(self.ends.least[name], sizes[name] - _TOGETHER),
                int(min(self.high[name], sizes[name] + _TOGETHER)) + 1,
                dtype=object,
            )
            for name in pair
        ]
        first, second = (grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij"))
        if not len(first):
            return
        values = {**sizes, pair[0]: first, pair[1]: second}
        good = np.asarray(broken.good(values, len(first)), dtype=bool)
        if good.any():
            moves = [
                np.abs(each[good] - sizes[name])
                for each, name in zip((first, second), pair, strict=True)
            ]
            best = int(np.argmin((moves[0] + moves[1]).astype(np.int64)))
            yield {pair[0]: int(first[good][best]), pair[1]: int(second[good][best])}


def _around(good: np.ndarray, at: int) -> Iterator[int]:
    """The nearest that is less and the nearest that is more; the same where it is good."""
    below, above = good[good < at], good[good > at]
    yield from (int(size) for size in (*below[-1:], *good[good == at][:1], *above[:1]))
