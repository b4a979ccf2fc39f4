"""A size operand that the shapes decide is a constant.

    Reshape(x, sizes) = Reshape(x, [0, 0, 12, 64])      x: (N, S, 768), result: (N, S, 12, 64)

- *Reshape*: known sizes stand as they are; 0 copies a dynamic dim that stays on its axis; -1 is
  the one that remains.
  If several remain and the operand is a Concat, its known elements alone become constants.
- *Expand*: 1 leaves a dynamic dim of the input as it is.
- *Tile*: the repeats, where result and input are in proportion.
- *Slice*: an axis that keeps its size needs no bounds; of the others, bounds that do not depend
  on a dynamic size are constant, and an end at the end of the axis is INT64_MAX.
- *Resize*: known sizes; or scales, where result and input are in proportion on every axis.

Holds where the operand is computed, or where TensorRT loses a dim of the result although the
operand is constant, and where the rules above leave no element open. A dim of 0 is refused, and a
-1 beside a copied dim that may be 0.

Why: TensorRT 7.x evaluates no size operand, nor the sizes of any Resize; later versions lose the
dims for which one step of the computation cannot be folded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import SIZE_OPERANDS
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import constant, decided, elements, initializer, vector
from tripoint.rewrites.dims import difference, ratio, same
from tripoint.rewrites.reshaping import new_node, reshape_operand
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim, Shape

_END = np.iinfo(np.int64).max
_FAR = 1 << 31
"""Bounds from here on mean the end of the axis."""
_LARGEST = 1 << 16
"""Size of an axis up to which it is worth looking at each element."""

Operands = Mapping[int, ir.Value | None]
"""New operands by position."""


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    x, output = node.inputs[0] if node.inputs else None, node.outputs[0]
    if x is None or not _asked_for(node, site):
        return None
    shape, wanted = shape_of(x), shape_of(output)
    if shape is None or wanted is None:
        return f"the rank of `{output.name}` is not known" if site.lost(output) else None
    operands = _OPERATORS[node.op_type](node, shape, wanted)
    if isinstance(operands, str) and site.lost(output):
        return _with_known_pieces(node, shape, wanted) or operands
    return _with_operands(node, operands) if not isinstance(operands, str) else None


def _asked_for(node: ir.Node, site: Site) -> bool:
    positions = SIZE_OPERANDS[node.op_type]
    operands = [
        value for i, value in enumerate(node.inputs) if value is not None and i in positions
    ]
    if any(constant(value) is None for value in operands):
        return True
    return bool(operands and site.lost(node.outputs[0]))


def _with_known_pieces(node: ir.Node, shape: Shape, wanted: Shape) -> Replacement | None:
    """A Reshape whose operand is concatenated anew, with a constant for each known size."""
    concat = node.inputs[1].producer() if node.inputs[1] is not None else None
    if node.op_type != "Reshape" or concat is None or concat.op_type != "Concat":
        return None
    pieces = list(concat.inputs)
    if 0 in wanted or [shape_of(piece) for piece in pieces if piece] != [(1,)] * len(wanted):
        return None
    changed = False
    for axis, (piece, dim) in enumerate(zip(pieces, wanted, strict=True)):
        copied = not isinstance(dim, int) and axis < len(shape) and same(shape[axis], dim)
        number = dim if isinstance(dim, int) else 0
        if (copied or isinstance(dim, int)) and decided(piece) != [number]:
            pieces[axis], changed = vector([number]), True
    if not changed:
        return None
    joined = new_node("Concat", pieces, axis=0)
    replacement = _with_operands(node, {1: joined.outputs[0]})
    if replacement is None:
        return None
    constants = [piece for piece in pieces if piece is not None and piece not in concat.inputs]
    return dataclasses.replace(
        replacement,
        new_nodes=[joined, *replacement.new_nodes],
        initializers=constants,
    )


def _with_operands(node: ir.Node, operands: Operands) -> Replacement | None:
    size = max(len(node.inputs), *(position + 1 for position in operands))
    inputs = [*node.inputs, *[None] * (size - len(node.inputs))]
    for position, value in operands.items():
        inputs[position] = value
    while inputs[-1] is None:
        inputs.pop()
    if len(inputs) == len(node.inputs) and all(
        _alike(old, new) for old, new in zip(node.inputs, inputs, strict=False)
    ):
        return None
    attributes = [a for name, a in node.attributes.items() if name != "allowzero"]
    new = ir.Node("", node.op_type, inputs, attributes, num_outputs=1)
    return Replacement(
        [node],
        node.outputs[:1],
        [new],
        list(new.outputs),
        [value for value in operands.values() if value is not None],
    )


def _alike(old: ir.Value | None, new: ir.Value | None) -> bool:
    if old is new or old is None or new is None:
        return old is new
    before, after = elements(old), elements(new)
    return before is not None and after is not None and np.array_equal(before, after)


# One function an operator: new operands, or why there are none


def _reshape(node: ir.Node, shape: Shape, wanted: Shape) -> Operands | str:  # noqa: ARG001
    operand = reshape_operand(shape, wanted)
    return operand if isinstance(operand, str) else {1: vector(operand)}


def _expand(node: ir.Node, shape: Shape, wanted: Shape) -> Operands | str:  # noqa: ARG001
    sizes = []
    for axis in range(-len(wanted), 0):
        dim = wanted[axis]
        if isinstance(dim, int):
            sizes.append(dim)
        elif -axis <= len(shape) and same(shape[axis], dim):
            sizes.append(1)
        else:
            return f"axis {len(wanted) + axis} becomes {dim} only at run time"
    return {1: vector(sizes)}


def _tile(node: ir.Node, shape: Shape, wanted: Shape) -> Operands | str:  # noqa: ARG001
    repeats = [ratio(small, large) for small, large in zip(shape, wanted, strict=True)]
    whole = [int(each) for each in repeats if each is not None and each.denominator == 1]
    if len(whole) < len(repeats):
        return "the number of repeats is decided at run time"
    return {1: vector(whole)}


def _resize(node: ir.Node, shape: Shape, wanted: Shape) -> Operands | str:
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if len(node.inputs) < 4 or node.inputs[3] is None or policy != "stretch":
        return "it has no sizes operand that decides its result alone"
    axes = node.attributes.get_ints("axes", range(len(shape)))
    if len(set(axes)) != len(shape) or any(axis < 0 for axis in axes):
        return "it names only some of its axes"
    if all(isinstance(wanted[axis], int) for axis in axes) and constant(node.inputs[3]) is None:
        return {3: vector([int(wanted[axis]) for axis in axes])}
    if any(ratio(shape[axis], wanted[axis]) is None for axis in axes):
        return "its sizes are not in proportion to those of the input"
    scales = [_scale(node, shape[axis], wanted[axis]) for axis in axes]
    exact = [each for each in scales if each is not None]
    if len(exact) < len(scales):
        return "a scale that is rounded to a float gives another size"
    return {2: initializer(np.array(exact), "scales"), 3: None}


def _scale(node: ir.Node, size: Dim, wanted: Dim) -> np.float32 | None:
    """The scale that makes one size of another, None if no float does."""
    near = np.float32(ratio(size, wanted))
    if _gives(size, wanted, near):
        return near
    above = np.nextafter(near, np.float32(np.inf))
    return above if _gives(size, wanted, above) and _reads(node, wanted, near, above) else None


def _reads(node: ir.Node, wanted: Dim, scale: np.float32, other: np.float32) -> bool:
    """Return whether two scales provably take the same elements: floor(position / scale)."""
    ways = ("mode", "nearest"), ("coordinate_transformation_mode", "half_pixel")
    mode, positions = (node.attributes.get_string(name, default) for name, default in ways)
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    if (mode, positions, rounding) != ("nearest", "asymmetric", "floor"):
        return False
    if not isinstance(wanted, int) or wanted > _LARGEST:
        return False
    places = np.arange(wanted, dtype=np.float32)
    return np.array_equal(np.floor(places / scale), np.floor(places / other))


def _gives(size: Dim, wanted: Dim, scale: np.float32) -> bool:
    """Return whether a scale makes one size of another: floor(size * scale).

    ONNX Runtime multiplies in float when it runs and in double when it loads a model.
    """
    if isinstance(size, int) and isinstance(wanted, int):
        exact = math.floor(size * Fraction(float(scale)))
        return int(np.float32(size) * scale) == exact == wanted
    return Fraction(float(scale)) == ratio(size, wanted)


def _slice(node: ir.Node, shape: Shape, wanted: Shape) -> Operands | str:
    operands = node.inputs[1:]
    if len(operands) < 2:
        return "its bounds are attributes"
    starts, ends, axes, steps = (*map(decided, operands), None, None)[:4]
    if len(operands) > 2 and operands[2] is not None and axes is None:
        return "its axes are decided at run time"
    if len(operands) > 3 and operands[3] is not None and steps is None:
        return "its steps are decided at run time"
    axes = axes if axes is not None else list(range(len(starts or ends or shape)))
    bounds = []
    for index, axis in enumerate(axis % len(shape) for axis in axes):
        step = steps[index] if steps else 1
        if step == 1 and same(shape[axis], wanted[axis]):
            continue
        start = starts[index] if starts else None
        end = ends[index] if ends else None
        if step == 1 and start is None and end is not None:
            start = _start(shape[axis], wanted[axis], end)
        if step == 1 and end is None and start is not None:
            end = _end(shape[axis], wanted[axis], start)
        if start is None or end is None:
            return f"the bounds on axis {axis} are decided at run time"
        bounds.append((start, end, axis, step))
    if not bounds:
        return "it takes the whole of its input"
    return {i: vector(column) for i, column in enumerate(zip(*bounds, strict=True), start=1)}


def _end(size: Dim, wanted: Dim, start: int) -> int | None:
    """Return the end of a slice of step 1 with the wanted size; None if sizes decide it."""
    if isinstance(wanted, int):
        end = start + wanted
        return end if (start < 0) == (end < 0) else _END
    behind = difference(size, wanted)
    if behind is None or start < 0 or behind < start:
        return None
    return start - behind if behind > start else _END


def _start(size: Dim, wanted: Dim, end: int) -> int | None:
    """Return the start of a slice of step 1 with the wanted size; None if sizes decide it."""
    before = difference(size, wanted)
    if end < 0:
        return before + end if before is not None and before + end >= 0 else None
    if isinstance(wanted, int):
        return end - wanted if end < _FAR else -wanted
    return before if end >= _FAR and before is not None and before >= 0 else None


_OPERATORS: Mapping[str, Callable[[ir.Node, Shape, Shape], Operands | str]] = {
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Resize": _resize,
    "Slice": _slice,
}


REWRITE = Rewrite(
    name="constant-sizes",
    title="Give sizes as constants wherever the shapes decide them",
    find=_find,
    may_match=lambda node: node.op_type in _OPERATORS and not node.domain,
)
