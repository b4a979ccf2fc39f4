"""ONNX Runtime's float16 converter, on a graph without weights, and what it leaves undone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import onnx_ir as ir

from tripoint.errors import ExternalStepError
from tripoint.precision import choice, weights

NAME = "onnxruntime.transformers.float16"


def convert(
    source: ir.Model, kept: Collection[ir.Node], low: ir.DataType, *, keep_io: bool
) -> tuple[ir.Model, int]:
    """Convert a model.

    Args:
        source: Flat, with the types on its values and its constants as initializers, none of which
            is read by kept nodes and others.
        kept: Nodes of its main graph that stay in float32.
        low: FLOAT16 or BFLOAT16.
        keep_io: Whether inputs and outputs keep their types.

    Returns:
        A new model whose weights are converted as they are read, and the number of casts that
        were added to it.

    Raises:
        ExternalStepError: If ONNX Runtime's converter fails.
    """
    narrow = _converter()
    skeleton, own = _skeleton(source)
    try:
        changed = narrow(
            ir.to_proto(skeleton),
            keep_io_types=keep_io,
            disable_shape_infer=True,
            op_block_list=[],
            node_block_list=[key for key, node in own.items() if node in kept],
        )
        _drop_doubled_casts(changed.graph)
        result: ir.Model = ir.from_proto(changed)
    except Exception as error:
        raise ExternalStepError(
            f"{NAME} failed: {type(error).__name__}: {error}",
            hint="--keep-fp32 leaves the nodes it cannot convert in float32",
        ) from error
    _restore_names(own, result)
    _restore_shapes(source, result)
    _restore_weights(source, result, low)
    _feed_bodies(source, result)
    _drop_needless_casts(own, result)
    if low == ir.DataType.BFLOAT16:
        _retarget(source, own, result, low)
    result.graph.sort()
    casts = sum(node.op_type == "Cast" and node.name not in own for node in result.graph)
    for node in result.graph:
        if node.name in own:
            node.name = own[node.name].name
    return result, casts


def _drop_doubled_casts(graph: Any) -> None:
    """Remove the second of two casts that make one tensor.

    Up to 1.30 ONNX Runtime writes one for each operand of a kept node, the same tensor or not.
    """
    cast: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in cast:
            graph.node.remove(node)
        cast.update(node.output)


def _converter() -> Callable[..., Any]:
    path = list(sys.path)
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise ExternalStepError(
            f"{NAME} cannot be imported: {error}", hint="pip install onnxruntime"
        ) from error
    finally:
        sys.path[:] = path  # importing it appends a folder whose modules have common names
    return convert_float_to_float16  # type: ignore[no-any-return]


def _skeleton(source: ir.Model) -> tuple[ir.Model, dict[str | None, ir.Node]]:
    """A copy without weights, whose nodes have names of their own, and the node by such a name."""
    skeleton = source.clone()
    for name, value in skeleton.graph.initializers.items():
        value.const_value = ir.tensor([0], dtype=value.dtype, name=name)
        value.shape = ir.Shape([1])
    own: dict[str | None, ir.Node] = {}
    for place, (node, copy) in enumerate(zip(source.graph, skeleton.graph, strict=True)):
        copy.name = f"node{place}"
        own[copy.name] = node
    return skeleton, own


def _restore_names(own: Mapping[str | None, ir.Node], result: ir.Model) -> None:
    """Give what kept nodes make its name back, which the converter gave to a cast of it."""
    by_name = {value.name: value for node in result.graph for value in node.outputs}
    for node in [node for node in result.graph if node.name in own]:
        for value, before in zip(node.outputs, own[node.name].outputs, strict=True):
            cast = by_name.get(before.name)
            if cast is None or cast is value or cast.is_graph_output():
                continue
            down = cast.producer()
            if down is not None and down.name not in own and down.inputs[0] is value:
                cast.name = free_name(result.graph, f"{before.name}_cast")
                value.name = before.name


def _restore_shapes(source: ir.Model, result: ir.Model) -> None:
    values = {value.name: value for node in source.graph for value in node.outputs}
    for node in result.graph:
        for value in node.outputs:
            before = values.get(value.name)
            if before is not None:
                value.shape = before.shape
                value.type = value.type or before.type


def _restore_weights(source: ir.Model, result: ir.Model, low: ir.DataType) -> None:
    for name, value in result.graph.initializers.items():
        original = source.graph.initializers[name]
        tensor = original.const_value
        assert tensor is not None  # noqa: S101 - an initializer
        narrowed = choice.is_float(original) and _declared(value) == ir.DataType.FLOAT16
        value.const_value = weights.converted(tensor, low) if narrowed else tensor
        value.type = ir.TensorType(low) if narrowed else original.type
        value.shape = original.shape


def _declared(initializer: ir.Value) -> ir.DataType | None:
    return initializer.const_value.dtype if initializer.const_value is not None else None


def _feed_bodies(source: ir.Model, result: ir.Model) -> None:
    """Cast what the graphs inside of nodes read from outside back to float32."""
    before = {value.name: value.dtype for node in source.graph for value in node.outputs}
    before |= {value.name: value.dtype for value in source.graph.inputs}
    cast: dict[ir.Value, ir.Value] = {}
    for node in result.graph:
        for value in _captured(node):
            narrowed = value.dtype == ir.DataType.FLOAT16
            if not narrowed or before.get(value.name) != ir.DataType.FLOAT:
                continue
            if value not in cast:
                back = ir.node(
                    "Cast",
                    [value],
                    {"to": ir.DataType.FLOAT.value},
                    name=f"{value.name}_for_bodies",
                )
                back.outputs[0].name = free_name(result.graph, f"{value.name}_for_bodies")
                back.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
                back.outputs[0].shape = value.shape
                result.graph.insert_before(node, back)
                cast[value] = back.outputs[0]
            for user, at in list(value.uses()):
                if user.graph is not result.graph:
                    user.replace_input_with(at, cast[value])


def _captured(node: ir.Node) -> Iterator[ir.Value]:
    """Values of the main graph that the graphs inside of a node read."""
    for attribute in node.attributes.values():
        if attribute.type != ir.AttributeType.GRAPH:
            continue
        body = attribute.as_graph()
        for inner in body.all_nodes():
            for value in inner.inputs:
                if value is not None and value.graph is node.graph:
                    yield value


def _drop_needless_casts(own: Collection[str | None], result: ir.Model) -> None:
    """Let nodes in float32 give each other float32, without a cast down and up between them.

    Args:
        own: Names of the nodes that the model had; others are the converter's.
        result: The converted model.
    """
    graph = result.graph
    for node in list(graph):
        origin = _origin(node, own) if node.op_type == "Cast" else None
        if origin is not None and _bypass(graph, node.outputs[0], origin):
            graph.remove(node, safe=True)
    for node in reversed(list(graph)):
        if node.op_type == "Cast" and node.name not in own:
            (output,) = node.outputs
            if not output.uses() and not output.is_graph_output():
                graph.remove(node, safe=True)


def _origin(cast: ir.Node, own: Collection[str | None]) -> ir.Value | None:
    """Return the value to read in place of a cast; None if the cast is needed."""
    (operand,), (output,) = cast.inputs, cast.outputs
    if operand is None:
        return None
    down = operand.producer()
    if cast.name not in own and down and down.op_type == "Cast" and down.name not in own:
        (before,) = down.inputs
        if before is not None and before.dtype == output.dtype:
            return before
    # A cast of the model may be one to what its operand is by now.
    return operand if operand.dtype == output.dtype else None


def _bypass(graph: ir.Graph, output: ir.Value, origin: ir.Value) -> bool:
    """Put one value in the place of another; whether that can be done."""
    if output.is_graph_output():
        if origin.producer() is None or origin.is_graph_output():
            return False
        name = output.name
        output.name = f"{name}_unused"
        for position, value in enumerate(graph.outputs):
            if value is output:
                graph.outputs[position] = origin
        origin.name, origin.shape = name, output.shape or origin.shape
    for user, at in list(output.uses()):
        user.replace_input_with(at, origin)
    return True


def _retarget(
    source: ir.Model, own: Mapping[str | None, ir.Node], result: ir.Model, low: ir.DataType
) -> None:
    """Make bfloat16 of the float16 that the converter introduced."""
    before: dict[str | None, ir.DataType | None] = {}
    for node in source.graph:
        before.update((value.name, value.dtype) for value in node.outputs)
    before.update((value.name, value.dtype) for value in source.graph.inputs)

    def introduced(value: ir.Value) -> bool:
        own = before.get(value.name, ir.DataType.FLOAT)
        return value.dtype == ir.DataType.FLOAT16 and own != ir.DataType.FLOAT16

    for value in result.graph.inputs:
        if introduced(value):
            value.type = ir.TensorType(low)
    for node in result.graph:
        for value in node.outputs:
            if not introduced(value):
                continue
            value.type = ir.TensorType(low)
            if node.op_type == "Cast":
                node.attributes.add(ir.AttrInt64("to", low.value))
            elif node.op_type == "ConstantOfShape":
                filling = own[node.name].attributes["value"].as_tensor().numpy()
                tensor = ir.tensor(weights.array(filling, low), dtype=low)
                node.attributes.add(ir.AttrTensor("value", tensor))


def free_name(graph: ir.Graph, name: str) -> str:
    """A name that no tensor of a graph has, made from another."""
    taken = {value.name for node in graph for value in node.outputs}
    taken |= {value.name for value in graph.inputs} | set(graph.initializers)
    while name in taken:
        name += "_"
    return name
