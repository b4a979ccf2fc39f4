"""The graphs that nodes have inside them, and what these read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir


def graphs_of(node: ir.Node) -> list[ir.Graph]:
    """The nested graphs of a node."""
    return [graph for attribute in node.attributes.values() for graph in graphs_in(attribute)]


def graphs_in(attribute: ir.Attr) -> list[ir.Graph]:
    """The graphs that an attribute holds."""
    if attribute.is_ref():
        return []
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else []


def read_by(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    """Return what nodes read, the graphs inside them included."""
    for node in nodes:
        yield from (value for value in node.inputs if value is not None)
        for graph in graphs_of(node):
            inside = set(graph.inputs) | set(graph.initializers.values())
            inside.update(value for other in graph for value in other.outputs)
            read = (*read_by(graph), *graph.outputs)
            yield from (value for value in read if value not in inside)
