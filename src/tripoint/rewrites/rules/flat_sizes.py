"""Sizes that are moved about in a matrix are put together as a vector.

    Reshape(Transpose(Reshape(Concat(a, 0, b, 0), [2, 2])), [-1]) = Concat(a, b, 0, 0)

Holds where the operators between move elements only, by constant positions, and each element comes
from a vector or scalar, or is a constant. PyTorch makes the pads of an ONNX Pad in this way.

Why: TensorRT before 8.5 takes no shape tensor of rank 2, and no version folds it where a size is
decided at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import SHAPE_ELEMENTS, decided, vector
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a vector, or a scalar."""

    tensor: ir.Value
    index: int


_Source = _Element | int
"""Where an element comes from: one of a tensor, or a constant."""

_Array = np.ndarray[Any, np.dtype[np.object_]]


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    output = node.outputs[0]
    shape = shape_of(output)
    if output.dtype != ir.DataType.INT64 or shape is None or len(shape) != 1:
        return None
    if decided(output) is not None or not isinstance(shape[0], int) or not 0 < shape[0] <= 64:
        return None
    chain: dict[ir.Node, None] = {}
    origins = _moved(output, chain)
    if origins is None or node not in chain or not any(map(_makes_a_matrix, chain)):
        return None
    new_nodes, constants, parts = _put_together(list(origins))
    joined = new_node("Concat", parts, axis=0)
    return Replacement(list(chain), [output], [*new_nodes, joined], list(joined.outputs), constants)


def _makes_a_matrix(node: ir.Node) -> bool:
    return len(shape_of(node.outputs[0]) or ()) > 1


def _moved(value: ir.Value, chain: dict[ir.Node, None]) -> _Array | None:
    """Return the origin of each element of a tensor; None if it cannot be determined.

    Args:
        value: The tensor.
        chain: The nodes on the way, in topological order; they are added.
    """
    shape, numbers = shape_of(value), decided(value)
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    dims = [int(dim) for dim in shape]
    if math.prod(dims) > SHAPE_ELEMENTS or value.dtype != ir.DataType.INT64:
        return None
    origins = np.empty(dims, dtype=object)
    if numbers is not None:
        for place, element in enumerate(numbers):
            origins.flat[place] = element
        return origins
    node = value.producer()
    move = _MOVES.get(node.op_type) if node is not None and not node.domain else None
    if node is not None and move is not None:
        way = dict(chain)
        moved = move(node, way)
        if moved is not None and moved.size == math.prod(dims):
            chain.update(way)
            chain[node] = None
            return moved.reshape(dims)
    if len(dims) > 1:
        return None
    for place in range(math.prod(dims)):
        origins.flat[place] = _Element(value, place)
    return origins


def _first(node: ir.Node, chain: dict[ir.Node, None]) -> _Array | None:
    x = node.inputs[0]
    return _moved(x, chain) if x is not None else None


def _transposed(node: ir.Node, chain: dict[ir.Node, None]) -> _Array | None:
    x = _first(node, chain)
    return np.transpose(x, node.attributes.get_ints("perm")) if x is not None else None


def _sliced(node: ir.Node, chain: dict[ir.Node, None]) -> _Array | None:
    x = _first(node, chain)
    if x is None:
        return None
    operands = [decided(value) if value is not None else None for value in node.inputs[1:]]
    starts, ends, axes, steps = [*operands, None, None, None, None][:4]
    if len(node.inputs) == 1:
        starts, ends, axes = (
            list(listed) if (listed := node.attributes.get_ints(name)) is not None else None
            for name in ("starts", "ends", "axes")
        )
    if (
        starts is None
        or ends is None
        or any(
            value is not None and each is None
            for value, each in zip(node.inputs[1:], operands, strict=True)
        )
    ):
        return None
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps if steps is not None else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        # ONNX clamps to the ends, and an end before the first element has no index in Python.
        stop = None if step < 0 and end < -size else end
        cut[axis] = slice(start, stop, step)
    return x[tuple(cut)]


def _joined(node: ir.Node, chain: dict[ir.Node, None]) -> _Array | None:
    parts = [_moved(value, chain) if value is not None else None for value in node.inputs]
    followed = [part for part in parts if part is not None]
    if len(followed) != len(parts):
        return None
    return np.concatenate(followed, axis=node.attributes.get_int("axis", 0))


_MOVES: Mapping[str, Callable[[ir.Node, dict[ir.Node, None]], _Array | None]] = {
    **dict.fromkeys(RESHAPING | {"Identity"}, _first),
    "Transpose": _transposed,
    "Slice": _sliced,
    "Concat": _joined,
}


def _put_together(
    sources: Sequence[_Source],
) -> tuple[list[ir.Node], list[ir.Value], list[ir.Value | None]]:
    """New nodes, new constants, and the vectors whose Concat has these elements."""
    nodes: list[ir.Node] = []
    constants: list[ir.Value] = []
    parts: list[ir.Value | None] = []
    for tensor, places in _runs(sources):
        if tensor is None:
            part = vector(places)
            constants.append(part)
        elif shape_of(tensor) == ():
            length = vector([1])
            constants.append(length)
            nodes.append(new_node("Reshape", [tensor, length]))
            part = nodes[-1].outputs[0]
        elif list(places) == list(range(int((shape_of(tensor) or (0,))[0]))):
            part = tensor
        else:
            index = vector(places)
            constants.append(index)
            nodes.append(new_node("Gather", [tensor, index], axis=0))
            part = nodes[-1].outputs[0]
        parts.append(part)
    return nodes, constants, parts


def _runs(sources: Sequence[_Source]) -> list[tuple[ir.Value | None, list[int]]]:
    """Neighbours from one tensor, or constants, together: the tensor and the elements."""
    runs: list[tuple[ir.Value | None, list[int]]] = []
    for source in sources:
        tensor = source.tensor if isinstance(source, _Element) else None
        element = source.index if isinstance(source, _Element) else source
        scalar = tensor is not None and shape_of(tensor) == ()
        if runs and runs[-1][0] is tensor and not scalar:
            runs[-1][1].append(element)
        else:
            runs.append((tensor, [element]))
    return runs


REWRITE = Rewrite(
    name="flat-sizes",
    title="Put sizes together as a vector that are moved about in a matrix",
    find=_find,
    may_match=lambda node: node.op_type in ("Reshape", "Flatten", "Squeeze", "Gather", "Slice"),
)
