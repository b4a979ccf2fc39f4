"""The two kinds of places that hold a size, and where a rule stands when it is asked for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from tripoint.graph import subgraphs


@dataclass(frozen=True, slots=True)
class Axis:
    """The size of one axis of a tensor."""

    value: ir.Value
    index: int


@dataclass(frozen=True, slots=True)
class Element:
    """One value in a tensor that holds sizes; of a scalar, number 0."""

    value: ir.Value
    index: int


SizeRef = Axis | Element
Places = list[SizeRef] | None
"""The places that decide one; None if the operator may use any size of any input."""


class Known(Protocol):
    """Graph around a node, as far as a rule may ask of it; implemented by :class:`~.walk.Sizes`."""

    def constant(self, place: SizeRef) -> int | None:
        """Return the value of an element that is a constant or a copy of one."""

    def integers(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """Return the elements of a short constant of integers."""

    def rank(self, value: ir.Value | None) -> int | None:
        """Return the number of axes, None if it is unknown."""

    def length(self, value: ir.Value | None) -> int | None:
        """Return the number of elements of a scalar or short vector, None for other tensors."""

    def elements(self, values: Iterable[ir.Value | None]) -> Iterator[SizeRef]:
        """Yield all elements of those tensors that may hold sizes."""

    def axes(self, values: Iterable[ir.Value | None]) -> Iterator[SizeRef]:
        """Yield all axes of tensors."""


@dataclass(frozen=True, slots=True)
class Site:
    """An output of a node, and the axis or element of it that is asked for.

    Args:
        sizes: The graph around it.
        node: The node.
        output: One of its outputs.
        index: Number of the axis or element.
    """

    sizes: Known
    node: ir.Node
    output: ir.Value
    index: int

    @property
    def position(self) -> int:
        """Return the index of the output of the node."""
        return self.output.index() or 0

    @property
    def bodies(self) -> list[ir.Graph]:
        """The graphs inside the node."""
        return subgraphs.graphs_of(self.node)

    def input(self, position: int) -> ir.Value | None:
        """An input, None where the node has none."""
        return self.node.inputs[position] if 0 <= position < len(self.node.inputs) else None

    def rank(self, position: int | None = None) -> int | None:
        """Rank of an input, or of the output."""
        return self.sizes.rank(self.output if position is None else self.input(position))

    def axis_of(self, position: int, index: int) -> list[SizeRef]:
        """An axis of an input, if there is that input."""
        value = self.input(position)
        return [Axis(value, index)] if value is not None else []

    def element_of(self, position: int, index: int) -> list[SizeRef]:
        """An element of an input, if there is that input."""
        value = self.input(position)
        return [Element(value, index)] if value is not None else []

    def integer(self, attribute: str, default: int) -> int:
        """An attribute that is an integer."""
        number = self.node.attributes.get_int(attribute, default)
        return default if number is None else number


def positive(index: int, count: int) -> int:
    """An index counted from the front."""
    return index + count if index < 0 else index
