"""Measuring in turns: every leg gets its share of each round, so that drift hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Turn = Callable[[int], float]
"""Runs a number of times and returns the seconds that all of them took."""

MOST_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Duration of a measurement.

    Args:
        rounds: How many turns each leg gets; each gives one sample, the mean of its runs.
        warm_up: Runs of a leg that are not counted, before its first turn.
        seconds: How long a turn should take; at least one run is made.
    """

    rounds: int = 15
    warm_up: int = 10
    seconds: float = 0.05

    def runs(self, one: float) -> int:
        """Runs that a turn is made of, for a leg whose run takes ``one`` second."""
        return max(1, min(MOST_RUNS, round(self.seconds / max(one, 1e-9))))


@dataclass(frozen=True, slots=True)
class Summary:
    """Milliseconds of one run, over the rounds.

    Args:
        median: Median of the rounds.
        low: First quartile; ``low`` to ``high`` is the spread.
        high: Third quartile.
        min: Fastest round.
        max: Slowest round.
    """

    median: float
    low: float
    high: float
    min: float
    max: float


def summarize(samples: Sequence[float]) -> Summary:
    """The summary of samples in milliseconds, at least one."""
    if len(samples) == 1:
        one = samples[0]
        return Summary(one, one, one, one, one)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Summary(median, low, high, min(samples), max(samples))


def order(count: int, round_number: int) -> list[int]:
    """Return the order in which legs take turns in a round: each round another begins."""
    first = round_number % count if count else 0
    return [(first + place) % count for place in range(count)]


def interleave(
    turns: Sequence[Turn],
    runs: Sequence[int],
    rounds: int,
    before: Callable[[int], None] = lambda _: None,
) -> list[list[float]]:
    """Let every leg take one turn in each round.

    Args:
        turns: One for each leg.
        runs: How many runs a turn of that leg is made of.
        rounds: How many rounds.
        before: Called with the number of the leg before its turn, outside of what is timed.

    Returns:
        For each leg the milliseconds of one run, one sample for a round.
    """
    samples: list[list[float]] = [[] for _ in turns]
    for number in range(rounds):
        for leg in order(len(turns), number):
            before(leg)
            samples[leg].append(turns[leg](runs[leg]) / runs[leg] * 1e3)
    return samples
