"""A 1-D operator on a tensor with unknown dims, with its fourth axis written out.

    Op1d(x) = Reshape(Op2d(Reshape(x, [0, 0, 0, 1])), [0, 0, 0])

for convolutions, transposed convolutions, pools with a kernel and BatchNormalization, which
:mod:`tripoint.rewrites.lift_1d.operators` makes 2-D. ``0`` copies the dim at the same place, so no
size is computed. If ``x`` was made so itself, the tensor of rank 4 is read instead, and what stands
between two such operators becomes 4-D by
:mod:`tripoint.rewrites.lift_1d.elementwise_between_squeezes`.

Holds when ``x`` has rank 3 and the weight is constant. Made only where the target does not know
the number of channels of the result although it is fixed, and a dim of ``x`` is not.

Why: TensorRT 7.x imports a 1-D operator as unsqueeze, 2-D operator and squeeze, and its unsqueeze
and squeeze make all dims unknown as soon as one is, the number of channels as well. A Reshape with
a constant size copies each dim by itself, in every version.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.lift_1d import between_squeezes
from tripoint.rewrites.lift_1d.operators import (
    CONVOLUTIONS,
    OPERATORS,
    POOLS,
    RANK,
    TRANSPOSED_CONVOLUTIONS,
    Lifted,
    Tape,
    refusal,
)
from tripoint.shape_inference.truth import shape_of

_UNSQUEEZED = (
    CONVOLUTIONS
    | TRANSPOSED_CONVOLUTIONS
    | frozenset({"BatchNormalization"})
    | frozenset(name for name in POOLS if not name.startswith("Global"))
)
"""What TensorRT 7.x unsqueezes and squeezes; global pools are Reduce layers of any rank."""
_CHANNELS = 1
_RESHAPE_OPSET = 5
"""Since when Reshape reads its sizes from an input."""


def _is_1d(node: ir.Node) -> bool:
    if node.op_type not in _UNSQUEEZED or node.domain != "" or not (node.inputs and node.outputs):
        return False
    shape = shape_of(node.inputs[0]) if node.inputs[0] is not None else None
    return shape is not None and len(shape) == RANK and not all(isinstance(d, int) for d in shape)


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    if _CHANNELS not in site.lost(node.outputs[0]) or site.opset < _RESHAPE_OPSET:
        return None
    reason = refusal(node)
    data = node.inputs[0]
    if reason or data is None:
        return reason
    tape = Tape(site.model.graph.initializers.values())
    source = between_squeezes.wide_source(data)
    if source is None:
        (wide,) = tape.node("Reshape", [data, tape.vector([0] * RANK + [1])], {})
        source = Lifted(wide), ()
    tape[data], before = source
    (result,) = OPERATORS[node.op_type].lift(tape, node)
    narrow = tape.node("Reshape", [tape.transposed(result), tape.vector([0] * RANK)], {})
    return Replacement([*before, node], node.outputs, tape.nodes, narrow, tape.initializers)


REWRITE = Rewrite(
    name="lifted-1d-operator",
    title="Write out the fourth axis that TensorRT gives a 1-D operator",
    may_match=_is_1d,
    find=_find,
)
