"""A quantization around another zero point is one around 0 in the signed type, where that fits.

    DequantizeLinear(q: uint8, s, 128) = DequantizeLinear(q - 128: int8, s, 0)
    DequantizeLinear(QuantizeLinear(x, s, 128: uint8), s, 128) = the same in int8 around 0

The first holds for a constant ``q`` of at most 16 Mi elements if ``q`` minus its zero point fits
into the signed type of the same width, also where a Gather takes rows of it; the second if the zero
point is the middle of the unsigned type, 128 or 8, and every reader dequantizes with it. Both are
exact.

Why: TensorRT dequantizes signed types with a zero point of 0 only. ONNX Runtime's quantizer writes
uint8 around 128 where it is told to be symmetric.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import elements, initializer
from tripoint.rewrites.quantization import SIGNED, is_explicit
from tripoint.views.quantized import zero_point

_MOST = 1 << 24

_MIDDLES = {ir.DataType.UINT8: 128, ir.DataType.UINT4: 8}

Array = np.ndarray[Any, Any]


def _find(node: ir.Node, site: Site) -> Replacement | str | None:  # noqa: ARG001
    if len(node.inputs) < 2 or None in node.inputs[:2]:
        return None
    return _pair(node) if node.op_type == "QuantizeLinear" else _weight(node)


def _weight(node: ir.Node) -> Replacement | str | None:
    """The constant that a node dequantizes, around 0."""
    value, zero = node.inputs[0], zero_point(node)
    gather = value.producer() if value is not None else None
    if gather is not None and gather.op_type == "Gather" and not gather.domain:
        value = gather.inputs[0]
    else:
        gather = None
    if value is None or value.dtype not in SIGNED or zero is None:
        return None
    if gather is not None and zero.size > 1:
        return None  # the rows may be gathered along the axis of the zero points
    signed = SIGNED[value.dtype]
    if value.dtype == signed and not zero.any():
        return None
    quantized = elements(value, _MOST)
    if quantized is None:
        return None
    around = quantized.astype(np.int16) - _as_wide_as(zero, quantized, node)
    bits = 8 if signed == ir.DataType.INT8 else 4
    if around.min(initial=0) < -(1 << bits - 1) or around.max(initial=0) >= 1 << bits - 1:
        return (
            f"its elements minus the zero point run from {around.min()} to {around.max()}, "
            f"which is no {signed.name.lower()}"
        )
    shifted = initializer(around.astype(signed.numpy()), f"{value.name}.symmetric", signed)
    gathers: list[ir.Node] = []
    if gather is not None:
        gathers.append(
            ir.Node("", "Gather", [shifted, gather.inputs[1]], gather.attributes.values())
        )
    new, zeros = _around_zero(node, gathers[0].outputs[0] if gathers else shifted, signed)
    nodes = [node] if gather is None else [gather, node]
    return Replacement(
        nodes, [node.outputs[0]], [*gathers, new], [new.outputs[0]], [shifted, *zeros]
    )


def _as_wide_as(zero: Array, quantized: Array, node: ir.Node) -> Array:
    """A zero point for each element: of the whole tensor, of each slice, or of each block."""
    if zero.size == 1:
        return zero.reshape(()).astype(np.int16)
    axis = node.attributes.get_int("axis", 1)
    block = node.attributes.get_int("block_size", 0)
    if block:
        wide = np.repeat(zero, block, axis).astype(np.int16)
        return np.take(wide, range(quantized.shape[axis]), axis)
    dims = [1] * quantized.ndim
    dims[axis] = -1
    return zero.reshape(dims).astype(np.int16)


def _pair(node: ir.Node) -> Replacement | str | None:
    """The node that quantizes and those that read it, in the signed type."""
    quantized = node.outputs[0]
    zero = zero_point(node)
    if quantized.dtype not in _MIDDLES or zero is None or quantized.is_graph_output():
        return None
    middle, signed = _MIDDLES[quantized.dtype], SIGNED[quantized.dtype]
    if (zero != middle).any():
        return None
    readers = list(dict.fromkeys(reader for reader, _ in quantized.uses()))
    for reader in readers:
        same = zero_point(reader) if is_explicit(reader) and len(reader.inputs) > 2 else None
        if reader.graph is not node.graph or reader.op_type != "DequantizeLinear" or same is None:
            return f"`{reader.op_type}` reads what it quantizes"
        if (same != middle).any():
            return "what reads it has another zero point"
    if not readers:
        return None
    first, constants = _around_zero(node, node.inputs[0], signed)
    created = [first]
    for reader in readers:
        new, zeros = _around_zero(reader, first.outputs[0], signed)
        created.append(new)
        constants += zeros
    outputs = [reader.outputs[0] for reader in readers]
    return Replacement(
        [node, *readers], outputs, created, [each.outputs[0] for each in created[1:]], constants
    )


def _around_zero(
    node: ir.Node, first: ir.Value | None, signed: ir.DataType
) -> tuple[ir.Node, list[ir.Value]]:
    """The same node on another tensor around 0, and the zero point if it has one."""
    zero, point = node.inputs[2] if len(node.inputs) > 2 else None, zero_point(node)
    zeros: list[ir.Value] = []
    if zero is not None and point is not None:
        zeros = [initializer(np.zeros(point.shape, signed.numpy()), f"{zero.name}.0", signed)]
    attributes = [
        ir.AttrInt64("output_dtype", signed)
        if attribute.name == "output_dtype"
        and node.op_type == "QuantizeLinear"
        and attribute.as_int()
        else attribute
        for attribute in node.attributes.values()
    ]
    new = ir.Node(node.domain, node.op_type, [first, node.inputs[1], *zeros], attributes)
    return new, zeros


REWRITE = Rewrite(
    name="symmetric-zero-point",
    title="Quantize around 0 in the signed type",
    find=_find,
    may_match=is_explicit,
)
