"""A Pad of a shape tensor is a Concat of what is left of it and of what it adds.

    Pad(Shape(x), [1, -2], 1) = Concat([1], Gather(Shape(x), [0, 1]))
    Pad(Shape(x), [0, 1], mode=edge) = Gather(Shape(x), [0, 1, 2, 3, 3])

Holds for a vector of integers of known length (at most 64), whose pads and padded number are the
same for all inputs.

Why: TensorRT makes a slice of it that reaches beyond its operand. Its core pads a shape tensor with
0 only, and says so at the node that reads the sizes; before version 10 it pads by no negative
number, and 7.x by nothing but 0 at the last two axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import SHAPE_ELEMENTS, decided, initializer, vector
from tripoint.rewrites.reshaping import new_node

_MODES: dict[str, Any] = {mode: mode for mode in ("constant", "edge", "reflect", "wrap")}


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    x = node.inputs[0]
    pads = decided(_operand(node, 1))
    if x is None or x.dtype is None or not x.dtype.is_integer() or pads is None or len(pads) != 2:
        return None
    length = x.shape[0] if x.shape is not None and len(x.shape) == 1 else None
    if not isinstance(length, int) or not 0 < length + sum(map(abs, pads)) <= SHAPE_ELEMENTS:
        return None
    fill = [0] if _operand(node, 2) is None else decided(node.inputs[2])
    mode = node.attributes.get_string("mode", "constant")
    if fill is None or mode not in _MODES:
        return None
    left = np.arange(max(0, -pads[0]), length - max(0, -pads[1]))
    front, back = (max(0, pad) for pad in pads)
    if left.size == 0:
        return None
    if mode != "constant":
        left, front, back = np.pad(left, (front, back), mode=_MODES[mode]), 0, 0
    brought: list[ir.Value] = []
    nodes: list[ir.Node] = []
    kept = x
    if left.tolist() != list(range(length)):
        brought.append(vector(left.tolist()))
        nodes.append(new_node("Gather", [x, brought[0]], axis=0))
        kept = nodes[0].outputs[0]
    parts: list[ir.Value | None] = [kept]
    for count, place in ((front, 0), (back, len(parts) + bool(front))):
        if count:
            added = np.full(count, fill[0], x.dtype.numpy())
            brought.append(initializer(added, f"{node.outputs[0].name}.added", x.dtype))
            parts.insert(place, brought[-1])
    if len(parts) > 1:
        nodes.append(new_node("Concat", parts, axis=0))
    if not nodes:
        return None
    return Replacement(
        [node], list(node.outputs), nodes, list(nodes[-1].outputs), brought, whole=True
    )


def _operand(node: ir.Node, position: int) -> ir.Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


REWRITE = Rewrite(
    name="padded-sizes",
    title="Write a Pad of sizes as the Concat that it is",
    find=_find,
    may_match=lambda node: not node.domain and node.op_type == "Pad",
)
