"""Outputs that differ because numbers were tied, told from those that differ for another reason.

Where two legs differ and the graph decides by numbers that rounding may order either way
(:mod:`tripoint.tolerance.decisions`), the part of the graph behind the decisions is run again with
other outcomes, each tied with the one that was taken (:mod:`tripoint.parity.flips`), until it gives
what a leg gave. Elements that those flips changed are then compared with what the graph gives with
them, and all others as ever: a flip excuses nothing that it does not touch, and what it touches has
to be what it makes of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tripoint.errors import TripointError
from tripoint.numeric.inputs import Arrays
from tripoint.parity.apart import apart
from tripoint.parity.apart import distance as distance_of
from tripoint.parity.flip_search import Allowed, Behind, Run, Search, tied
from tripoint.parity.flips import Flip, Numbers, promises, rule_of
from tripoint.parity.split import Split
from tripoint.tolerance.decisions import Decision, Prepared
from tripoint.tolerance.derivation import Chain, Products, Tolerance, chains, derive, lift
from tripoint.tolerance.measure import is_exact
from tripoint.tolerance.sensitivity import Measured, Sensitivity

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Tie:
    """Effect of ties on an output.

    Args:
        count: Elements that differ because of ties; of another number of elements, all of these.
        said: What is said of them.
        rule: Whether it differs all the same: no rounding, but a rule for equal numbers chose.
    """

    count: int
    said: str
    rule: bool


@dataclass(frozen=True)
class Settled:
    """The outputs of a reference with the flips in them that the other leg has.

    Args:
        reference: Array by output name.
        ties: By name of the outputs that flips change.
    """

    reference: Arrays
    ties: Mapping[str, Tie]


class Ties:
    """The decisions of one graph.

    Args:
        sensitivity: The graph, and what errors do to it.
    """

    def __init__(self, sensitivity: Sensitivity) -> None:
        self._sensitivity = sensitivity
        self._prepared = sensitivity.prepared

    @property
    def any(self) -> bool:
        """Return whether the graph decides anything."""
        return bool(self._prepared.decisions)

    def at(
        self, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> tuple[Mapping[str, Array], Point | None]:
        """Return the movement of the outputs by errors, and the decisions, at one set of inputs.

        Decisions are held while that is measured, unless they have more ties than can be tried.

        Args:
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.

        Returns:
            No decisions if there are none, or the graph does not run.
        """
        measured = self._sensitivity.measure(inputs, bindings, products)
        if measured is None:
            return {}, None
        point = None
        if self.any:
            numbers = self._numbers(bindings, products, measured)
            many = {
                each.index for each in self._prepared.decisions if _many(each, measured, numbers)
            }
            if many:
                free = self._sensitivity.measure(inputs, bindings, products, free=many)
                measured = free or measured
                numbers = self._numbers(bindings, products, measured)
            point = Point(self._prepared, lambda: self._behind(inputs), measured.exact, numbers)
        moved = {n: measured.moved[n] for n in self._prepared.outputs if n in measured.moved}
        return moved, point

    def _behind(self, inputs: Arrays) -> Behind | None:
        """Return the graph downstream of the decisions; None if the graph does not run in parts."""
        if self._split is None:
            return None
        try:
            between = self._split.before(inputs)
            tail = self._split.behind(between)
            return Behind(self._prepared, self._split, tail, between)
        except TripointError:
            return None

    def _numbers(
        self, bindings: Mapping[str, int], products: Products, measured: Measured
    ) -> dict[str, Numbers]:
        behind = chains(self._prepared.model, bindings, products=products)
        numbers = {}
        for decision in self._prepared.decisions:
            for place in decision.operands:
                name = decision.operand(place)
                array = measured.exact[name]
                allowed = _allowed(behind[name], array, products, measured.moved.get(name))
                values, erring = (
                    each.astype(np.float64) for each in (array, measured.erring[name])
                )
                # What errors move is rounded, and may be equal in one leg only.
                erring = np.where(erring == values, erring, np.nan)
                numbers[name] = Numbers(values, allowed, erring)
        return numbers

    @functools.cached_property
    def _split(self) -> Split | None:
        return Split.of(self._prepared)


def _allowed(chain: Chain, array: Array, products: Products, moved: Array | None) -> Array:
    """Return the allowed error of each operand: zero where both legs have the same bits."""
    if is_exact(array.dtype) or not chain.variance:
        return np.zeros(array.shape)
    tolerance = lift(derive(chain, array, products=products), moved)
    size = np.abs(array.astype(np.float64))
    allowed: Array = np.broadcast_to(tolerance.absolute, array.shape) + tolerance.rtol * size
    return allowed


def _many(decision: Decision, measured: Measured, numbers: Mapping[str, Numbers]) -> bool:
    """Return whether there are more ties than can be tried, so that their effect is measured."""
    by = tuple(numbers[decision.operand(place)] for place in decision.operands)
    return tied(decision, measured.exact[decision.own], by) is None


class Point:
    """The decisions of a graph at one set of inputs.

    Args:
        prepared: The graph.
        start: Makes what is behind the decisions ready to run.
        exact: What is decided, among others, by name.
        numbers: By what it is decided, by name.
    """

    def __init__(
        self,
        prepared: Prepared,
        start: Callable[[], Behind | None],
        exact: Arrays,
        numbers: Mapping[str, Numbers],
    ) -> None:
        self._prepared = prepared
        self._start = start
        self._exact = exact
        self._numbers = numbers

    @functools.cached_property
    def _behind(self) -> Behind | None:
        return self._start()

    def settle(
        self, reference: Arrays, other: Arrays, allowed: Allowed, wrong: Sequence[str]
    ) -> Settled | None:
        """The reference with the flips in it that the other leg has.

        Args:
            reference: Array by output name.
            other: Array by output name.
            allowed: What to allow for outputs of the graph.
            wrong: Outputs that differ.

        Returns:
            None if flips explain nothing of it.
        """
        behind = self._behind
        base = behind.base() if behind is not None else None
        if behind is None or base is None:
            return None
        # Outputs that agree tell as much of what was decided as those that differ.
        names = [
            name
            for name in self._prepared.outputs
            if name in base.arrays and name in reference and name in other
        ]
        if not set(names) & set(wrong):
            return None
        ours, theirs = (
            Search(behind, base, self._exact, self._numbers).nearest(leg, allowed, names)
            for leg in (reference, other)
        )
        settled, ties = dict(reference), {}
        for name in names:
            before, after = ours.arrays[name], theirs.arrays[name]
            if before.shape == after.shape and np.array_equal(before, after, equal_nan=True):
                continue
            spread = allowed({name: before})[name]
            if before.shape == after.shape == reference[name].shape:
                changed = apart(before, after, Tolerance(0.0, 0.0, ""))
                if (apart(before, reference[name], spread) & changed).any():
                    continue
                beyond = apart(before, after, spread)
                settled[name] = np.where(beyond, after, reference[name])
                count = int(np.count_nonzero(beyond))
            else:
                if distance_of(before, reference[name], spread):
                    continue
                settled[name] = after
                count = distance_of(before, after, spread)
            if count:
                ties[name] = self._told(name, behind.split, ours, theirs, reference[name], count)
        return Settled(settled, ties) if ties else None

    def _told(
        self, name: str, split: Split, ours: Run, theirs: Run, array: Array, count: int
    ) -> Tie:
        """Return the note on ties of an output."""
        reached = [
            (decision, flip)
            for decision in self._prepared.decisions
            if name in split.reach[decision.index]
            for flip in _in_one(ours, theirs, decision.index)
        ]
        exact = [decision for decision, flip in reached if flip.exact]
        rule = any(promises(decision) for decision in exact) or (
            bool(exact) and is_exact(array.dtype)
        )
        kind = "indices" if array.dtype.kind in "iu" else "elements"
        texts = []
        rounded = [(decision, flip) for decision, flip in reached if not flip.exact]
        if rounded:
            gap = max(flip.gap for _, flip in rounded)
            operators = dict.fromkeys(decision.node.op_type for decision, _ in rounded)
            texts.append(
                f"{count} of {array.size} {kind} differ, where values at {' and '.join(operators)} "
                f"are tied ({f'within {gap:.1g}' if gap else 'equal after rounding'})"
            )
        elif exact:
            texts.append(f"{count} of {array.size} {kind} differ")
        texts += dict.fromkeys(rule_of(decision) for decision in exact)
        return Tie(count, "; ".join(texts), rule)


def _in_one(ours: Run, theirs: Run, number: int) -> list[Flip]:
    """The flips of a decision that one leg has and the other has not."""
    ours_used, theirs_used = (set(run.used.get(number, ())) for run in (ours, theirs))
    return list(ours_used ^ theirs_used)
