"""Evidence in a graph of its inputs' values: tables, domains, clamps, comparisons, scales.

Each input is followed through operators that keep, shift or scale its values to those that tell
something of them. What these say is carried back to the input: of ``Clip(x / 8, 0, 1)``, that 0 and
8 are edges of x. Nothing is taken from names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import SIZE_OPERANDS
from tripoint.numeric import steps
from tripoint.numeric.lookup import MOVES, Sizes, constant, few, is_arange
from tripoint.numeric.ways import Interval, Way

Kind = Literal["index", "inside", "bounded", "edge", "scale", "mask", "penalty", "used as a size"]

LARGEST_EDGE = 1e4
"""Size from which a clamp guards against overflow and is no edge of ordinary numbers."""
PENALTY = -9e3
"""Number from which on what is added to a logit masks it out."""

_MOST_SEEN = 500
_OFF, _MOST_OFF = 10.0, 500.0
"""Means of which a subtraction says that numbers lie about them."""
_LEAST_RANGE = 50.0
"""Divisor from which a division brings large numbers into an ordinary range."""
_INDEXED = frozenset(
    {"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "OneHot"}
)


_DOMAINS: Mapping[tuple[str, int], tuple[Interval, str]] = {
    **dict.fromkeys(
        (("Log", 0), ("ReduceLogSum", 0), ("Reciprocal", 0)), ((0.0, math.inf), "{op} needs them")
    ),
    ("Sqrt", 0): ((0.0, math.inf), "{op} needs them"),
    ("Div", 1): ((0.0, math.inf), "others are divided by them"),
    ("Mod", 1): ((0.0, math.inf), "others are divided by them"),
    ("Acosh", 0): ((1.0, math.inf), "{op} takes no others"),
    **dict.fromkeys(
        (("Acos", 0), ("Asin", 0), ("Atanh", 0)), ((-1.0, 1.0), "{op} takes no others")
    ),
    ("Bernoulli", 0): ((0.0, 1.0), "they are probabilities"),
    ("BitShift", 1): ((0.0, 7.0), "they are bits to shift by"),
    ("Trilu", 1): ((-2.0, 2.0), "they number a diagonal"),
    ("Tile", 1): ((1.0, 3.0), "they repeat an axis"),
    ("Pad", 1): ((0.0, 2.0), "they pad an axis"),
    ("ConstantOfShape", 0): ((1.0, 8.0), "they are sizes"),
    ("Loop", 0): ((1.0, 4.0), "they count runs of a loop"),
}
"""By operator and operand, the numbers that it takes (ONNX operator specification)."""

_GROWING = {"Exp": 0, "Sinh": 0, "Cosh": 0, "Pow": 1}
"""Operators that overflow at ordinary integers, and the operand."""

_BENDS: Mapping[str, Callable[[ir.Node], tuple[float, ...]]] = {
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Sign", "Abs"), lambda _: (0.0,)
    ),
    "HardSwish": lambda _: (-3.0, 3.0),
    "HardSigmoid": lambda node: tuple(
        (end - node.attributes.get_float("beta", 0.5)) / node.attributes.get_float("alpha", 0.2)
        for end in (0.0, 1.0)
    ),
    "ThresholdedRelu": lambda node: (node.attributes.get_float("alpha", 1.0),),
    "Shrink": lambda node: tuple(
        sign * node.attributes.get_float("lambd", 0.5) for sign in (-1.0, 1.0)
    ),
}
"""Where the slope of an operator of one operand changes."""


@dataclass(frozen=True)
class Hint:
    """One thing that is known of the values of an input.

    ================  ==============================================================
    index             it numbers the elements of an axis, ``low`` to ``high``
    inside            other values than ``low`` to ``high`` are of no use
    bounded           integers beyond ``low`` to ``high`` overflow
    edge              values on both sides of ``low`` are treated in other ways
    scale             ``low`` to ``high``, or, with ``deviation``, ``low`` about ``high``
    mask              ``low``, 0 or 1, is what keeps an element
    penalty           it is added to what a Softmax takes
    used as a size    it decides sizes or positions in a way that is not followed
    ================  ==============================================================

    Args:
        why: The reason, to follow "as" or "since".
        at: What asks for it; of several hints with the same, one has to hold.
        distinct: Whether the same index twice gives an undefined result.
    """

    kind: Kind
    low: float = 0.0
    high: float = 0.0
    why: str = ""
    at: tuple[ir.Node, int] | None = None
    deviation: float | None = None
    distinct: bool = False


@dataclass(frozen=True)
class Reader:
    """Reader of a graph's evidence of its inputs' values, at some sizes.

    Args:
        sizes: What sizes there are.
    """

    sizes: Sizes

    def hints(self, value: ir.Value) -> list[Hint]:
        """All that is known of the values of an input of numbers or booleans."""
        dtype = value.dtype or ir.DataType.FLOAT
        integer = dtype.is_integer()
        start = Way(integer, logical=dtype == ir.DataType.BOOL)
        pending, seen, hints = [(value, start)], {(value, start.branches)}, list[Hint]()
        while pending and len(seen) < _MOST_SEEN:
            at, way = pending.pop()
            if at.is_graph_output():
                hints += _scale(way)
            for node, position in at.uses():
                if node.domain not in ("", "ai.onnx"):
                    continue
                asked = list(self._asked(node, position, way))
                hints += asked
                behind = steps.behind(node, position, way)
                if behind is None:
                    limited = any(hint.kind in ("index", "inside") for hint in asked)
                    hints += () if limited else _scale(way)
                    continue
                hints += _penalized(node, behind)
                for output in node.outputs[: None if node.op_type == "Split" else 1]:
                    if (output, behind.branches) not in seen:
                        seen.add((output, behind.branches))
                        pending.append((output, behind))
        if integer and _decides_sizes(value):
            hints.append(Hint("used as a size"))
        return hints

    def _asked(self, node: ir.Node, position: int, way: Way) -> Iterator[Hint]:
        """Yield the hints that one operator gives of the input."""
        op = node.op_type
        if op == "Where" and position == 0 and way.logical:
            yield from self._masked(node, way)
        if way.logical or not way.exact:
            return
        at = (node, position)
        axis = self.sizes.axis(node, position)
        if axis is not None:
            size, why = axis
            low, high = way.origin(0.0, size - 1.0)
            yield Hint("index", low, high, why, at, distinct=_writes(node))
        elif (op, position) in _DOMAINS:
            (low, high), why = _DOMAINS[op, position]
            if way.integer and low == 0.0 and op not in ("Sqrt", "Pad", "BitShift"):
                low = 1.0
            yield Hint("inside", *way.origin(low, high), why.format(op=op), at)
        elif op == "Pow" and position == 0 and self._needs_positive(node):
            low = 1.0 if way.integer else 0.0
            yield Hint("inside", *way.origin(low, math.inf), "Pow needs them", at)
        elif op in steps.COMPARISONS:
            yield from self._comparison(node, position, way)
        elif (
            op == "Add"
            and not way.integer
            and _feeds_softmax(node)
            and _multiplied(node.inputs[1 - position])
        ):
            yield Hint("penalty")
        for number in self._edges(node, position, way):
            low, high = way.origin(number, number)
            for edge in dict.fromkeys((low, high)):
                if math.isfinite(edge) and abs(edge) < LARGEST_EDGE * (100 if way.integer else 1):
                    yield Hint("edge", edge, at=at)
        if _GROWING.get(op) == position:
            yield Hint("bounded", *way.origin(-10.0, 10.0), f"{op} overflows beyond", at)

    def _edges(self, node: ir.Node, position: int, way: Way) -> Sequence[float]:
        op = node.op_type
        if op in _BENDS and position == 0:
            return _BENDS[op](node)
        if op == "Clip" and position == 0:
            return steps.clip_limits(node)
        if op in ("Min", "Max", "Mod") and len(node.inputs) == 2:
            other = constant(node.inputs[1 - position])
            if op == "Mod" and position == 0 and other is not None and other.size == 1:
                number = float(other.flat[0])
                return [0.0, number] if number > 0 else []
            return [float(other.min()), float(other.max())] if few(other) else []
        if op == "Div" and way.integer and position == 0:
            other = constant(node.inputs[1])
            number = float(other.flat[0]) if other is not None and other.size == 1 else 0.0
            return [-number, 0.0, number] if number else []
        if op == "QuantizeLinear" and position == 0:
            return self._saturations(node)
        return []

    def _saturations(self, node: ir.Node) -> Sequence[float]:
        """Return the values at which QuantizeLinear saturates."""
        scale = constant(node.inputs[1])
        point = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if scale is None or scale.size != 1:
            return []
        kind = np.dtype(np.uint8) if point is None else point.dtype
        if kind.kind not in "iu":
            return []
        middle = float(point.flat[0]) if point is not None else 0.0
        return [
            (end - middle) * float(scale.flat[0])
            for end in (np.iinfo(kind).min, np.iinfo(kind).max)
        ]

    def _comparison(self, node: ir.Node, position: int, way: Way) -> Iterator[Hint]:
        """A number that is compared with: one, several, or the positions along an axis."""
        at, op = (node, position), node.op_type
        other = node.inputs[1 - position]
        numbers = constant(other)
        count = self.sizes.positions(other)
        if count is None and numbers is not None and is_arange(numbers):
            count = numbers.size
        if count is not None and (numbers is None or numbers.min() == 0):
            # Some positions lie on one side, or all; none leaves a row that is masked out.
            counted = {"Less": 1, "GreaterOrEqual": 1, "Greater": 0, "LessOrEqual": 0}
            mirrored = {"Less": 0, "GreaterOrEqual": 0, "Greater": 1, "LessOrEqual": 1}
            more = (counted if position == 1 else mirrored).get(op, 0)
            low, high = way.origin(0.0 + more, count - 1.0 + more)
            yield Hint("inside", low, high, f"they are compared with {count} positions", at)
        elif few(numbers):
            distinct = np.unique(numbers.astype(np.float64))
            kept = distinct if len(distinct) <= 16 else distinct[[0, len(distinct) // 2, -1]]
            for number in kept:
                edge = way.origin(float(number), float(number))[0]
                if math.isfinite(edge) and abs(edge) < 1e9:
                    yield Hint("edge", edge, at=at)

    def _needs_positive(self, node: ir.Node) -> bool:
        exponent = constant(node.inputs[1])
        return exponent is None or bool(((exponent % 1 != 0) | (exponent < 0)).any())

    def _masked(self, node: ir.Node, way: Way) -> Iterator[Hint]:
        """A condition that puts a large negative number, by what of the input keeps the other."""
        ends = way.ends
        if ends is None or ends[0] == ends[1]:
            return
        for branch, kept in ((1, 0.0), (2, 1.0)):
            filled = constant(node.inputs[branch])
            if filled is not None and filled.size == 1 and float(filled.flat[0]) <= PENALTY:
                yield Hint("mask", float(ends.index(kept)) if kept in ends else 1.0)


def _writes(node: ir.Node) -> bool:
    """Return whether a node writes at indices; where two are equal, the result is undefined."""
    scatters = node.op_type in ("ScatterElements", "ScatterND")
    return scatters and node.attributes.get_string("reduction", "none") == "none"


def _scale(way: Way) -> Iterator[Hint]:
    """The range that a division, or a normalization by mean and deviation, suggests."""
    if way.scale is None or not way.scale or way.logical:
        return
    size = abs(way.scale) ** (-1.0 / way.power)
    if not math.isfinite(size):
        return
    if not way.offset:
        if size >= _LEAST_RANGE:
            size = round(size, 6)
            yield Hint("scale", 0.0, size, f"as their division by {size:.6g} suggests")
        return
    if way.power != 1.0:
        return
    middle = -way.offset / way.scale
    said = f"as their normalization by {middle:.3g} and {size:.3g} suggests"
    if 0.2 <= middle <= 0.8 and 0.1 <= size <= 0.6:
        yield Hint("scale", 0.0, 1.0, said)
    elif 50 <= middle <= 205 and size <= 255:
        yield Hint("scale", 0.0, 255.0, said)
    elif _OFF < abs(middle) <= _MOST_OFF or (size >= _LEAST_RANGE and abs(middle) <= _MOST_OFF):
        yield Hint("scale", middle, middle, said, deviation=size)


def _penalized(node: ir.Node, way: Way) -> Iterator[Hint]:
    """Yield hints for a tensor whose values become 0 or a large negative number."""
    ends = way.ends
    if ends is None or ends[0] == ends[1] or min(ends) > PENALTY:
        return
    if not way.offset and not _feeds_softmax(node):
        # A large factor alone may be one of units.
        return
    if abs(max(ends)) <= 1e-6 * abs(min(ends)):
        yield Hint("mask", float(ends[1] > ends[0]))


def _feeds_softmax(node: ir.Node) -> bool:
    """Return whether what a node gives is what a Softmax takes, moved at most."""
    at = list(node.outputs)
    for _ in range(6):
        uses = [use for value in at for use, position in value.uses()]
        if any(use.op_type in ("Softmax", "LogSoftmax") for use in uses):
            return True
        at = [
            value
            for use in uses
            if use.op_type in MOVES or use.op_type in ("Cast", "Add", "Max", "Clip")
            for value in use.outputs
        ]
    return False


def _multiplied(value: ir.Value | None) -> bool:
    """Return whether a tensor is a product of matrices, scaled and moved at most, as a score is."""
    for _ in range(8):
        node = value.producer() if value is not None else None
        if node is None or not node.inputs:
            return False
        if node.op_type in ("MatMul", "Einsum", "Gemm"):
            return True
        if node.op_type not in MOVES and node.op_type not in ("Cast", "Mul", "Div", "Add"):
            return False
        value = node.inputs[0]
    return False


def _decides_sizes(value: ir.Value) -> bool:
    """Return whether integers reach, by whatever way, an operand that is a size or a position."""
    pending, seen = [value], {value}
    while pending and len(seen) < _MOST_SEEN:
        for node, position in pending.pop().uses():
            if position in SIZE_OPERANDS.get(node.op_type, ()):
                return True
            if position == 1 and node.op_type in _INDEXED:
                return True
            for output in node.outputs:
                real = output.dtype is not None and output.dtype.is_floating_point()
                to = node.attributes.get_int("to", 7) if node.op_type == "Cast" else 7
                if real or ir.DataType(to).is_floating_point() or output in seen:
                    continue
                seen.add(output)
                pending.append(output)
    return False
