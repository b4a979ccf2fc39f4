"""A Gather of one element whose axis is removed behind it gathers a scalar.

    Squeeze(Gather(x, [2], axis=1), axes=[1]) = Gather(x, 2, axis=1)

Holds where the index is one constant, a Squeeze or Reshape behind it removes that axis and nothing
else, and nothing else reads the tensor in between.

Why: one layer instead of two, and none at which TensorRT 7.x loses all dims.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import elements, initializer
from tripoint.rewrites.dims import same_shape
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    between = node.inputs[0] if node.inputs else None
    gather = between.producer() if between is not None else None
    if between is None or gather is None or gather.op_type != "Gather" or gather.domain:
        return None
    x, index = gather.inputs
    number = elements(index, 1)
    shape = shape_of(x) if x is not None else None
    if x is None or shape is None or number is None or number.ndim != 1:
        return None
    axis = gather.attributes.get_int("axis", 0) % len(shape)
    wanted = (*shape[:axis], *shape[axis + 1 :])
    if not same_shape(shape_of(node.outputs[0]), wanted):
        return None
    if len(between.uses()) > 1 or between.is_graph_output():
        return None
    scalar = initializer(np.array(number.item(), dtype=number.dtype), f"index_{number.item()}")
    new = new_node("Gather", [x, scalar], axis=axis)
    return Replacement([gather, node], [node.outputs[0]], [new], list(new.outputs), [scalar])


REWRITE = Rewrite(
    name="scalar-gather",
    title="Gather a scalar instead of removing the gathered axis",
    find=_find,
    may_match=lambda node: node.op_type in ("Squeeze", "Reshape") and not node.domain,
)
