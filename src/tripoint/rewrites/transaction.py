"""Puts a replacement into a graph, keeping names, metadata and order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import RULE_NAME_TAG

from tripoint.facts.origins import node_name


@dataclass(frozen=True, slots=True)
class Names:
    """The names in use in a graph, so that new ones are unique."""

    values: set[str]
    nodes: set[str]

    @classmethod
    def of(cls, graph: ir.Graph) -> Names:
        """Collect the names of a graph and of the graphs nested in it."""
        values = {value.name or "" for value in graph.inputs} | set(graph.initializers)
        nodes = set()
        for node in graph.all_nodes():
            nodes.add(node_name(node))
            values.update(value.name or "" for value in node.outputs)
        return cls(values, nodes)


def commit(
    graph: ir.Graph,
    names: Names,
    root: ir.Node,
    replaced: Sequence[ir.Node],
    delta: Any,
    rewrite: str,
) -> dict[str, str]:
    """Replace the matched nodes by the new ones.

    Tensors that others read keep their names, and so does a node whose operator stays. Every new
    node inherits the metadata (the PyTorch stack trace among it) of the node it stands for.

    Args:
        graph: The graph that holds ``root``.
        names: The names in use; brought up to date.
        root: The matched node that comes last.
        replaced: The matched nodes in topological order.
        delta: An onnxscript ``ReplacementSubgraph``.
        rewrite: Name of the rewrite, noted in the metadata of the new nodes.

    Returns:
        New node name by the name of each node that is gone.
    """
    old_names = [node_name(node) for node in replaced]
    ancestors = [_ancestor(node, replaced, delta.new_nodes, root) for node in delta.new_nodes]
    ir.convenience.replace_nodes_and_values(
        graph, root, [], delta.new_nodes, delta.match.outputs, delta.new_outputs
    )
    _remove_unread(graph, names, [root, *reversed(replaced)])
    for node, ancestor in zip(delta.new_nodes, ancestors, strict=True):
        same = node.op_type == ancestor.op_type and node_name(ancestor) not in names.nodes
        wanted = node_name(ancestor) + ("" if same else f".{node.op_type.lower()}")
        node.name = _take(wanted, names.nodes)
        node.doc_string = ancestor.doc_string
        node.metadata_props.update(ancestor.metadata_props)
        node.metadata_props[RULE_NAME_TAG] = _appended(ancestor, rewrite)
        for value in node.outputs:
            if value not in delta.new_outputs:
                value.name = f"{delta.new_outputs[0].name}.{node.op_type.lower()}"
            value.name = _take(value.name or node.name, names.values)
    for value in delta.new_initializers:
        value.name = _take(value.name or "constant", names.values)
        value.const_value.name = value.name
        graph.register_initializer(value)
    heir = node_name(delta.new_nodes[-1]) if delta.new_nodes else ""
    return {name: heir for name in old_names if name not in names.nodes}


def _ancestor(
    node: ir.Node, replaced: Sequence[ir.Node], new: Sequence[ir.Node], root: ir.Node
) -> ir.Node:
    """The replaced node that a new one stands for: the same operator in the same turn."""
    turn = [other for other in new if other.op_type == node.op_type].index(node)
    same = [other for other in replaced if other.op_type == node.op_type]
    return same[turn] if turn < len(same) else root


def _appended(node: ir.Node, rewrite: str) -> str:
    known = node.metadata_props.get(RULE_NAME_TAG, "")
    return ", ".join(part for part in (known, f"tripoint.{rewrite}") if part)


def _take(name: str, taken: set[str]) -> str:
    """A name that is not in use yet, which it is from now on."""
    unique, index = name, 0
    while unique in taken:
        index += 1
        unique = f"{name}_{index}"
    taken.add(unique)
    return unique


def _remove_unread(graph: ir.Graph, names: Names, nodes: Iterable[ir.Node]) -> None:
    """Remove nodes that nothing reads, and what only they read, up the graph."""
    outputs = set(graph.outputs)
    pending = list(nodes)
    while pending:
        node = pending.pop(0)
        if node.graph is not graph or any(v.uses() or v in outputs for v in node.outputs):
            continue
        inputs = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        names.nodes.discard(node_name(node))
        names.values.difference_update(value.name or "" for value in node.outputs)
        for value in inputs:
            producer = value.producer()
            if producer is not None:
                pending.append(producer)
            elif value.is_initializer() and not value.uses() and not value.is_graph_output():
                graph.initializers.pop(value.name or "", None)
                names.values.discard(value.name or "")
