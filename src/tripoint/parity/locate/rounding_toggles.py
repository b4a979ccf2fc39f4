"""A graph in which each node can be rounded to a lower precision, or not, from run to run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tripoint.model import Model
from tripoint.parity.locate.graph import Graph
from tripoint.tolerance.derivation import only_moves

SWITCHES = "tripoint.rounded"
"""Name of the further input: a vector of booleans, one for each node."""


def rounds(node: ir.Node) -> bool:
    """Return whether a node computes with float32, and does not only move it."""
    floats = [v for v in (*node.inputs, *node.outputs) if v is not None and _is_float(v)]
    return bool(floats) and not only_moves(node)


def _is_float(value: ir.Value) -> bool:
    dtype = value.dtype if value.const_value is None else value.const_value.dtype
    return dtype == ir.DataType.FLOAT


def switched(graph: Graph, nodes: Sequence[ir.Node], low: ir.DataType) -> Model:
    """A graph with a switch at some nodes, in one model.

    Args:
        graph: The graph; it is not changed.
        nodes: Of it. Where the switch of one is on, its float32 inputs and outputs are rounded.
        low: The type that they are rounded to.

    Returns:
        The graph with :data:`SWITCHES` as its last input.
    """
    chosen = {graph.position[node]: index for index, node in enumerate(nodes)}
    model = graph.ir.clone()
    own = model.graph
    switches = ir.Value(
        name=SWITCHES, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([len(nodes)])
    )
    own.inputs.append(switches)
    for position, node in enumerate(list(own)):
        if position not in chosen:
            continue
        index = chosen[position]
        number = ir.node("Constant", [], {"value": ir.tensor(np.int64(index))})
        switch = ir.node("Gather", [switches, number.outputs[0]])
        number.outputs[0].name = f"{SWITCHES}.{index}.number"
        switch.outputs[0].name = f"{SWITCHES}.{index}"
        own.insert_before(node, [number, switch])
        for place, value in enumerate(node.inputs):
            if value is not None and _is_float(value):
                rounding = _rounding(value, switch.outputs[0], low, f"{SWITCHES}.{index}.in{place}")
                own.insert_before(node, rounding)
                node.replace_input_with(place, rounding[-1].outputs[0])
        for place, value in enumerate(node.outputs):
            if not value.name or not _is_float(value):
                continue
            rounding = _rounding(value, switch.outputs[0], low, f"{SWITCHES}.{index}.out{place}")
            _take_over(own, value, rounding)
            own.insert_after(node, rounding)
    return Model(model)


def _rounding(value: ir.Value, switch: ir.Value, low: ir.DataType, name: str) -> list[ir.Node]:
    """Nodes that round a tensor if a switch is on."""
    down = ir.node("Cast", [value], {"to": int(low)})
    up = ir.node("Cast", [down.outputs[0]], {"to": int(ir.DataType.FLOAT)})
    pick = ir.node("Where", [switch, up.outputs[0], value])
    for suffix, node in (("low", down), ("back", up), ("picked", pick)):
        node.outputs[0].name = f"{name}.{suffix}"
    return [down, up, pick]


def _take_over(graph: ir.Graph, value: ir.Value, rounding: Sequence[ir.Node]) -> None:
    """Let all readers of a tensor read the result of some nodes in its place."""
    result = rounding[-1].outputs[0]
    result.type, result.shape = value.type, value.shape
    for user, place in list(value.uses()):
        if user not in rounding:
            user.replace_input_with(place, result)
    for place, output in enumerate(graph.outputs):
        if output is value:
            result.name, value.name = value.name, f"{result.name}.exact"
            graph.outputs[place] = result
