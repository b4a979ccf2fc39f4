"""The flips with which a graph gives what a leg gave, sought by running what is behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tripoint.errors import TripointError
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.parity.apart import distance as distance_of
from tripoint.parity.flips import Flip, Numbers, admitted, flips, promises
from tripoint.parity.split import Split
from tripoint.tolerance.decisions import Decision, Prepared
from tripoint.tolerance.derivation import Tolerance

Array = np.ndarray[Any, Any]
Allowed = Callable[[Arrays], Mapping[str, Tolerance]]
"""What to allow for some outputs of the graph."""

_MOST = 512
"""Single flips of a decision up to which they are tried one by one."""
_WORK = 40_000
"""Nodes that are run in a search at most."""
_FEWEST_RUNS = 32


@dataclass(frozen=True)
class Run:
    """Outputs downstream of the decisions, with some of them overruled."""

    overruled: Mapping[int, Array]
    used: Mapping[int, tuple[Flip, ...]]
    arrays: Arrays


@dataclass(frozen=True)
class Behind:
    """Graph downstream of the decisions, ready to run."""

    prepared: Prepared
    split: Split
    tail: Session
    between: Arrays

    def base(self) -> Run | None:
        """Run in which nothing is overruled; None if it fails."""
        try:
            return self.run({}, {})
        except TripointError:
            return None

    def run(self, overruled: Mapping[int, Array], used: Mapping[int, tuple[Flip, ...]]) -> Run:
        """Run the graph with some decisions overruled."""
        arrays = self.tail.run({**self.between, **self.prepared.feed(overruled)})
        return Run(overruled, used, dict(zip(self.tail.outputs, arrays, strict=True)))


class Search:
    """A search at one set of inputs.

    Args:
        behind: What is run.
        base: What that makes if nothing is overruled.
        exact: What is decided, among others, by name.
        numbers: By what it is decided, by name.
    """

    def __init__(
        self, behind: Behind, base: Run, exact: Arrays, numbers: Mapping[str, Numbers]
    ) -> None:
        self._prepared = behind.prepared
        self._behind = behind
        self._base = base
        self._exact = exact
        self._numbers = numbers
        self._left = 0

    def nearest(self, leg: Arrays, allowed: Allowed, names: Sequence[str]) -> Run:
        """The run that comes nearest to what a leg gave.

        Args:
            leg: Array by output name.
            allowed: What to allow for outputs of the graph.
            names: The outputs that count.
        """
        self._left = max(_FEWEST_RUNS, _WORK // self._behind.split.nodes)

        def distance(run: Run) -> int:
            outputs = {name: run.arrays[name] for name in names}
            spread = allowed(outputs)
            return sum(
                distance_of(array, leg[name], spread[name])
                # No rows more or less come before any element.
                + (0 if array.shape == leg[name].shape else array.size + leg[name].size)
                for name, array in outputs.items()
            )

        best = self._as_given_out(leg, distance)
        left = distance(best)
        while left and self._left > 0:
            gains = []
            for flip in self._single(best, names):
                trial = self._with(best, [flip])
                if trial is not None and (rest := distance(trial)) < left:
                    gains.append((rest, flip, trial))
            if not gains:
                break
            # Most touch elements of their own, so that all of them are right, or the best one is.
            gains.sort(key=lambda gain: gain[0])
            best = gains[0][2]
            together = self._with(best, _compatible([flip for _, flip, _ in gains])[1:])
            if together is not None and distance(together) < gains[0][0]:
                best = together
            left = distance(best)
        return best

    def _as_given_out(self, leg: Arrays, distance: Callable[[Run], int]) -> Run:
        """The decisions that the graph gives out are taken from there, as far as they are tied."""
        best = self._base
        for decision in self._prepared.decisions:
            name = self._behind.split.given_out.get(decision.index)
            own = self._own(decision, best)
            numbers = self._numbers_of(decision, best)
            if name is None or name not in leg or numbers is None or leg[name].size != own.size:
                continue
            taken, used = admitted(decision, own, leg[name].reshape(own.shape), numbers)
            if not used:
                continue
            trial = self._tried(
                {**best.overruled, decision.index: taken},
                {**best.used, decision.index: tuple(used)},
            )
            if trial is not None and distance(trial) < distance(best):
                best = trial
        return best

    def _single(self, run: Run, names: Sequence[str]) -> Iterator[Flip]:
        for decision in self._prepared.decisions:
            if self._behind.split.reach[decision.index].isdisjoint(names):
                continue
            yield from self._flips(decision, run)

    def _flips(self, decision: Decision, run: Run) -> list[Flip]:
        numbers = self._numbers_of(decision, run)
        return (numbers and tied(decision, self._own(decision, run), numbers)) or []

    def _own(self, decision: Decision, run: Run) -> Array:
        """Return the decision that a run takes by itself."""
        if decision.index in run.overruled:
            return run.overruled[decision.index]
        held = {**self._behind.between, **run.arrays}
        return held.get(decision.own, held.get(decision.name, self._exact[decision.own]))

    def _numbers_of(self, decision: Decision, run: Run) -> tuple[Numbers, ...] | None:
        """Return the numbers that a run decides by; None if their count is another one."""
        operands = []
        for place in decision.operands:
            name = decision.operand(place)
            base = self._numbers[name]
            before = self._behind.between.get(decision.read(place))
            array = run.arrays.get(name, before)
            if array is None:
                operands.append(base)
                continue
            # The same in another session, whose last bits may be others.
            values = array.astype(np.float64)
            if values.shape != base.values.shape:
                return None
            same = np.array_equal(values, base.values, equal_nan=True)
            operands.append(base if same else Numbers(values, base.allowed, base.erring))
        return tuple(operands)

    def _with(self, run: Run, further: Sequence[Flip]) -> Run | None:
        overruled, used = dict(run.overruled), dict(run.used)
        for flip in further:
            number = flip.decision
            decision = self._prepared.decisions[number]
            array = np.array(self._own(decision, Run(overruled, used, run.arrays)))
            # Of a type of eight bits, numbers beyond its ends are wrapped, as a Cast does.
            array.flat[list(flip.at)] = np.asarray(flip.values).astype(array.dtype)
            overruled[number] = array
            used[number] = (*used.get(number, ()), flip)
        return self._tried(overruled, used)

    def _tried(
        self, overruled: Mapping[int, Array], used: Mapping[int, tuple[Flip, ...]]
    ) -> Run | None:
        self._left -= 1
        if self._left < 0:
            return None
        try:
            return self._behind.run(overruled, used)
        except TripointError:
            return None


def tied(decision: Decision, own: Array, by: tuple[Numbers, ...]) -> list[Flip] | None:
    """Flips to try; None if there are too many."""
    candidates = flips(decision, own, by, _MOST)
    if candidates is None or not promises(decision):
        return candidates
    # Where a rule decides, the other outcome is wrong.
    return [flip for flip in candidates if not flip.exact]


def _compatible(candidates: Sequence[Flip]) -> list[Flip]:
    """Flips that change no element twice, the earlier ones first."""
    taken: set[tuple[int, int]] = set()
    chosen = []
    for flip in candidates:
        places = {(flip.decision, at) for at in flip.at}
        if taken.isdisjoint(places):
            taken |= places
            chosen.append(flip)
    return chosen
