"""Random numbers in a graph: no two legs draw the same, so nothing behind them is accused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.parity import randomness
from tripoint.parity.locate.findings import Graphs
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.search import Found


def behind(graph: Graph, outputs: Sequence[str]) -> list[ir.Node]:
    """The nodes that draw random numbers on which some outputs depend, in graph order."""
    ends = [graph.values[name] for name in outputs if name in graph.values]
    return [node for node in graph.between(ends, ()).nodes if randomness.draws(node)]


def before(result: Found, graph: Graph, drawing: Sequence[ir.Node]) -> Found:
    """Return the findings of a search among the parts that do not depend on some nodes."""
    reached = set(drawing)
    for node in graph.nodes:
        read = (value.producer() for value in node.inputs if value is not None)
        if any(maker in reached for maker in read if maker is not None):
            reached.add(node)
    kept = (
        tuple(each for each in group if reached.isdisjoint(each.part.nodes))
        for group in (result.makers, result.passing, result.unknown)
    )
    makers, passing, unknown = kept
    return replace(result, makers=makers, passing=passing, unknown=unknown)


def told(node: ir.Node, graphs: Graphs, legs: Sequence[str]) -> str:
    """Name the legs that do not repeat themselves because of a node, in one sentence."""
    source = graphs.source_of(node.outputs[0].name or "")
    at = f" ({source})" if source else ""
    verb = "do not repeat themselves" if len(legs) > 1 else "does not repeat itself"
    # A session of ONNX Runtime begins with the same numbers, but parts run alone draw others.
    who = f"{' and '.join(legs)} {verb}, since " if legs else ""
    return (
        f"{who}{node_name(node)}{at} draws new numbers; what is downstream of it cannot be "
        "compared, and is not searched"
    )
