"""Explicit quantization: the pairs of QuantizeLinear and DequantizeLinear that stay.

TensorRT reads a DequantizeLinear, on a weight as well, as "compute what follows in this type". A
weight that was dequantized beforehand is an ordinary float weight, and the convolution or product
behind it runs in float.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.views.quantized import is_read

SIGNED = {
    ir.DataType.INT8: ir.DataType.INT8,
    ir.DataType.UINT8: ir.DataType.INT8,
    ir.DataType.INT4: ir.DataType.INT4,
    ir.DataType.UINT4: ir.DataType.INT4,
}
"""The type that TensorRT reads in place of each integer type that has one of its width."""

_OPERATORS = ("QuantizeLinear", "DequantizeLinear")
_DOMAINS = ("", "com.microsoft")


def is_explicit(node: ir.Node) -> bool:
    """Return whether a node quantizes or dequantizes."""
    return node.op_type in _OPERATORS and node.domain in _DOMAINS


def stays(node: ir.Node) -> bool:
    """Return whether a node has to stay even though its result is known.

    A quantization that no TensorRT reads is none that could be kept.
    """
    return is_explicit(node) and is_read(node)
