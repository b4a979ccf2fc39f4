"""Walk of the graph that asks the rule of a node where a place gets its size from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.analysis.size_flow.axes import AXES, BY_NOTHING
from tripoint.analysis.size_flow.elements import CONSTANT, COPYING, ELEMENTS, any_element
from tripoint.analysis.size_flow.places import Axis, Element, Places, Site, SizeRef
from tripoint.graph import subgraphs
from tripoint.graph.ops import COUNTING, size_operands
from tripoint.symbols import Shape

LONGEST = 64
"""Longest vector that is taken for a vector of sizes."""

_COPIES = 64
"""Copies that are followed to a constant."""


@dataclass(frozen=True)
class Sizes:
    """Says where the sizes of one graph come from.

    Args:
        shapes: True shape by tensor, as far as it is known.
        bodies: For each input of the subgraph of a Loop or Scan, the node and the input's position.
    """

    shapes: Mapping[ir.Value, Shape | None]
    bodies: Mapping[ir.Value, tuple[ir.Node, int]]
    _integers: dict[ir.Value, tuple[int, ...] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: ir.Graph, shapes: Mapping[ir.Value, Shape | None]) -> Sizes:
        """Return the sizes of all tensors of a graph and of the graphs inside it."""
        bodies = {
            value: (node, position)
            for node in graph.all_nodes()
            if node.op_type in ("Loop", "Scan")
            for body in subgraphs.graphs_of(node)
            for position, value in enumerate(body.inputs)
        }
        return cls(shapes, bodies)

    def sources(self, place: SizeRef) -> list[SizeRef]:
        """The places that decide this one directly; none for a constant or a graph input."""
        node = place.value.producer()
        if node is None:
            return self._body_input(place) if isinstance(place, Axis) else []
        at = Site(self, node, place.value, place.index)
        try:
            places = _of_axis(at) if isinstance(place, Axis) else self._of_element(at)
        except (TypeError, ValueError):
            places = None  # an attribute of another type than the operator has
        if places is None:
            places = list(self._any(node)) if isinstance(place, Axis) else any_element(at)
        return [each for each in places or () if self._exists(each)]

    def constant(self, place: SizeRef) -> int | None:
        """The value of an element that is a constant or a copy of one."""
        for _ in range(_COPIES):
            if not isinstance(place, Element):
                return None
            values = self.integers(place.value)
            if values is not None:
                return values[place.index] if 0 <= place.index < len(values) else None
            node = place.value.producer()
            sources = self.sources(place) if node and node.op_type in COPYING else []
            if len(sources) != 1:
                return None
            place = sources[0]
        return None

    def integers(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """The elements of a short constant of integers."""
        if value is None:
            return None
        if value not in self._integers:
            self._integers[value] = _read(value)
        return self._integers[value]

    def rank(self, value: ir.Value | None) -> int | None:
        """Number of axes, None if it is not known."""
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def shape(self, value: ir.Value | None) -> Shape | None:
        """True shape, None if it is not known."""
        if value is None:
            return None
        shape = self.shapes.get(value)
        if shape is None and value.const_value is not None:
            return tuple(size for size in value.const_value.shape if isinstance(size, int))
        return shape

    def length(self, value: ir.Value | None) -> int | None:
        """Number of elements of a scalar or of a short vector, None for other tensors."""
        shape = self.shape(value)
        if shape == ():
            return 1
        if shape is None or len(shape) != 1:
            return None
        (size,) = shape
        return size if isinstance(size, int) and size <= LONGEST else None

    def elements(self, values: Iterable[ir.Value | None]) -> Iterator[SizeRef]:
        """All elements of those tensors that may hold sizes."""
        for value in values:
            if value is not None:
                yield from (Element(value, index) for index in range(self.length(value) or 0))

    def axes(self, values: Iterable[ir.Value | None]) -> Iterator[SizeRef]:
        """All axes of tensors."""
        for value in values:
            if value is not None:
                yield from (Axis(value, index) for index in range(self.rank(value) or 0))

    def _of_element(self, at: Site) -> Places:
        if at.node.op_type in CONSTANT or self.integers(at.output) is not None:
            return []
        rule = ELEMENTS.get(at.node.op_type) if _standard(at.node) else None
        return rule(at) if rule else None

    def _any(self, node: ir.Node) -> Iterator[SizeRef]:
        operands = size_operands(node)
        yield from self.axes(value for value in node.inputs if value not in operands)
        yield from self.elements(operands)

    def _exists(self, place: SizeRef) -> bool:
        count = self.rank(place.value) if isinstance(place, Axis) else self.length(place.value)
        return count is None or 0 <= place.index < count

    def _body_input(self, place: Axis) -> list[SizeRef]:
        """Return what a Loop or Scan passes to its subgraph for an input."""
        node, position = self.bodies.get(place.value, (None, 0))
        if node is None or position >= len(node.inputs):
            return []
        source, index = node.inputs[position], place.index
        if node.op_type == "Scan":
            states = len(node.inputs) - (node.attributes.get_int("num_scan_inputs", 0) or 0)
            index += position >= states  # each step sees one slice
        elif position < 2:
            return []
        return [Axis(source, index)] if source is not None else []


def _standard(node: ir.Node) -> bool:
    return node.domain in ("", "ai.onnx")


def _of_axis(at: Site) -> Places:
    if not _standard(at.node):
        return None
    if at.node.op_type in COUNTING or at.node.op_type in BY_NOTHING:
        return []
    rule = AXES.get(at.node.op_type)
    return rule(at) if rule else None


def _read(value: ir.Value) -> tuple[int, ...] | None:
    node = value.producer()
    tensor = value.const_value
    try:
        if node is not None and node.op_type == "Constant":
            # Not through onnx-ir's helper, which writes names into the tensors that it reads.
            if "value_int" in node.attributes:
                return (node.attributes["value_int"].as_int(),)
            if "value_ints" in node.attributes:
                return tuple(node.attributes["value_ints"].as_ints())
            tensor = node.attributes.get_tensor("value")
        if tensor is None or tensor.size > LONGEST or not tensor.dtype.is_integer():
            return None
        return tuple(int(element) for element in tensor.numpy().ravel())
    except (OSError, TypeError, ValueError):
        return None  # external data that is not there, or an attribute of another type
