"""Recurrent operators with the batch first, as ONNX defines them: by those with time first.

    LSTM<layout=1>(x, …, h, c) = transposed LSTM<layout=0>(transposed x, …, h and c)

``layout`` (ONNX operators LSTM, GRU and RNN, since opset 14) only orders axes. With 1 they are, for
``X`` batch, time, features; for ``Y`` batch, time, direction, hidden; for the initial and the last
states batch, direction, hidden. With 0 they are time, batch, features; time, direction, batch,
hidden; and direction, batch, hidden. Neither TensorRT nor ONNX Runtime's CPU kernels have 1.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import RECURRENT
from tripoint.model import Model

_SEQUENCE = [1, 0, 2]
_STATE = [1, 0, 2]
_STEPS = [2, 0, 1, 3]

_STATES = (5, 6)
"""Positions of the initial states among the inputs."""


def is_batch_first(node: ir.Node) -> bool:
    """Return whether a node is a recurrent operator with the batch first."""
    return (
        node.op_type in RECURRENT
        and not node.domain
        and not any(each.is_ref() for each in node.attributes.values())
        and node.attributes.get_int("layout", 0) == 1
    )


def expanded(node: ir.Node) -> tuple[list[ir.Node], list[ir.Value], list[ir.Value]]:
    """The node with time first, between Transposes.

    Args:
        node: One of :func:`is_batch_first`.

    Returns:
        The new nodes in topological order, the outputs that the node has, and what stands for
        each of them.
    """
    before: list[ir.Node] = []

    def turned(value: ir.Value | None, perm: list[int]) -> ir.Value | None:
        if value is None or not value.name:
            return value
        before.append(ir.node("Transpose", [value], {"perm": perm}))
        return before[-1].outputs[0]

    inputs = list(node.inputs)
    inputs[0] = turned(inputs[0], _SEQUENCE)
    for index in _STATES[: len(inputs) - _STATES[0]] if len(inputs) > _STATES[0] else ():
        inputs[index] = turned(inputs[index], _STATE)
    kept = [each for each in node.attributes.values() if each.name != "layout"]
    outputs = [ir.Value(name=None if value.name else "") for value in node.outputs]
    core = ir.Node("", node.op_type, inputs, kept, outputs=outputs)
    after, old, new = [], [], []
    for index, value in enumerate(node.outputs):
        if value.name:
            perm = _STATE if index else _STEPS
            after.append(ir.node("Transpose", [outputs[index]], {"perm": perm}))
            old.append(value)
            new.append(after[-1].outputs[0])
    return [*before, core, *after], old, new


def with_time_first(model: Model) -> Model:
    """A model that ONNX Runtime can load: the given one, or a copy where it has such a node."""
    if not any(map(is_batch_first, model.ir.graph.all_nodes())):
        return model
    copy = model.ir.clone()
    for node in list(copy.graph.all_nodes()):
        if node.graph is None or not is_batch_first(node):
            continue
        nodes, old, new = expanded(node)
        for index, each in enumerate(value for added in nodes for value in added.outputs):
            if each.name is None:
                each.name = f"{old[0].name}.batch_first.{index}"
        ir.convenience.replace_nodes_and_values(node.graph, node, [node], nodes, old, new)
    return Model(copy)
