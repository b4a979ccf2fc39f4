"""Puts a replacement into a graph, keeping names, metadata and order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.subgraphs import graphs_of, read_by
from tripoint.rewrites.base import Replacement
from tripoint.rewrites.constants import elements

RULE_NAME_TAG = "pkg.onnxscript.rewriter.rule_name"
"""Metadata key of the names of the rewrites that made a node, as onnxscript's rewriter has it."""

FREE_INITIALIZERS = 4
"""IR version since which an initializer need not be a graph input (ONNX IR specification)."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names in use in a graph, so that new ones are unique.

    Args:
        values: Names of tensors.
        nodes: Names of nodes.
        gone: Names of removed tensors. Another tensor may have such a name by now.
    """

    values: set[str]
    nodes: set[str]
    gone: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, graph: ir.Graph) -> Names:
        """Collect the names of a graph and of the graphs nested in it."""
        values = {value.name or "" for value in graph.inputs} | set(graph.initializers)
        nodes = set()
        for node in graph.all_nodes():
            nodes.add(node_name(node))
            values.update(value.name or "" for value in node.outputs)
        return cls(values, nodes)

    def forget(self, node: ir.Node) -> None:
        """Free the names of a removed node, and of the graphs inside it."""
        self.nodes.discard(node_name(node))
        self.release(node.outputs)
        for graph in graphs_of(node):
            self.release(graph.inputs)
            for inner in graph:
                self.forget(inner)

    def release(self, values: Iterable[ir.Value]) -> None:
        """Free the names of removed tensors."""
        for value in values:
            self.values.discard(value.name or "")
            self.gone.add(value.name or "")


@dataclass(frozen=True, slots=True)
class Pool:
    """Small constants of a graph by content, so that no second one is made."""

    initializers: dict[tuple[ir.DataType, tuple[int, ...], bytes], ir.Value]

    @classmethod
    def of(cls, graph: ir.Graph) -> Pool:
        """Collect the initializers that may serve as size operands."""
        pool = cls({})
        for value in graph.initializers.values():
            if value.dtype == ir.DataType.INT64 and not value.is_graph_output():
                pool.shared(value)
        return pool

    def shared(self, value: ir.Value) -> ir.Value:
        """The initializer with this content: one that the graph has already, or ``value``."""
        numbers = elements(value)
        if numbers is None or value.dtype is None:
            return value
        key = (value.dtype, numbers.shape, numbers.tobytes())
        initializer = self.initializers.get(key)
        if initializer is None or not initializer.is_initializer():
            self.initializers[key] = value
            return value
        return initializer


def commit(
    graph: ir.Graph, names: Names, pool: Pool, replacement: Replacement, rewrite: str
) -> dict[str, str]:
    """Replace nodes by new ones.

    Tensors that others read keep their names, and so does a node whose operator stays. Every new
    node inherits the metadata (the PyTorch stack trace among it) of the node it stands for.

    Args:
        graph: The graph that holds the nodes.
        names: The names in use; brought up to date.
        pool: The small constants of the graph; brought up to date.
        replacement: What to replace. See :func:`hindrance`.
        rewrite: Name of the rewrite, noted in the metadata of the new nodes.

    Returns:
        New node name by the name of each removed node.
    """
    nodes, new_nodes = replacement.nodes, replacement.new_nodes
    root = nodes[-1]
    old_names = [node_name(node) for node in nodes]
    staying = {value.name or "" for value in replacement.outputs} - names.gone
    ancestors = [_ancestor(node, nodes, new_nodes, root) for node in new_nodes]
    constants = {value: pool.shared(value) for value in replacement.initializers}
    for value, shared in constants.items():
        if shared is not value:
            value.replace_all_uses_with(shared)
    fresh = set()
    for old, new in zip(replacement.outputs, replacement.new_outputs, strict=True):
        stays = constants.get(new, new)
        if stays.producer() in new_nodes:
            fresh.add(stays)
            stays.type, stays.shape = old.type or stays.type, old.shape or stays.shape
            stays.const_value, stays.name = old.const_value, old.name
            stays.doc_string = old.doc_string
            stays.metadata_props.update(old.metadata_props)
        elif old.is_graph_output():
            names.release([stays])
            stays.name, stays.type = old.name, old.type or stays.type
            stays.shape = old.shape or stays.shape
        _redirect(old, stays, new_nodes)
    graph.insert_after(root, new_nodes)
    remove_unread(graph, names, reversed(nodes))
    for value in replacement.initializers:
        if constants[value] is value:
            _register(graph, names, value)
    for old, new in zip(replacement.outputs, replacement.new_outputs, strict=True):
        stays, producer = constants.get(new, new), old.producer()
        if stays not in fresh:
            names.values.add(stays.name or "")
        if producer is not None and producer.graph is graph:
            # A node that stays, in front of a new one that makes the tensor from now on.
            names.values.discard(old.name or "")
            old.name = _take(f"{old.name}.{producer.op_type.lower()}", names.values)
    for node, ancestor in zip(new_nodes, ancestors, strict=True):
        if not replacement.named:
            _inherit(node, ancestor, names, rewrite)
        node.name = _take(node.name or node_name(ancestor), names.nodes)
        for value in node.outputs:
            if value not in fresh and not replacement.named:
                value.name = f"{replacement.outputs[0].name}.{node.op_type.lower()}"
            value.name = _take(value.name or node.name, names.values)
    names.gone.difference_update(staying)
    heir = _heir(replacement)
    return {name: heir for name in old_names if name not in names.nodes}


def _inherit(node: ir.Node, ancestor: ir.Node, names: Names, rewrite: str) -> None:
    same = node.op_type == ancestor.op_type and node_name(ancestor) not in names.nodes
    node.name = node_name(ancestor) + ("" if same else f".{node.op_type.lower()}")
    node.doc_string = ancestor.doc_string
    node.metadata_props.update(ancestor.metadata_props)
    node.metadata_props[RULE_NAME_TAG] = _appended(ancestor, rewrite)


def _redirect(old: ir.Value, new: ir.Value, new_nodes: Sequence[ir.Node]) -> None:
    """Let everything read another value, except new nodes that are made of the old one."""
    kept = [(user, index) for user, index in old.uses() if user in new_nodes]
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    for user, index in kept:
        user.replace_input_with(index, old)


def let_initializers_be(model: ir.Model) -> None:
    """Raise the IR version where an initializer had to be a graph input, if one is none."""
    listed = (value.is_graph_input() for value in model.graph.initializers.values())
    if model.ir_version < FREE_INITIALIZERS and not all(listed):
        model.ir_version = FREE_INITIALIZERS


def hindrance(replacement: Replacement) -> str:
    """Return why a replacement cannot be put into its graph; empty if it can."""
    for old, new in zip(replacement.outputs, replacement.new_outputs, strict=True):
        producer = new.producer()
        if not old.is_graph_output() or producer in replacement.new_nodes:
            continue
        if producer is None or new.is_graph_output() or producer.graph is not old.graph:
            return f"`{old.name}` is a graph output, and `{new.name}` cannot take its name"
    return ""


def _register(graph: ir.Graph, names: Names, value: ir.Value) -> None:
    value.name = _take(value.name or "constant", names.values)
    if value.const_value is not None:
        value.const_value.name = value.name
    graph.register_initializer(value)


def _heir(replacement: Replacement) -> str:
    if replacement.new_nodes:
        return node_name(replacement.new_nodes[-1])
    producers = (value.producer() for value in replacement.new_outputs)
    return next((node_name(node) for node in producers if node is not None), "")


def _ancestor(
    node: ir.Node, replaced: Sequence[ir.Node], new: Sequence[ir.Node], root: ir.Node
) -> ir.Node:
    """The replaced node that a new one stands for: the same operator in the same turn."""
    turn = [other for other in new if other.op_type == node.op_type].index(node)
    same = [other for other in replaced if other.op_type == node.op_type]
    return same[turn] if turn < len(same) else root


def _appended(node: ir.Node, rewrite: str) -> str:
    tag = node.metadata_props.get(RULE_NAME_TAG, "")
    return ", ".join(part for part in (tag, f"tripoint.{rewrite}") if part)


def _take(name: str, taken: set[str]) -> str:
    """A name that is not in use yet, which it is from now on."""
    unique, index = name, 0
    while unique in taken:
        index += 1
        unique = f"{name}_{index}"
    taken.add(unique)
    return unique


def remove_unread(graph: ir.Graph, names: Names, nodes: Iterable[ir.Node]) -> list[str]:
    """Remove nodes that nothing reads, and what only they read, up the graph.

    Args:
        graph: The graph that holds the nodes.
        names: The names in use; brought up to date.
        nodes: Where to begin; those that something reads stay.

    Returns:
        Names of the removed nodes.
    """
    gone = []
    pending = deque(nodes)
    while pending:
        node = pending.popleft()
        if node.graph is not graph or is_read(node):
            continue
        inputs = list(read_by([node]))
        graph.remove(node, safe=True)
        _detach(node)
        gone.append(node_name(node))
        names.forget(node)
        for value in inputs:
            producer = value.producer()
            if producer is not None:
                pending.append(producer)
            else:
                remove_initializer(graph, names, value)
    return gone


def forgo(replacement: Replacement) -> None:
    """Let the new nodes of a replacement that is not made read nothing of the graph."""
    for node in replacement.new_nodes:
        if node.graph is None:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
            _detach(node)


def _detach(node: ir.Node) -> None:
    """Let the graphs inside a removed node read nothing any more."""
    for graph in graphs_of(node):
        for inner in graph.all_nodes():
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def is_read(node: ir.Node) -> bool:
    """Return whether a node or the caller reads an output of a node."""
    return any(value.uses() or value.is_graph_output() for value in node.outputs)


def remove_initializer(graph: ir.Graph, names: Names, value: ir.Value) -> bool:
    """Remove an initializer that nothing reads; one that is also a graph input stays.

    Returns:
        Whether it was removed.
    """
    kept = value.uses() or value.is_graph_output() or value.is_graph_input()
    if kept or graph.initializers.get(value.name or "") is not value:
        return False
    graph.initializers.pop(value.name or "")
    names.release([value])
    return True
