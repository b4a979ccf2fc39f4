"""Constants, sizes and axes around a node, for what is made up of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.shape_inference import truth
from tripoint.symbols import Shape, evaluate

_MOVED = RESHAPING | {"Cast", "Identity", "Expand", "Transpose"}
_MOST_CONSTANT = 1 << 13

MOVES: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(
        (
            *(*RESHAPING, "Identity", "Transpose", "Expand"),
            *("Tile", "Slice", "Split", "Pad", "Dropout", "DepthToSpace", "SpaceToDepth"),
            *("Resize", "Upsample", "Gather", "GatherElements", "GatherND", "CastLike", "Floor"),
            *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Ceil", "Round"),
            *("ReduceMax", "ReduceMin", "ReduceMean"),
        ),
        (0,),
    ),
    **dict.fromkeys(("Concat", "And", "Or"), range(1 << 10)),
    "Where": (1, 2),
}
"""Operators behind which numbers lie within the range that they lay in, and their operands."""

_AXES: Mapping[tuple[str, int], tuple[int, int]] = {
    ("Gather", 1): (0, 0),
    ("GatherElements", 1): (0, 0),
    ("ScatterElements", 1): (0, 0),
    ("NegativeLogLikelihoodLoss", 1): (0, 1),
    ("SoftmaxCrossEntropyLoss", 1): (0, 1),
    ("RoiAlign", 2): (0, 0),
}
"""By operator and operand that indexes: the operand that is indexed, and its axis by default."""


def constant(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The numbers of a small constant, also behind moves."""
    for _ in range(4):
        if value is None or value.is_graph_input():
            return None
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            if tensor.size > _MOST_CONSTANT or tensor.dtype == ir.DataType.STRING:
                return None
            return _numbers(tensor)
        node = value.producer()
        if node is None or node.op_type not in MOVES.keys() | {"Cast"} or not node.inputs:
            return None
        if node.op_type in ("Concat", "Where", "Slice", "Gather", "Pad", "Split"):
            return None
        value = node.inputs[0]
    return None


def _numbers(tensor: ir.TensorProtocol) -> np.ndarray[Any, Any] | None:
    try:
        array = tensor.numpy()
    except (OSError, ValueError, TypeError):
        return None
    return array if array.dtype.kind in "biuf" else array.astype(np.float32)


def few(numbers: np.ndarray[Any, Any] | None) -> TypeGuard[np.ndarray[Any, Any]]:
    """Return whether it is a constant of a few numbers, at least one."""
    return numbers is not None and 0 < numbers.size <= _MOST_CONSTANT


def is_arange(numbers: np.ndarray[Any, Any]) -> bool:
    """Return whether it holds 0, 1, 2 and so on."""
    flat = numbers.ravel()
    return flat.size > 1 and bool((flat == np.arange(flat.size)).all())


@dataclass(frozen=True)
class Sizes:
    """Sizes of the inputs' dims and of the symbols.

    Args:
        shapes: True shape by input name.
        bindings: Size by symbol.
    """

    shapes: Mapping[str, Shape]
    bindings: Mapping[str, int]

    def axis(self, node: ir.Node, position: int) -> tuple[int, str] | None:
        """Size of the axis that an operand indexes, and what it is."""
        if node.op_type == "OneHot" and position == 0:
            depth = constant(node.inputs[1])
            if depth is None or depth.size != 1:
                return None
            return int(depth.flat[0]), "of the classes that it numbers"
        if node.op_type in ("GatherND", "ScatterND") and position == 1:
            place = node.attributes.get_int("batch_dims", 0)
            count = self._last_size(node.inputs[1])
            if count != 1:
                # The smallest axis of those that are indexed holds for all.
                return self._smallest(node, place, count)
            operand, axis = 0, place
        elif (node.op_type, position) in _AXES:
            operand, axis = _AXES[node.op_type, position]
            axis = node.attributes.get_int("axis", axis)
        else:
            return None
        table = node.inputs[operand]
        sizes = self._sizes(table)
        if table is None or sizes is None or not -len(sizes) <= axis < len(sizes):
            return None
        size = sizes[axis]
        if size is None or size < 1:
            return None
        is_table = table.producer() is None and not table.is_graph_input()
        return size, "of the table that it indexes" if is_table else "of the axis that it indexes"

    def _smallest(self, node: ir.Node, first: int, count: int | None) -> tuple[int, str] | None:
        sizes = self._sizes(node.inputs[0])
        if sizes is None or count is None:
            return None
        indexed = [size for size in sizes[first : first + count] if size]
        return (min(indexed), "of the axes that it indexes") if indexed else None

    def _last_size(self, value: ir.Value | None) -> int | None:
        sizes = self._sizes(value)
        if sizes and sizes[-1] is not None:
            return sizes[-1]
        node = value.producer() if value is not None else None
        if node is not None and node.op_type == "Reshape":
            wanted = constant(node.inputs[1])
            return (
                int(wanted[-1]) if wanted is not None and wanted.size and wanted[-1] > 0 else None
            )
        return None

    def _sizes(self, value: ir.Value | None) -> list[int | None] | None:
        if value is None:
            return None
        name = value.name or ""
        if value.is_graph_input() and name in self.shapes:
            shape = self.shapes[name]
        elif value.shape is not None:
            shape = truth.dims_of(value.shape)
        elif value.const_value is not None:
            shape = truth.dims_of(ir.Shape(value.const_value.shape.numpy()))
        else:
            return None
        return [self._evaluate(dim) for dim in shape]

    def _evaluate(self, dim: int | str) -> int | None:
        try:
            return evaluate(dim, self.bindings)
        except (ValueError, TypeError, SyntaxError):
            # What no expression is, as a file may name it.
            return None

    def positions(self, value: ir.Value | None) -> int | None:
        """Count of the positions 0, 1, 2... that a tensor holds, made by Range."""
        node = value.producer() if value is not None else None
        while node is not None and node.op_type in _MOVED and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        if node is None or node.op_type != "Range":
            return None
        start, step = (constant(node.inputs[at]) for at in (0, 2))
        if start is None or step is None or start.flat[0] != 0 or step.flat[0] != 1:
            return None
        return self._size_read(node.inputs[1])

    def _size_read(self, value: ir.Value | None) -> int | None:
        """A size of a tensor that is read with Shape."""
        node, picked = value.producer() if value is not None else None, 0
        while node is not None:
            if node.op_type == "Shape":
                sizes = self._sizes(node.inputs[0])
                start = node.attributes.get_int("start", 0)
                read = sizes[start:] if sizes is not None else []
                return read[picked] if -len(read) <= picked < len(read) else None
            if node.op_type in ("Gather", "Slice"):
                index = constant(node.inputs[1])
                if index is None or index.size != 1:
                    return None
                picked = int(index.flat[0])
            elif node.op_type not in _MOVED:
                return None
            node = node.inputs[0].producer() if node.inputs[0] is not None else None
        return None
