"""Lost dimensions from which others inherit their loss, and those at which a loss starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.analysis.size_flow import Axis, Element, Sizes
from tripoint.analysis.size_flow.places import SizeRef
from tripoint.graph.ops import size_operands
from tripoint.table import Reason

_SIZED_BY_OPERAND = frozenset({"Reshape", "Expand", "ConstantOfShape", "Range"})
"""Operators whose computed size operand decides all dims of the output."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of how the losses of one table spread.

    Args:
        sizes: Where the sizes of the graph come from.
        lost: Lost axes by tensor, in graph order; tensors without a loss may be absent.
        tabulated: Tensors that the table has; a loss goes through others unseen.
        reasons: What an importer said about a tensor, where it said something.
        named: Tensors by name.
        folds: Whether this TensorRT evaluates size operands while the network is built. If not,
            a computed size operand starts a loss whatever it was computed from.
    """

    sizes: Sizes
    lost: Mapping[ir.Value, tuple[int, ...]]
    tabulated: frozenset[ir.Value]
    reasons: Mapping[ir.Value, Reason]
    named: Mapping[str, ir.Value]
    folds: bool

    def is_lost(self, place: SizeRef) -> bool:
        """Return whether a place is a lost axis."""
        return isinstance(place, Axis) and place.index in self.lost.get(place.value, ())

    def sources(self, place: SizeRef) -> list[SizeRef]:
        """The lost axes that a place gets its size from, and places on the way to them."""
        return [each for each in self.sizes.sources(place) if self._passes(each)]

    def causes(self, place: SizeRef, sources: list[SizeRef]) -> list[SizeRef]:
        """Places without whose loss this one would not be lost.

        Args:
            place: The place.
            sources: As :meth:`sources` gives them.
        """
        if not self.is_lost(place):
            return sources
        reason = self.reasons.get(place.value)
        if reason is not None:
            via = [self.named[name] for name in reason.via if name in self.named]
            return [each for each in sources if each.value in via] or self._lost_axes(via)
        node = place.value.producer()
        if self.folds or node is None:
            return sources
        if node.op_type in _SIZED_BY_OPERAND and any(map(computed, size_operands(node))):
            return []
        return sources or self._lost_axes(value for value in node.inputs if value is not None)

    def _passes(self, place: SizeRef) -> bool:
        if isinstance(place, Element):
            return self.folds and self.sizes.constant(place) is None
        return self.is_lost(place) or place.value not in self.tabulated

    def _lost_axes(self, values: Iterable[ir.Value]) -> list[SizeRef]:
        return [Axis(value, index) for value in values for index in self.lost.get(value, ())]


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one table.

    Args:
        leads: For each place that a loss came through the next one on the way to where it
            starts; None for a lost axis at which it starts.
        feeds: All places that a loss came from to a place, whether it needed them or not.
    """

    leads: Mapping[SizeRef, SizeRef | None]
    feeds: Mapping[SizeRef, Sequence[SizeRef]]

    @classmethod
    def of(cls, rules: Rules) -> Losses:
        """Follow all losses; the time is linear in the places that they go through."""
        leads: dict[SizeRef, SizeRef | None] = {}
        feeds: dict[SizeRef, list[SizeRef]] = {}
        causes: dict[SizeRef, list[SizeRef]] = {}

        def pass_on(places: list[SizeRef]) -> list[SizeRef]:
            # What is not in leads yet is part of a cycle.
            return [
                each
                for each in places
                if each in leads and (rules.is_lost(each) or leads[each] is not None)
            ]

        for value, axes in rules.lost.items():
            pending: list[SizeRef] = [Axis(value, index) for index in axes]
            while pending:
                place = pending[-1]
                if place not in feeds:
                    sources = rules.sources(place)
                    causes[place] = rules.causes(place, sources)
                    feeds[place] = list(dict.fromkeys(causes[place] + sources))
                    pending.extend(each for each in feeds[place] if each not in feeds)
                    continue
                pending.pop()
                if place not in leads:
                    feeds[place] = pass_on(feeds[place])
                    leads[place] = next(iter(pass_on(causes.pop(place))), None)
        return cls(leads, feeds)

    def starts(self, value: ir.Value, lost: Sequence[int]) -> Axis | None:
        """The first lost axis of a tensor at which a loss starts."""
        axes = (Axis(value, index) for index in lost)
        return next((axis for axis in axes if self.leads.get(axis) is None), None)

    def path(self, place: SizeRef) -> list[SizeRef]:
        """Return the path from a lost axis to the one at which its loss starts."""
        places = [place]
        while (following := self.leads.get(places[-1])) is not None:
            places.append(following)
        return places

    def reach(self, ends: Mapping[SizeRef, int]) -> dict[SizeRef, int]:
        """Return the ends that a loss goes to from each place.

        Args:
            ends: One bit for each end.

        Returns:
            By place the bits of the ends that it passes its loss on to.
        """
        reached = dict(ends)
        # Places were left in an order in which each comes after those that feed it.
        for place in reversed(list(self.leads)):
            bits = reached.get(place, 0)
            if bits:
                for each in self.feeds[place]:
                    reached[each] = reached.get(each, 0) | bits
        return reached


def computed(value: ir.Value) -> bool:
    """Return whether a tensor is produced by a node, and not by a Constant."""
    node = value.producer()
    return node is not None and node.op_type != "Constant"
