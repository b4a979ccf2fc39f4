"""Roles of tensors, which hold data or sizes, decided by who consumes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.graph.ops import READS_SIZES, SIZE_OPERANDS
from tripoint.graph.subgraphs import graphs_of
from tripoint.shape_inference import truth
from tripoint.table import Role


@dataclass(frozen=True, slots=True)
class Consumer:
    """A node that consumes a tensor as a size.

    Args:
        node: The node.
        position: Number of the input.
    """

    node: ir.Node
    position: int


def infer(model: ir.Model) -> dict[str, Role]:
    """Role of every tensor by name.

    A tensor is a shape tensor if a size operand needs it, directly or through integer
    arithmetic; it is both if something else consumes it as well, or if it is a graph output.
    """
    shape = forced(model)
    execution = _execution(model)
    roles: dict[str, Role] = {}
    for value, name in truth.names(model).items():
        if value in shape:
            roles[name] = "both" if value in execution else "shape"
        else:
            roles[name] = "execution"
    return roles


def forced(model: ir.Model) -> dict[ir.Value, Consumer]:
    """Return by shape tensor the nearest node that needs it as a size."""
    consumers: dict[ir.Value, Consumer] = {}
    for node in model.graph.all_nodes():
        for position, value in enumerate(node.inputs):
            if value is not None and position in SIZE_OPERANDS.get(node.op_type, ()):
                consumers.setdefault(value, Consumer(node, position))
    outer = _given_to_bodies(model)
    pending = deque(consumers)
    while pending:
        value = pending.popleft()
        producer = value.producer()
        if producer is not None and producer.op_type in READS_SIZES:
            continue
        for each in _feeding(value, outer):
            if each not in consumers:
                consumers[each] = consumers[value]
                pending.append(each)
    return consumers


def _execution(model: ir.Model) -> set[ir.Value]:
    needed: set[ir.Value] = set(model.graph.outputs)
    for node in model.graph.all_nodes():
        if node.op_type in READS_SIZES:
            needed.update(value for value in node.inputs if value is not None)
        if not any(value.uses() for value in node.outputs):
            needed.update(value for value in node.outputs if not value.is_graph_output())
    outer = _given_to_bodies(model)
    pending = list(needed)
    while pending:
        for each in _feeding(pending.pop(), outer):
            if each not in needed:
                needed.add(each)
                pending.append(each)
    return needed


def _feeding(value: ir.Value, outer: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
    """The tensors from whose values those of a tensor are computed."""
    node = value.producer()
    if node is None:
        return [outer[value]] if value in outer else []
    operands = SIZE_OPERANDS.get(node.op_type, ())
    feeding = [
        each
        for position, each in enumerate(node.inputs)
        if each is not None and position not in operands
    ]
    index = (value.index() or 0) + (node.op_type == "Loop")
    return feeding + [body.outputs[index] for body in graphs_of(node) if index < len(body.outputs)]


def _given_to_bodies(model: ir.Model) -> dict[ir.Value, ir.Value]:
    """Return by input of the subgraph of a Loop or Scan the node's input that is passed to it."""
    return {
        inner: outer
        for node in model.graph.all_nodes()
        for body in graphs_of(node)
        for inner, outer in zip(body.inputs, node.inputs, strict=False)
        if outer is not None
    }
