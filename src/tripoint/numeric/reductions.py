"""Number of terms that an operator reduces over, with which rounding differences grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from tripoint.shape_inference import truth
from tripoint.symbols import evaluate

_UNKNOWN = 1 << 12
"""Terms assumed for a size that values decide."""


Bindings = Mapping[str, int]


def longest_reduction(model: ir.Model, bindings: Bindings) -> int:
    """Terms of the longest sum in a graph; 0 if nothing is reduced.

    Args:
        model: Its values carry their true shapes.
        bindings: Size of each symbol.
    """
    return max((terms(node, bindings) for node in model.graph.all_nodes()), default=0)


def reduces(node: ir.Node) -> bool:
    """Return whether a node reduces over terms."""
    return node.op_type in _COUNTERS


def terms(node: ir.Node, bindings: Bindings) -> int:
    """Terms that each output element of a node reduces over; 0 for operators that reduce none.

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


def _groups(node: ir.Node, bindings: Bindings) -> int:
    sizes = _sizes(node.inputs[0], bindings)
    return math.prod(sizes[1:]) // max(1, node.attributes.get_int("num_groups", 1))


def _normalized(node: ir.Node, bindings: Bindings) -> int:
    sizes = _sizes(node.inputs[0], bindings)
    axes = node.attributes.get_ints("axes", [0, 2, 3])
    return math.prod(sizes[axis] for axis in axes if -len(sizes) <= axis < len(sizes))


def _axis(node: ir.Node, bindings: Bindings) -> int:
    """Along the axis of an attribute or of a constant input; the longest where that is unknown."""
    sizes = _sizes(node.inputs[0], bindings)
    axis = node.attributes.get_int("axis", -1)
    if len(node.inputs) > 1:
        tensor = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] else None
        if tensor is None:
            return max(sizes, default=_UNKNOWN)
        axis = int(tensor.numpy().reshape(-1)[0])
    return sizes[axis] if -len(sizes) <= axis < len(sizes) else max(sizes, default=_UNKNOWN)


def _operands(node: ir.Node, _: Bindings) -> int:
    return len(node.inputs)


def _window(node: ir.Node, _: Bindings) -> int:
    return node.attributes.get_int("size", 1)


def _all(node: ir.Node, bindings: Bindings) -> int:
    return math.prod(_sizes(node.inputs[0], bindings))


def _blocks(node: ir.Node, bindings: Bindings) -> int:
    before, after = (_sizes(value, bindings) for value in (node.inputs[0], node.outputs[0]))
    return max(1, math.prod(before[1:2]) // max(1, math.prod(after[1:2])))


def _side(node: ir.Node, bindings: Bindings) -> int:
    return math.prod(_sizes(node.inputs[0], bindings)[-1:])


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
    "CumSum": _axis,
    "CumProd": _axis,
    "LpNormalization": _axis,
    "LpPool": _kernel,
    "GlobalLpPool": _spatial,
    "GroupNormalization": _groups,
    "MeanVarianceNormalization": _normalized,
    "LRN": _window,
    "Sum": _operands,
    "Mean": _operands,
    "Det": _side,
    "Col2Im": _blocks,
    "AffineGrid": _side,
    "DeformConv": _conv,
    "CausalConvWithState": _conv,
    "LinearAttention": _attention,
    "SoftmaxCrossEntropyLoss": _all,
    "NegativeLogLikelihoodLoss": _all,
    **{f"Reduce{kind}": _reduce for kind in ("Mean", "Sum", "SumSquare", "L1", "L2", "LogSumExp")},
    **{f"Reduce{kind}": _reduce for kind in ("LogSum", "Prod")},
}


def _sizes(value: ir.Value | None, bindings: Bindings) -> list[int]:
    shape = truth.shape_of(value) if value is not None else None
    return [evaluate(dim, bindings) or _UNKNOWN for dim in shape or ()]
