"""A Squeeze without axes names them.

    Squeeze(x) = Squeeze(x, [axes of size 1])

Holds where all dims of ``x`` are known integers: a dynamic dim may be 1 as well, and then the rank
of the result changes with the input.

Why: TensorRT needs the axes; 7.x throws without them, 8.x fails as soon as one dim is unknown.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.facts.truth import shape_of
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import vector
from tripoint.rewrites.reshaping import made

_AXES_ARE_INPUT = 13
"""Opset since which Squeeze takes its axes as an input (ONNX operator specification)."""


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    x = node.inputs[0]
    has_axes = "axes" in node.attributes or any(value is not None for value in node.inputs[1:])
    if x is None or has_axes:
        return None
    shape = shape_of(x)
    if shape is None:
        return f"the rank of `{x.name}` is not known"
    dynamic = [dim for dim in shape if not isinstance(dim, int)]
    if dynamic:
        return f"{dynamic[0]} may be 1, and the rank of the result changes then"
    axes = [axis for axis, dim in enumerate(shape) if dim == 1]
    if not axes:
        return Replacement([node], [node.outputs[0]], [], [x])
    if site.opset < _AXES_ARE_INPUT:
        new = made("Squeeze", [x], axes=axes)
        return Replacement([node], [node.outputs[0]], [new], list(new.outputs))
    operand = vector(axes)
    new = made("Squeeze", [x, operand])
    return Replacement([node], [node.outputs[0]], [new], list(new.outputs), [operand])


REWRITE = Rewrite(
    name="squeeze-axes",
    title="Name the axes that a Squeeze removes",
    find=_find,
    may_match=lambda node: node.op_type == "Squeeze" and not node.domain,
)
