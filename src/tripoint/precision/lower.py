"""A model in float16 or bfloat16.

The casts are written by ``onnxruntime.transformers.float16``, which is part of ONNX Runtime and so
of tripoint's own dependencies. It works on a copy of the graph whose weights are left out, and what
it does not do is done before and after it, on onnx-ir: bfloat16, weights of any size (converted one
by one when they are written), constants that nodes of both types read, tensors that the bodies of
If, Loop and Scan read from outside, and casts there and back between two nodes in float32.

NVIDIA's ModelOpt AutoCast (0.47) needs torch and pins onnx and onnxruntime to versions of its own;
onnxconverter-common (1.16) holds an older form of ONNX Runtime's converter.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx_ir as ir

from tripoint.errors import ExternalStepError
from tripoint.facts import truth
from tripoint.facts.mechanisms import node_name
from tripoint.model import Model
from tripoint.packages import version
from tripoint.precision import choice, weights
from tripoint.precision.choice import Kept
from tripoint.precision.weights import Clamped

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
Io = Literal["keep", "match"]

LOW = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
"""ONNX type by precision, of those that change the graph."""

CONVERTER = "onnxruntime.transformers.float16"
_BFLOAT16_OPSET = 22
"""Defines Conv, pooling and others for bfloat16, which 21 and before do not (ONNX changelog)."""
_PLACE = "tripoint.place"


@dataclass(frozen=True)
class Lowered:
    """A model in a lower precision.

    Args:
        model: The converted model, in memory; its weights are converted as they are read.
        source: The flat model that it was made from, in float32, with the same tensor names.
        low: The type.
        io: Whether inputs and outputs keep their types or match ``low``.
        lowered: Number of nodes with a float result that are in the lower type now.
        kept: Nodes that are in float32, with the reason.
        casts: Number of Cast nodes that were added.
        clamped: Constants with numbers beyond the range.
        converter: Name and version of what wrote the casts.
    """

    model: ir.Model
    source: ir.Model
    low: ir.DataType
    io: Io
    lowered: int
    kept: tuple[Kept, ...]
    casts: int
    clamped: tuple[Clamped, ...]
    converter: str = field(default_factory=lambda: f"{CONVERTER} {version('onnxruntime')}")


def lower(
    model: Model,
    precision: Precision,
    *,
    keep: Sequence[str] = (),
    io: Io = "keep",
) -> Lowered:
    """Convert a model to float16 or bfloat16.

    Args:
        model: It is not changed.
        precision: ``"fp16"`` or ``"bf16"``.
        keep: Nodes that stay in float32: names, or patterns with ``*``, ``?`` and ``[...]``.
        io: ``"keep"`` leaves the types of inputs and outputs as they are; ``"match"`` gives those
            of float32 the lower type.

    Raises:
        UsageError: If one of ``keep`` fits no node.
        ExternalStepError: If no node can be of that type, or the converter fails.
    """
    low = LOW[precision]
    source = _prepared(model, low)
    kept = choice.kept(source, low, keep)
    able = [node for node in source.graph if node not in kept and _computes(node)]
    if not able:
        raise ExternalStepError(
            f"no node of the model can compute in {precision}: "
            + (_commonest(kept) or "it holds no float32"),
            hint="leave --precision out, or keep fewer nodes in float32",
        )
    _separate(source, kept)
    result = _converted(source, kept, low, io)
    constants = [
        value
        for name, value in source.graph.initializers.items()
        if choice.is_float(value) and result.graph.initializers[name].dtype == low
    ]
    return Lowered(
        model=result,
        source=source,
        low=low,
        io=io,
        lowered=len([node for node in source.graph if node not in kept and _has_result(node)]),
        kept=tuple(Kept(node_name(node), node.op_type, why) for node, why in kept.items()),
        casts=_count_casts(result) - _count_casts(source),
        clamped=tuple(filter(None, (weights.clamped(value, low) for value in constants))),
    )


def _computes(node: ir.Node) -> bool:
    return choice.touches_float(node) and node.op_type not in ("Cast", "Shape", "Size", "Constant")


def _has_result(node: ir.Node) -> bool:
    return any(map(choice.is_float, node.outputs))


def _commonest(kept: dict[ir.Node, str]) -> str:
    return "; ".join(f"{why} ({n} nodes)" for why, n in Counter(kept.values()).most_common(3))


def _count_casts(model: ir.Model) -> int:
    return sum(node.op_type == "Cast" for node in model.graph.all_nodes())


# Before the converter


def _prepared(model: Model, low: ir.DataType) -> ir.Model:
    """A flat copy with types on its values, and all constants of the main graph as initializers."""
    from onnx_ir.passes.common import (
        LiftConstantsToInitializersPass,
        RemoveInitializersFromInputsPass,
    )

    flat = truth.inlined(model.ir)
    flat = flat.clone() if flat is model.ir else flat
    with truth.tensor_names_kept(flat):
        RemoveInitializersFromInputsPass()(flat)
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(flat)
    if low == ir.DataType.BFLOAT16:
        _raise_opset(flat)
    truth.annotate(flat)
    truth.strip(flat)
    _name_all(flat)
    _part_ends(flat)
    for node in flat.graph:
        if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
            zero = ir.tensor([0.0], dtype=ir.DataType.FLOAT)
            node.attributes.add(ir.AttrTensor("value", zero))
    return flat


def _raise_opset(flat: ir.Model) -> None:
    """Use an opset that defines bfloat16 for all operators that ever got it."""
    from onnxscript.version_converter import ConvertVersionPass

    if flat.opset_imports.get("", _BFLOAT16_OPSET) < _BFLOAT16_OPSET:
        # Where it fails the opset stays, and what it lacks is named as the reason for float32.
        with contextlib.suppress(Exception):
            ConvertVersionPass(target_version=_BFLOAT16_OPSET, fallback=True)(flat)


def _name_all(flat: ir.Model) -> None:
    """Give every node of the main graph a name of its own, by which the converter knows it."""
    taken = Counter(node.name for node in flat.graph)
    for place, node in enumerate(flat.graph):
        if not node.name or taken[node.name] > 1:
            node.metadata_props[_PLACE] = node.name or ""
            node.name = f"{node_name(node)}#{place}"


def _part_ends(flat: ir.Model) -> None:
    """Put an Identity between an input or a constant and an output that is the same value."""
    graph = flat.graph
    for position, value in enumerate(graph.outputs):
        if value.producer() is None and choice.is_float(value):
            name = value.name or f"output_{position}"
            value.name = _free_name(graph, f"{name}_source")
            node = ir.node("Identity", [value], name=f"{name}_identity")
            output = node.outputs[0]
            output.name, output.type, output.shape = name, value.type, value.shape
            graph.append(node)
            graph.outputs[position] = output


def _separate(flat: ir.Model, kept: dict[ir.Node, str]) -> None:
    """Give kept nodes constants of their own where others read the same."""
    graph = flat.graph
    for name, value in list(graph.initializers.items()):
        if not choice.is_float(value):
            continue
        uses = list(value.uses())
        high = [(node, at) for node, at in uses if node in kept or node.graph is not graph]
        if high and len(high) < len(uses):
            copy = ir.Value(
                name=_free_name(graph, f"{name}_float32"),
                shape=value.shape,
                type=value.type,
                const_value=value.const_value,
            )
            graph.register_initializer(copy)
            for node, at in high:
                node.replace_input_with(at, copy)


def _free_name(graph: ir.Graph, name: str) -> str:
    taken = {value.name for node in graph for value in node.outputs}
    taken |= {value.name for value in graph.inputs} | set(graph.initializers)
    while name in taken:
        name += "_"
    return name


# The converter, and what it leaves


def _converted(
    source: ir.Model, kept: dict[ir.Node, str], low: ir.DataType, io: Io
) -> ir.Model:
    convert = _converter()
    proto = ir.to_proto(_without_weights(source))
    try:
        changed = convert(
            proto,
            keep_io_types=io == "keep",
            disable_shape_infer=True,
            op_block_list=[],
            node_block_list=[node.name for node in kept],
        )
        result = ir.from_proto(changed)
    except Exception as error:
        raise ExternalStepError(
            f"{CONVERTER} failed: {type(error).__name__}: {error}",
            hint="--keep-fp32 leaves the nodes it cannot convert in float32",
        ) from error
    _restore_types(source, result)
    _restore_weights(source, result, low)
    _feed_bodies(source, result)
    _drop_needless_casts(source, result)
    if low == ir.DataType.BFLOAT16:
        _retarget(source, result, low)
    result.graph.sort()
    for node in result.graph:
        if (name := node.metadata_props.pop(_PLACE, None)) is not None:
            node.name = name or None
    return result


def _converter() -> Callable[..., Any]:
    path = list(sys.path)
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise ExternalStepError(
            f"{CONVERTER} cannot be imported: {error}", hint="pip install onnxruntime"
        ) from error
    finally:
        sys.path[:] = path  # importing it appends a folder whose modules have common names
    return convert_float_to_float16  # type: ignore[no-any-return]


def _without_weights(source: ir.Model) -> ir.Model:
    skeleton = source.clone()
    for name, value in skeleton.graph.initializers.items():
        value.const_value = ir.tensor([0], dtype=value.dtype, name=name)
        value.shape = ir.Shape([1])
    return skeleton


def _restore_types(source: ir.Model, result: ir.Model) -> None:
    """Types of the tensors that the converter does not mention."""
    known = {value.name: value for node in source.graph.all_nodes() for value in node.outputs}
    for node in result.graph.all_nodes():
        for value in node.outputs:
            before = known.get(value.name)
            if before is not None and value.type is None:
                value.type = before.type
            if before is not None and value.shape is None:
                value.shape = before.shape


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
                back.outputs[0].name = _free_name(result.graph, f"{value.name}_for_bodies")
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


def _drop_needless_casts(source: ir.Model, result: ir.Model) -> None:
    """Let nodes in float32 give each other float32, without a cast down and up between them."""
    own = {node.name for node in source.graph}
    graph = result.graph
    for node in list(graph):
        if node.op_type != "Cast" or node.inputs[0] is None:
            continue
        (operand,), (output,) = node.inputs, node.outputs
        down = operand.producer()
        there_and_back = (
            node.name not in own
            and down is not None
            and down.op_type == "Cast"
            and down.name not in own
            and down.inputs[0] is not None
            and down.inputs[0].dtype == output.dtype
        )
        origin = down.inputs[0] if there_and_back and down is not None else None
        if origin is None and operand.dtype == output.dtype:
            origin = operand  # a cast of the model to what its operand is by now
        if origin is not None and _bypass(graph, output, origin):
            graph.remove(node, safe=True)
    for node in reversed(list(graph)):
        if node.op_type == "Cast" and node.name not in own:
            (output,) = node.outputs
            if not output.uses() and not output.is_graph_output():
                graph.remove(node, safe=True)


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


def _retarget(source: ir.Model, result: ir.Model, low: ir.DataType) -> None:
    """Make bfloat16 of the float16 that the converter introduced."""
    before: dict[str | None, ir.DataType | None] = {}
    for node in source.graph:
        before.update((value.name, value.dtype) for value in node.outputs)
    before.update((value.name, value.dtype) for value in source.graph.inputs)
    attributes = {node.name: node.attributes for node in source.graph}

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
                filling = attributes[node.name]["value"].as_tensor().numpy()
                tensor = ir.tensor(weights.array(filling, low), dtype=low)
                node.attributes.add(ir.AttrTensor("value", tensor))
