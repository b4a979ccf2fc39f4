"""An integer tensor whose elements are the same for all sizes of the inputs is a constant.

    Gather(Shape(x), 1) = 768        where x: (N, 768, H, W)

Holds where every element follows from the true shapes, however many operators are between; the
proof infers it again on those operators alone. Graph outputs and explicit quantization stay.

Why: TensorRT 7.x follows no value through an operator, and every version stops at one that it does
not fold (a MatMul or an activation in shape arithmetic, floats before 8.4).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import decided, initializer
from tripoint.rewrites.quantization import is_explicit
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    arrays = {value: numbers for value in node.outputs if (numbers := _wanted(value)) is not None}
    if not arrays:
        return None
    constants = [_constant(value, numbers) for value, numbers in arrays.items()]
    return Replacement([node], list(arrays), [], constants, constants, whole=True)


def _wanted(value: ir.Value) -> list[int] | None:
    """The elements of a value, if something needs them that is not known as a whole itself."""
    users = [node for node, _ in value.uses()]
    if value.is_graph_output() or all(map(_is_known, users)):
        return None
    if any(user.op_type == "Range" for user in users) and shape_of(value) != ():
        # Runtimes take a computed vector there, but check that a constant is a scalar.
        return None
    return decided(value)


def _is_known(node: ir.Node) -> bool:
    return all(decided(value) is not None for value in node.outputs)


def _constant(value: ir.Value, numbers: list[int]) -> ir.Value:
    dtype = value.dtype or ir.DataType.INT64
    array = np.array(numbers, dtype=dtype.numpy())
    if value.const_value is not None:
        array = array.reshape([int(dim) for dim in value.const_value.shape if isinstance(dim, int)])
    name = "_".join(["known", *(str(number).replace("-", "m") for number in numbers)])
    return initializer(array, name[:80], dtype)


REWRITE = Rewrite(
    name="known-values",
    title="Write sizes that never change as constants",
    find=_find,
    may_match=lambda node: (
        not (node.op_type == "Constant" and not node.domain)
        and not is_explicit(node)
        and any(value.const_value is not None for value in node.outputs)
    ),
)
