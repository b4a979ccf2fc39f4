"""A pool whose size is rounded down although it says ``ceil_mode`` does not say so.

    Pool<ceil_mode=1>(x) = Pool(x)

Holds where all sizes are known and the result has the size that is rounded down: ONNX leaves a
window out that would begin in the padding behind.

Why: TensorRT rounds up nevertheless and gives one window too many.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import POOLS
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    x = node.inputs[0]
    shape, wanted = shape_of(x) if x is not None else None, shape_of(node.outputs[0])
    kernel = node.attributes.get_ints("kernel_shape")
    same = node.attributes.get_string("auto_pad", "NOTSET").startswith("SAME")
    if shape is None or wanted is None or kernel is None or same or len(shape) != len(wanted):
        return None
    count = len(kernel)
    strides = tuple(node.attributes.get_ints("strides") or (1,) * count)
    dilations = tuple(node.attributes.get_ints("dilations") or (1,) * count)
    pads = tuple(node.attributes.get_ints("pads") or (0,) * (2 * count))
    rounds_up = False
    for axis in range(count):
        size, result = shape[axis + 2], wanted[axis + 2]
        if not isinstance(size, int) or not isinstance(result, int):
            return None
        free = size + pads[axis] + pads[axis + count] - dilations[axis] * (kernel[axis] - 1) - 1
        if result != free // strides[axis] + 1:
            return None
        rounds_up |= bool(free % strides[axis])
    if not rounds_up:
        return None
    kept = [each for each in node.attributes.values() if each.name != "ceil_mode"]
    new = ir.Node("", node.op_type, node.inputs, kept, num_outputs=len(node.outputs))
    return Replacement([node], node.outputs, [new], new.outputs)


REWRITE = Rewrite(
    name="needless-ceil",
    title="Round down where a pool that rounds up leaves its last window out",
    find=_find,
    may_match=lambda node: (
        node.op_type in POOLS and not node.domain and bool(node.attributes.get_int("ceil_mode", 0))
    ),
)
