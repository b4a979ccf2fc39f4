"""Origin of a loss, its reason and its reach."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from tripoint.analysis.loss_reasons import Mechanisms, size_operand
from tripoint.analysis.losses import Losses, Rules, computed
from tripoint.analysis.size_flow import Axis, Element, Sizes
from tripoint.analysis.size_flow.places import SizeRef
from tripoint.graph.names import node_name
from tripoint.graph.ops import READS_SIZES
from tripoint.graph.source_lines import source_of
from tripoint.graph.subgraphs import graphs_of
from tripoint.shape_inference import roles, truth
from tripoint.symbols import symbols_of
from tripoint.table import Chain, Frozen, Reason, Refusal, Step, TensorFacts, format_shape

__all__ = ["Explainer", "format_shape"]

_LONGEST = 64
"""Steps that are followed upstream of a size operand."""

_MODELLED = "(modelled)"
"""End of a target that goes on after a node it refuses."""

_OLD = re.compile(r"TensorRT 7\.")
"""The core of TensorRT 7 evaluates no size operand while the network is built; that of 8.0 does
(logs of one model, read by 7.2 and 8.0)."""


@dataclass(frozen=True)
class Explainer:
    """Walks the graph between a lost dimension and its cause.

    Args:
        model: The graph.
        facts: Facts by tensor name.
        reasons: What the importer said about a tensor, where it said something.
        version: How to call the target in a sentence.
        refusals: Nodes that the target refused. A real parser stops at the first.
        frozen: Frozen sizes of the model.
    """

    model: ir.Model
    facts: Mapping[str, TensorFacts]
    reasons: Mapping[str, Reason]
    version: str
    refusals: tuple[Refusal, ...] = ()
    frozen: tuple[Frozen, ...] = ()

    def chains(self) -> tuple[Chain, ...]:
        """Return one chain for each origin, in graph order."""
        return tuple(
            self._lost_chain(value, start)
            for value, lost in self._lost.items()
            if (start := self._losses.starts(value, lost)) is not None
        )

    def chain(self, name: str) -> Chain:
        """The chain of one tensor, lost or not.

        Args:
            name: A tensor of the table.

        Raises:
            KeyError: If the graph has no such tensor.
        """
        value = self._named[name]
        lost = self._lost.get(value, ())
        if lost:
            start = self._losses.starts(value, lost) or Axis(value, lost[0])
            chain = self._lost_chain(value, start)
        elif value in self._misread:
            chain = self._misread_chain(value)
        else:
            chain = Chain(name, None, tuple(self._unlost(value)), ())
        nodes = {node_name(node): None for node in _made_from(value)}
        return dataclasses.replace(
            chain,
            node=next(iter(nodes), None),
            refusals=tuple(
                refusal for node in nodes for refusal in self.refusals if refusal.node == node
            ),
            frozen=tuple(entry for node in nodes for entry in self.frozen if entry.node == node)
            or tuple(entry for entry in self.frozen if entry.tensor == name),
        )

    # Shapes that are not the true ones

    @cached_property
    def _misread(self) -> dict[ir.Value, ir.Value | None]:
        """Return by tensor of an untrue shape its node's input that has one; None at a start."""
        untrue = {value for value, facts in self._facts.items() if facts.differs}
        sources: dict[ir.Value, ir.Value | None] = {}
        for value in untrue:
            node = value.producer()
            inputs = node.inputs if node is not None else ()
            sources[value] = next((each for each in inputs if each in untrue), None)
        return sources

    def _misread_path(self, value: ir.Value) -> list[ir.Value]:
        path = [value]
        while (above := self._misread.get(path[-1])) is not None:
            path.append(above)
        return path

    def _misread_chain(self, value: ir.Value) -> Chain:
        path = self._misread_path(value)
        start = path[-1]
        steps = [
            self._step(each, f"follows the shape of `{self._name(above)}`")
            for each, above in itertools.pairwise(path)
        ]
        node = start.producer()
        said = [
            refusal.reason
            for refusal in self.refusals
            if node is not None and refusal.node == node_name(node)
        ]
        facts = self._facts[start]
        other = f"{self.version} makes it {format_shape(facts.tensorrt)}"
        steps += [self._step(start, reason) for reason in said or [other]]
        outputs = (each for each in self.model.graph.outputs if each in self._misread)
        reached = [each for each in outputs if self._misread_path(each)[-1] is start]
        names = tuple(dict.fromkeys(map(self._name, reached)))
        return Chain(self._name(value), None, tuple(steps), names, misread=self._name(start))

    # The graph, once

    @cached_property
    def _named(self) -> dict[str, ir.Value]:
        return {name: value for value, name in truth.names(self.model).items()}

    @cached_property
    def _facts(self) -> dict[ir.Value, TensorFacts]:
        facts = self.facts
        return {value: facts[name] for name, value in self._named.items() if name in facts}

    @cached_property
    def _lost(self) -> dict[ir.Value, tuple[int, ...]]:
        return {value: facts.lost for value, facts in self._facts.items() if facts.lost}

    @cached_property
    def _sizes(self) -> Sizes:
        shapes = {value: facts.shape for value, facts in self._facts.items()}
        return Sizes.of(self.model.graph, shapes)

    @cached_property
    def _losses(self) -> Losses:
        named = self._named
        reasons = {named[name]: reason for name, reason in self.reasons.items() if name in named}
        tabulated = frozenset(self._facts)
        return Losses.of(Rules(self._sizes, self._lost, tabulated, reasons, named, self._folds))

    @cached_property
    def _folds(self) -> bool:
        return _OLD.match(self.version) is None

    @cached_property
    def _mechanisms(self) -> Mechanisms:
        return Mechanisms(self._sizes, self._facts, self.version, self._folds)

    @cached_property
    def _forced(self) -> Mapping[ir.Value, roles.Consumer]:
        return roles.forced(self.model)

    # Lost dimensions

    def _lost_chain(self, value: ir.Value, lost: Axis) -> Chain:
        path = self._losses.path(lost)
        start = path[-1]
        back = [
            self._step(place.value, self._taken_over(place, following))
            for place, following in itertools.pairwise(path)
        ]
        name = self._name(start.value)
        said = self.reasons.get(name)
        if said is not None or not isinstance(start, Axis):
            back.append(self._step(start.value, said.text if said is not None else ""))
        else:
            back.append(self._step(start.value, self._mechanisms.reason(start)))
        back.extend(self._behind(start))
        return Chain(self._name(value), name, tuple(back), self._reached(start.value))

    def _taken_over(self, place: SizeRef, following: SizeRef) -> str:
        name = self._name(following.value)
        if isinstance(place, Element):
            if isinstance(following, Axis):
                return f"reads axis {following.index} of `{name}`, which is unknown"
            return f"element {place.index} comes from element {following.index} of `{name}`"
        if isinstance(following, Element):
            return f"axis {place.index} has the size in element {following.index} of `{name}`"
        if place.index == following.index:
            return f"inherits the unknown dims of `{name}`"
        return f"axis {place.index} inherits the unknown axis {following.index} of `{name}`"

    def _behind(self, start: SizeRef) -> Iterator[Step]:
        """Yield steps from an origin's size operand back to the tensor whose size was read."""
        node = start.value.producer()
        operand = size_operand(node) if node is not None else None
        if operand is None:
            return
        place: SizeRef | None = self._computed_source(start, Element) or next(
            (each for each in self._sizes.elements([operand]) if self._is_computed(each)),
            Element(operand, 0),
        )
        for _ in range(_LONGEST):
            producer = place.value.producer() if place is not None else None
            if place is None or producer is None:
                return
            if producer.op_type in READS_SIZES:
                yield self._step(place.value, f"reads the sizes of {self._shaped(producer)}")
                return
            text = f"computes sizes at run time with {producer.op_type}"
            yield self._step(place.value, text)
            following = self._computed_source(place, Element)
            if following is None:
                inputs = (value for value in producer.inputs if value is not None)
                above = next((value for value in inputs if computed(value)), None)
                following = Element(above, 0) if above is not None else None
            place = following

    def _computed_source(self, place: SizeRef, kind: type[Element]) -> SizeRef | None:
        sources = (each for each in self._sizes.sources(place) if isinstance(each, kind))
        return next((each for each in sources if self._is_computed(each)), None)

    def _is_computed(self, place: SizeRef) -> bool:
        return computed(place.value) and self._sizes.constant(place) is None

    def _shaped(self, node: ir.Node) -> str:
        measured = node.inputs[0] if node.inputs else None
        facts = self._facts.get(measured) if measured is not None else None
        name = self._name(measured) if measured is not None else ""
        return f"`{name}` {format_shape(facts.shape if facts is not None else None)}"

    # How far

    @cached_property
    def _ends(self) -> Sequence[str]:
        lost = [value for value in self.model.graph.outputs if value in self._lost]
        return tuple(dict.fromkeys(self._name(value) for value in lost))

    @cached_property
    def _reach(self) -> Mapping[ir.Value, int]:
        bits: dict[SizeRef, int] = {
            Axis(self._named[name], index): 1 << number
            for number, name in enumerate(self._ends)
            for index in self._lost[self._named[name]]
        }
        reached: dict[ir.Value, int] = {}
        for place, ends in self._losses.reach(bits).items():
            reached[place.value] = reached.get(place.value, 0) | ends
        return reached

    def _reached(self, value: ir.Value) -> tuple[str, ...]:
        bits = self._reach.get(value, 0)
        return tuple(name for number, name in enumerate(self._ends) if bits >> number & 1)

    # Dimensions that are not lost

    def _unlost(self, value: ir.Value) -> Iterator[Step]:
        """Yield the reason that a tensor has symbols, is not seen, or is a shape tensor."""
        facts = self._facts.get(value)
        if facts is None:
            return
        if facts.tensorrt is None:
            yield self._step(value, self._unseen())
        told: set[str] = set()
        for axis, dim in enumerate(facts.shape or ()):
            for symbol in sorted(symbols_of(dim) - told):
                told.add(symbol)
                yield from self._followed(Axis(value, axis), dim, symbol)
        consumer = self._forced.get(value)
        if facts.role in ("shape", "both") and consumer is not None:
            node = consumer.node
            reads = f"{node.op_type} `{node_name(node)}` needs it as a size, in input"
            yield self._step(value, f"is a shape tensor: {reads} {consumer.position}")

    def _unseen(self) -> str:
        if not self.refusals or self.version.endswith(_MODELLED):
            return f"{self.version} does not say what it makes of this tensor"
        first = self.refusals[0]
        return f"is not reached, {first.op} `{first.node}` stopped the parser: {first.reason}"

    def _followed(self, place: SizeRef, dim: int | str, symbol: str) -> Iterator[Step]:
        """Yield steps from an axis back to the input or node that its symbol comes from.

        Tensors that only pass the size on are left out.
        """
        yield self._step(place.value, f"axis {place.index} is {dim}")
        seen: set[SizeRef] = {place}
        while places := self._further(place, symbol, seen):
            for element in places[:-1]:
                held = f"holds the size in element {element.index}"
                yield self._step(element.value, held)
            place = places[-1]
            if place.value.producer() is None:
                caller = f"is given by the caller: axis {place.index} is {self._dim(place)}"
                yield self._step(place.value, caller)
            elif self._dim(place) != dim:
                dim = self._dim(place)
                yield self._step(place.value, f"axis {place.index} is {dim}")
        if place.value.producer() is not None:
            yield self._step(place.value, f"decides {symbol} at run time, from values")

    def _further(self, place: SizeRef, symbol: str, seen: set[SizeRef]) -> list[SizeRef]:
        """The nearest axis that a symbol comes from, behind the elements on the way to it."""
        before: dict[SizeRef, SizeRef] = {}
        pending = deque([place])
        while pending:
            current = pending.popleft()
            for each in self._sizes.sources(current):
                if each in seen:
                    continue
                seen.add(each)
                before[each] = current
                if isinstance(each, Element):
                    pending.append(each)
                elif symbol in symbols_of(self._dim(each)):
                    path: list[SizeRef] = [each]
                    while (above := before[path[-1]]) is not place:
                        path.append(above)
                    return path[::-1]
        return []

    def _dim(self, place: SizeRef) -> int | str:
        shape = self._sizes.shape(place.value) or ()
        return shape[place.index] if place.index < len(shape) else "?"

    # Words

    def _name(self, value: ir.Value) -> str:
        facts = self._facts.get(value)
        return facts.name if facts is not None else value.name or ""

    def _step(self, value: ir.Value, reason: str) -> Step:
        node = value.producer()
        if node is None:
            return Step(self._name(value), None, None, reason)
        return Step(self._name(value), node_name(node), node.op_type, reason, source_of(node))


def _made_from(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that a tensor is made from, the nearest first, those of nested graphs too."""
    seen: set[ir.Node] = set()
    pending = deque([value])
    while pending:
        node = pending.popleft().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        pending.extend(each for each in node.inputs if each is not None)
        for graph in graphs_of(node):
            pending.extend(graph.outputs)
