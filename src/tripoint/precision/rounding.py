"""Graphs with which float32 shows what a lower type would do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir


def rounding(model: ir.Model, low: ir.DataType) -> ir.Model:
    """A copy with every number in float32, rounded where it was of the lower type.

    Args:
        model: A converted model; the tensors of the copy have the same names.
        low: FLOAT16 or BFLOAT16.
    """
    copy = model.clone()
    graph = copy.graph
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and value.dtype == low:
            value.const_value = _widened(tensor)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for value in graph.inputs:
        if value.dtype == low:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in list(graph):
        for value in node.outputs:
            if value.dtype == low:
                _round_after(graph, node, value, low)
        attribute = node.attributes.get("value")
        if node.op_type == "ConstantOfShape" and attribute is not None:
            filling = attribute.as_tensor()
            if filling.dtype == low:
                node.attributes.add(ir.AttrTensor("value", _widened(filling)))
    return copy


def _round_after(graph: ir.Graph, node: ir.Node, value: ir.Value, low: ir.DataType) -> None:
    if node.op_type == "Cast":
        node.attributes.add(ir.AttrInt64("to", ir.DataType.FLOAT.value))
    name = value.name or ""
    narrow = ir.node("Cast", [value], {"to": low.value}, name=f"{name}/round")
    widen = ir.node("Cast", narrow.outputs, {"to": ir.DataType.FLOAT.value}, name=f"{name}/widen")
    (rounded,) = widen.outputs
    users = [(user, at) for user, at in value.uses() if user is not narrow]
    value.name, narrow.outputs[0].name, rounded.name = f"{name}/exact", f"{name}/{low}", name
    for each in (value, rounded):
        each.type = ir.TensorType(ir.DataType.FLOAT)
    narrow.outputs[0].type = ir.TensorType(low)
    rounded.shape = narrow.outputs[0].shape = value.shape
    graph.insert_after(node, [narrow, widen])
    for user, at in users:
        user.replace_input_with(at, rounded)
    for position, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[position] = rounded


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.LazyTensor(
        lambda: ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name),
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name,
    )


def watching(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy that gives, after its outputs, the named tensors as well."""
    copy = model.clone()
    by_name = {value.name: value for node in copy.graph for value in node.outputs}
    for place, name in enumerate(names):
        # A graph may not give one tensor twice.
        watch = ir.node("Identity", [by_name[name]], name=f"watch/{place}")
        watch.outputs[0].name = f"watch/{place}"
        watch.outputs[0].type = by_name[name].type
        copy.graph.append(watch)
        copy.graph.outputs.append(watch.outputs[0])
    return copy
