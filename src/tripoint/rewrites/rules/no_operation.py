"""An operator that gives its input back is removed.

    Identity(x) = x        Cast(x) = x  to the same type        Transpose(x) = x  in the same order
    Reshape, Expand, Squeeze, Unsqueeze, Flatten, Tile (x) = x  of the same shape
    Slice(x) = x  with steps of 1 and of the same shape         Pad(x) = x  with pads of 0
    Concat, Max, Min, Sum, Mean (x) = x  of one operand         Dropout(x) = x  in inference

Holds where the shape of the result is that of ``x`` for all sizes, and TensorRT does not know more
of it than of ``x``. One that gives a graph input or
an initializer the name of a graph output stays.

Why: each is a layer, and TensorRT 7.x loses the value of a constant behind any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import decided, elements
from tripoint.rewrites.dims import same_shape
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:
    x = node.inputs[0] if node.inputs else None
    if x is None or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    output = node.outputs[0]
    if not same_shape(shape_of(x), shape_of(output)) or not _OPERATORS[node.op_type](node):
        return None
    if len(site.lost(output)) < len(site.lost(x)):
        return None
    return Replacement([node], [output], [], [x])


def _always(node: ir.Node) -> bool:  # noqa: ARG001
    return True


def _axes_known(node: ir.Node) -> bool:
    """A Squeeze without axes removes a dynamic dim that is 1; squeeze-axes decides that."""
    x, axes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    named = axes is not None or "axes" in node.attributes
    return named or (x is not None and all(isinstance(dim, int) for dim in shape_of(x) or ("",)))


def _same_type(node: ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and x.dtype == node.outputs[0].dtype


def _same_order(node: ir.Node) -> bool:
    perm = node.attributes.get_ints("perm")
    return perm is not None and list(perm) == sorted(perm)


def _steps_of_one(node: ir.Node) -> bool:
    if len(node.inputs) < 5 or node.inputs[4] is None:
        return True
    steps = decided(node.inputs[4])
    return steps is not None and set(steps) <= {1}


def _no_pads(node: ir.Node) -> bool:
    pads = node.attributes.get_ints("pads")
    if pads is None:
        pads = decided(node.inputs[1]) if len(node.inputs) > 1 else None
    return pads is not None and not any(pads)


def _one_operand(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _inference(node: ir.Node) -> bool:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    training = elements(node.inputs[2])
    return training is not None and not training.any()


_OPERATORS: Mapping[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys(("Identity", "Reshape", "Expand", "Unsqueeze"), _always),
    **dict.fromkeys(("Flatten", "Tile"), _always),
    **dict.fromkeys(("Concat", "Max", "Min", "Sum", "Mean"), _one_operand),
    "Cast": _same_type,
    "Dropout": _inference,
    "Pad": _no_pads,
    "Slice": _steps_of_one,
    "Squeeze": _axes_known,
    "Transpose": _same_order,
}

REWRITE = Rewrite(
    name="no-operation",
    title="Remove what gives its input back",
    find=_find,
    may_match=lambda node: node.op_type in _OPERATORS and not node.domain,
)
