"""Tensors that two graphs have in common, and what follows for sizes without an expression.

Inference gives such a size a symbol with a running number, and the same number in another graph
means nothing. But a tensor that is the same in both graphs has the same sizes in both.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping

import onnx_ir as ir

from tripoint import symbols
from tripoint.graph.subgraphs import graphs_in, graphs_of
from tripoint.rewrites.base import NOT_REPEATABLE
from tripoint.rewrites.constants import SHAPE_ELEMENTS, constant, elements
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim

_Numbers = dict[Hashable, int]
"""A number for each tensor that is told apart, by how it is computed."""


def sizes(
    before: ir.Graph, after: ir.Graph, names: Collection[str], kept: Collection[str] = ()
) -> Mapping[str, Dim]:
    """Sizes in the second graph, in the symbols of the first.

    A tensor of both graphs is the same if it is the same input, a constant with the same
    elements, the same output of the same operator on the same tensors, or named in ``kept``.

    Args:
        before: A graph whose values carry their shapes.
        after: Another one with inputs of the same names.
        names: Symbols that mean the same in both: those of the inputs.
        kept: Names of tensors that are known to be the same in both.

    Returns:
        Dim of the first graph by symbol that inference made up in the second. A symbol that no
        shared tensor explains is absent.
    """
    numbers: _Numbers = {}
    first = _numbered(before, numbers, {})
    pinned = {value.name: number for value, number in first.items() if value.name in kept}
    second = _numbered(after, numbers, pinned)
    shapes = {number: shape_of(value) for value, number in reversed(first.items())}
    dims: dict[str, Dim] = {}
    for value, number in second.items():
        shape, other = shape_of(value) or (), shapes.get(number) or ()
        if len(shape) == len(other):
            for dim, same in zip(shape, other, strict=True):
                if isinstance(dim, str) and symbols.is_plain(dim) and dim not in names:
                    dims.setdefault(dim, same)
    return dims


def _numbered(
    graph: ir.Graph,
    numbers: _Numbers,
    pinned: Mapping[str | None, int],
    around: Mapping[ir.Value, int] | None = None,
    depth: int = 0,
) -> dict[ir.Value, int]:
    """Number the tensors of a graph, the same number for the same tensor.

    Args:
        graph: Its nodes are in topological order.
        numbers: Those given so far; brought up to date.
        pinned: Numbers of tensors by name.
        around: Numbers of the tensors of the graphs around it. Its own inputs are then numbered
            by position: they are what the node that holds it gives them.
        depth: How many graphs are around it.
    """
    numbered = dict(around or {})

    def number(value: ir.Value, key: Hashable) -> None:
        there = pinned.get(value.name) if value.name else None
        numbered[value] = there if there is not None else numbers.setdefault(key, len(numbers))

    for index, value in enumerate(graph.inputs):
        number(value, ("input", depth, index) if depth else ("input", value.name))
    for value in graph.initializers.values():
        if value not in numbered:
            number(value, _content(value) or id(value))
    for node in graph:
        inside = {
            id(nested): _outputs(nested, numbers, numbered, depth + 1) for nested in graphs_of(node)
        }
        live = inside.get(id(_live_branch(node)), ())
        key = _computation(node, numbered, inside)
        for index, value in enumerate(node.outputs):
            number(value, _content(value) or (key, index))
            if len(live) == len(node.outputs) and value.name not in pinned:
                numbered[value] = live[index]
    return numbered


def _outputs(
    graph: ir.Graph, numbers: _Numbers, around: Mapping[ir.Value, int], depth: int
) -> tuple[int, ...]:
    """The numbers of what a nested graph gives."""
    numbered = _numbered(graph, numbers, {}, around, depth)
    return tuple(numbered.get(value, id(value)) for value in graph.outputs)


def _content(value: ir.Value) -> Hashable:
    """The elements of a small tensor that is the same for all sizes; None for others."""
    tensor = value.const_value if value.producer() is not None else None
    tensor = tensor if tensor is not None else constant(value)
    if tensor is None or tensor.size > SHAPE_ELEMENTS:
        return None
    try:
        return tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes()
    except (OSError, ValueError, TypeError):
        return None  # the file of external data may be missing


def _live_branch(node: ir.Node) -> ir.Graph | None:
    """The branch that an If always takes; None if that is not decided, and for other nodes."""
    condition = elements(node.inputs[0], 1) if node.op_type == "If" and node.inputs else None
    if condition is None or condition.size != 1 or node.domain:
        return None
    branch = node.attributes.get("then_branch" if condition.item() else "else_branch")
    branches = graphs_in(branch) if branch is not None else []
    return branches[0] if branches else None


def _computation(
    node: ir.Node, numbered: Mapping[ir.Value, int], inside: Mapping[int, tuple[int, ...]]
) -> Hashable:
    """Return a key that is equal for two nodes that compute the same.

    Args:
        node: The node.
        numbered: Numbers of the tensors that it reads.
        inside: Numbers of what the graphs in it give, by identity of the graph.
    """
    if node.domain or node.op_type in NOT_REPEATABLE:
        return id(node)
    attributes: list[Hashable] = []
    for attribute in sorted(node.attributes.values(), key=lambda each: each.name):
        if graphs := graphs_in(attribute):
            attributes.append((attribute.name, *(inside[id(graph)] for graph in graphs)))
        elif attribute.type == ir.AttributeType.TENSOR and attribute.value.size > SHAPE_ELEMENTS:
            return id(node)
        else:
            attributes.append(ir.to_proto(attribute).SerializeToString(deterministic=True))
    operands = [
        numbered.get(value, id(value)) if value is not None else None for value in node.inputs
    ]
    return node.op_type, tuple(attributes), tuple(operands)
