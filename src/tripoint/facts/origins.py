"""Where a loss starts, why, and how far it reaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.facts import roles, truth
from tripoint.facts.table import Chain, Reason, Source, Step, TensorFacts
from tripoint.sources import lines

_LONGEST = 64
"""Steps that are followed behind a size operand."""

_SIZED_BY_OPERAND = frozenset({"Reshape", "Expand", "ConstantOfShape", "Range"})
"""Operators whose computed size operand decides all dims of the output."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Walks the graph between a lost dimension and its cause.

    Args:
        model: The graph.
        facts: Facts by tensor name.
        reasons: What the importer said about a tensor, where it said something.
        version: How to call the target in a sentence.
    """

    model: ir.Model
    facts: Mapping[str, TensorFacts]
    reasons: Mapping[str, Reason]
    version: str

    def chains(self) -> tuple[Chain, ...]:
        """One chain for each origin, in graph order."""
        reach = self._reach()
        return tuple(
            self._chain(value, reach)
            for node in self.model.graph.all_nodes()
            for value in node.outputs
            if self._is_lost(value) and self._inherited(value) is None
        )

    def chain(self, name: str) -> Chain:
        """The chain of one tensor, lost or not.

        Args:
            name: A tensor of the table.

        Raises:
            KeyError: If the graph has no such tensor.
        """
        by_name = {value.name or "": value for value in truth.values(self.model)}
        return self._chain(by_name[name], self._reach())

    def _is_lost(self, value: ir.Value) -> bool:
        facts = self.facts.get(value.name or "")
        return facts is not None and bool(facts.lost)

    def _inherited(self, value: ir.Value) -> ir.Value | None:
        """The lost input that a loss was taken over from; None if it starts here."""
        node = value.producer()
        if node is None:
            return None
        reason = self.reasons.get(value.name or "")
        if reason is not None:
            causes = [v for v in node.inputs if v is not None and v.name in reason.via]
        else:
            operands = [v for v in roles.size_operands(node) if _computed(v)]
            causes = [root for v in operands for root in _measured(v)]
            if not causes or node.op_type not in _SIZED_BY_OPERAND:
                causes += [v for v in node.inputs if v is not None]
        return next((cause for cause in causes if self._is_lost(cause)), None)

    def _chain(self, value: ir.Value, reach: Mapping[str, tuple[str, ...]]) -> Chain:
        name = value.name or ""
        if not self._is_lost(value):
            return Chain(name, None, (), ())
        back: list[Step] = []
        while (cause := self._inherited(value)) is not None:
            back.append(self._step(value, f"takes over the unknown dims of `{cause.name}`"))
            value = cause
        back.append(self._step(value, self._origin_reason(value)))
        back.extend(self._behind(value))
        return Chain(name, value.name or "", tuple(back), reach.get(value.name or "", ()))

    def _origin_reason(self, value: ir.Value) -> str:
        reason = self.reasons.get(value.name or "")
        if reason is not None:
            return reason.text
        node = value.producer()
        operand = _size_operand(node) if node is not None else None
        if operand is None:
            return f"{self.version} does not derive this shape"
        producer = operand.producer()
        made_by = producer.op_type if producer is not None else "the caller"
        return (
            f"its size operand `{operand.name}` is computed at run time by {made_by}, "
            f"and {self.version} does not fold it while the network is built"
        )

    def _behind(self, value: ir.Value) -> Iterable[Step]:
        """From the size operand of an origin back to the tensor whose size was read."""
        node = value.producer()
        if node is None:
            return
        following = _size_operand(node)
        for _ in range(_LONGEST):
            producer = following.producer() if following is not None else None
            if following is None or producer is None:
                return
            if producer.op_type in roles.READS_SIZES:
                measured = producer.inputs[0]
                name = measured.name if measured is not None else ""
                shape = self.facts[name or ""].shape if name in self.facts else None
                yield self._step(following, f"reads the sizes of `{name}` {format_shape(shape)}")
                return
            yield self._step(following, f"computes sizes at run time with {producer.op_type}")
            following = next((v for v in producer.inputs if v is not None and _computed(v)), None)

    def _step(self, value: ir.Value, reason: str) -> Step:
        node = value.producer()
        if node is None:
            return Step(value.name or "", None, None, reason)
        return Step(value.name or "", node_name(node), node.op_type, reason, source(node))

    def _reach(self) -> dict[str, tuple[str, ...]]:
        """Lost graph outputs downstream of each tensor, computed once from the end."""
        outputs = {value.name for value in self.model.graph.outputs}
        reach: dict[str, tuple[str, ...]] = {}
        for node in reversed(list(self.model.graph.all_nodes())):
            for value in node.outputs:
                if not self._is_lost(value):
                    continue
                found = dict.fromkeys([value.name or ""] if value.name in outputs else [])
                for consumer, _ in value.uses():
                    for output in consumer.outputs:
                        found.update(dict.fromkeys(reach.get(output.name or "", ())))
                reach[value.name or ""] = tuple(found)
        return reach


def node_name(node: ir.Node) -> str:
    """Name of a node, or that of its first output where it has none."""
    return node.name or (node.outputs[0].name if node.outputs else "") or ""


def source(node: ir.Node) -> Source | None:
    """PyTorch file and line of a node, if the export recorded them."""
    return lines.source_of(node)


def format_shape(shape: tuple[int | str, ...] | None) -> str:
    """A shape as it is printed in sentences: ``(N, 3, 224, 224)``, ``(?)`` if unknown."""
    if shape is None:
        return "(?)"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _size_operand(node: ir.Node) -> ir.Value | None:
    return next((value for value in roles.size_operands(node) if _computed(value)), None)


def _computed(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type != "Constant"


def _measured(value: ir.Value) -> list[ir.Value]:
    """Tensors whose sizes a size operand was computed from."""
    found: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        node = current.producer()
        if current in seen or node is None:
            continue
        seen.add(current)
        inputs = [v for v in node.inputs if v is not None]
        if node.op_type in roles.READS_SIZES:
            found.update(dict.fromkeys(inputs))
        else:
            pending.extend(inputs)
    return list(found)
