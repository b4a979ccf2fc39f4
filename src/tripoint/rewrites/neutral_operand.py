"""Adding 0 and multiplying by 1 is gone.

    x + 0 = x        x - 0 = x        x * 1 = x        x / 1 = x

Holds where the constant lies in the model file itself and has at most 16 Ki elements, all of them
neutral, and the result has the shape and type of ``x``. The sign of a zero may change: IEEE 754
adds -0.0 and 0.0 to 0.0.

Why: exports of models with untouched biases and scales are full of them; each is a layer.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.facts.truth import shape_of
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import constant, elements
from tripoint.rewrites.dims import same_shape

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}
_COMMUTATIVE = frozenset({"Add", "Mul"})
_MOST = 1 << 14


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    if len(node.inputs) != 2:
        return None
    first, second = node.inputs
    pairs = [(first, second)]
    if node.op_type in _COMMUTATIVE:
        pairs.append((second, first))
    for x, operand in pairs:
        if x is not None and _is_neutral(operand, _NEUTRAL[node.op_type]) and _fits(x, node):
            return Replacement([node], [node.outputs[0]], [], [x])
    return None


def _fits(x: ir.Value, node: ir.Node) -> bool:
    return constant(x) is None and same_shape(shape_of(x), shape_of(node.outputs[0]))


def _is_neutral(operand: ir.Value | None, neutral: int) -> bool:
    if isinstance(constant(operand), ir.ExternalTensor):
        return False
    found = elements(operand, _MOST)
    return found is not None and bool((found == neutral).all())


REWRITE = Rewrite(
    name="neutral-operand",
    title="Remove additions of 0 and multiplications by 1",
    find=_find,
    may_match=lambda node: node.op_type in _NEUTRAL and not node.domain,
)
