"""Nodes that hold graphs: the live branch of an If is searched, the body of a Loop is not.

An If takes one branch at one set of inputs. With the values that the reference has for everything
that the If reads, this branch is a graph of its own, which both legs can run. What the body of a
Loop or Scan is fed with changes from one round to the next, so the search ends at the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.graph.names import node_name
from tripoint.graph.subgraphs import graphs_in
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.bisect import narrow
from tripoint.parity.locate.compare_tensors import scan
from tripoint.parity.locate.deviation import Deviation
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.legs import Reference, Suspect
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.search import Replayed, search
from tripoint.parity.locate.tolerances import Allowed
from tripoint.progress import Progress
from tripoint.tolerance.derivation import products_of
from tripoint.words import number_of

NOT_INSIDE = "the search does not go inside"
NONE_ALONE = "no node inside produces the error alone"


@dataclass(frozen=True)
class Spot:
    """Part of the graph that an error arises in.

    Args:
        reference: The leg that is taken to be right.
        suspect: The leg that makes the error, on the graph that holds the part.
        twin: The graph of the reference, None if it has none.
        feed: Array by input name of that graph.
        scanned: Deviation by tensor of that graph.
        first: The part.
        within: The nodes that hold that graph, the outermost first.
        note: What was not searched.
    """

    reference: Reference
    suspect: Suspect
    twin: Graph | None
    feed: Arrays
    scanned: Mapping[str, Deviation]
    first: Replayed
    within: tuple[str, ...] = ()
    note: str = ""


def enter(spot: Spot, *, freeze: bool, limit: int, progress: Progress) -> Spot:
    """Follow an error into the branch of an If, as deep as it goes.

    Args:
        spot: Where the error is made.
        freeze: As :meth:`tripoint.parity.locate.graph.Graph.cut` takes it.
        limit: Tensors to have in memory at a time.
        progress: Told what goes on.

    Returns:
        A spot inside, or the same one with a note if it is a node with a body that was not
        searched, or in which no node makes the error alone.
    """
    node = _alone(spot)
    count = _inside(node) if node is not None else 0
    if node is None or not count:
        return spot
    kind = f"{node.op_type} with {_nodes(count)} in its bodies"
    opened = _opened(spot, node, freeze=freeze)
    if opened is None:
        return replace(spot, note=f"{kind}; {NOT_INSIDE}")
    progress(f"search inside {node_name(node)}")
    try:
        inner = _searched(opened, limit=limit, progress=progress)
    except TripointError as error:
        return replace(spot, note=f"{kind}; the search inside failed: {error.fact}")
    if inner is None:
        return replace(spot, note=f"{kind}; {NONE_ALONE}")
    within = (*spot.within, f"{node_name(node)} ({node.op_type})")
    return enter(replace(inner, within=within), freeze=freeze, limit=limit, progress=progress)


def _alone(spot: Spot) -> ir.Node | None:
    """The only node of a part that is more than a constant."""
    graph = spot.suspect.graph
    nodes = [node for node in spot.first.part.nodes if graph.depends(node)]
    return nodes[0] if len(nodes) == 1 else None


def _inside(node: ir.Node) -> int:
    graphs = [graph for attribute in node.attributes.values() for graph in graphs_in(attribute)]
    return sum(1 for graph in graphs for _ in graph.all_nodes())


def _nodes(count: int) -> str:
    return number_of(count, "node")


@dataclass(frozen=True)
class _Opened:
    reference: OnnxRuntime
    suspect: Suspect
    feed: Arrays


def _opened(spot: Spot, node: ir.Node, *, freeze: bool) -> _Opened | None:
    """Both legs on the live branch; None if there is none, or the legs have none in common."""
    if not _is_if(node) or spot.twin is None or not isinstance(spot.reference, OnnxRuntime):
        return None
    part, same = spot.first.part, spot.twin.counterpart(spot.first.part)
    if same is None or {v.name for v in part.inputs} != {v.name for v in same.inputs}:
        return None
    values = dict(spot.reference.values(part.tensors, spot.feed))
    condition = values.get((node.inputs[0].name if node.inputs[0] is not None else None) or "")
    if condition is None or any(value.name not in values for value in part.inputs):
        return None
    branch = "then_branch" if bool(np.asarray(condition).reshape(-1)[0]) else "else_branch"
    own = _live(spot.suspect.graph.cut(part, values, freeze=freeze), branch)
    # Where both run one graph, a repro needs no other.
    other = own
    if spot.twin is not spot.suspect.graph:
        other = _live(spot.twin.cut(same, values, freeze=freeze), branch)
    if own is None or other is None or own.outputs != other.outputs:
        return None
    if own.specs.keys() != other.specs.keys():
        return None
    feed = {name: values[name] for name in own.specs}
    return _Opened(spot.reference.on(other), spot.suspect.on(own), feed)


def _is_if(node: ir.Node) -> bool:
    return node.op_type == "If" and not node.domain


def _live(model: Model, name: str) -> Graph | None:
    """A graph around an If with a branch of it in its place; None if it holds something else."""
    graph = model.ir.graph
    holders = [node for node in graph if _is_if(node)]
    attribute = holders[0].attributes.get(name) if len(holders) == 1 else None
    if attribute is None or attribute.type != ir.AttributeType.GRAPH:
        return None
    branch = attribute.as_graph()
    nodes, outputs = list(branch), list(branch.outputs)
    if any(value.producer() not in nodes for value in outputs):
        return None
    weights = list(branch.initializers.values())
    if any(value.name in graph.initializers for value in weights):
        return None
    branch.outputs.clear()
    branch.initializers.clear()
    branch.remove(nodes)
    graph.insert_before(holders[0], nodes)
    for value in weights:
        graph.register_initializer(value)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    graph.remove(holders[0], safe=True)
    return Graph(model)


def _searched(opened: _Opened, *, limit: int, progress: Progress) -> Spot | None:
    """The first part of the branch that makes an error."""
    reference, suspect, feed = opened.reference, opened.suspect, opened.feed
    allowed = Allowed(
        suspect.graph, reference.graph, {}, products=products_of([reference, suspect])
    )
    common = set(reference.graph.comparable)
    names = [name for name in suspect.graph.comparable if name in common]
    scanned = scan(reference, suspect, names, feed, allowed.behind)
    result = search(reference, suspect, scanned, feed, allowed, limit=limit, progress=progress)
    if not result.makers:
        return None
    maker = result.makers[0]
    first = narrow(reference, suspect, maker, feed, allowed, limit=limit, progress=progress)
    return Spot(reference, suspect, reference.graph, feed, scanned, first)
