"""A graph in TensorRT: engines that show what lies between their kernels, and engines of parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from tripoint.engine.debugging import DebugRun, EngineLayer, Settings, read_layers
from tripoint.errors import ExternalStepError
from tripoint.graph.names import node_name
from tripoint.numeric.inputs import Arrays
from tripoint.parity.legs.tensorrt import TensorRTLeg
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.locate.legs import Fusion, Named

_REPLAYS = 24
"""Engines of parts that are built at most, a few seconds each."""


class TensorRT:
    """Runs a graph in engines that are built for the purpose, all with the same settings.

    The tensors between fused kernels are taken without a change to fusion. They are matched with
    those of the graph by name, or by the nodes that the layer holds which makes them.

    Args:
        graph: The graph.
        settings: How to build.
        version: Version of TensorRT, for the report.
        device: The GPU, for the report.
        plan: The engine whose outputs are compared first; None builds one.
        profile: The optimization profile of whole engines, as a manifest has it; none for one that
            allows the sizes of a run alone. An error may need the range to show.
    """

    name = "TensorRT"
    replays: int | None = _REPLAYS

    def __init__(
        self,
        graph: Graph,
        settings: Settings,
        *,
        version: str = "unknown",
        device: str = "gpu",
        plan: Path | None = None,
        profile: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.graph = graph
        self.version = version
        self.device = device
        self.tf32 = settings.tf32
        self.notes: list[str] = []
        self.resolution = ""
        self._settings = settings
        self._plan = plan
        self._profile = profile
        self._layers: list[EngineLayer] = []

    def on(self, graph: Graph) -> TensorRT:
        """The same leg on another graph, with engines of its own."""
        return TensorRT(graph, self._settings, version=self.version, device=self.device)

    def values(self, tensors: Sequence[str], feed: Arrays) -> Named:
        """Outputs of the plan, or what an engine with debug tensors gives.

        Raises:
            MissingDependencyError: If there is no TensorRT or no GPU.
            ExternalStepError: If TensorRT cannot build or run it.
        """
        wanted = set(tensors)
        yield from ((name, feed[name]) for name in feed if name in wanted)
        inner = wanted - set(self.graph.outputs) - feed.keys()
        if not inner and self._plan is not None:
            yield from self._of_plan(self._plan, wanted, feed)
            return
        with self._debug(feed, listen=bool(inner)) as run:
            mapped = self._mapped(run) if inner else {}
            for name, own in mapped.items():
                if name in wanted:
                    yield name, run.tensor(own)
            yield from ((n, a) for n, a in run.outputs().items() if n in wanted and n not in mapped)

    def replay(self, part: Part, feed: Arrays) -> Arrays:
        """Build and run an engine of a part alone.

        Raises:
            ExternalStepError: If TensorRT cannot build or run it.
        """
        model = self.graph.cut(part, feed, freeze=True)
        arrays = {v.name or "": feed[v.name or ""] for v in model.ir.graph.inputs}
        with DebugRun(model, arrays, self._settings) as run:
            return run.outputs()

    def fusion(self, part: Part, feed: Arrays) -> Fusion:
        """Build the whole with the tensors around and inside a part marked as outputs."""
        layer = next(
            (
                layer.name
                for layer in self._layers
                for node in part.nodes[::-1]
                if node_name(node) in layer.nodes
            ),
            None,
        )
        ends = [value for value in part.inputs if value.producer() is not None]
        marks = [v.name for v in (*ends, *(o for n in part.nodes for o in n.outputs)) if v.name]
        try:
            with self._debug(feed, marks=marks) as run:
                if len(run.unmarked) == len(marks):
                    return Fusion(layer)
                outputs = {n: a for n, a in run.outputs().items() if n in self.graph.outputs}
        except ExternalStepError as error:
            self.notes.append(f"fusion could not be broken at the culprit: {error.fact}")
            return Fusion(layer)
        return Fusion(layer, outputs)

    def _of_plan(self, plan: Path, wanted: set[str], feed: Arrays) -> Named:
        leg = TensorRTLeg(
            plan,
            tensorrt=self._settings.tensorrt,
            environment=self._settings.environment,
            timeout=self._settings.timeout or 600.0,
        )
        yield from ((name, array) for name, array in leg.run(feed).items() if name in wanted)

    def _debug(self, feed: Arrays, *, listen: bool = False, marks: Iterable[str] = ()) -> DebugRun:
        return DebugRun(
            self.graph.model,
            feed,
            self._settings,
            profile=self._profile,
            listen=listen,
            outputs=list(marks),
        )

    def _mapped(self, run: DebugRun) -> dict[str, str]:
        """Name in the engine by name in the graph, of the tensors between kernels."""
        self._layers = list(read_layers(run.layers))
        mapped = map_tensors(run.shown, self._layers, self.graph)
        self.resolution = (
            f"{len(mapped)} of {len(run.shown)} tensors between the kernels of "
            f"{len(self._layers)} layers could be matched with the graph"
        )
        if run.missed:
            name, why = next(iter(run.missed.items()))
            self.notes.append(f"{len(run.missed)} of them could not be read, such as {name}: {why}")
        return mapped


def map_tensors(
    shown: Sequence[str], layers: Sequence[EngineLayer], graph: Graph
) -> dict[str, str]:
    """Map tensors between kernels to tensors of a graph.

    By name where the names are the same; else by the nodes that a layer with a single output
    holds: if only one tensor of these is read outside of them, it is that output.

    Args:
        shown: Names as the engine has them.
        layers: The layers of the engine.
        graph: The graph.

    Returns:
        Name in the engine by name in the graph.
    """
    comparable = set(graph.comparable)
    mapped = {name: name for name in shown if name in comparable}
    nodes = {node_name(node): node for node in graph.nodes}
    makers: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for name in layer.outputs:
            makers.setdefault(name, []).append(layer)
    for name in shown:
        held = makers.get(name, [])
        if name in mapped or len(held) != 1 or len(held[0].outputs) != 1:
            continue
        inside: list[ir.Node] = [nodes[each] for each in held[0].nodes if each in nodes]
        leaving = [v.name for v in graph.leaving(inside) if v.name in comparable]
        if len(leaving) == 1 and leaving[0] and leaving[0] not in mapped:
            mapped[leaving[0]] = name
    return mapped
