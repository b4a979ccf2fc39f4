"""Importers of operators that compute, after onnx-tensorrt release/10.1.

Each takes the node and gives the dims of its output, or a list of those of all outputs. A version
in the name of a function is the newest one that does so.
"""

from __future__ import annotations

import re

from tripoint.views import quantized
from tripoint.views.importer.context import RefusedError
from tripoint.views.importer.core import check_activations
from tripoint.views.importer_v8 import folding, layers
from tripoint.views.importer_v8.algebra import Dim, Dims, Expression
from tripoint.views.importer_v8.context import Node


def same(node: Node) -> Dims:
    """LRN, Scale, normalization: the shape of the input."""
    return node.dims(0)


def unary(node: Node) -> Dims:
    """Unary and Activation layers."""
    folded = folding.unary(node, node.values(0))
    if folded is not None:
        node.results[0] = folded
    return node.dims(0)


def round_85(node: Node) -> Dims:
    """Cannot compute a shape tensor (NVIDIA/TensorRT#1890 for 8.2, #4474 for 8.5)."""
    node.state.refused[node.output_name(0)] = (
        f"computes no sizes with Round, which makes `{node.output_name(0)}` (`IUnaryLayer cannot "
        "be used to compute a shape tensor`)"
    )
    return node.dims(0)


def neg(node: Node) -> Dims:
    """Of integers it is a subtraction from 0."""
    values = node.values(0)
    if values is None or node.is_floating(0):
        return unary(node)
    node.results[0] = folding.negative(node, values)
    return node.dims(0)


def elementwise(node: Node) -> Dims:
    """Broadcast of all inputs."""
    if node.opset < 7 and len({len(node.dims(index)) for index in node.present}) > 1:
        raise RefusedError("does not broadcast below opset 7")
    if not node.present:
        raise RefusedError(f"needs inputs for {node.op}")
    _fold(node, node.op)
    return layers.broadcast(node, [node.dims(index) for index in node.present])


def opaque_elementwise(node: Node) -> Dims:
    """The core computes no elements with these layers."""
    return layers.broadcast(node, [node.dims(index) for index in node.present])


def compare(node: Node) -> Dims:
    """GreaterOrEqual and LessOrEqual: two comparisons and an Or."""
    if _folds(node):
        a, b = node.elements(0), node.elements(1)
        strict = folding.elementwise(node, node.op.removesuffix("OrEqual"), a, b)
        node.results[0] = folding.either(node, strict, folding.elementwise(node, "Equal", a, b))
    return layers.broadcast(node, [node.dims(0), node.dims(1)])


def mod(node: Node) -> Dims:
    """A division, a product and a difference."""
    if _folds(node) and not node.is_floating(0):
        a, b = node.elements(0), node.elements(1)
        division = "Div" if node.attribute_int("fmod", 0) else "FloorDiv"
        product = folding.elementwise(node, "Mul", b, folding.elementwise(node, division, a, b))
        result = folding.elementwise(node, "Sub", a, product)
        if result is not None:
            node.results[0] = result
    return layers.broadcast(node, [node.dims(0), node.dims(1)])


def _folds(node: Node) -> bool:
    if not node.computes_values or (node.is_floating(0) and not node.rules.floats):
        return False
    result = layers.broadcast(node, [node.dims(index) for index in node.present])
    return _all_small(result, *(node.dims(index) for index in node.present))


def _all_small(*shapes: Dims) -> bool:
    return all(folding.small(dims) is not None for dims in shapes)


def _fold(node: Node, op: str) -> None:
    if _folds(node):
        operands = [node.elements(index) for index in node.present]
        result = folding.elementwise(node, op, *operands)
        if result is not None:
            node.results[0] = result


def where(node: Node) -> Dims:
    """A Select layer over three inputs."""
    kinds = {node.type(1), node.type(2)} - {None}
    if len(kinds) > 1:
        node.refuse("selects only between tensors of one type, so it stops at this Where")
    shapes = [node.dims(index) for index in range(3)]
    result = layers.broadcast(node, shapes)
    selected = node.values(1) is not None or node.values(2) is not None
    if selected and node.computes_values and _all_small(result, *shapes):
        node.results[0] = folding.select(node, *(node.elements(index) for index in range(3)))
    return result


def clip(node: Node) -> Dims:
    """An activation for constant bounds, else two elementwise layers."""
    values = node.values(0)
    bounds = [node.values(index) if node.has(index) else None for index in (1, 2)]
    bounded = all(bound is not None or not node.has(i + 1) for i, bound in enumerate(bounds))
    if values is not None and bounded and node.opset >= 11:
        for op, bound in zip(("Max", "Min"), bounds, strict=True):
            if bound is not None and values is not None:
                values = folding.elementwise(node, op, values, bound)
        if values is not None:
            node.results[0] = values
    return node.dims(0)


def clip_80(node: Node) -> Dims:
    """Since opset 11 the bounds must be constants."""
    if node.opset >= 11 and any(not node.is_weights(index) for index in node.present[1:]):
        node.refuse("takes the bounds of Clip only as constants, so it stops here")
    return clip(node)


def dropout(node: Node) -> list[Dims]:
    """An identity, and a mask of the same shape."""
    if node.values(0) is not None:
        node.results[0] = node.elements(0)
    return [node.dims(0)] * len(node.onnx.outputs)


def quantize(node: Node) -> Dims:
    """A layer of its own; the zero point must be 0, and what is dequantized of a type it has."""
    dims = node.dims(0)
    if node.op == "DequantizeLinear" and node.type(0) in _NOT_DEQUANTIZED:
        node.refuse(f"dequantizes no {node.type(0)}, so it stops here")
    zero = node.values(2) if node.has(2) else None
    if zero is not None and any(value != 0 for value in zero.flat):
        node.refuse(f"takes only a zero point of 0 in {node.op}, so it stops here")
    elif node.op == "QuantizeLinear" and quantized.is_uint8_around_zero(node.onnx):
        node.refuse(f"silently {quantized.AS_INT8}")
    return dims or (1,)


_NOT_DEQUANTIZED = frozenset({"INT32", "UINT8", "INT16", "UINT16", "UINT4"})
"""Types that the importers of 8.0 to 10.1 do not list for DequantizeLinear."""


def batch_normalization(node: Node) -> list[Dims]:
    """A scale layer, or elementwise layers; rank 2 and 3 are reshaped for the former."""
    dims = node.dims(0)
    if len(dims) < 4 and all(node.is_weights(index) for index in range(1, 5)):
        dims = layers.resized(node.algebra, dims, dims)
    return [dims]


def instance_normalization(node: Node) -> Dims:
    """A plugin for rank 3 to 5, with constant scale and bias."""
    dims = node.dims(0)
    if not (node.is_weights(1) and node.is_weights(2)):
        node.refuse("needs a constant scale and bias for InstanceNormalization, so it stops here")
    if not 3 <= len(dims) <= 5:
        node.refuse(f"has no InstanceNormalization for rank {len(dims)}, so it stops here")
    return dims


def instance_normalization_80(node: Node) -> Dims:
    """A plugin for rank 4 and 5."""
    if len(node.dims(0)) == 3:
        node.refuse("has no InstanceNormalization for rank 3, so it stops here")
    return instance_normalization(node)


def conv(node: Node) -> Dims:
    """Per dim; rank 3 is reshaped to rank 4 and back."""
    dims, kernel = node.dims(0), node.dims(1)
    _check_spatial(node, dims, kernel)
    groups = node.attribute_int("group", 1)
    layers.check_equal(dims[1], node.algebra.mul(kernel[1], groups))
    wide = layers.resized(node.algebra, dims, dims) if len(dims) == 3 else dims
    spatial = layers.window(node, wide[2:], _sizes(node, kernel[2:]))
    result = (wide[0], kernel[0], *spatial)
    return layers.resized(node.algebra, result, result) if len(dims) == 3 else result


def conv_transpose(node: Node) -> Dims:
    """As :func:`conv`."""
    dims, kernel = node.dims(0), node.dims(1)
    _check_spatial(node, dims, kernel)
    channels = node.algebra.mul(kernel[1], node.attribute_int("group", 1))
    wide = layers.resized(node.algebra, dims, dims) if len(dims) == 3 else dims
    spatial = layers.deconvolution(node, wide[2:], _sizes(node, kernel[2:]))
    result = (wide[0], channels, *spatial)
    return layers.resized(node.algebra, result, result) if len(dims) == 3 else result


def conv_transpose_80(node: Node) -> Dims:
    """With a constant bias only."""
    if node.has(2) and not node.is_weights(2):
        node.refuse("takes the bias of ConvTranspose only as a constant, so it stops here")
    return conv_transpose(node)


def _sizes(node: Node, kernel: Dims) -> tuple[int, ...]:
    if node.attribute_ints("kernel_shape") is not None and any(
        isinstance(size, Expression) for size in kernel
    ):
        return node.attribute_ints("kernel_shape") or ()
    sizes = tuple(size for size in kernel if isinstance(size, int))
    if len(sizes) != len(kernel):
        raise RefusedError(f"needs a known kernel for {node.op}")
    return sizes


def _check_spatial(node: Node, dims: Dims, kernel: Dims) -> None:
    if len(dims) != len(kernel) or not 3 <= len(dims) <= 5:
        raise RefusedError(
            f"imports no {node.op} of {node.printed(dims)} with weights {node.printed(kernel)}"
        )


def lp_pool_86(node: Node) -> list[Dims]:
    """As :func:`pool`; neither dilations nor ``ceil_mode`` are read."""
    return _pool(node, plain=True)


def pool(node: Node) -> list[Dims]:
    """Per dim; rank 3 is reshaped to rank 4 and back."""
    if len(node.onnx.outputs) > 1:
        node.refuse("has no indices output of MaxPool, so it stops here")
    if any(step != 1 for step in node.attribute_ints("dilations") or ()):
        node.refuse("has no dilated pooling, so it stops here")
    return _pool(node, plain=False)


def _pool(node: Node, *, plain: bool) -> list[Dims]:
    dims = node.dims(0)
    kernel = node.attribute_ints("kernel_shape") or ()
    outputs = len(node.onnx.outputs)
    if len(kernel) != len(dims) - 2 or not 1 <= len(kernel) <= 3:
        raise RefusedError(f"cannot pool {node.printed(dims)} with a kernel of {kernel}")
    wide = layers.resized(node.algebra, dims, dims) if len(dims) == 3 else dims
    result = (*wide[:2], *layers.window(node, wide[2:], kernel, plain=plain))
    if len(dims) == 3:
        result = layers.resized(node.algebra, result, result)
    return [result] * outputs


def global_pool(node: Node) -> Dims:
    """A Reduce layer over the spatial axes: 1 even where the input is -1."""
    dims = node.dims(0)
    return (*dims[:2], *(1,) * len(dims[2:]))


def reduce(node: Node) -> Dims:
    """Per dim. The axes are an attribute or a constant input."""
    axes = node.attribute_ints("axes")
    if axes is None and node.has(1):
        axes = node.ints(1)
        if axes is None:
            raise RefusedError(f"takes the axes of {node.op} only as a constant")
    if not axes and node.attribute_int("noop_with_empty_axes", 0):
        if node.values(0) is not None:
            node.results[0] = node.elements(0)
        return node.dims(0)
    return _reduce(node, axes or None)


def reduce_ignoring_input(node: Node) -> Dims:
    """Per dim. The axes are an attribute; an input is not looked at."""
    axes = node.attribute_ints("axes")
    rank = len(node.dims(0))
    if axes is None and node.has(1):
        reduced = node.ints(1)
        if reduced == () and not node.attribute_int("noop_with_empty_axes", 0):
            reduced = tuple(range(rank))
        if reduced is None or {axis % rank for axis in reduced if rank} != set(range(rank)):
            node.refuse(
                f"silently ignores the axes input of {node.op}, which it reads from an "
                "attribute, and reduces all axes"
            )
    return _reduce(node, axes)


def reduce_sum_86(node: Node) -> Dims:
    """The only reduction that consumes an axes input, since opset 13."""
    axes = node.attribute_ints("axes")
    if axes is None and node.opset >= 13 and node.has(1):
        axes = node.ints(1)
        if axes is None:
            raise RefusedError(f"takes the axes of {node.op} only as a constant")
    return _reduce(node, axes)


def _reduce(node: Node, axes: tuple[int, ...] | None) -> Dims:
    dims = node.dims(0)
    reduced_axes = {
        node.axis(axis, len(dims)) for axis in (range(len(dims)) if axes is None else axes)
    }
    keep = bool(node.attribute_int("keepdims", 1))
    values = node.values(0)
    if values is not None:
        result = folding.reduce(node, values, reduced_axes, keep=keep)
        if result is not None:
            node.results[0] = result
    if keep:
        return tuple(1 if axis in reduced_axes else dim for axis, dim in enumerate(dims))
    return tuple(dim for axis, dim in enumerate(dims) if axis not in reduced_axes)


def softmax(node: Node) -> Dims:
    """Reshaped to the shape of the input at the end."""
    dims = node.dims(0)
    node.axis(node.attribute_int("axis", -1 if node.opset >= 13 else 1), len(dims) + 1)
    return layers.resized(node.algebra, dims, dims)


def arg(node: Node) -> Dims:
    """A TopK layer, reshaped without ``keepdims``."""
    dims = node.dims(0)
    axis = node.axis(node.attribute_int("axis", 0), len(dims))
    if len(dims) == 1:
        node.refuse(f"has no {node.op} of a vector, so it stops here")
    if node.attribute_int("keepdims", 1):
        return (*dims[:axis], 1, *dims[axis + 1 :])
    rest = (*dims[:axis], *dims[axis + 1 :])
    return layers.resized(node.algebra, rest, rest)


def arg_86(node: Node) -> Dims:
    """``select_last_index`` is read since opset 12."""
    if node.opset < 12 and node.attribute_int("select_last_index", 0):
        node.refuse(f"reads select_last_index of {node.op} since opset 12, so it stops here")
    return arg(node)


def arg_82(node: Node) -> Dims:
    """With ``select_last_index`` all dims must be known."""
    dynamic = any(isinstance(dim, Expression) for dim in node.dims(0))
    if dynamic and node.attribute_int("select_last_index", 0):
        node.refuse(f"needs known dims for select_last_index of {node.op}, so it stops here")
    return arg_86(node)


def top_k(node: Node) -> list[Dims]:
    """Per dim; k may be computed."""
    k: Dim
    if node.opset >= 10:
        scalar = node.scalar(1)
        if isinstance(scalar, float):
            raise RefusedError("takes an integer k for TopK")
        k = scalar
    else:
        k = node.attribute_int("k", 1)
    dims = node.dims(0)
    axis = node.axis(node.attribute_int("axis", -1), len(dims))
    if isinstance(k, Expression) and k.low < 0:
        k = node.algebra.size("k", k)
    return [(*dims[:axis], k, *dims[axis + 1 :])] * 2


def top_k_85(node: Node) -> list[Dims]:
    """With a constant k."""
    if node.opset >= 10 and not node.is_weights(1):
        raise RefusedError("takes the k of TopK only as a constant; 8.6 and later any")
    return top_k(node)


def top_k_84(node: Node) -> list[Dims]:
    """Always the largest elements."""
    if not node.attribute_int("largest", 1):
        node.refuse("silently gives the largest elements of TopK although the smallest are asked")
    return top_k_85(node)


def mat_mul(node: Node) -> Dims:
    """A MatrixMultiply layer; the operand of lower rank is reshaped."""
    a, b = node.dims(0), node.dims(1)
    if not a or not b:
        raise RefusedError("multiplies no scalars in MatMul")
    head, tail = len(a) == 1 < len(b), len(b) == 1 < len(a)
    if tail:
        b = (b[0], 1)
    rank = max(len(a), len(b))
    result = layers.matrix_multiply(
        node, layers.align(node.algebra, a, rank), layers.align(node.algebra, b, rank)
    )
    if head:
        result = (*result[:-2], result[-1])
    if tail:
        result = result[:-1]
    return layers.resized(node.algebra, result, result) if head or tail else result


def gemm(node: Node) -> Dims:
    """A MatrixMultiply layer on two matrices, and a broadcast sum."""
    a, b = node.dims(0), node.dims(1)
    if len(a) != 2 or len(b) != 2:
        raise RefusedError(f"multiplies no {node.printed(a)} with {node.printed(b)} in Gemm")
    return _gemm(node, (a[1], a[0]) if node.attribute_int("transA", 0) else a, b)


def gemm_82(node: Node) -> Dims:
    """A loses trailing ones, and more than two dims are flattened, except before constants."""
    a, b = node.dims(0), node.dims(1)
    constant = node.is_weights(1) and (not node.has(2) or node.is_weights(2))
    if not (constant and len(a) == 2):
        while len(a) > 1 and a[-1] == 1:
            a = a[:-1]
        if len(a) > 2:
            a = (node.algebra.product(a),)
    if len(b) != 2 or not a:
        raise RefusedError(f"multiplies no {node.printed(a)} with {node.printed(b)} in Gemm")
    return _gemm(node, a[::-1] if len(a) == 2 and node.attribute_int("transA", 0) else a, b)


def _gemm(node: Node, a: Dims, b: Dims) -> Dims:
    if node.attribute_int("transB", 0):
        b = (b[1], b[0])
    layers.check_equal(a[-1], b[0])
    product = (*a[:-1], b[1])
    return layers.broadcast(node, [product, node.dims(2)]) if node.has(2) else product


_LABELS = re.compile(r"\.\.\.|[A-Za-z]")


def einsum_86(node: Node) -> Dims:
    """As :func:`einsum`, without an ellipsis, diagonals and broadcasting (docs/operators.md)."""
    equation = node.attribute_text("equation", "").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "..." in equation:
        node.refuse(f"takes no ellipsis in the equation of Einsum, {equation}, so it stops here")
    if any(term.count(label) > 1 for term in terms for label in set(term) - {"."}):
        node.refuse(f"takes no diagonal in the equation of Einsum, {equation}, so it stops here")
    return einsum(node)


def einsum(node: Node) -> Dims:
    """Dims by the letters of the equation, which are lower case."""
    upper = sorted(set(filter(str.isupper, node.attribute_text("equation", ""))))
    if upper:
        node.refuse(
            f"takes only lower case in the equation of Einsum, not {', '.join(upper)}, so it stops "
            "here (`Invalid character(s) in Einsum equation`)"
        )
    equation = node.attribute_text("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = [_LABELS.findall(term) for term in left.split(",")]
    if len(terms) != len(node.onnx.inputs):
        raise RefusedError(f"needs an operand for each term of {equation}")
    sizes: dict[str, Dim] = {}
    ellipsis: Dims = ()
    for index, labels in enumerate(terms):
        dims = node.dims(index)
        free = len(dims) - (len(labels) - labels.count("..."))
        if labels.count("...") > 1 or free < 0 or ("..." not in labels and free):
            raise RefusedError(f"cannot read {node.printed(dims)} as {''.join(labels)}")
        position = 0
        for label in labels:
            if label == "...":
                ellipsis = layers.broadcast(node, [ellipsis, dims[position : position + free]])
                position += free
                continue
            sizes[label] = layers.merge(node, sizes.get(label), dims[position])
            position += 1
    if not arrow:
        flat = [label for labels in terms for label in labels]
        single = sorted(label for label in set(flat) - {"..."} if flat.count(label) == 1)
        right = ("..." if "..." in flat else "") + "".join(single)
    result: list[Dim] = []
    for label in _LABELS.findall(right):
        if label == "...":
            result.extend(ellipsis)
        elif label in sizes:
            result.append(sizes[label])
        else:
            raise RefusedError(f"does not find {label} in {equation}")
    return tuple(result)


def non_zero(node: Node) -> Dims:
    """The number of elements is decided by the data."""
    return (len(node.dims(0)), node.decided_by_data(0))


def non_max_suppression(node: Node) -> Dims:
    """The number of boxes is decided by the data."""
    return (node.decided_by_data(0), 3)


def non_max_suppression_84(node: Node) -> Dims:
    """A plugin that pads its output to the most boxes there can be."""
    boxes, scores = node.dims(0), node.dims(1)
    if any(not node.is_weights(index) for index in node.present[2:]):
        node.refuse(f"takes the limits of {node.op} only as constants, so it stops here")
    most = node.scalar(2) if node.has(2) else 0
    if len(boxes) != 3 or len(scores) != 3 or isinstance(most, float):
        raise RefusedError("takes boxes and scores of rank 3 for NonMaxSuppression")
    return (node.algebra.product((*scores[:2], most)), 3)


def grid_sample(node: Node) -> Dims:
    """Batch and channels of the data, the rest of the grid."""
    dims, grid = node.dims(0), node.dims(1)
    if len(dims) != len(grid) or len(dims) < 3:
        raise RefusedError("needs data and a grid of one rank for GridSample")
    return (*dims[:2], *grid[1:-1])


def deform_conv(node: Node) -> Dims:
    """A plugin with the dims of a convolution."""
    return conv(node)


def roi_align(node: Node) -> Dims:
    """A plugin: one output for each region."""
    dims, regions = node.dims(0), node.dims(1)
    if len(dims) != 4 or len(regions) != 2:
        raise RefusedError("takes data of rank 4 and regions of rank 2 for RoiAlign")
    height, width = node.attribute_int("output_height", 1), node.attribute_int("output_width", 1)
    return (regions[0], dims[1], height, width)


def reverse_sequence_85(node: Node) -> Dims:
    """Imported only where all dims are known."""
    if any(isinstance(dim, Expression) for dim in node.dims(0)):
        node.refuse("imports ReverseSequence only with known dims, so it stops here")
    return node.dims(0)


def cum_sum(node: Node) -> Dims:
    """A loop along a constant axis."""
    if not node.is_weights(1):
        node.refuse("takes the axis of CumSum only as a constant, so it stops here")
    return node.dims(0)


def recurrent(node: Node) -> list[Dims]:
    """A loop over the sequence: all steps, then the last states."""
    dims = node.dims(0)
    hidden = node.attribute_int("hidden_size", 0)
    if len(dims) != 3:
        raise RefusedError(f"takes an input of rank 3 for {node.op}")
    check_activations(node)
    ways = 2 if node.attribute_text("direction", "forward") == "bidirectional" else 1
    steps = (dims[0], ways, dims[1], hidden)
    state = (ways, dims[1], hidden)
    return [steps, state, state][: len(node.onnx.outputs)]
