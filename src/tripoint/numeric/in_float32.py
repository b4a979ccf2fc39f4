"""A graph of bfloat16 as ONNX Runtime can compute it on a CPU: in float32, rounded node by node.

    y = Op(x)  ⇒  y = Cast<bfloat16>(Op(Cast<float32>(x)))

All tensors keep their names and types, so graphs inside of nodes, inputs and outputs stay as they
are. A Cast is one of the few operators that ONNX Runtime 1.30 has for bfloat16 on a CPU, and
without optimizations it leaves out none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx_ir as ir

from tripoint.facts import truth
from tripoint.facts.operators.context import graphs_in

SAID = (
    "ONNX Runtime has no bfloat16 kernels on a CPU: each operator was computed in float32, and its "
    "result rounded to bfloat16"
)

_LOW, _WIDE = ir.DataType.BFLOAT16, ir.DataType.FLOAT
_AS_THEY_ARE = frozenset(
    {"Cast", "CastLike", "BitCast", "Constant", "Identity", "If", "Loop", "Scan", "SequenceMap"}
)
"""Operators that ONNX Runtime has for bfloat16, or whose bodies are what computes."""
_TYPES = ("dtype", "output_dtype", "stash_type", "softmax_precision")
"""Attributes that name the type of a result, or of what is computed on the way to it."""


def holds_bfloat16(graph: ir.Model) -> bool:
    """Whether a tensor of a graph, or a result that a node names the type of, is bfloat16."""
    named = (value.dtype for value in (*graph.graph.inputs, *graph.graph.outputs))
    stored = (value.dtype for value in graph.graph.initializers.values())
    cast = (node.attributes.get_int("to", 0) for node in graph.graph.all_nodes())
    return _LOW in {*named, *stored} or _LOW.value in set(cast)


def in_float32(graph: ir.Model) -> ir.Model:
    """A copy whose operators take and give float32 where they took and gave bfloat16.

    Args:
        graph: The graph; local functions are inlined in the copy.

    Raises:
        InputError: If local functions cannot be inlined.
    """
    copy = truth.inlined(graph)
    copy = copy.clone() if copy is graph else copy
    if any(value.type is None for node in copy.graph.all_nodes() for value in node.outputs):
        truth.annotate(copy)
    _change(copy.graph, itertools.count())
    return copy


def _change(graph: ir.Graph, numbers: Iterator[int]) -> None:
    wide: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        for attribute in node.attributes.values():
            for body in graphs_in(attribute):
                _change(body, numbers)
        if node.op_type in _AS_THEY_ARE and not node.domain:
            continue
        for place, value in enumerate(node.inputs):
            if value is None or not _is_low(value):
                continue
            if value not in wide:
                cast = ir.node("Cast", [value], {"to": _WIDE.value})
                wide[value] = _named(cast, f"{value.name}/wide.{next(numbers)}", value, _WIDE)
                graph.insert_before(node, cast)
            node.replace_input_with(place, wide[value])
        _widen_attributes(node)
        for value in node.outputs:
            if _is_low(value):
                _round(graph, node, value, next(numbers))


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value, number: int) -> None:
    cast = ir.node("Cast", [value], {"to": _LOW.value})
    users = [(user, at) for user, at in value.uses() if user is not cast]
    name = value.name or ""
    value.name = f"{name}/exact.{number}"
    rounded = _named(cast, name, value, _LOW)
    value.type = ir.TensorType(_WIDE)
    graph.insert_after(node, cast)
    for user, at in users:
        user.replace_input_with(at, rounded)
    for position, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[position] = rounded


def _named(cast: ir.Node, name: str, like: ir.Value, dtype: ir.DataType) -> ir.Value:
    (made,) = cast.outputs
    made.name, made.shape, made.type = name, like.shape, ir.TensorType(dtype)
    return made


def _widen_attributes(node: ir.Node) -> None:
    for name in _TYPES:
        if node.attributes.get_int(name, 0) == _LOW.value:
            node.attributes.add(ir.AttrInt64(name, _WIDE.value))
    filling = node.attributes.get("value")
    if node.op_type == "ConstantOfShape" and filling is not None:
        tensor = filling.as_tensor()
        if tensor.dtype == _LOW:
            wide = ir.tensor(tensor.numpy().astype(_WIDE.numpy()))
            node.attributes.add(ir.AttrTensor("value", wide))


def _is_low(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType) and value.dtype == _LOW
