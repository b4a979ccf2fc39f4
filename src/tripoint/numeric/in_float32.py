"""A graph of bfloat16 as ONNX Runtime can compute it on a CPU: in float32, rounded node by node.

    y = Op(x)  ⇒  y = Cast<bfloat16>(Op(Cast<float32>(x)))

All tensors keep their names and types, so graphs inside of nodes, inputs and outputs stay as they
are. A Cast is one of the few operators that ONNX Runtime 1.30 has for bfloat16 on a CPU, and
without optimizations it leaves out none.
"""

from __future__ import annotations

import itertools

import onnx_ir as ir

from tripoint.graph.ops import SUBGRAPHS
from tripoint.graph.subgraphs import graphs_in
from tripoint.shape_inference import truth

SAID = (
    "ONNX Runtime has no bfloat16 kernels on a CPU: each operator was computed in float32, and its "
    "result rounded to bfloat16"
)

SHORT = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
"""Types of floating-point numbers that are shorter than float32 and that models are computed in."""

_WIDE = ir.DataType.FLOAT
_AS_THEY_ARE = SUBGRAPHS | {"Cast", "CastLike", "BitCast", "Constant", "Identity"}
"""Operators that ONNX Runtime has for bfloat16, or whose bodies are what computes."""
_TYPES = ("dtype", "output_dtype", "stash_type", "softmax_precision")
"""Attributes that name the type of a result, or of what is computed on the way to it."""


def types_of(graph: ir.Model) -> set[ir.DataType]:
    """The types of inputs, outputs and initializers, and those that a Cast names."""
    named = (value.dtype for value in (*graph.graph.inputs, *graph.graph.outputs))
    stored = (value.dtype for value in graph.graph.initializers.values())
    cast = (node.attributes.get_int("to", 0) for node in graph.graph.all_nodes())
    types = {*named, *stored, *map(ir.DataType, cast)}
    return {dtype for dtype in types if dtype is not None}


def in_float32(graph: ir.Model, low: ir.DataType = ir.DataType.BFLOAT16) -> ir.Model:
    """A copy whose operators take and give float32 where they took and gave a shorter type.

    Args:
        graph: The graph; local functions are inlined in the copy.
        low: The shorter type.

    Raises:
        InputError: If local functions cannot be inlined.
    """
    copy = _typed(graph)
    _Change(low).apply(copy.graph)
    return copy


def exactly(graph: ir.Model, wide: ir.DataType = _WIDE) -> ir.Model:
    """A copy with float32 or float64 in place of every shorter type, which rounds nothing to that.

    Args:
        graph: The graph; local functions are inlined in the copy. Its constants keep their values.
        wide: The longer type.

    Raises:
        InputError: If local functions cannot be inlined.
    """
    copy = _typed(graph)
    _retype(copy.graph, wide)
    return copy


def _typed(graph: ir.Model) -> ir.Model:
    """A flat copy whose values carry their types."""
    copy = truth.inlined(graph)
    copy = copy.clone() if copy is graph else copy
    if any(value.type is None for node in copy.graph.all_nodes() for value in node.outputs):
        truth.annotate(copy)
    return copy


def _retype(graph: ir.Graph, wide: ir.DataType) -> None:
    short = SHORT if wide == _WIDE else (*SHORT, _WIDE)
    computed = (value for node in graph for value in node.outputs)
    for value in (*graph.inputs, *graph.initializers.values(), *computed):
        if isinstance(value.type, ir.TensorType) and value.dtype in short:
            value.type = ir.TensorType(wide)
    for value in graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype in short:
            value.const_value = _widened(value.const_value, wide)
    for node in graph:
        for name, attribute in list(node.attributes.items()):
            tensor = _tensor(attribute)
            if tensor is not None and tensor.dtype in short:
                node.attributes[name] = ir.AttrTensor(name, _widened(tensor, wide))
            elif name in ("to", *_TYPES) and node.attributes.get_int(name, 0) in short:
                node.attributes[name] = ir.AttrInt64(name, wide.value)
            for body in graphs_in(attribute):
                _retype(body, wide)


def _tensor(attribute: ir.Attr | None) -> ir.TensorProtocol | None:
    if attribute is None or attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
        return None
    return attribute.as_tensor()


def _widened(tensor: ir.TensorProtocol, wide: ir.DataType = _WIDE) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(wide.numpy()), dtype=wide, name=tensor.name)


class _Change:
    """Changes a graph in place, and those inside of its nodes."""

    def __init__(self, low: ir.DataType) -> None:
        self._low = low
        self._numbers = itertools.count()

    def apply(self, graph: ir.Graph) -> None:
        wide: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            for attribute in node.attributes.values():
                for body in graphs_in(attribute):
                    self.apply(body)
            if node.op_type in _AS_THEY_ARE and not node.domain:
                continue
            for place, value in enumerate(node.inputs):
                if value is None or not self._is_low(value):
                    continue
                if value not in wide:
                    cast = ir.node("Cast", [value], {"to": _WIDE.value})
                    wide[value] = _named(cast, self._name(value, "wide"), value, _WIDE)
                    graph.insert_before(node, cast)
                node.replace_input_with(place, wide[value])
            self._widen_attributes(node)
            for value in node.outputs:
                if self._is_low(value):
                    self._round(graph, node, value)

    def _round(self, graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
        cast = ir.node("Cast", [value], {"to": self._low.value})
        users = [(user, at) for user, at in value.uses() if user is not cast]
        rounded = _named(cast, value.name or "", value, self._low)
        value.name = self._name(value, "exact")
        value.type = ir.TensorType(_WIDE)
        graph.insert_after(node, cast)
        for user, at in users:
            user.replace_input_with(at, rounded)
        for position, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[position] = rounded

    def _widen_attributes(self, node: ir.Node) -> None:
        for name in _TYPES:
            if node.attributes.get_int(name, 0) == self._low.value:
                node.attributes.add(ir.AttrInt64(name, _WIDE.value))
        filling = _tensor(node.attributes.get("value"))
        if node.op_type == "ConstantOfShape" and filling is not None and filling.dtype == self._low:
            node.attributes.add(ir.AttrTensor("value", _widened(filling)))

    def _is_low(self, value: ir.Value) -> bool:
        return isinstance(value.type, ir.TensorType) and value.dtype == self._low

    def _name(self, value: ir.Value, what: str) -> str:
        return f"{value.name}/{what}.{next(self._numbers)}"


def _named(cast: ir.Node, name: str, like: ir.Value, dtype: ir.DataType) -> ir.Value:
    (output,) = cast.outputs
    output.name, output.shape, output.type = name, like.shape, ir.TensorType(dtype)
    return output
