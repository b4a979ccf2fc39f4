"""Shapes of convolution and pooling (ONNX operator specification)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element


@dataclass(frozen=True, slots=True)
class _Window:
    """Window along one spatial axis, as the attributes give it."""

    size: Element
    stride: int
    dilation: int
    before: int
    after: int
    automatic: str

    @property
    def covered(self) -> Element:
        """Elements from the first to the last that the window covers."""
        return e.add(e.multiply(e.subtract(self.size, 1), self.dilation), 1)


def _windows(node: ir.Node, kernel: Sequence[Element]) -> list[_Window]:
    count = len(kernel)
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    strides = node.attributes.get_ints("strides") or [1] * count
    dilations = node.attributes.get_ints("dilations") or [1] * count
    pads = node.attributes.get_ints("pads") or [0] * 2 * count
    if automatic != "NOTSET":
        pads = [0] * 2 * count
    if any(step < 1 for step in (*strides, *dilations)):
        raise ValueError("a stride or dilation is less than 1")
    return [
        _Window(*axis, automatic)
        for axis in zip(kernel, strides, dilations, pads[:count], pads[count:], strict=True)
    ]


def _kernel(node: ir.Node, weights: Sequence[Element]) -> list[Element]:
    attribute = node.attributes.get_ints("kernel_shape")
    return list(attribute) if attribute is not None else list(weights[2:])


def _moved(dim: Element, window: _Window) -> Element:
    """Return how often a window fits."""
    if window.automatic.startswith("SAME"):
        return e.divide_up(dim, window.stride)
    free = e.subtract(e.add(dim, window.before + window.after), window.covered)
    return e.add(e.divide_down(free, window.stride), 1)


def pool(ctx: Context, node: ir.Node) -> None:
    """AveragePool, MaxPool and LpPool.

    With ``ceil_mode`` a last window that would start in the padding after the data is left out.
    """
    data = node.inputs[0]
    dims, kernel = dims_of(data), node.attributes.get_ints("kernel_shape")
    output_dims = None
    if dims is not None and kernel is not None:
        output_dims = dims[:2]
        for dim, window in zip(dims[2:], _windows(node, kernel), strict=True):
            up = node.attributes.get_int("ceil_mode", 0) and window.automatic == "NOTSET"
            output_dims.append(_moved_up(dim, window) if up else _moved(dim, window))
    dtypes = (data.dtype if data is not None else None, ir.DataType.INT64)
    for output, dtype in zip(node.outputs, dtypes, strict=False):
        ctx.set_dims(output, output_dims, dtype)


def _moved_up(dim: Element, window: _Window) -> Element:
    ends = e.minimum(e.subtract(window.after, window.covered), -window.stride)
    return e.add(e.divide_up(e.add(dim, e.add(window.before, ends)), window.stride), 1)


def conv(ctx: Context, node: ir.Node) -> None:
    """Conv, its integer forms and DeformConv: as many channels as the weights have filters."""
    data, weights = node.inputs[0], node.inputs[3 if node.op_type == "QLinearConv" else 1]
    dims, filters = dims_of(data), dims_of(weights)
    output_dims = None
    if dims is not None and filters is not None:
        if len(dims) < 3:
            ctx.record_error(node, f"its input has rank {len(dims)}")
            return
        windows = _windows(node, _kernel(node, filters))
        spatial = zip(dims[2:], windows, strict=True)
        output_dims = [dims[0], filters[0], *(_moved(dim, window) for dim, window in spatial)]
    ctx.set_dims(node.outputs[0], output_dims, _conv_dtype(node))


def _conv_dtype(node: ir.Node) -> ir.DataType | None:
    if node.op_type == "ConvInteger":
        return ir.DataType.INT32
    typed = operand(node, 7 if node.op_type == "QLinearConv" else 0)
    return typed.dtype if typed is not None else None


def conv_transpose(ctx: Context, node: ir.Node) -> None:
    """ConvTranspose: the given sizes, or those of which a convolution would make the input's."""
    data = node.inputs[0]
    dims, filters = dims_of(data), dims_of(node.inputs[1])
    dtype = data.dtype if data is not None else None
    if dims is None or filters is None:
        ctx.set_dims(node.outputs[0], None, dtype)
        return
    count = len(dims) - 2
    channels = e.multiply(filters[1], node.attributes.get_int("group", 1))
    output_dims = [dims[0], channels]
    if (sizes := node.attributes.get_ints("output_shape")) is not None:
        # Some exporters write all sizes, not only the spatial ones.
        output_dims += sizes[-count:]
    else:
        more = node.attributes.get_ints("output_padding") or [0] * count
        windows = _windows(node, _kernel(node, filters))
        for dim, window, extra in zip(dims[2:], windows, more, strict=True):
            if window.automatic.startswith("SAME"):
                output_dims.append(e.multiply(dim, window.stride))
                continue
            last = e.multiply(e.subtract(dim, 1), window.stride)
            cut = extra - window.before - window.after
            output_dims.append(e.add(e.add(last, window.covered), cut))
    ctx.set_dims(node.outputs[0], output_dims, dtype)


def stft(ctx: Context, node: ir.Node) -> None:
    """STFT: a frame wherever one fits; of a real signal half of the frequencies."""
    signal, window = node.inputs[0], operand(node, 2)
    dims, step, length = (
        dims_of(signal),
        ctx.elements(node.inputs[1]),
        ctx.elements(operand(node, 3)),
    )
    size = next(iter(length if length is not None else dims_of(window) or ()), UNKNOWN)
    output_dims: list[Element] | None = None
    if dims is not None and len(dims) > 1:
        frames: Element = UNKNOWN
        if step is not None and len(step) == 1 and isinstance(step[0], int) and step[0] > 0:
            frames = e.add(e.divide_down(e.subtract(dims[1], size), step[0]), 1)
        half = node.attributes.get_int("onesided", 1)
        bins = e.add(e.divide_down(size, 2), 1) if half else size
        output_dims = [dims[0], frames, bins, 2]
    ctx.set_dims(node.outputs[0], output_dims, signal.dtype if signal is not None else None)
