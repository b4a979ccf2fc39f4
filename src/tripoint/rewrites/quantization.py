"""Explicit quantization: the pairs of QuantizeLinear and DequantizeLinear that stay.

TensorRT reads a DequantizeLinear, on a weight as well, as "compute what follows in this type". A
weight that was dequantized beforehand is an ordinary float weight, and the convolution or product
behind it runs in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.constants import elements

SIGNED = {
    ir.DataType.INT8: ir.DataType.INT8,
    ir.DataType.UINT8: ir.DataType.INT8,
    ir.DataType.INT4: ir.DataType.INT4,
    ir.DataType.UINT4: ir.DataType.INT4,
}
"""The type that TensorRT reads in place of each integer type that has one of its width."""

_OPERATORS = ("QuantizeLinear", "DequantizeLinear")
_DOMAINS = ("", "com.microsoft")

_UNREAD = (
    *(ir.DataType.INT32, ir.DataType.INT16, ir.DataType.UINT16),
    *(ir.DataType.UINT8, ir.DataType.UINT4),
)
"""Integer types that TensorRT dequantizes in no version; ONNX Runtime's quantizer writes a bias as
int32."""

_MOST_ZERO_POINTS = 1 << 20
"""Elements of the largest zero point that is read; one of each block, at most."""


def is_explicit(node: ir.Node) -> bool:
    """Whether a node quantizes or dequantizes."""
    return node.op_type in _OPERATORS and node.domain in _DOMAINS


def stays(node: ir.Node) -> bool:
    """Whether a node has to stay even though its result is known.

    A quantization that no TensorRT reads is none that could be kept: in a type that it does not
    dequantize, or with a zero point that is not 0.
    """
    if not is_explicit(node):
        return False
    quantized = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    if quantized is not None and quantized.dtype in _UNREAD:
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
    found = elements(value, _MOST_ZERO_POINTS)
    return None if found is None else found.astype(np.float32).astype(np.int64)
