"""A graph in two: what comes before its decisions, and what is behind them and is run again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.graph.ops import RESHAPING
from tripoint.graph.subgraphs import read_by
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.tolerance.decisions import Decision, Prepared, chooses

Array = np.ndarray[Any, Any]

_SAME_ORDER = RESHAPING | {"Identity", "Cast", "Clip", "Max", "Min", "Relu"}


@dataclass(frozen=True)
class Split:
    """A graph in two: what comes before its decisions, and what is behind them.

    Args:
        head: What comes before; None if that is nothing but inputs.
        tail: What is behind.
        nodes: How many nodes that has.
        reach: Names of the outputs downstream of each decision.
        given_out: By decision the output that it is, its elements in the same order.
    """

    head: Session | None
    tail: ir.Graph
    version: int
    functions: tuple[ir.Function, ...]
    between: tuple[str, ...]
    nodes: int
    reach: Mapping[int, frozenset[str]]
    given_out: Mapping[int, str]

    @staticmethod
    def of(prepared: Prepared) -> Split | None:
        """Split a prepared graph; None if what lies between is no tensor, or it does not load."""
        graph, model = prepared.model.graph, prepared.model
        own = {name for each in prepared.decisions for name in (each.outcome, each.overruled)}
        seeds = {each.node for each in prepared.decisions}
        seeds |= {node for node in graph if chooses(node)}
        behind = _behind(graph, seeds)
        first = [node for node in graph if node not in behind]
        last = [node for node in graph if node in behind]
        produced = {value for node in last for value in node.outputs}
        read = dict.fromkeys(read_by(last))
        between = [
            value
            for value in read
            if value not in produced and not value.is_initializer() and value.name not in own
        ]
        if any(not isinstance(value.type, (ir.TensorType, type(None))) for value in between):
            return None
        computed = [value for value in between if value.producer() is not None]
        inputs = [value for value in graph.inputs if value.name not in own]
        outputs = [value for value in graph.outputs if value in produced]
        overruling = [value for value in graph.inputs if value.name in own]
        functions = tuple(model.functions.values())
        try:
            head = _part(graph, inputs, computed, first) if computed else None
            session = _session(head, model.ir_version, functions) if head is not None else None
        except TripointError:
            return None
        reach = {
            decision.index: frozenset(
                value.name or ""
                for node in _behind(graph, {decision.node})
                for value in node.outputs
                if value in outputs
            )
            for decision in prepared.decisions
        }
        return Split(
            session,
            _part(graph, [*between, *overruling], outputs, last),
            model.ir_version,
            functions,
            tuple(value.name or "" for value in between),
            max(1, len(last)),
            reach,
            {
                each.index: name
                for each in prepared.decisions
                if (name := _given_out(graph, each)) is not None
            },
        )

    def before(self, inputs: Arrays) -> dict[str, Array]:
        """Return the tensors that the decisions and all nodes downstream of them read.

        Raises:
            TripointError: If it does not run.
        """
        arrays = dict(inputs)
        if self.head is not None:
            arrays |= dict(zip(self.head.outputs, self.head.run(inputs), strict=True))
        return {name: arrays[name] for name in self.between if name in arrays}

    def behind(self, between: Arrays) -> Session:
        """Load the nodes downstream of the decisions, for inputs of these ranks and dtypes.

        Raises:
            TripointError: If it does not load.
        """
        graph = self.tail.clone()
        for value in graph.inputs:
            array = between.get(value.name or "")
            if array is not None:
                value.shape = ir.Shape([None] * array.ndim)
                value.type = value.type or ir.TensorType(ir.DataType.from_numpy(array.dtype))
        return _session(graph, self.version, self.functions)


def _session(graph: ir.Graph, version: int, functions: Sequence[ir.Function]) -> Session:
    model = ir.Model(graph, ir_version=version, functions=[each.clone() for each in functions])
    return Session(Model(model))


def _part(
    graph: ir.Graph,
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    nodes: Sequence[ir.Node],
) -> ir.Graph:
    """Some nodes of a graph as a graph of their own."""
    weights = {value: None for value in read_by(nodes) if value.is_initializer()}
    view = ir.GraphView(
        inputs,
        outputs,
        nodes=nodes,
        initializers=tuple(weights),
        opset_imports=graph.opset_imports,
        name=graph.name,
    )
    return view.clone()


def _behind(graph: ir.Graph, seeds: Collection[ir.Node]) -> set[ir.Node]:
    """Nodes and all that depend on them."""
    produced: set[ir.Value] = set()
    behind: set[ir.Node] = set()
    for node in graph:
        if node in seeds or any(value in produced for value in read_by([node])):
            behind.add(node)
            produced.update(node.outputs)
    return behind


def _given_out(graph: ir.Graph, decision: Decision) -> str | None:
    """The output of the graph that is a decision, in whatever shape and integer dtype."""
    node = decision.node
    if decision.input_of is not None:
        return None
    pending = [value for each in graph for value in each.outputs if value.name == decision.name]
    while pending:
        value = pending.pop()
        if value in graph.outputs:
            return value.name
        users = {user for user, place in value.uses() if place == 0}
        pending += [
            user.outputs[0] for user in users if user.op_type in _SAME_ORDER and user is not node
        ]
    return None
