"""A ConvTranspose that is told its size, or how to pad, is told the pads themselves.

    ConvTranspose<auto_pad, output_shape, output_padding>(x, w, b)
        = ConvTranspose<pads, output_padding>(x, w, b)

With ``T = (in - 1) * stride + dilation * (kernel - 1) + 1 + output_padding - out`` along each axis,
the pads add up to T, the odd one behind for ``SAME_UPPER`` and in front otherwise; where T is
negative, its amount is output padding.

Holds where T is the same for all sizes: where sizes are known, or the size follows from the input.

Why: no TensorRT reads ``output_shape`` or ``output_padding`` unless ``auto_pad`` is NOTSET, and
none takes an ``output_shape`` that is larger than what the strides give; the engine's output then
has another size, without a message. One that only has an ``auto_pad`` that pads evenly stays.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.shape_inference.truth import shape_of

_SIZING = ("auto_pad", "output_shape", "pads", "output_padding")


def _find(node: ir.Node, site: Site) -> Replacement | str | None:  # noqa: ARG001
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    asked = node.attributes.get_ints("output_shape")
    if mode == "NOTSET" and asked is None:
        return None
    x, w = node.inputs[:2]
    shape, kernel = (shape_of(value) if value is not None else None for value in (x, w))
    wanted = shape_of(node.outputs[0])
    if shape is None or kernel is None or wanted is None or len(shape) != len(wanted):
        return f"the shapes of `{node.outputs[0].name}` and of what it is made from are not known"
    count = len(shape) - 2
    windows = tuple(node.attributes.get_ints("kernel_shape") or kernel[2:])
    strides = tuple(node.attributes.get_ints("strides") or (1,) * count)
    dilations = tuple(node.attributes.get_ints("dilations") or (1,) * count)
    extra = tuple(node.attributes.get_ints("output_padding") or (0,) * count)
    begins, ends, outside = [], [], []
    for axis in range(count):
        window, size, result = windows[axis], shape[axis + 2], wanted[axis + 2]
        if not isinstance(window, int):
            return f"the kernel of `{node.outputs[0].name}` is not known"
        reach = dilations[axis] * (window - 1) + 1 + extra[axis]
        if isinstance(size, int) and isinstance(result, int):
            total = (size - 1) * strides[axis] + reach - result
        elif asked is None:
            total = 0 if mode == "VALID" else reach - strides[axis]
        else:
            return f"the pads follow {size}, since the output has {result} whatever that is"
        if total < 0 and asked is None:
            return (
                f"its windows of {reach} leave gaps in strides of {strides[axis]}, where ONNX "
                "Runtime does not pad as the standard says"
            )
        before, behind = _split(max(total, 0), mode)
        beyond = extra[axis] + max(-total, 0)
        taken = min(behind, beyond)
        if beyond - taken >= max(strides[axis], dilations[axis]) > 0 < beyond - taken:
            return f"{beyond - taken} is no legal output_padding for a stride of {strides[axis]}"
        begins.append(before)
        ends.append(behind - taken)
        outside.append(beyond - taken)
    if asked is None and not any(extra) and begins == ends and not any(outside):
        return None
    kept = [each for each in node.attributes.values() if each.name not in _SIZING]
    kept.append(ir.AttrInt64s("pads", [*begins, *ends]))
    if any(outside):
        kept.append(ir.AttrInt64s("output_padding", outside))
    new = ir.Node("", node.op_type, node.inputs, kept)
    return Replacement([node], [node.outputs[0]], [new], [new.outputs[0]])


def _split(total: int, mode: str) -> tuple[int, int]:
    """Return the numbers of elements cut off in front and at the end."""
    half = total // 2
    return (half, total - half) if mode == "SAME_UPPER" else (total - half, half)


REWRITE = Rewrite(
    name="explicit-pads",
    title="Give a ConvTranspose its pads instead of its size",
    find=_find,
    may_match=lambda node: node.op_type == "ConvTranspose" and not node.domain,
)
