"""How many terms an operator adds up: what rounding differences grow with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from tripoint.facts import truth
from tripoint.facts.symbols import evaluate

_UNKNOWN = 1 << 12
"""Terms assumed for a size that values decide."""


Bindings = Mapping[str, int]


def longest_reduction(model: ir.Model, bindings: Bindings) -> int:
    """Terms of the longest sum in a graph; 0 if nothing is added up.

    Args:
        model: Its values carry their true shapes.
        bindings: Size of each symbol.
    """
    return max((terms(node, bindings) for node in model.graph.all_nodes()), default=0)


def reduces(node: ir.Node) -> bool:
    """Whether a node adds up terms."""
    return node.op_type in _COUNTERS


def terms(node: ir.Node, bindings: Bindings) -> int:
    """Terms that each output element of a node adds up; 0 for operators that add none up.

    Follows the ONNX operator specification: C/group · kernel for Conv and ConvTranspose, K for
    MatMul and Gemm, the reduced sizes for Reduce and pooling operators, the normalized sizes for
    normalizations.
    """
    count = _COUNTERS.get(node.op_type)
    return count(node, bindings) if count is not None else 0


def _conv(node: ir.Node, bindings: Bindings) -> int:
    return math.prod(_sizes(node.inputs[1], bindings)[1:])


def _conv_transpose(node: ir.Node, bindings: Bindings) -> int:
    channels, _, *kernel = _sizes(node.inputs[1], bindings) or [_UNKNOWN, 1]
    return channels // node.attributes.get_int("group", 1) * math.prod(kernel)


def _matmul(node: ir.Node, bindings: Bindings) -> int:
    return math.prod(_sizes(node.inputs[0], bindings)[-1:])


def _gemm(node: ir.Node, bindings: Bindings) -> int:
    axis = 0 if node.attributes.get_int("transA", 0) else 1
    return math.prod(_sizes(node.inputs[0], bindings)[axis : axis + 1])


def _reduce(node: ir.Node, bindings: Bindings) -> int:
    return max(
        1,
        math.prod(_sizes(node.inputs[0], bindings))
        // max(1, math.prod(_sizes(node.outputs[0], bindings))),
    )


def _spatial(node: ir.Node, bindings: Bindings) -> int:
    return math.prod(_sizes(node.inputs[0], bindings)[2:])


def _kernel(node: ir.Node, _: Bindings) -> int:
    return math.prod(node.attributes.get_ints("kernel_shape", [1]))


def _attention(node: ir.Node, bindings: Bindings) -> int:
    """The size of a head, for the scores, and the number of keys, past ones too, for the values."""
    query, keys = (_sizes(value, bindings) for value in node.inputs[:2])
    past = _sizes(node.inputs[4], bindings) if len(node.inputs) > 4 else []
    heads = node.attributes.get_int("q_num_heads", 1) if len(query) == 3 else 1
    return math.prod(query[-1:]) // heads + math.prod(keys[-2:-1]) + sum(past[-2:-1])


def _last(node: ir.Node, bindings: Bindings) -> int:
    axis = node.attributes.get_int("axis", -1)
    return math.prod(_sizes(node.inputs[0], bindings)[axis:])


_COUNTERS: dict[str, Callable[[ir.Node, Bindings], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _last,
    "Attention": _attention,
    "AveragePool": _kernel,
    "GlobalAveragePool": _spatial,
    "InstanceNormalization": _spatial,
    "LayerNormalization": _last,
    "RMSNormalization": _last,
    "Softmax": _last,
    "LogSoftmax": _last,
    "CumSum": _last,
    **{f"Reduce{kind}": _reduce for kind in ("Mean", "Sum", "SumSquare", "L1", "L2", "LogSumExp")},
}


def _sizes(value: ir.Value | None, bindings: Bindings) -> list[int]:
    shape = truth.shape_of(value) if value is not None else None
    return [evaluate(dim, bindings) or _UNKNOWN for dim in shape or ()]
