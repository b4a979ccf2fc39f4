"""Importers of operators that compute, after onnx-tensorrt release/7.1.

Each takes the node and returns the shape of its outputs as TensorRT 7.x prints it.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.facts.table import Reason, ViewShape
from tripoint.facts.views.importer import core
from tripoint.facts.views.importer.context import UNKNOWN, RefusedError
from tripoint.facts.views.importer_v7 import contagion
from tripoint.facts.views.importer_v7.context import TYPES, Node


def same(node: Node) -> ViewShape:
    """Activation, Unary, Identity, LRN, Scale: the shape of the input."""
    return node.shape(0)


def elementwise(node: Node) -> ViewShape:
    """Broadcast of all inputs, per dim where they have one rank."""
    if node.opset < 7 and len({len(node.shape(index)) for index in node.present}) > 1:
        raise RefusedError("does not broadcast below opset 7")
    return contagion.aligned_broadcast(node, node.present)


def where(node: Node) -> ViewShape:
    """A Select layer over three inputs of one type, which must not be BOOL."""
    kinds = {node.type(1), node.type(2)} - {None}
    if len(kinds) > 1:
        node.refuse("selects only between tensors of one type, so it stops at this Where")
    return contagion.aligned_broadcast(node, (0, 1, 2))


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
    dims = node.shape(0)
    if not (node.is_weights(1) and node.is_weights(2)):
        node.refuse("needs a constant scale and bias for InstanceNormalization, so it stops here")
    if not core.is_known(dims):
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
    if len(dims) != len(kernel) or not 3 <= len(dims) <= 5:
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
    if len(kernel) != len(dims) - 2 or not 1 <= len(kernel) <= 3:
        raise RefusedError(f"cannot pool {core.printed(dims)} with a kernel of {kernel}")
    if len(dims) == 3 and not core.is_known(dims):
        return [node.contaminated(0, 3)] * outputs
    return [(*dims[:2], *core.window(node, dims[2:], kernel))] * outputs


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
        given = node.ints(1) if node.has(1) else axes
        if given == () and not node.attribute_int("noop_with_empty_axes", 0):
            given = axes
        if given is None or {axis % rank for axis in given if rank} != set(axes):
            node.refuse(
                f"silently ignores the axes input of {node.op}, which it reads from an "
                "attribute, and reduces all axes"
            )
    gone = {node.axis(axis, rank) for axis in axes}
    if node.attribute_int("keepdims", 1):
        return tuple(1 if axis in gone else dim for axis, dim in enumerate(node.shape(0)))
    return tuple(dim for axis, dim in enumerate(node.shape(0)) if axis not in gone)


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


def arg(node: Node) -> ViewShape:
    """A TopK layer, squeezed without ``keepdims``."""
    dims = node.shape(0)
    axis = node.axis(node.attribute_int("axis", 0), len(dims))
    if node.attribute_int("keepdims", 1):
        return (*dims[:axis], 1, *dims[axis + 1 :])
    rest = (*dims[:axis], *dims[axis + 1 :])
    return rest if core.is_known(rest) else node.contaminated(0, len(rest))


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


def mat_mul(node: Node) -> ViewShape:
    """A MatrixMultiply layer, or FullyConnected for a matrix and a constant matrix."""
    a, b = node.shape(0), node.shape(1)
    if len(a) == len(b) == 2 and node.is_weights(1) and not node.is_weights(0):
        core.check_equal(a[1], b[0])
        return (a[0], b[1]) if core.is_known(a) else node.contaminated(0, 2)
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


def gemm(node: Node) -> ViewShape:
    """A MatrixMultiply layer; A loses trailing ones, and more than two dims are flattened."""
    a, b = node.shape(0), node.shape(1)
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
    return contagion.broadcast_named(node, [(node.name(0), product), (node.name(2), node.shape(2))])


def recurrent(node: Node) -> list[ViewShape]:
    """All -1: the gates are slices whose size is a tensor even where all is static."""
    node.reason = Reason(
        f"{node.network.version} cuts the gates of {node.op} with a size that is a "
        "tensor, and evaluates none while the network is built, so every dim is -1",
        (node.name(0),),
    )
    return [(UNKNOWN,) * rank for rank in (4, 3, 3)][: len(node.onnx.outputs)]


def loop(node: Node) -> list[ViewShape]:
    """State keeps its initial dims; the length of a scan output is a tensor."""
    first = 2 if node.op == "Loop" else 0
    last = len(node.onnx.inputs) - node.attribute_int("num_scan_inputs", 0)
    states = [node.shape(index) for index in range(first, last)]
    return [*states, *(_scan_output(node, name) for name in _names(node)[len(states) :])]


def _names(node: Node) -> list[str]:
    return [value.name or "" for value in node.onnx.outputs]


def _scan_output(node: Node, name: str) -> ViewShape:
    true = node.network.truth.get(name)
    if not true:
        raise RefusedError(f"computes `{name}` in a nested graph")
    node.reason = Reason(
        f"the length of the scan output `{name}` is a tensor in {node.network.version}, "
        "so it is -1",
        (),
    )
    return (UNKNOWN, *(dim if isinstance(dim, int) else UNKNOWN for dim in true[1:]))


def if_(node: Node) -> list[ViewShape]:
    """One branch where the condition is a constant, else refused."""
    if not node.is_weights(0):
        raise RefusedError("takes the condition of If only as a constant")
    return []
