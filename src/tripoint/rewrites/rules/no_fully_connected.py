"""A matrix times a constant matrix, in a form of which TensorRT 7.x makes no FullyConnected layer.

    MatMul(x, W) = Reshape(MatMul(Reshape(x, [1, -1, K]), W), [-1, M])
    Gemm(x, W, b) = Gemm(x, W, b[None, :])

Holds for a constant W (K, M) and a tensor x (N, K) whose K is fixed; for Gemm when b is a constant
vector. Made only where the target does not know M in the result and N is not fixed.

Why: TensorRT 7.1 and 7.2 make a FullyConnected layer of MatMul with a constant matrix, 7.2 also of
Gemm with a constant matrix and a constant vector. It takes rank 4, and the unsqueeze before and the
squeeze behind make all dims unknown as soon as one is. At rank 3, and with a bias of rank 2, they
make a MatrixMultiply layer, which knows each dim by itself.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import constant, initializer, vector
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim

_RANK = 2
_COLUMNS = 1
_RESHAPE_OPSET = 5
"""Since when Reshape reads its sizes from an input."""


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    matrix, weight = (shape_of(value) for value in node.inputs[:2] if value is not None)
    if _COLUMNS not in site.lost(node.outputs[0]) or site.opset < _RESHAPE_OPSET:
        return None
    if matrix is None or weight is None:
        return None
    if len(matrix) != _RANK or len(weight) != _RANK or isinstance(matrix[0], int):
        return None
    if constant(node.inputs[1]) is None:
        return f"the matrix of `{node.outputs[0].name}` is computed at run time"
    return _gemm(node) if node.op_type == "Gemm" else _mat_mul(node, matrix[1], weight[1])


def _mat_mul(node: ir.Node, inner: Dim, outer: Dim) -> Replacement | str:
    if not isinstance(inner, int) or not isinstance(outer, int):
        return f"the columns of what `{node.outputs[0].name}` multiplies are not fixed"
    before, after = vector([1, -1, inner]), vector([-1, outer])
    higher = new_node("Reshape", [node.inputs[0], before])
    product = new_node("MatMul", [higher.outputs[0], node.inputs[1]])
    result = new_node("Reshape", [product.outputs[0], after])
    return Replacement(
        [node], node.outputs, [higher, product, result], result.outputs, [before, after]
    )


def _gemm(node: ir.Node) -> Replacement | str | None:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = constant(bias)
    if bias is None or tensor is None:
        return f"the bias of `{node.outputs[0].name}` is computed at run time"
    if len(tensor.shape) != 1:
        return None
    row = initializer(tensor.numpy()[np.newaxis], bias.name or "bias", tensor.dtype)
    inputs = [*node.inputs[:2], row]
    product = ir.Node("", "Gemm", inputs, list(node.attributes.values()))
    return Replacement([node], node.outputs, [product], product.outputs, [row])


REWRITE = Rewrite(
    name="no-fully-connected",
    title="Multiply by a constant matrix without the layer that loses dims",
    may_match=lambda node: (
        node.op_type in ("MatMul", "Gemm")
        and node.domain == ""
        and len(node.inputs) > 1
        and len(node.outputs) == 1
        and None not in node.inputs[:2]
    ),
    find=_find,
    when="lost",
)
