"""Reason that a TensorRT loses a dimension that it could know, in one sentence.

What an importer's model says is taken as it is. Of a real parser only shapes are known, so its
reason is inferred from the graph: what the size operand is computed from, and with what. Facts
about the core were measured with TensorRT-RTX 1.6.1, on graphs that
``tests/analysis/test_origins.py`` repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.analysis.losses import computed
from tripoint.analysis.size_flow import Axis, Element, Sizes
from tripoint.analysis.size_flow.elements import CONSTANT, COPYING
from tripoint.analysis.size_flow.places import SizeRef
from tripoint.graph.names import node_name
from tripoint.graph.ops import COUNTING, ELEMENTWISE, READS_SIZES, size_operands
from tripoint.symbols import Dim
from tripoint.table import TensorFacts

_NO_SIZES = frozenset({"CumSum", "TopK", "ScatterElements", "ScatterND", "Einsum"})
"""Operators whose layers give no size, even of constants (TensorRT-RTX 1.6.1)."""

_INTEGER = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max", *READS_SIZES, *COPYING})
"""Operators that every TensorRT which evaluates size operands can compute sizes with."""

_READING = frozenset({*COPYING, "Shape"})
"""Operators whose output elements are sizes, read or moved."""

_BROADCASTING = ELEMENTWISE | {"MatMul"}

_COPIES = 64
"""Copies of an element that are followed."""

_NAMED = 3
"""Axes that a sentence names."""


@dataclass(frozen=True, slots=True)
class _Made:
    """Origin of an element of a size operand, as far as it is known.

    Args:
        unable: The nearest node with which no size can be computed.
        values: A tensor whose values, not sizes, it depends on.
        measured: Some axes known only at run time that it depends on.
        computing: The nearest node that does arithmetic.
        odd: The nearest node that not every TensorRT can compute sizes with.
    """

    unable: ir.Node | None = None
    values: ir.Value | None = None
    measured: tuple[SizeRef, ...] = ()
    computing: ir.Node | None = None
    odd: ir.Node | None = None


def _merged(parts: Sequence[_Made]) -> _Made:
    return _Made(
        unable=next((part.unable for part in parts if part.unable is not None), None),
        values=next((part.values for part in parts if part.values is not None), None),
        measured=tuple(dict.fromkeys(axis for part in parts for axis in part.measured))[
            : _NAMED + 1
        ],
        computing=next((part.computing for part in parts if part.computing is not None), None),
        odd=next((part.odd for part in parts if part.odd is not None), None),
    )


@dataclass(frozen=True)
class Mechanisms:
    """Explains the lost axes at which a loss starts.

    Args:
        sizes: Where the sizes of the graph come from.
        facts: Facts by tensor.
        version: How to call the target in a sentence.
        folds: Whether it evaluates size operands while the network is built.
    """

    sizes: Sizes
    facts: Mapping[ir.Value, TensorFacts]
    version: str
    folds: bool
    _births: dict[SizeRef, SizeRef] = field(default_factory=dict)
    _inputs: dict[Dim, SizeRef] = field(default_factory=dict)
    _elements: dict[SizeRef, _Made] = field(default_factory=dict)

    def reason(self, axis: Axis) -> str:
        """Return one sentence about a lost axis whose loss starts there."""
        node = axis.value.producer()
        if node is None:
            return f"{self.version} takes the size of this input for one that varies"
        operand = size_operand(node)
        if operand is not None and not self.folds:
            return self._not_folded(operand)
        if node.op_type == "Reshape" and operand is not None and self._is_wildcard(node, axis):
            return self._wildcard(axis, operand)
        sources = self.sizes.sources(axis)
        elements = [
            each
            for each in sources
            if isinstance(each, Element) and self.sizes.constant(each) is None
        ]
        if elements:
            return self._operand(elements)
        if node.op_type in COUNTING:
            read = self.name(node.inputs[0])
            return f"the values of `{read}` decide this size, and {self.version} reads none"
        running = [each for each in sources if self.is_running(each)]
        if node.op_type == "Slice" and running:
            return (
                f"its bounds are constants, but axis {running[0].index} of "
                f"`{self.name(running[0].value)}` is known only at run time, where it may end "
                f"before them, so that {self.version} gives this axis no size"
            )
        if node.op_type == "If":
            return f"the two branches do not give this axis one known size in {self.version}"
        if running:
            return (
                f"{self.version} does not work out the size of axis {axis.index} from "
                f"{self._listed(running)}, known only at run time"
            )
        return f"{self.version} does not derive the size of axis {axis.index}"

    def is_running(self, place: SizeRef) -> bool:
        """Return whether TensorRT knows a size only at run time."""
        copied = self._copied(place)
        if isinstance(copied, Element):
            return self.sizes.constant(copied) is None
        facts = self.facts.get(copied.value)
        seen = facts.tensorrt if facts is not None else None
        return seen is not None and copied.index < len(seen) and seen[copied.index] == -1

    def name(self, value: ir.Value | None) -> str:
        """Return the table's name of a tensor."""
        if value is None:
            return ""
        facts = self.facts.get(value)
        return facts.name if facts is not None else value.name or ""

    def _is_wildcard(self, node: ir.Node, axis: Axis) -> bool:
        operand = node.inputs[1] if len(node.inputs) > 1 else None
        return operand is not None and self.sizes.constant(Element(operand, axis.index)) == -1

    def _not_folded(self, operand: ir.Value) -> str:
        producer = operand.producer()
        made_by = producer.op_type if producer is not None else "the caller"
        return (
            f"its size operand `{self.name(operand)}` is computed at run time by {made_by}, "
            f"and {self.version} does not fold it while the network is built"
        )

    def _wildcard(self, axis: Axis, operand: ir.Value) -> str:
        """A -1 among sizes that are known only at run time.

        TensorRT divides the volume by the other sizes as expressions, and they cancel only if
        they are the same expressions. A size that was broadcast from two, or cut out of a merged
        axis, is another one than that which a Shape read elsewhere.
        """
        node = axis.value.producer()
        data = node.inputs[0] if node is not None else None
        others = [
            each
            for each in self.sizes.elements([operand])
            if each.index != axis.index and self.is_running(each)
        ]
        text = (
            f"its size operand `{self.name(operand)}` has a -1 for axis {axis.index}, and "
            f"{self.version} does not cancel the sizes known only at run time when it divides "
            f"the volume of `{self.name(data)}` by the others"
        )
        births = {self._birth(each) for each in others}
        volume = [each for each in self.sizes.axes([data]) if self.is_running(each)]
        unlike = next((each for each in volume if self._birth(each) not in births), None)
        if unlike is None or not others:
            return text
        read = self._listed([self._copied(each) for each in others])
        origin = self._origin_text(self._first_unlike(unlike, births))
        return f"{text}: these read {read}, but axis {unlike.index} of it {origin}"

    def _first_unlike(self, place: SizeRef, births: set[SizeRef]) -> SizeRef:
        """The first node on the way to an axis that produces its size anew."""
        passed: set[SizeRef] = set()
        while place not in passed:
            passed.add(place)
            place = self._birth(place)
            place = next(
                (
                    each
                    for each in self._makers(place)
                    if self.is_running(each)
                    and self._birth(each) not in births
                    and self._same_size(place, each)
                ),
                place,
            )
        return place

    def _copied(self, place: SizeRef) -> SizeRef:
        """The axis that an element is a copy of, or the element at which it is computed."""
        for _ in range(_COPIES):
            node = place.value.producer()
            if isinstance(place, Axis) or node is None or node.op_type not in _READING:
                break
            sources = self.sizes.sources(place)
            if len(sources) != 1:
                break
            place = sources[0]
        return place

    def _birth(self, place: SizeRef) -> SizeRef:
        """The place at which a size that is known only at run time is not yet a mere copy."""
        births = self._births
        pending, entered = [place], set[SizeRef]()
        while pending:
            current = pending[-1]
            running = [each for each in self._makers(current) if self.is_running(each)]
            if current not in entered and current not in births:
                entered.add(current)
                pending.extend(e for e in running if e not in births and e not in entered)
                continue
            pending.pop()
            if current in births:
                continue
            below = {births.get(each, each) for each in running}
            copies = len(below) == 1 and all(self._same_size(current, each) for each in running)
            births[current] = below.pop() if copies else self._input_axis(current)
        return births[place]

    def _makers(self, place: SizeRef) -> list[SizeRef]:
        """Places whose sizes TensorRT may put together into the one of a place.

        That of a Reshape is what its operand says only if the volume is, too.
        """
        node = place.value.producer()
        sources = self.sizes.sources(place)
        by_operand = isinstance(place, Axis) and all(isinstance(each, Element) for each in sources)
        if node is None or node.op_type != "Reshape" or not by_operand:
            return sources
        said = {self._copied(each) for each in self.sizes.elements(node.inputs[1:2])}
        true = {self._true(each) for each in said}
        merged = (each for each in self.sizes.axes(node.inputs[:1]) if self.is_running(each))
        return [*sources, *(each for each in merged if self._true(each) not in true)]

    def _true(self, place: SizeRef) -> Dim | None:
        shape = self.sizes.shape(place.value)
        if isinstance(place, Element) or shape is None or place.index >= len(shape):
            return None
        return shape[place.index]

    def _same_size(self, place: SizeRef, source: SizeRef) -> bool:
        if isinstance(place, Element):
            node = place.value.producer()
            return node is not None and node.op_type in _READING
        true = self._true(self._copied(source))
        return true is not None and true == self._true(place)

    def _input_axis(self, place: SizeRef) -> SizeRef:
        """Inputs whose dims have one name have one size, in TensorRT as well."""
        shape = self.sizes.shape(place.value)
        if place.value.producer() is not None or isinstance(place, Element) or shape is None:
            return place
        return self._inputs.setdefault(shape[place.index], place)

    def _origin_text(self, birth: SizeRef) -> str:
        node = birth.value.producer()
        if node is None:
            return f"is axis {birth.index} of the input `{self.name(birth.value)}`"
        running = [each for each in self._makers(birth) if self.is_running(each)]
        by = f"{node.op_type} `{node_name(node)}`"
        if not running:
            return f"is made by {by}"
        axes = all(isinstance(each, Axis) for each in running)
        broadcast = len(running) > 1 and axes and node.op_type in _BROADCASTING
        return f"is {'broadcast' if broadcast else 'made'} by {by} from {self._listed(running)}"

    def _operand(self, elements: Sequence[SizeRef]) -> str:
        """A size operand that is computed; what of it is known decides the sentence."""
        operand = self.name(elements[0].value)
        merged = _merged([self._made_from(each) for each in elements])
        if merged.unable is not None:
            return (
                f"its size operand `{operand}` passes through {merged.unable.op_type} "
                f"`{node_name(merged.unable)}`, with which {self.version} computes no sizes"
            )
        if merged.values is not None:
            return (
                f"its size operand `{operand}` depends on the values of "
                f"`{self.name(merged.values)}`, which are not known while the network is built"
            )
        if merged.measured:
            node = merged.computing
            by = f" by {node.op_type} `{node_name(node)}`" if node is not None else ""
            return (
                f"its size operand `{operand}` is computed{by} from "
                f"{self._listed(merged.measured)}, known only at run time, and {self.version} does "
                "not find that the result is always the same"
            )
        if merged.odd is not None:
            return (
                f"its size operand `{operand}` is computed by {merged.odd.op_type} "
                f"`{node_name(merged.odd)}`, which {self.version} does not fold while the network "
                "is built"
            )
        return self._not_folded(elements[0].value)

    def _made_from(self, place: SizeRef) -> _Made:
        """Return what an element is made from; each element of the graph is looked at once."""
        origins = self._elements
        pending, entered = [place], set[SizeRef]()
        while pending:
            current = pending[-1]
            if current in origins:
                pending.pop()
                continue
            if isinstance(current, Axis):
                origins[current] = _Made(measured=(current,) if self.is_running(current) else ())
                continue
            sources = [e for e in self.sizes.sources(current) if self.sizes.constant(e) is None]
            if current not in entered:
                entered.add(current)
                pending.extend(e for e in sources if e not in origins and e not in entered)
                continue
            own = self._own(current)
            origins[current] = _merged([own, *(origins[e] for e in sources if e in origins)])
        return origins[place]

    def _own(self, element: Element) -> _Made:
        node = element.value.producer()
        if node is None:
            return _Made(values=element.value)
        values = None
        if node.op_type not in CONSTANT and not self.sizes.sources(element):
            values = next((v for v in node.inputs if self.sizes.integers(v) is None and v), None)
        return _Made(
            unable=node if node.op_type in _NO_SIZES else None,
            values=values,
            computing=node if node.op_type not in _READING else None,
            odd=node if node.op_type not in _INTEGER else None,
        )

    def _listed(self, places: Sequence[SizeRef]) -> str:
        named = list(
            dict.fromkeys(
                f"{'axis' if isinstance(each, Axis) else 'element'} {each.index} of "
                f"`{self.name(each.value)}`"
                for each in places
            )
        )
        return " and ".join(named[:_NAMED]) + (" and others" if len(named) > _NAMED else "")


def size_operand(node: ir.Node) -> ir.Value | None:
    """The first size operand of a node that another node computes."""
    return next((value for value in size_operands(node) if computed(value)), None)
