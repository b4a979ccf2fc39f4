"""Adding 0 and multiplying by 1 is removed.

    x + 0 = x        x - 0 = x        x * 1 = x        x / 1 = x

Holds where the constant lies in the model file itself and has at most 16 Ki elements, all of them
neutral, and the result has the shape and type of ``x``. IEEE 754 adds -0.0 and 0.0 to 0.0, so the
sign of a zero may change. That is the same number, except where it is divided by: refused if the
result reaches a divisor through operators that pass on the sign of a zero. Sums do not: in which
order an operator adds up, and from which zero on, ONNX leaves open.

Why: exports of models with untouched biases and scales are full of them; each is a layer.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.ops import COMPARISONS
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import constant, elements
from tripoint.rewrites.dims import same_shape
from tripoint.shape_inference.truth import shape_of

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}
_COMMUTATIVE = frozenset({"Add", "Mul"})
_MOST = 1 << 14

_DIVISORS = {"Div": 1, "Reciprocal": 0, "Pow": 0}
"""Position of the operand whose zeros may become infinities of either sign."""

_ADDS_UP = COMPARISONS | {
    *("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "Softmax", "LogSoftmax", "CumSum"),
    *("LayerNormalization", "RMSNormalization", "BatchNormalization", "GroupNormalization"),
    *("InstanceNormalization", "AveragePool", "GlobalAveragePool", "Attention", "LpPool"),
    *("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"),
    *("Exp", "Sigmoid", "Cos"),
}
"""Operators behind which nothing tells -0.0 from 0.0: sums, and functions that take both alike."""


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    if len(node.inputs) != 2:
        return None
    first, second = node.inputs
    pairs = [(first, second)]
    if node.op_type in _COMMUTATIVE:
        pairs.append((second, first))
    for x, operand in pairs:
        if x is not None and _is_neutral(operand, _NEUTRAL[node.op_type]) and _fits(x, node):
            if _changes_sign(node, operand):
                if "divisors" not in site.notes:
                    site.notes["divisors"] = _divisors(site.model.graph)
                divisor = site.notes["divisors"].get(node.outputs[0])
                if divisor is not None:
                    return f"`{divisor}` divides by what comes of it, and 1/-0.0 is not 1/0.0"
            return Replacement([node], [node.outputs[0]], [], [x])
    return None


def _changes_sign(node: ir.Node, operand: ir.Value | None) -> bool:
    """Return whether the operator makes 0.0 of -0.0."""
    if operand is None or operand.dtype is None or not operand.dtype.is_floating_point():
        return False
    numbers = elements(operand, _MOST)
    negative = numbers is not None and bool(np.signbit(numbers.astype(np.float64)).any())
    return node.op_type == ("Sub" if negative else "Add")


def _divisors(graph: ir.Graph) -> dict[ir.Value, str]:
    """The node that divides by a tensor, or by what passes on the signs of its zeros."""
    divisors: dict[ir.Value, str] = {}
    for node in graph:
        pending = [value for value in _divided_by(node) if value not in divisors]
        while pending:
            value = pending.pop()
            if value not in divisors:
                divisors[value] = node_name(node)
                producer = value.producer()
                if producer is not None and producer.op_type not in _ADDS_UP:
                    pending.extend(each for each in producer.inputs if each is not None)
    return divisors


def _divided_by(node: ir.Node) -> list[ir.Value]:
    position = _DIVISORS.get(node.op_type, len(node.inputs))
    if node.op_type == "Pow":
        exponent = elements(node.inputs[1], _MOST)
        if exponent is not None and bool((exponent >= 0).all()):
            return []
    return [value for value in node.inputs[position : position + 1] if value is not None]


def _fits(x: ir.Value, node: ir.Node) -> bool:
    return constant(x) is None and same_shape(shape_of(x), shape_of(node.outputs[0]))


def _is_neutral(operand: ir.Value | None, neutral: int) -> bool:
    if isinstance(constant(operand), ir.ExternalTensor):
        return False
    numbers = elements(operand, _MOST)
    return numbers is not None and bool((numbers == neutral).all())


REWRITE = Rewrite(
    name="neutral-operand",
    title="Remove additions of 0 and multiplications by 1",
    find=_find,
    may_match=lambda node: node.op_type in _NEUTRAL and not node.domain,
)
