"""Tables of limited length: what a Gather looks up must be there.

Positions are seldom a small tensor whose elements are known one by one. What is followed here is
the smallest and the largest element, both of which occur wherever all sizes are at least 1: from a
Range or a constant of numbers in a row, through casts, reshapes, slices and sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.graph.subgraphs import graphs_of
from tripoint.shape_inference.constraints.equation import Claim
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import Element

_LARGEST = 1 << 20
"""Elements of the largest constant that is read."""
_DEEPEST = 64
"""Nodes that are followed back from a Gather."""
_FEW = 8

_KEEPING = RESHAPING | {"Cast", "Identity"}
"""Operators that keep all elements, and their order."""
_REPEATING = frozenset({"Expand", "Tile", "Transpose"})
"""Operators that keep all elements at least once, in another order."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The elements of an integer tensor.

    Args:
        low: The smallest.
        high: The largest.
        ramp: Whether they are ``low, low + 1, ...``, along the only axis that is not 1.
    """

    low: Element
    high: Element
    ramp: bool = False


class Positions:
    """The extents of the tensors of a graph, worked out where somebody asks."""

    def __init__(self, ctx: Context, graph: ir.Graph) -> None:
        self.ctx = ctx
        self.extents: dict[ir.Value, Extent | None] = {}
        self.limits = {
            graphs_of(node)[0].inputs[0]: operand(node, 0)
            for node in graph.all_nodes()
            if node.op_type == "Loop" and graphs_of(node)
        }

    def gather(self, ctx: Context, node: ir.Node) -> Iterator[Claim]:
        """Gather: no position is outside of the table."""
        del ctx
        table, indices = node.inputs[:2]
        dims = dims_of(table)
        axis = node.attributes.get_int("axis", 0)
        if table is None or dims is None or not -len(dims) <= axis < len(dims):
            return
        size = dims[axis]
        extent = self.extent(indices)
        if extent is None:
            return
        length = e.add(extent.high, 1)
        about = f"axis {axis} of `{table.name}` has {size} entries"
        yield Claim(
            "at_most", length, size, indices, f"{about}, and positions up to {extent.high} are read"
        )
        if e.is_negative(extent.low) != 0:
            yield Claim(
                "at_least",
                size,
                e.negate(extent.low),
                indices,
                f"{about}, and position {extent.low} is read",
            )

    def extent(self, value: ir.Value | None, depth: int = 0) -> Extent | None:
        """The extent of a tensor, None if it is not known."""
        if value is None or depth > _DEEPEST:
            return None
        if value not in self.extents:
            self.extents[value] = None
            self.extents[value] = self._work_out(value, depth + 1)
        return self.extents[value]

    def _work_out(self, value: ir.Value, depth: int) -> Extent | None:
        array = self.ctx.array(value)
        if (first := self._iteration(value)) is not None:
            return first
        if array is not None and any(map(self.ctx.is_by_data, array.flat)):
            # Any number that values decide may be a position; that is not worth an equation.
            return None
        if array is not None and array.size and all(map(e.is_known, array.flat)):
            plain = all(isinstance(element, int) for element in array.flat)
            if plain or array.size <= _FEW:
                return _of_elements(array)
        if array is None and (constant := _constant(value)) is not None:
            return constant
        node = value.producer()
        follow = _FOLLOW.get(node.op_type) if node is not None and not node.domain else None
        return follow(self, node, depth) if follow is not None and node is not None else None

    def _iteration(self, value: ir.Value) -> Extent | None:
        """The number of the iteration of a Loop, if it is that."""
        limit = self.limits.get(value)
        if limit is None:
            return None
        count = self.ctx.scalar(limit)
        return Extent(0, e.subtract(count, 1)) if e.is_known(count) else None


def _of_elements(array: np.ndarray[tuple[int, ...], np.dtype[np.object_]]) -> Extent:
    elements = list(array.flat)
    low, high = elements[0], elements[0]
    for element in elements[1:]:
        low, high = e.minimum(low, element), e.maximum(high, element)
    in_a_row = all(element == e.add(elements[0], index) for index, element in enumerate(elements))
    return Extent(low, high, in_a_row and max(array.shape, default=1) == array.size)


def _constant(value: ir.Value) -> Extent | None:
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or not tensor.dtype.is_integer():
        return None
    if not 0 < math.prod(tensor.shape.numpy()) <= _LARGEST:
        return None
    try:
        numbers = np.asarray(tensor.numpy())
    except Exception:  # noqa: BLE001 - its file may be missing, its bytes may be anything
        return None
    low, high = int(numbers.min()), int(numbers.max())
    ramp = max(numbers.shape, default=1) == numbers.size and np.array_equal(
        numbers.reshape(-1), np.arange(low, low + numbers.size)
    )
    return Extent(low, high, bool(ramp))


def _range(positions: Positions, node: ir.Node, depth: int) -> Extent | None:
    del depth
    start, _, delta = (positions.ctx.scalar(operand(node, position)) for position in range(3))
    dims = dims_of(node.outputs[0])
    if dims is None or not e.is_known(start) or not isinstance(delta, int) or delta < 1:
        return None
    last = e.add(start, e.multiply(e.subtract(dims[0], 1), delta))
    return Extent(start, last, delta == 1)


def _kept(positions: Positions, node: ir.Node, depth: int) -> Extent | None:
    return positions.extent(node.inputs[0], depth)


def _repeated(positions: Positions, node: ir.Node, depth: int) -> Extent | None:
    extent = positions.extent(node.inputs[0], depth)
    return replace(extent, ramp=False) if extent is not None else None


def _sum(positions: Positions, node: ir.Node, depth: int) -> Extent | None:
    a, b = (positions.extent(value, depth) for value in node.inputs)
    if a is None or b is None:
        return None
    if node.op_type == "Sub":
        b = Extent(e.negate(b.high), e.negate(b.low), b.ramp and b.low == b.high)
    if not (a.low == a.high or b.low == b.high or _apart(*node.inputs)):
        return None
    ramp = (a.ramp and b.low == b.high) or (b.ramp and a.low == a.high)
    return Extent(e.add(a.low, b.low), e.add(a.high, b.high), ramp)


def _apart(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Return whether each element of one tensor meets each of the other."""
    first, second = dims_of(a), dims_of(b)
    if first is None or second is None:
        return False
    rank = max(len(first), len(second))
    pairs = zip([1] * (rank - len(first)) + first, [1] * (rank - len(second)) + second, strict=True)
    return all(x == 1 or y == 1 for x, y in pairs)


def _product(positions: Positions, node: ir.Node, depth: int) -> Extent | None:
    a, b = (positions.extent(value, depth) for value in node.inputs)
    if a is None or b is None or e.is_negative(a.low) != 0 or e.is_negative(b.low) != 0:
        return None
    if not (a.low == a.high or b.low == b.high or _apart(*node.inputs)):
        return None
    return Extent(e.multiply(a.low, b.low), e.multiply(a.high, b.high))


def _slice(positions: Positions, node: ir.Node, depth: int) -> Extent | None:
    """A part of numbers in a row, from a position in front of the end."""
    whole = positions.extent(node.inputs[0], depth)
    before, after = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if whole is None or before is None or after is None or not whole.ramp:
        return None
    if len(node.inputs) > 1:
        starts, axes, steps = (
            positions.ctx.elements(operand(node, position)) for position in (1, 3, 4)
        )
    else:
        starts, axes = (
            list(attribute) if (attribute := node.attributes.get_ints(name)) is not None else None
            for name in ("starts", "axes")
        )
        steps = None
    long = [axis for axis, dim in enumerate(before) if dim != 1]
    if starts is None or len(long) != 1 or (steps is not None and set(steps) != {1}):
        return None
    taken = axes if axes is not None else list(range(len(starts)))
    if not all(isinstance(axis, int) for axis in taken):
        return None
    first = next(
        (s for s, axis in zip(starts, taken, strict=True) if axis % len(before) == long[0]), 0
    )
    if e.is_negative(first) != 0:
        return None
    low = e.add(whole.low, first)
    return Extent(low, e.add(low, e.subtract(after[long[0]], 1)), ramp=True)


_FOLLOW: Mapping[str, Callable[[Positions, ir.Node, int], Extent | None]] = {
    "Range": _range,
    **dict.fromkeys(_KEEPING, _kept),
    **dict.fromkeys(_REPEATING, _repeated),
    **dict.fromkeys(("Add", "Sub"), _sum),
    "Mul": _product,
    "Slice": _slice,
}
