"""A graph in ONNX Runtime, run slice by slice so that few tensors are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.subgraphs import read_by
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.locate.legs import Fusion, Named
from tripoint.parity.locate.tensor_cache import Shelf


class OnnxRuntime:
    """Runs a graph as it is written.

    Args:
        graph: The graph.
        name: How reports call this leg.
        limit: Tensors to have in memory at a time. What the nodes behind a slice still read
            is moved to files where it exceeds this.
    """

    device = "cpu"
    tf32 = False
    replays: int | None = None

    def __init__(self, graph: Graph, *, name: str, limit: int) -> None:
        self.graph = graph
        self.name = name
        self.notes: list[str] = []
        self._limit = max(2, limit)

    @property
    def version(self) -> str:
        """Version of ONNX Runtime."""
        import onnxruntime

        return str(onnxruntime.__version__)

    def on(self, graph: Graph) -> OnnxRuntime:
        """The same leg on another graph."""
        return OnnxRuntime(graph, name=self.name, limit=self._limit)

    def values(self, tensors: Sequence[str], feed: Arrays) -> Named:
        """Compute tensors, one slice of the graph after the other.

        Raises:
            ExternalStepError: If ONNX Runtime cannot load or run a slice.
        """
        constants = self.graph.constants
        yield from ((name, constants[name].numpy()) for name in tensors if name in constants)
        wanted = {name for name in tensors if name in self.graph.values}
        with Shelf(self._limit) as shelf:
            for value in self.graph.inputs:
                shelf.put(value.name or "", feed[value.name or ""])
                if value.name in wanted:
                    yield value.name, feed[value.name]
            plan = _Plan(self.graph, wanted, self._limit // 2)
            for part in plan.slices():
                fed = {name: shelf.get(name) for name in _names(part.inputs)}
                arrays = run(self.graph, part, fed, self.notes)
                del fed
                for name in plan.read_last_by(part):
                    shelf.drop(name)
                for value in part.outputs:
                    name = value.name or ""
                    array = arrays.pop(name)
                    if plan.is_read_behind(value, part):
                        shelf.put(name, array)
                    if name in wanted and isinstance(array, np.ndarray):
                        yield name, array

    def replay(self, part: Part, feed: Arrays) -> Arrays:
        """Run a part alone.

        Raises:
            ExternalStepError: If ONNX Runtime cannot load or run it.
        """
        fed = {v.name or "": _as(v, feed[v.name or ""]) for v in part.inputs}
        return run(self.graph, part, fed, self.notes)

    def fusion(self, part: Part, feed: Arrays) -> Fusion:  # noqa: ARG002 - it joins nothing
        """ONNX Runtime is run without optimizations, so each node is a kernel of its own."""
        return Fusion()


def run(
    graph: Graph, part: Part, feed: Arrays, notes: list[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """A part in ONNX Runtime.

    Args:
        graph: What it is a part of.
        part: The part.
        feed: Array by input name.
        notes: Takes what is computed in another way than the graph says.

    Returns:
        Array by output name.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load or run it.
    """
    session = Session(graph.cut(part, feed))
    notes += [note for note in session.notes if note not in notes]
    return dict(zip(session.outputs, session.run(feed), strict=True))


class _Plan:
    """In which slices a graph is run.

    Args:
        graph: The graph.
        wanted: Names of the tensors that are asked for.
        most: How many of them a slice may make, unless one node makes more.
    """

    def __init__(self, graph: Graph, wanted: set[str], most: int) -> None:
        self._graph = graph
        self._wanted = wanted
        self._most = max(1, most)
        self._nodes = graph.between([graph.values[name] for name in wanted], ()).nodes
        self._last: dict[ir.Value, int] = {}
        for node in self._nodes:
            for value in read_by([node]):
                self._last[value] = graph.position[node]

    def slices(self) -> Iterator[Part]:
        """The slices, each with the outputs that are asked for or read behind it."""
        taken: list[ir.Node] = []
        count = 0
        for node in self._nodes:
            taken.append(node)
            count += sum(value.name in self._wanted for value in node.outputs)
            if count >= self._most:
                yield self._slice(taken)
                taken, count = [], 0
        if taken:
            yield self._slice(taken)

    def is_read_behind(self, value: ir.Value, part: Part) -> bool:
        """Return whether a later slice reads a tensor."""
        return self._last.get(value, -1) > self._graph.position[part.nodes[-1]]

    def read_last_by(self, part: Part) -> list[str]:
        """Names of the inputs of a slice that no later one reads."""
        return [v.name or "" for v in part.inputs if not self.is_read_behind(v, part)]

    def _slice(self, nodes: Sequence[ir.Node]) -> Part:
        end = self._graph.position[nodes[-1]]
        outputs = [
            value
            for node in nodes
            for value in node.outputs
            if value.name and (value.name in self._wanted or self._last.get(value, -1) > end)
        ]
        return self._graph.part(nodes, outputs)


def _names(values: Sequence[ir.Value]) -> list[str]:
    return [value.name or "" for value in values]


def _as(value: ir.Value, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A tensor of the reference in the type that this graph has under the same name."""
    dtype = value.dtype
    if (
        dtype is None
        or not dtype.is_floating_point()
        or dtype == ir.DataType.from_numpy(array.dtype)
    ):
        return array
    return array.astype(dtype.numpy())
