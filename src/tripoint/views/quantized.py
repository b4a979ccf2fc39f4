"""Exports to use instead of the quantized operators that TensorRT does not read.

TensorRT reads quantization as pairs of QuantizeLinear and DequantizeLinear around 0, in int8, int4
and float8, and nothing else. What is said here was tried: ONNX Runtime's ``quantize_static`` with
these arguments makes a file that the parser of TensorRT-RTX 1.6.1 reads.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.source_lines import source_of
from tripoint.table import Refusal

_MOST = 1 << 16
"""Elements of the largest tensor that becomes a constant."""

_MOST_ZERO_POINTS = 1 << 20
"""Elements of the largest zero point that is read; one of each block, at most."""

_DYNAMIC = frozenset(
    {
        *("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat"),
        *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QEmbedLayerNormalization"),
    }
)
"""Operators that dynamic quantization of ONNX Runtime writes."""

_ARITHMETIC = re.compile(r"QLinear\w+|QGemm|QMoE|NhwcMaxPool")
"""Operators that ONNX Runtime writes with ``QuantFormat.QOperator``."""

_PAIR = ("QuantizeLinear", "DequantizeLinear")

_STATIC = (
    "onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ, "
    "activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, extra_options="
    "{'ActivationSymmetric': True, 'WeightSymmetric': True, 'QuantizeBias': False})"
)

AS_INT8 = (
    "reads its uint8 as int8, so it cuts off what lies above 127 times the scale and lets through "
    "what is negative"
)
"""Treatment of uint8 around 0 by every TensorRT with a layer for QuantizeLinear."""

_FIX = "`tripoint fix MODEL -o FIXED.onnx`"

_UNREAD = (
    *(ir.DataType.INT32, ir.DataType.INT16, ir.DataType.UINT16),
    *(ir.DataType.UINT8, ir.DataType.UINT4),
)
"""Integer types that TensorRT dequantizes in no version; ONNX Runtime's quantizer writes a bias as
int32."""

_MIDDLES = {ir.DataType.UINT8: 128, ir.DataType.UINT4: 8}


def explained(refusals: Iterable[Refusal], graph: ir.Graph) -> tuple[Refusal, ...]:
    """The refusals with what to do about each quantized operator.

    Args:
        refusals: What a target refuses or misreads.
        graph: The graph, which decides whether ``fix`` helps.
    """
    refused = tuple(refusals)
    about = {(each.op, each.node) for each in refused if _is_quantized(each.op)}
    if not about:
        return refused
    nodes = {(n.op_type, node_name(n)): n for n in graph.all_nodes() if n.op_type in _PAIR}
    return tuple(
        dataclasses.replace(each, next=_advice(each, nodes.get((each.op, each.node))))
        if (each.op, each.node) in about
        else each
        for each in refused
    )


def hint(refusal: Refusal) -> str | None:
    """Return the remedy for one refusal, with the call that quantizes as TensorRT reads it."""
    if refusal.next is None:
        return None
    other = ", or quantize to a signed type around 0" if refusal.next.startswith(_FIX) else ""
    return f"{refusal.next}{other}: {_STATIC}"


def hints(refusals: Iterable[Refusal]) -> list[str]:
    """Return the remedies for all that is refused, once each, with operators and nodes."""
    remedies: dict[str, dict[str, str]] = {}
    for refusal in refusals:
        if refusal.next:
            remedies.setdefault(refusal.next, {}).setdefault(refusal.op, refusal.node)
    steps = [
        f"{', '.join(f'{op} ({node})' for op, node in nodes.items())}: {step}"
        for step, nodes in remedies.items()
    ]
    return [*steps, f"quantize statically: {_STATIC}"] if steps else []


def _is_quantized(op: str) -> bool:
    return op in _DYNAMIC or op in _PAIR or bool(_ARITHMETIC.fullmatch(op))


def _advice(refusal: Refusal, node: ir.Node | None) -> str:
    if refusal.op in _DYNAMIC:
        return (
            "no TensorRT quantizes at run time: give the float model that this was made from, or "
            "quantize that statically"
        )
    if refusal.op not in _PAIR:
        return (
            "no TensorRT reads quantized operators (QOperator): write pairs of QuantizeLinear and "
            "DequantizeLinear (QDQ) in their place"
        )
    per_block = "`block_size`" in refusal.reason
    if node is not None and (_is_folded(node) or (not per_block and _is_moved(node))):
        return f"{_FIX} quantizes it in a way that TensorRT reads"
    if per_block:
        return "quantize with one scale for a tensor or a channel, or with TensorRT 10.0 or later"
    return "quantize to a signed type around 0"


def is_read(node: ir.Node) -> bool:
    """Return whether some TensorRT reads what a node quantizes or dequantizes.

    None does in a type that it does not dequantize, or with a zero point that is not 0. A zero
    point that is not known is taken for 0.
    """
    value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    if value is not None and value.dtype in _UNREAD:
        return False
    zero = zero_point(node)
    return zero is None or not zero.any()


def zero_point(node: ir.Node) -> np.ndarray[Any, Any] | None:
    """The zero point of a node as integers, 0 where there is none; None if it is not known.

    Floats of 8 bits and less have none that is not 0.
    """
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return np.zeros((), np.int64)
    tensor = _constant(value)
    if tensor is None or tensor.size > _MOST_ZERO_POINTS:
        return None
    try:
        return tensor.numpy().astype(np.float32).astype(np.int64)
    except (OSError, ValueError, TypeError):
        # The file of external data may be missing.
        return None


def _is_folded(node: ir.Node) -> bool:
    """Return whether a node becomes a constant: a small one that no TensorRT dequantizes."""
    tensor = _constant(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
    return tensor is not None and tensor.size <= _MOST and not is_read(node)


def _is_moved(node: ir.Node) -> bool:
    """Return whether a constant, its row or a pair is around the middle, which is moved to 0."""
    if node.op_type == "QuantizeLinear":
        readers = [reader.op_type for reader, _ in node.outputs[0].uses()]
        return _is_around_the_middle(node) and set(readers) == {"DequantizeLinear"}
    value = node.inputs[0]
    maker = value.producer() if value is not None else None
    if maker is not None and maker.op_type == "QuantizeLinear":
        return _is_around_the_middle(node)
    if maker is not None and maker.op_type == "Gather":
        return _is_around_the_middle(node) and _constant(maker.inputs[0]) is not None
    return _constant(value) is not None and _is_around_the_middle(node)


def _is_around_the_middle(node: ir.Node) -> bool:
    """Return whether a node and its partner quantize as a signed type does, only shifted."""
    zero = _constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None or zero.dtype not in _MIDDLES or zero.size > _MOST:
        return False
    try:
        return bool((zero.numpy() == _MIDDLES[zero.dtype]).all())
    except OSError:
        return False


def _constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initializer that is no input, or of a Constant node."""
    if value is None or value.is_graph_input():
        return None
    node = value.producer()
    if node is None:
        return value.const_value
    if node.op_type != "Constant" or node.domain:
        return None
    try:
        return ir.convenience.get_const_tensor(value)
    except ValueError:
        return None


def convolution(graph: ir.Graph) -> str | None:
    """The first convolution in int8, for a TensorRT that has none; None if there is no such.

    Args:
        graph: A graph that a build failed on.
    """
    for node in graph.all_nodes():
        if node.op_type in ("Conv", "ConvTranspose") and len(node.inputs) > 1:
            producers = [value.producer() for value in node.inputs[:2] if value is not None]
            if all(each is not None and each.op_type == "DequantizeLinear" for each in producers):
                return f"{node.op_type} `{node_name(node)}`"
    return None


def misread(model: ir.Model, version: str) -> list[Refusal]:
    """Return the nodes that TensorRT-RTX 1.6.1's parser misreads, with a warning only.

    Args:
        model: The model that was parsed.
        version: Name and version of the TensorRT.
    """
    return [
        Refusal(
            node_name(node), node.op_type, f"{version} {AS_INT8}", str(source) if source else None
        )
        for node in model.graph
        if node.op_type == "QuantizeLinear" and is_uint8_around_zero(node)
        for source in [source_of(node)]
    ]


def is_uint8_around_zero(node: ir.Node) -> bool:
    """Return whether a node quantizes to uint8 with a constant zero point 0; others are refused."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is None or zero.const_value is None:
        kind = (
            None if zero is not None or node.domain else node.attributes.get_int("output_dtype", 0)
        )
        # Without a type, and without a zero point to take it from, it is uint8.
        return kind in (0, ir.DataType.UINT8)
    tensor = zero.const_value
    if tensor.dtype != ir.DataType.UINT8 or tensor.size > _MOST:
        return False
    try:
        return not tensor.numpy().any()
    except OSError:
        return False
