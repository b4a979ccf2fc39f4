"""Ranges of an input's numbers downstream of an operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from tripoint.numeric.lookup import MOVES, constant
from tripoint.numeric.ways import Interval, Way

_MOST_CHANNELS = 4

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "Less": lambda a, b: a < b,
    "Greater": lambda a, b: a > b,
    "LessOrEqual": lambda a, b: a <= b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Equal": lambda a, b: a == b,
}


def behind(node: ir.Node, position: int, way: Way) -> Way | None:
    """The way downstream of a node; None if it ends there."""
    op = node.op_type
    if op == "Where" and position:
        return replace(way, branches=(*way.branches, (node, position)))
    if op in MOVES:
        return way if position in MOVES[op] else None
    if op == "Cast":
        return _cast(node, way)
    if op == "Not":
        return way.affine(-1.0, 1.0) if way.logical else None
    if op in COMPARISONS:
        return _compared(node, position, way)
    if way.logical and op not in ("Sub", "Mul", "Add", "Div", "Neg"):
        return None
    if op in ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Pow"):
        return _arithmetic(node, position, way)
    if op == "Neg":
        return way.affine(-1.0, 0.0)
    if op == "ReduceSum" and position == 0 and not way.logical:
        # Of the limits of a sum those of its terms do not follow; its scale is theirs.
        return way.behind(_any, scale=way.scale)
    if op == "Abs":
        return way.folded()
    if op == "Relu":
        return way.clipped(0.0, math.inf)
    if op == "Clip" and position == 0:
        return way.clipped(*clip_limits(node))
    return None


def _arithmetic(node: ir.Node, position: int, way: Way) -> Way | None:
    op = node.op_type
    if len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if first is second:
        return way.raised(2.0) if op == "Mul" else None
    other = constant(node.inputs[1 - position])
    if other is None or not other.size or not np.isfinite(other).all():
        return None
    exact = bool((other == other.flat[0]).all())
    if not exact and (other.size > _MOST_CHANNELS or op not in ("Add", "Sub", "Mul", "Div")):
        return None
    number = float(other.mean()) if not exact else float(other.flat[0])
    if op == "Add":
        return way.affine(1.0, number, exact=exact)
    if op == "Sub":
        signed = (1.0, -number) if position == 0 else (-1.0, number)
        return way.affine(*signed, exact=exact)
    if op == "Mul" and number:
        return way.affine(number, 0.0, exact=exact)
    if op == "Div" and number and position == 0:
        if way.integer and exact:
            return way.divided(number)
        return way.affine(1.0 / number, 0.0, exact=exact)
    if op == "Mod" and number > 0 and position == 0:
        low = -number if node.attributes.get_int("fmod", 0) else 0.0
        return way.clipped(low, number - 1.0 if way.integer else number)
    if op == "Min":
        return way.clipped(-math.inf, number)
    if op == "Max":
        return way.clipped(number, math.inf)
    if op == "Pow" and position == 0 and number in (2.0, 4.0):
        return way.raised(number)
    return None


def _compared(node: ir.Node, position: int, way: Way) -> Way | None:
    """The way downstream of a comparison with one number, as of a mask of 0 and 1."""
    other = constant(node.inputs[1 - position])
    ends = way.ends
    if other is None or other.size != 1 or ends is None:
        return None
    number, compare = float(other.flat[0]), COMPARISONS[node.op_type]
    zero, one = (
        float(compare(end, number) if position == 0 else compare(number, end)) for end in ends
    )
    if zero == one:
        return None
    return replace(way, scale=one - zero, offset=zero, logical=True)


def clip_limits(node: ir.Node) -> Interval:
    """Return the limits of a Clip, infinite where there is none or it is no constant."""
    if "min" in node.attributes or "max" in node.attributes:
        return (
            node.attributes.get_float("min", -math.inf),
            node.attributes.get_float("max", math.inf),
        )
    numbers = [-math.inf, math.inf]
    for at in (1, 2):
        limit = constant(node.inputs[at]) if len(node.inputs) > at else None
        if limit is not None and limit.size == 1:
            numbers[at - 1] = float(limit.flat[0])
    return numbers[0], numbers[1]


def _cast(node: ir.Node, way: Way) -> Way:
    """The way downstream of a Cast, which is one of values of 0 and 1 where it makes booleans."""
    to = ir.DataType(node.attributes.get_int("to", 1))
    if to == ir.DataType.BOOL:
        return replace(way, logical=True) if way.ends == (0.0, 1.0) else way.behind(_any)
    return replace(way, integer=to.is_integer() and not way.logical)


def _any(_: Interval) -> Interval:
    return -math.inf, math.inf
