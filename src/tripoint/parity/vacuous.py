"""Outputs that say nothing: the same number everywhere, at every point, whatever the inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.numeric.inputs import Arrays

_FEWEST = 16
"""Elements over all points below which integers may be the same by chance."""
_SIZES = frozenset({"Shape", "Size"})
"""What gives the sizes of a tensor, and none of its values."""


@dataclass
class Watch:
    """Which outputs hold one number only, over all points.

    Args:
        model: The graph.
    """

    model: ir.Model
    _seen: dict[str, float | None] = field(default_factory=dict)
    _elements: dict[str, int] = field(default_factory=dict)
    _points: int = 0

    def add(self, outputs: Arrays) -> None:
        """Take in what one leg computes at a point."""
        self._points += 1
        for name, array in outputs.items():
            if not array.size or array.dtype.kind == "c":
                continue
            first = array.flat[0]
            same = bool((array == first).all())
            number = float(first) if same else None
            if name in self._seen and self._seen[name] != number:
                number = None
            self._seen[name] = number
            self._elements[name] = self._elements.get(name, 0) + array.size

    def found(self) -> dict[str, float]:
        """The number by name of the outputs that should vary and do not, of two points or more."""
        if self._points < 2:
            return {}
        same = {
            name: number
            for name, number in self._seen.items()
            if number is not None and self._elements[name] >= _FEWEST
        }
        if not same:
            return {}
        moving = _moved_by_values(self.model)
        return {name: number for name, number in same.items() if name in moving}


def _moved_by_values(model: ir.Model) -> set[str]:
    """Names of the outputs that depend on the values of an input, not on its sizes alone."""
    graph = model.graph
    moving = {value for value in graph.inputs if value.name not in graph.initializers}
    for node in graph:
        if node.op_type in _SIZES:
            continue
        read = list(node.inputs)
        for attribute in node.attributes.values():
            # What a branch reads from around it; its nodes are few.
            if attribute.type == ir.AttributeType.GRAPH:
                read += [
                    value for inner in attribute.as_graph().all_nodes() for value in inner.inputs
                ]
        if any(value in moving for value in read if value is not None):
            moving.update(node.outputs)
    return {value.name or "" for value in graph.outputs if value in moving}


def told(name: str, number: float) -> str:
    """The reason why nothing is proven of an output."""
    return (
        f"output {name} is vacuous: every element is {number:g} at all points, so that the legs "
        "agree says nothing; give other inputs with --inputs or --values"
    )
