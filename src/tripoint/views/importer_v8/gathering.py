"""Importers of operators that pick and join elements, after onnx-tensorrt release/10.1.

Each takes the node and gives the dims of its output, or a list of those of all outputs. A version
in the name of a function is the newest one that does so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tripoint.views.importer.context import RefusedError
from tripoint.views.importer_v8 import folding, layers
from tripoint.views.importer_v8.algebra import Dims, Expression
from tripoint.views.importer_v8.context import Node, Values, as_array


def concat(node: Node) -> Dims:
    """Per dim."""
    shapes = [node.dims(index) for index in node.present]
    if not shapes:
        raise RefusedError("concatenates no inputs")
    axis = node.axis(node.attribute_int("axis", 1), len(shapes[0]))
    result = layers.concatenate(node, shapes, axis)
    computed = any(node.values(index) is not None for index in node.present)
    if computed and all(folding.small(dims) is not None for dims in (result, *shapes)):
        parts = [node.elements(index) for index in node.present]
        node.results[0] = np.concatenate(parts, axis=axis)
    return result


def gather(node: Node) -> Dims:
    """The dims of the indices take the place of one axis."""
    dims, picked = node.dims(0), node.dims(1)
    axis = node.axis(node.attribute_int("axis", 0), len(dims))
    values, places = node.values(0), node.values(1)
    if values is not None and places is not None:
        indices = _indices(places, values.shape[axis])
        if indices is not None:
            node.results[0] = as_array(np.take(values, indices, axis=axis))
    return (*dims[:axis], *picked, *dims[axis + 1 :])


def _indices(places: Values, size: int) -> npt.NDArray[np.int64] | None:
    """Indices that are all known and inside."""
    flat = places.reshape(-1)
    if not all(isinstance(place, int) and -size <= place < size for place in flat):
        return None
    return places.astype(np.int64)


def gather_80(node: Node) -> Dims:
    """Negative indices are not counted from the end."""
    result = gather(node)
    places = node.values(1)
    if places is not None and any(isinstance(p, int) and p < 0 for p in places.reshape(-1)):
        node.refuse("silently gives a wrong element for a negative index of Gather")
    return result


def gather_elements(node: Node) -> Dims:
    """The dims of the indices."""
    dims, picked = node.dims(0), node.dims(1)
    node.axis(node.attribute_int("axis", 0), len(dims))
    if len(dims) != len(picked):
        raise RefusedError("needs data and indices of one rank for GatherElements")
    values, places = node.values(0), node.values(1)
    if values is not None and places is not None and values.ndim == 1:
        indices = _indices(places, values.size)
        if indices is not None:
            node.results[0] = as_array(np.take(values, indices))
    return picked


def gather_elements_80(node: Node) -> Dims:
    """Imported only where all dims are known."""
    for index in (0, 1):
        if any(isinstance(dim, Expression) for dim in node.dims(index)):
            node.refuse("imports GatherElements only with known dims, so it stops here")
            break
    return gather_elements(node)


def gather_nd(node: Node) -> Dims:
    """The length of the last dim of the indices must be known."""
    dims, picked = node.dims(0), node.dims(1)
    batch = node.attribute_int("batch_dims", 0)
    if not picked or isinstance(picked[-1], Expression):
        raise RefusedError("needs to know the last dim of the indices of GatherND")
    depth = batch + picked[-1]
    if not 0 <= batch <= depth <= len(dims):
        raise RefusedError(f"cannot index {node.printed(dims)} with {node.printed(picked)}")
    values, places = node.values(0), node.values(1)
    if values is not None and places is not None and values.ndim == 1 and picked[-1] == 1:
        indices = _indices(places, values.size)
        if indices is not None:
            node.results[0] = as_array(np.take(values, indices[..., 0]))
    return (*picked[:-1], *dims[depth:])


def scatter(node: Node) -> Dims:
    """The dims of the data; the core computes no elements."""
    dims, picked, updates = node.dims(0), node.dims(1), node.dims(2)
    if node.op != "ScatterND" and not len(dims) == len(picked) == len(updates):
        raise RefusedError(f"needs data, indices and updates of one rank for {node.op}")
    return dims
