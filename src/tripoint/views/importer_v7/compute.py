"""Importers of operators that compute, after onnx-tensorrt release/7.0, 7.1 and 7.2.1.

Each takes the node and returns the shape of its outputs as TensorRT 7.x prints it. A name that
ends in a version is for that version, and for those after it until the next such name.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.table import ViewShape
from tripoint.views.importer import core
from tripoint.views.importer.context import UNKNOWN, RefusedError
from tripoint.views.importer_v7 import unknown_propagation
from tripoint.views.importer_v7.context import TYPES, Node


def same(node: Node) -> ViewShape:
    """Activation, Unary, Identity, LRN, Scale: the shape of the input."""
    return node.shape(0)


def elementwise(node: Node) -> ViewShape:
    """Broadcast of all inputs, per dim where they have one rank."""
    if node.opset < 7 and len({len(node.shape(index)) for index in node.present}) > 1:
        raise RefusedError("does not broadcast below opset 7")
    return unknown_propagation.aligned_broadcast(node, node.present)


def where(node: Node) -> ViewShape:
    """A Select layer over three inputs of one type, which must not be BOOL."""
    kinds = {node.type(1), node.type(2)} - {None}
    if len(kinds) > 1:
        node.refuse("selects only between tensors of one type, so it stops at this Where")
    return unknown_propagation.aligned_broadcast(node, (0, 1, 2))


def cast(node: Node) -> ViewShape:
    """An identity layer to a type that TensorRT 7.x has."""
    target = ir.DataType(node.attribute_int("to", 0))
    if target not in TYPES:
        node.refuse(f"casts to no {target.name}, so it stops here")
    return node.shape(0)


def clip(node: Node) -> ViewShape:
    """An activation; since opset 11 its bounds must be constants."""
    if node.opset >= 11 and any(not node.is_weights(index) for index in node.present[1:]):
        node.refuse("takes the bounds of Clip only as constants, so it stops here")
    return node.shape(0)


def dropout(node: Node) -> list[ViewShape]:
    """An identity; its mask is refused since opset 10."""
    if len(node.onnx.outputs) > 1 and node.opset >= 10:
        node.refuse("has no mask output of Dropout since opset 10, so it stops here")
    return [node.shape(0)] * len(node.onnx.outputs)


def quantize(node: Node) -> ViewShape:
    """A scale layer with constant scale and zero point."""
    if not (node.is_weights(1) and node.is_weights(2)):
        node.refuse(f"needs a constant scale and zero point for {node.op}, so it stops here")
    return node.shape(0)


def batch_normalization(node: Node) -> ViewShape:
    """A scale layer; rank 3 is unsqueezed and squeezed."""
    dims = node.shape(0)
    folded = all(node.is_weights(i) and node.type(i) == "FLOAT" for i in range(1, 5))
    if len(dims) == 3 and folded and not core.is_known(dims):
        return node.contaminated(0, 3)
    return dims


def instance_normalization(node: Node) -> ViewShape:
    """A plugin that takes no dynamic input."""
    return _instance_normalization(node, fits=core.is_known(node.shape(0)))


def instance_normalization_72(node: Node) -> ViewShape:
    """A plugin that takes rank 3 and 4, known or not."""
    return _instance_normalization(node, fits=len(node.shape(0)) in (3, 4))


def _instance_normalization(node: Node, *, fits: bool) -> ViewShape:
    dims = node.shape(0)
    if not (node.is_weights(1) and node.is_weights(2)):
        node.refuse("needs a constant scale and bias for InstanceNormalization, so it stops here")
    if not fits:
        node.refuse(f"has no InstanceNormalization for {core.printed(dims)}, so it stops here")
    return dims


def conv(node: Node) -> ViewShape:
    """Per dim; rank 3 is unsqueezed to rank 4 and squeezed, which needs all dims known."""
    dims, kernel = node.shape(0), node.shape(1)
    if node.is_weights(0):
        node.refuse("convolves no constants, so it stops here")
    if node.has(2) and not node.is_weights(2):
        node.refuse("takes the bias of Conv only as a constant, so it stops here")
    _check_spatial(node, dims, kernel)
    if len(dims) == 3 and not node.is_weights(1):
        node.refuse("convolves a tensor of rank 3 only with constant weights, so it stops here")
    core.check_equal(dims[1], kernel[1] * node.attribute_int("group", 1))
    if len(dims) == 3 and not core.is_known(dims):
        return node.contaminated(0, 3)
    return (dims[0], kernel[0], *core.window(node, dims[2:], kernel[2:]))


def conv_72(node: Node) -> ViewShape:
    """As :func:`conv`; a kernel that is a tensor is for networks of explicit precision."""
    if not node.is_weights(1):
        node.refuse("takes the kernel of Conv only as a constant, so it stops here")
    return conv(node)


def conv_transpose_70(node: Node) -> ViewShape:
    """As :func:`conv_transpose`, without dilation."""
    if any(step != 1 for step in node.attribute_ints("dilations") or ()):
        node.refuse("has no dilated ConvTranspose, so it stops here")
    return conv_transpose(node)


def conv_transpose(node: Node) -> ViewShape:
    """As :func:`conv`, with constant weights only."""
    dims, kernel = node.shape(0), node.shape(1)
    if any(not node.is_weights(index) for index in node.present[1:]):
        node.refuse("takes weights and bias of ConvTranspose only as constants, so it stops here")
    _check_spatial(node, dims, kernel)
    if len(dims) == 3 and not core.is_known(dims):
        return node.contaminated(0, 3)
    channels = kernel[1] * node.attribute_int("group", 1)
    return (dims[0], channels, *core.deconvolution(node, dims[2:], kernel[2:]))


def _check_spatial(node: Node, dims: ViewShape, kernel: ViewShape) -> None:
    asked = node.attribute_ints("kernel_shape") or kernel[2:]
    if len(dims) != len(kernel) or not 3 <= len(dims) <= 5 or asked != kernel[2:]:
        raise RefusedError(
            f"imports no {node.op} of {core.printed(dims)} with weights {core.printed(kernel)}"
        )


def pool(node: Node) -> list[ViewShape]:
    """Per dim; rank 3 is unsqueezed to rank 4 and squeezed, which needs all dims known."""
    dims = node.shape(0)
    kernel = node.attribute_ints("kernel_shape") or ()
    outputs = len(node.onnx.outputs)
    if outputs > 1:
        node.refuse("has no indices output of MaxPool, so it stops here")
    if any(step != 1 for step in node.attribute_ints("dilations") or ()):
        node.refuse("has no dilated pooling, so it stops here")
    if node.op == "AveragePool" and not _pads_evenly(node):
        node.refuse("averages no window that is padded unevenly, so it stops here")
    if len(kernel) != len(dims) - 2 or not 1 <= len(kernel) <= 3:
        raise RefusedError(f"cannot pool {core.printed(dims)} with a kernel of {kernel}")
    if len(dims) == 3 and not core.is_known(dims):
        return [node.contaminated(0, 3)] * outputs
    return [(*dims[:2], *core.window(node, dims[2:], kernel))] * outputs


def _pads_evenly(node: Node) -> bool:
    """Return whether each of the first two axes is padded after as before, or by one more."""
    pads = node.attribute_ints("pads") or ()
    if node.attribute_text("auto_pad", "NOTSET").startswith("SAME"):
        return True
    half = len(pads) // 2
    ends = zip(pads[:half][:2], pads[half:][:2], strict=True)
    return all(after - before in (0, 1) for before, after in ends)


def global_pool(node: Node) -> ViewShape:
    """A Reduce layer over the spatial axes: 1 even where the input is -1."""
    dims = node.shape(0)
    return (*dims[:2], *(1,) * len(dims[2:]))


def reduce(node: Node) -> ViewShape:
    """Per dim. The axes are an attribute; an input is not looked at."""
    rank = len(node.shape(0))
    axes = node.attribute_ints("axes")
    if axes is None:
        axes = tuple(range(rank))
        reduced = node.ints(1) if node.has(1) else axes
        if reduced == () and not node.attribute_int("noop_with_empty_axes", 0):
            reduced = axes
        if reduced is None or {axis % rank for axis in reduced if rank} != set(axes):
            node.refuse(
                f"silently ignores the axes input of {node.op}, which it reads from an "
                "attribute, and reduces all axes"
            )
    reduced_axes = {node.axis(axis, rank) for axis in axes}
    if node.attribute_int("keepdims", 1):
        return tuple(1 if axis in reduced_axes else dim for axis, dim in enumerate(node.shape(0)))
    return tuple(dim for axis, dim in enumerate(node.shape(0)) if axis not in reduced_axes)


def softmax(node: Node) -> ViewShape:
    """Flattened to a matrix and back, in the meaning of opset 12 and earlier."""
    dims = node.shape(0)
    axis = node.axis(node.attribute_int("axis", 1), len(dims))
    if node.opset >= 13:
        meant = node.axis(node.attribute_int("axis", -1), len(dims))
        if any(dim != 1 for place, dim in enumerate(dims) if place >= axis and place != meant):
            node.refuse(
                f"silently reads the axis of {node.op} in its meaning before opset 13 and "
                f"normalizes over all axes from {axis} on"
            )
    return dims if core.is_known(dims) else node.contaminated(0, len(dims))


def arg_70(node: Node) -> ViewShape:
    """As :func:`arg`; a vector is unsqueezed and squeezed, which needs its length known."""
    result = arg(node)
    return node.contaminated(0, 1) if node.shape(0) == (UNKNOWN,) and result else result


def arg(node: Node) -> ViewShape:
    """A TopK layer, squeezed without ``keepdims``."""
    dims = node.shape(0)
    axis = node.axis(node.attribute_int("axis", 0), len(dims))
    if node.attribute_int("keepdims", 1):
        return (*dims[:axis], 1, *dims[axis + 1 :])
    rest = (*dims[:axis], *dims[axis + 1 :])
    return rest if core.is_known(rest) else node.contaminated(0, len(rest))


def top_k_70(node: Node) -> list[ViewShape]:
    """As :func:`top_k`; a vector is unsqueezed and squeezed, which needs its length known."""
    shapes = top_k(node)
    dims = node.shape(0)
    return [node.contaminated(0, 1)] * 2 if dims == (UNKNOWN,) else shapes


def top_k(node: Node) -> list[ViewShape]:
    """Per dim with a constant k."""
    dims = node.shape(0)
    axis = node.axis(node.attribute_int("axis", -1), len(dims))
    k = node.ints(1) if node.opset >= 10 else (node.attribute_int("k", 1),)
    if k is None or len(k) != 1:
        raise RefusedError("takes the k of TopK only as a constant")
    if not node.attribute_int("largest", 1):
        node.refuse("silently gives the largest elements of TopK although the smallest are asked")
    return [(*dims[:axis], k[0], *dims[axis + 1 :])] * 2


def mat_mul_70(node: Node) -> ViewShape:
    """A MatrixMultiply layer."""
    a, b = node.shape(0), node.shape(1)
    rank = max(len(a), len(b))
    if rank == 0:
        raise RefusedError("multiplies no scalars in MatMul")
    per_dim = core.matrix_multiply(core.align(a, rank), core.align(b, rank))
    if len(a) == len(b):
        return per_dim
    low = 0 if len(a) < len(b) else 1
    if core.is_known(node.shape(low)):
        return per_dim
    spoilt = [(UNKNOWN,) * rank if index == low else node.shape(index) for index in (0, 1)]
    result = core.matrix_multiply(*spoilt)
    if result != per_dim:
        node.blame([node.name(low)])
    return result


def mat_mul_71(node: Node) -> ViewShape:
    """As :func:`mat_mul_70`, or FullyConnected for a matrix and a constant matrix."""
    a, b = node.shape(0), node.shape(1)
    if len(a) == len(b) == 2 and node.is_weights(1) and not node.is_weights(0):
        return _fully_connected(node, a[1], b[0], b[1])
    return mat_mul_70(node)


def _fully_connected(node: Node, inner: int, expected: int, outer: int) -> ViewShape:
    """A matrix is unsqueezed to rank 4 and squeezed, which needs all dims known."""
    core.check_equal(inner, expected)
    dims = node.shape(0)
    return (dims[0], outer) if core.is_known(dims) else node.contaminated(0, 2)


def gemm_72(node: Node) -> ViewShape:
    """As :func:`gemm`, or FullyConnected for a matrix, a constant matrix and a constant vector."""
    a, b = node.shape(0), node.shape(1)
    plain = node.attribute_float("alpha", 1.0) == node.attribute_float("beta", 1.0) == 1.0
    constant = node.is_weights(1) and node.is_weights(2) and not node.is_weights(0)
    if not (plain and constant and len(a) == len(b) == 2 and len(node.shape(2)) == 1):
        return gemm(node)
    if node.attribute_int("transA", 0):
        node.refuse("forgets transA of Gemm with constant weights, so it stops here")
        return gemm(node)
    inner, outer = (b[1], b[0]) if node.attribute_int("transB", 0) else (b[0], b[1])
    return _fully_connected(node, a[1], inner, outer)


def gemm(node: Node) -> ViewShape:
    """A MatrixMultiply layer; A loses trailing ones, and more than two dims are flattened."""
    a, b = node.shape(0), node.shape(1)
    if node.is_weights(1) and not node.is_weights(0) and len(node.onnx.inputs) < 3:
        node.refuse("reads a bias of Gemm that is not there, so it stops here")
    while len(a) > 1 and a[-1] == 1:
        a = a[:-1]
    if len(a) > 2:
        a = (core.volume(a),)
    if len(a) == 2 and node.attribute_int("transA", 0):
        a = (a[1], a[0])
    if len(a) == 0 or len(b) != 2:
        raise RefusedError(f"multiplies no {core.printed(a)} with {core.printed(b)} in Gemm")
    if node.attribute_int("transB", 0):
        b = (b[1], b[0])
    core.check_equal(a[-1], b[0])
    product = (*a[:-1], b[1])
    if not node.has(2):
        return product
    return unknown_propagation.broadcast_named(
        node, [(node.name(0), product), (node.name(2), node.shape(2))]
    )
