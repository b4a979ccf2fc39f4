"""Importers of operators that reorder elements or repeat them, after onnx-tensorrt release/10.1.

Each takes the node and gives the dims of its output, or a list of those of all outputs. A version
in the name of a function is the newest one that does so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tripoint.views.importer.context import LARGEST_VECTOR, RefusedError, dims_of
from tripoint.views.importer_v8 import folding, layers
from tripoint.views.importer_v8.algebra import Dim, Dims, Expression
from tripoint.views.importer_v8.context import Node


def expand(node: Node) -> Dims:
    """A slice of stride 0 whose size is ``max(a, b) * min(a, b, 1)`` over both shapes."""
    algebra, dims, target = node.algebra, node.dims(0), node.vector(1)
    rank = max(len(dims), len(target))
    dims = layers.align(algebra, dims, rank)
    target = (1,) * (rank - len(target)) + target
    result = tuple(
        algebra.mul(algebra.maximum(a, b), algebra.minimum(a, algebra.minimum(b, 1)))
        for a, b in zip(dims, target, strict=True)
    )
    values = node.values(0)
    sizes = folding.small(result)
    if values is not None and sizes is not None:
        node.results[0] = np.broadcast_to(values, sizes)
    return result


def reshape(node: Node) -> Dims:
    """A shuffle; without ``allowzero`` a 0 copies the dim."""
    return _reshape(node, copies=not node.attribute_int("allowzero", 0))


def reshape_85(node: Node) -> Dims:
    """``allowzero`` is read since opset 14."""
    ignored = node.opset < 14 and node.attribute_int("allowzero", 0)
    return _reshape(node, copies=bool(ignored) or not node.attribute_int("allowzero", 0))


def reshape_84(node: Node) -> Dims:
    """As :func:`reshape_85`, and since opset 14 ``allowzero`` must be there."""
    if node.opset >= 14 and "allowzero" not in node.onnx.attributes:
        node.refuse("needs the attribute allowzero of Reshape since opset 14, so it stops here")
    return reshape_85(node)


def _reshape(node: Node, *, copies: bool) -> Dims:
    attribute = node.attribute_ints("shape") if node.opset < 5 else None
    target: Sequence[Dim] = attribute if attribute is not None else node.vector(1)
    result = layers.reshape(node.algebra, node.dims(0), target, copies=copies)
    folding.reorder(node, result, lambda values, sizes: values.reshape(sizes))
    return result


def flatten(node: Node) -> Dims:
    """To a matrix."""
    dims = node.dims(0)
    axis = _split_point(node, len(dims))
    if len(dims) == 2 and axis == 1:
        _keep_weights(node)
        folding.pass_on(node)
        return dims
    return _flattened(node, dims, axis)


def flatten_84(node: Node) -> Dims:
    """To a matrix; rank 1 and 2 are returned as they are, whatever the axis."""
    dims = node.dims(0)
    axis = _split_point(node, len(dims))
    if len(dims) <= 2:
        if (len(dims), axis) != (2, 1):
            node.refuse(f"silently leaves {node.printed(dims)} as it is, whatever axis Flatten has")
        folding.pass_on(node)
        return dims
    return _flattened(node, dims, axis)


def _split_point(node: Node, rank: int) -> int:
    axis = node.attribute_int("axis", 1)
    if not -rank <= axis <= rank:
        raise RefusedError(f"takes no axis {axis} of a tensor of rank {rank} for Flatten")
    return axis + rank if axis < 0 else axis


def _flattened(node: Node, dims: Dims, axis: int) -> Dims:
    algebra = node.algebra
    target = (algebra.product(dims[:axis]), algebra.product(dims[axis:]))
    result = layers.resized(algebra, dims, target)
    folding.reorder(node, result, lambda values, sizes: values.reshape(sizes))
    return result


def _axes(node: Node, index: int = 1) -> tuple[int, ...] | None:
    """Axes that are an attribute below opset 13, and weights since; None if they are absent."""
    if node.opset < 13:
        return node.attribute_ints("axes")
    if not node.has(index):
        return None
    axes = node.ints(index)
    if axes is None:
        raise RefusedError(f"takes the axes of {node.op} only as a constant")
    return axes


def squeeze(node: Node) -> Dims:
    """Without axes all dims of 1 go; then no dim may be -1."""
    dims = node.dims(0)
    axes = _axes(node)
    if not axes:
        if any(isinstance(dim, Expression) for dim in dims):
            raise RefusedError(
                f"cannot infer the axes of Squeeze from the dynamic shape {node.printed(dims)}"
            )
        axes = tuple(axis for axis, dim in enumerate(dims) if dim == 1)
    removed = {node.axis(axis, len(dims)) for axis in axes}
    wide = any(isinstance(dims[axis], int) and dims[axis] != 1 for axis in removed)
    if wide and not any(isinstance(dim, Expression) for dim in dims):
        raise RefusedError(f"cannot squeeze the axes {sorted(removed)} of {node.printed(dims)}")
    rest = tuple(dim for axis, dim in enumerate(dims) if axis not in removed)
    folding.reorder(node, rest, lambda values, sizes: values.reshape(sizes))
    return layers.resized(node.algebra, dims, rest)


def unsqueeze(node: Node) -> Dims:
    """A reshape; at most 8 dims come out."""
    dims = node.dims(0)
    axes = _axes(node) or node.attribute_ints("axes")
    if axes is None:
        raise RefusedError("does not know where Unsqueeze adds dims")
    rank = len(dims) + len(axes)
    added = {node.axis(axis, rank) for axis in axes}
    rest = iter(dims)
    if len(added) != len(axes):
        raise RefusedError("takes each axis of Unsqueeze once")
    result = tuple(1 if axis in added else next(rest) for axis in range(rank))
    folding.reorder(node, result, lambda values, sizes: values.reshape(sizes))
    return layers.resized(node.algebra, dims, result)


def transpose(node: Node) -> Dims:
    """Per dim."""
    dims = node.dims(0)
    perm = node.attribute_ints("perm") or tuple(reversed(range(len(dims))))
    if sorted(axis % len(dims) if dims else axis for axis in perm) != list(range(len(dims))):
        raise RefusedError(f"cannot permute a tensor of rank {len(dims)} with {perm}")
    result = tuple(dims[axis] for axis in perm)
    folding.reorder(node, result, lambda values, _: values.transpose(perm))
    return result


def transpose_82(node: Node) -> Dims:
    """Constants stay weights, and only matrices and tensors of rank 4 are transposed so."""
    result = transpose(node)
    if node.is_weights(0):
        if len(result) not in (2, 4):
            node.refuse(f"transposes no constant of rank {len(result)}, so it stops here")
        tensor = node.network.weights[node.name(0)]
        if math.prod(dims_of(tensor)) > LARGEST_VECTOR:
            node.kept = tensor
    return result


def tile(node: Node) -> Dims:
    """A slice that wraps around."""
    dims, repeats = node.dims(0), node.vector(1)
    if len(repeats) != len(dims):
        raise RefusedError(f"cannot tile {node.printed(dims)} by {len(repeats)} repeats")
    result = tuple(map(node.algebra.mul, dims, repeats))
    values, counts = node.values(0), [count for count in repeats if isinstance(count, int)]
    if values is not None and len(counts) == len(dims) and folding.small(result) is not None:
        node.results[0] = np.tile(values, counts)
    return result


def depth_to_space(node: Node) -> Dims:
    """Two reshapes of a tensor of rank 4."""
    algebra, block = node.algebra, node.attribute_int("blocksize", 1)
    n, c, h, w = _nchw(node)
    target = (n, algebra.floor_div(c, block * block), algebra.mul(h, block), algebra.mul(w, block))
    return layers.resized(algebra, node.dims(0), target)


def space_to_depth(node: Node) -> Dims:
    """Two reshapes of a tensor of rank 4."""
    algebra, block = node.algebra, node.attribute_int("blocksize", 1)
    n, c, h, w = _nchw(node)
    target = (
        n,
        algebra.mul(c, block * block),
        algebra.floor_div(h, block),
        algebra.floor_div(w, block),
    )
    return layers.resized(algebra, node.dims(0), target)


def _nchw(node: Node) -> tuple[Dim, Dim, Dim, Dim]:
    dims = node.dims(0)
    if len(dims) != 4 or node.attribute_int("blocksize", 1) < 1:
        raise RefusedError(f"imports {node.op} only for rank 4, not {len(dims)}")
    n, c, h, w = dims
    return n, c, h, w


def _keep_weights(node: Node) -> None:
    if node.is_weights(0):
        node.kept = node.network.weights[node.name(0)]
