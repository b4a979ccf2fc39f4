"""Importers of operators that produce tensors or pass them on, after onnx-tensorrt release/10.1.

Each takes the node and gives the dims of its output, or a list of those of all outputs. A version
in the name of a function is the newest one that does so.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from tripoint.views.importer.context import LARGEST_VECTOR, RefusedError, dims_of
from tripoint.views.importer_v8 import folding
from tripoint.views.importer_v8.algebra import Dim, Dims, Expression, Value
from tripoint.views.importer_v8.context import Node, as_values


def constant(node: Node) -> Dims:
    """Stays weights. Numbers and lists of numbers are read since opset 12."""
    tensor = ir.convenience.get_const_tensor(node.onnx.outputs[0])
    if tensor is None:
        raise RefusedError("knows no constants but tensors and numbers")
    if tensor.dtype not in node.network.version.types:
        node.refuse(f"has no type for a constant of {tensor.dtype.name}, so it stops here")
    node.kept = tensor
    return dims_of(tensor)


def constant_86(node: Node) -> Dims:
    """Integers that are no tensor are looked for among the floating-point attributes."""
    name = next(iter(node.onnx.attributes), "value")
    if name != "value" and node.opset < 12:
        node.refuse("reads only the attribute `value` of Constant, so it stops here")
    dims = constant(node)
    if name in ("value_int", "value_ints") and node.opset >= 12:
        node.kept = ir.tensor(np.zeros((0,) * len(dims), np.int32))
        return dims_of(node.kept)
    return dims


def identity(node: Node) -> Dims:
    """A layer; the parser has lost the values of a constant downstream of it, the core has not."""
    folding.pass_on(node)
    return node.dims(0)


def cast(node: Node) -> Dims:
    """A cast layer to a type that the version has."""
    target = ir.DataType(node.attribute_int("to", 0))
    kinds = node.network.version.types
    if target not in kinds:
        node.refuse(f"casts to no {target.name}, so it stops here")
    folding.keep(node, folding.cast(node, node.values(0), kinds.get(target)))
    return node.dims(0)


def cast_like(node: Node) -> Dims:
    """A cast layer to the type of the second input."""
    folding.keep(node, folding.cast(node, node.values(0), node.type(1)))
    return node.dims(0)


def shape_of(node: Node) -> Dims:
    """The dims of the input from ``start`` to ``end``."""
    dims = node.dims(0)
    start, end = node.attribute_int("start", 0), node.attribute_int("end", len(dims))
    part = dims[start:end] if len(range(len(dims))[start:end]) else ()
    node.results[0] = as_values(part, (len(part),))
    return (len(part),)


def shape_of_86(node: Node) -> Dims:
    """The dims of the input; ``start`` and ``end`` are not read."""
    dims = node.dims(0)
    start, end = node.attribute_int("start", 0), node.attribute_int("end", len(dims))
    if len(range(len(dims))[start:end]) != len(dims):
        node.refuse("silently ignores `start` and `end` of Shape and gives all dims")
    node.results[0] = as_values(dims, (len(dims),))
    return (len(dims),)


def size(node: Node) -> Dims:
    """The product of the dims, a scalar."""
    node.results[0] = as_values([node.algebra.product(node.dims(0))], ())
    return ()


def constant_of_shape(node: Node) -> Dims:
    """A slice of stride 0 over one value."""
    dims = node.vector(0)
    if any(isinstance(dim, int) and dim < 0 for dim in dims):
        raise RefusedError(f"makes no tensor of {node.printed(dims)}")
    sizes = folding.small(dims)
    fill = node.attribute_tensor("value")
    if sizes is not None and (fill is None or fill.size == 1):
        value: Value = 0.0
        if fill is not None:
            number = fill.numpy().reshape(-1)[0]
            value = float(number) if fill.dtype.is_floating_point() else int(number)
        node.results[0] = as_values([value] * math.prod(sizes), sizes)
    return dims


def range_(node: Node) -> Dims:
    """``max(-floor((start - limit) / delta), 0)`` elements."""
    algebra = node.algebra
    start, limit, delta = (node.scalar(index) for index in range(3))
    if isinstance(start, float) or isinstance(limit, float) or isinstance(delta, float):
        return (_float_range(node, start, limit, delta),)
    if node.is_floating(0):
        return (_float_range(node, start, limit, delta),)
    if delta == 0:
        raise RefusedError("takes no delta of 0 for Range")
    steps = algebra.floor_div(algebra.sub(start, limit), delta)
    count = algebra.maximum(algebra.sub(0, steps), 0)
    if isinstance(count, int) and count <= LARGEST_VECTOR:
        elements = [algebra.add(start, algebra.mul(delta, place)) for place in range(count)]
        node.results[0] = as_values(elements, (count,))
    return (count,)


def _float_range(node: Node, start: Value, limit: Value, delta: Value) -> Dim:
    if isinstance(start, Expression) or isinstance(limit, Expression):
        return node.algebra.size("range", start, limit, delta)
    if isinstance(delta, Expression):
        return node.algebra.size("range", start, limit, delta)
    if not delta or not all(map(math.isfinite, (start, limit, delta))):
        raise RefusedError("takes numbers for Range, and no delta of 0")
    return max(-math.floor((start - limit) / delta), 0)


def range_82(node: Node) -> Dims:
    """Floats only as constants."""
    if node.is_floating(0) and any(not node.is_weights(index) for index in range(3)):
        node.refuse("takes FLOAT operands of Range only as constants, so it stops here")
    return range_(node)


def one_hot(node: Node) -> Dims:
    """The depth becomes a dim."""
    dims = node.dims(0)
    axis = node.axis(node.attribute_int("axis", -1), len(dims) + 1)
    depth = node.scalar(1)
    if isinstance(depth, float):
        depth = int(depth)
    return (*dims[:axis], depth, *dims[axis:])


def one_hot_85(node: Node) -> Dims:
    """The depth must be known while the network is built."""
    result = one_hot(node)
    if isinstance(node.scalar(1), Expression):
        node.refuse("imports OneHot only with a depth that it can compute, so it stops here")
    return result


def eye_like(node: Node) -> Dims:
    """A constant, so all dims must be known."""
    dims = node.dims(0)
    if len(dims) != 2 or any(isinstance(dim, Expression) for dim in dims):
        node.refuse(f"imports EyeLike only for known matrices, not {node.printed(dims)}")
        return dims
    rows, columns = (dim for dim in dims if isinstance(dim, int))
    if rows * columns <= LARGEST_VECTOR:
        eye = np.eye(rows, columns, node.attribute_int("k", 0), dtype=np.int64)
        node.results[0] = as_values([int(each) for each in eye.reshape(-1)], (rows, columns))
    return dims


def random(node: Node) -> Dims:
    """The shape is an attribute."""
    return node.attribute_ints("shape") or ()


def random_like(node: Node) -> Dims:
    """A fill layer of the input's shape."""
    if node.is_weights(0):
        node.refuse(f"takes no constant for {node.op}, so it stops here")
    return node.dims(0)
