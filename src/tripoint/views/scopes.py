"""Tensors of a model that the lines of a parser's log are about, in nested graphs too.

The parser prints a node of a subgraph of an If, Loop or Scan, or of a local function, between the
line that begins the node around it and the one that lists that node's outputs. Names tell little
there: two branches may use the same ones. So the lines are read as a tree, and its branches are
laid beside those of the model. What does not fit is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.graph import subgraphs
from tripoint.graph.ops import SUBGRAPHS
from tripoint.table import ViewShape
from tripoint.views.log import grammar


@dataclass(slots=True, eq=False)
class Scope:
    """Lines printed about one node.

    Args:
        name: As the parser calls the node.
        op: Operator, or the name of a local function.
        inside: The nodes that were parsed as part of it.
        outputs: Its outputs, as far as they have a name; None if it was not finished.
        unique: The network's own names of tensors that were registered for it.
    """

    name: str
    op: str
    inside: list[Scope] = field(default_factory=list)
    outputs: list[grammar.Item] | None = None
    unique: dict[str, str] = field(default_factory=dict)


@dataclass
class Joined:
    """Shapes and names that the lines give the tensors of a model.

    Args:
        shapes: Shape by tensor.
        unique: The network's own name of a tensor, before graph outputs are renamed.
        nodes: The node that a scope is about.
    """

    shapes: dict[ir.Value, ViewShape] = field(default_factory=dict)
    unique: dict[ir.Value, str] = field(default_factory=dict)
    nodes: dict[Scope, ir.Node] = field(default_factory=dict)


def read(lines: Iterable[str]) -> Scope:
    """The tree of a log; its root stands for the main graph.

    Args:
        lines: Verbose lines without a prefix.
    """
    root = Scope("", "", outputs=[])
    open_scopes = [root]
    for line in lines:
        event = grammar.parse(line)
        if isinstance(event, grammar.NodeStart) and not event.check:
            scope = Scope(event.name, event.op)
            open_scopes[-1].inside.append(scope)
            open_scopes.append(scope)
        elif isinstance(event, grammar.NetworkInput):
            root.outputs = [*(root.outputs or ()), grammar.Item(event.tensor, event.dims, None)]
        elif isinstance(event, grammar.Registered):
            open_scopes[-1].unique[event.tensor] = event.unique
        elif isinstance(event, grammar.Ports) and event.outputs:
            _finish(open_scopes, event)
    return root


def _finish(open_scopes: list[Scope], event: grammar.Ports) -> None:
    for depth in range(len(open_scopes) - 1, 0, -1):
        scope = open_scopes[depth]
        if (scope.name, scope.op) == (event.name, event.op):
            scope.outputs = [item for item in event.items if item is not None and item.tensor]
            del open_scopes[depth:]
            return


def join(root: Scope, graph: ir.Graph) -> Joined:
    """Lay the tree of a log beside a graph.

    Args:
        root: From :func:`read`.
        graph: The graph that was parsed, with its local functions inlined.
    """
    joined = Joined()
    inputs = {value.name: value for value in graph.inputs}
    for item in root.outputs or ():
        if item.tensor in inputs:
            _note(joined, inputs[item.tensor], item, root)
    pending = list(_main_graph(joined, root, graph))
    while pending:
        scope, node = pending.pop()
        joined.nodes[scope] = node
        pending.extend(_bodies(joined, scope, node))
    return joined


def unfinished(root: Scope) -> tuple[Scope, ...]:
    """Return the nodes at which a parser stopped that did not reach the end.

    Args:
        root: From :func:`read`.

    Returns:
        The node whose outputs were never listed, after the ones that it is inside of; nothing if
        the last node that was begun is finished.
    """
    path: list[Scope] = []
    scope = root
    while scope.inside and scope.inside[-1].outputs is None:
        scope = scope.inside[-1]
        path.append(scope)
    return tuple(path)


Pairs = list[tuple[Scope, ir.Node]]


def _main_graph(joined: Joined, root: Scope, graph: ir.Graph) -> Iterator[tuple[Scope, ir.Node]]:
    """Yield pairs by the names of outputs, unique in a graph; inlined calls by their order."""
    nodes = list(graph)
    index_of = {node: index for index, node in enumerate(nodes)}
    values = {value.name: value for node in nodes for value in node.outputs if value.name}
    by_label = {label: node for node in nodes for label in _labels(node)}
    after: int | None = 0
    for scope in root.inside:
        matched = [item for item in scope.outputs or () if item.tensor in values]
        producers = {values[item.tensor].producer() for item in matched}
        node = next(iter(producers), None)
        if node is None and after is not None and after < len(nodes) and _is(scope, nodes[after]):
            # Names need not be unique, and one that is not finished has nothing else.
            node = nodes[after]
        node = node or by_label.get(scope.name)
        if node is not None and node.op_type == scope.op:
            after = index_of[node] + 1
            yield scope, node
        elif after is not None:
            called = list(_leaves(scope))
            run = nodes[after : after + len(called)]
            fits = [each.op_type for each in run] == [each.op for each in called]
            fits = fits and producers <= set(run)
            after = after + len(run) if fits else None
            for leaf, inner in zip(called, run, strict=True) if fits else ():
                _note_outputs(joined, leaf, inner)
                yield leaf, inner
        for item in matched:
            _note(joined, values[item.tensor], item, scope)


def _leaves(scope: Scope) -> Iterator[Scope]:
    """The nodes of a call, those of the functions that it calls in turn included."""
    pending = list(reversed(scope.inside))
    while pending:
        each = pending.pop()
        if each.inside and each.op not in _WITH_BODIES:
            pending.extend(reversed(each.inside))
        else:
            yield each


_WITH_BODIES = SUBGRAPHS - {"SequenceMap"}  # no importer reads sequences


def _bodies(joined: Joined, scope: Scope, node: ir.Node) -> Pairs:
    """Pair the nodes inside a scope with those of the graphs inside its node."""
    bodies = subgraphs.graphs_of(node)
    if not bodies:
        return []
    _note_body_inputs(joined, scope, bodies)
    pairs = _in_order(scope, node, bodies) or _by_label(scope, bodies)
    for inner, match in pairs:
        _note_outputs(joined, inner, match)
    return pairs


def _in_order(scope: Scope, node: ir.Node, bodies: Sequence[ir.Graph]) -> Pairs:
    """All nodes of one subgraph, or of each in turn.

    The parser takes one branch of an If whose condition is a constant, else both, the then
    branch first (seen in TensorRT-RTX 1.6.1).
    """
    branch = node.attributes.get("then_branch")
    whole = sorted(bodies, key=lambda body: branch is None or body is not branch.value)
    orders = [[body] for body in bodies] + ([whole] if len(bodies) > 1 else [])
    candidates: list[list[ir.Node]] = []
    for order in orders:
        nodes = [each for body in order for each in body]
        long_enough = len(nodes) == len(scope.inside) or (
            scope.outputs is None and len(nodes) > len(scope.inside)
        )
        pairs = zip(scope.inside, nodes, strict=False)
        if long_enough and all(_is(inner, each) for inner, each in pairs):
            nodes = nodes[: len(scope.inside)]
            if nodes not in candidates:
                candidates.append(nodes)
    return list(zip(scope.inside, candidates[0], strict=True)) if len(candidates) == 1 else []


def _by_label(scope: Scope, bodies: Sequence[ir.Graph]) -> Pairs:
    """Only nodes whose name and operator occur once on either side."""
    nodes: dict[tuple[str, str], list[ir.Node]] = {}
    for body in bodies:
        for node in body:
            for label in _labels(node):
                nodes.setdefault((label, node.op_type), []).append(node)
    scopes: dict[tuple[str, str], list[Scope]] = {}
    for inner in scope.inside:
        scopes.setdefault((inner.name, inner.op), []).append(inner)
    return [
        (matches[0], nodes[key][0])
        for key, matches in scopes.items()
        if len(matches) == 1 and len(nodes.get(key, ())) == 1 and _is(matches[0], nodes[key][0])
    ]


def _is(scope: Scope, node: ir.Node) -> bool:
    produced = {value.name for value in node.outputs}
    return (
        node.op_type == scope.op
        and scope.name in _labels(node)
        and all(item.tensor in produced for item in scope.outputs or ())
    )


def _labels(node: ir.Node) -> set[str]:
    """Return the names that the parser may call a node: a name of its own replaces an empty one."""
    first = next((value.name for value in node.outputs if value.name), "")
    return {node.name or "", f"node_of_{first}"}


def _note_body_inputs(joined: Joined, scope: Scope, bodies: Sequence[ir.Graph]) -> None:
    if len(bodies) != 1:
        return
    for value in bodies[0].inputs:
        if value.name in scope.unique:
            joined.unique[value] = scope.unique[value.name]


def _note_outputs(joined: Joined, scope: Scope, node: ir.Node) -> None:
    named = [value for value in node.outputs if value.name]
    items = scope.outputs or []
    if [value.name for value in named] != [item.tensor for item in items]:
        # Those of an inlined function have other names, but their order.
        items = items if len(items) == len(named) else []
    for value, item in zip(named, items, strict=False):
        _note(joined, value, item, scope)


def _note(joined: Joined, value: ir.Value, item: grammar.Item, scope: Scope) -> None:
    joined.shapes[value] = item.dims
    if item.tensor in scope.unique:
        joined.unique[value] = scope.unique[item.tensor]
