"""Computation of the core with the elements of shape tensors, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tripoint.views.importer.context import LARGEST_VECTOR
from tripoint.views.importer_v8.algebra import Algebra, Dim, Expression, Value
from tripoint.views.importer_v8.context import FLOATS, Node, Values, as_array

Function = Callable[..., Value]

_INTEGERS: Mapping[str, Callable[[Algebra], Function]] = {
    "Add": lambda algebra: algebra.add,
    "And": lambda algebra: algebra.minimum,
    "Div": lambda algebra: algebra.div,
    "Equal": lambda algebra: algebra.equal,
    "FloorDiv": lambda algebra: algebra.floor_div,
    "Greater": lambda algebra: algebra.greater,
    "Less": lambda algebra: lambda a, b: algebra.greater(b, a),
    "Max": lambda algebra: algebra.maximum,
    "Min": lambda algebra: algebra.minimum,
    "Mul": lambda algebra: algebra.mul,
    "Or": lambda algebra: algebra.maximum,
    "Sub": lambda algebra: algebra.sub,
    "Sum": lambda algebra: algebra.add,
    "Xor": lambda algebra: lambda a, b: algebra.sub(1, algebra.equal(a, b)),
}

_NUMBERS: Mapping[str, Callable[[float, float], float]] = {
    "Add": lambda a, b: a + b,
    "Div": lambda a, b: a / b,
    "Equal": lambda a, b: int(a == b),
    "Greater": lambda a, b: int(a > b),
    "Less": lambda a, b: int(a < b),
    "Max": max,
    "Min": min,
    "Mul": lambda a, b: a * b,
    "Pow": lambda a, b: a**b,
    "Sub": lambda a, b: a - b,
    "Sum": lambda a, b: a + b,
}

_UNARY: Mapping[str, Callable[[float], float]] = {
    "Abs": abs,
    "Ceil": math.ceil,
    "Cos": math.cos,
    "Exp": math.exp,
    "Floor": math.floor,
    "Log": math.log,
    "Neg": lambda a: -a,
    "Not": lambda a: 1 - int(a),
    "Reciprocal": lambda a: 1 / a,
    "Round": round,
    "Sign": lambda a: (a > 0) - (a < 0),
    "Sin": math.sin,
    "Sqrt": math.sqrt,
}

_FLOAT_RESULTS = frozenset({"Cos", "Exp", "Log", "Reciprocal", "Sin", "Sqrt"})


def elementwise(node: Node, op: str, *operands: Values | None) -> Values | None:
    """Elements of an elementwise layer; more than two operands are taken from the left."""
    if any(operand is None for operand in operands):
        return None
    function = _function(node, op)
    result = operands[0]
    for operand in operands[1:]:
        result = _mapped(function, result, operand)
    return result


def _function(node: Node, op: str) -> Function:
    algebra = node.algebra
    if not node.is_floating(0):
        return _INTEGERS[op](algebra) if op in _INTEGERS else _opaque(algebra, op)
    single = _NUMBERS.get(op)

    def numbers(a: Value, b: Value) -> Value:
        if single is None or isinstance(a, Expression) or isinstance(b, Expression):
            return algebra.unknown(op, a, b)
        try:
            result = single(a, b)
        except (ArithmeticError, ValueError):
            return algebra.unknown(op, a, b)
        if isinstance(result, int) or not math.isfinite(result):
            return result if isinstance(result, int) else algebra.unknown(op, a, b)
        return float(np.float32(result))

    return numbers


def _opaque(algebra: Algebra, op: str) -> Function:
    return lambda *operands: algebra.unknown(op, *operands)


def unary(node: Node, values: Values | None) -> Values | None:
    """Elements of a Unary or Activation layer."""
    if values is None:
        return None
    op, algebra, floating = node.op, node.algebra, node.is_floating(0)
    single = _UNARY.get(op)

    def apply(value: Value) -> Value:
        if isinstance(value, Expression):
            if op == "Abs":
                return algebra.absolute(value)
            return algebra.unknown(op, value)
        if single is None:
            return algebra.unknown(op, value)
        try:
            result = single(value)
        except (ArithmeticError, ValueError):
            return algebra.unknown(op, value)
        return float(result) if floating or op in _FLOAT_RESULTS else result

    return _mapped(apply, values)


def cast(node: Node, values: Values | None, kind: str | None) -> Values | None:
    """Elements of a Cast to a TensorRT type."""
    floating = kind in FLOATS
    if values is None or kind is None or (floating and not node.rules.floats):
        return None
    algebra = node.algebra
    from_float = node.is_floating(0)

    def to_float(value: Value) -> Value:
        return algebra.unknown("float", value) if isinstance(value, Expression) else float(value)

    def to_bool(value: Value) -> Value:
        if not isinstance(value, Expression):
            return int(value != 0)
        return value if (value.low, value.high) == (0, 1) else algebra.unknown("bool", value)

    def to_int(value: Value) -> Value:
        if isinstance(value, Expression):
            return algebra.unknown("int", value) if from_float else value
        return int(value) if math.isfinite(value) else algebra.unknown("int", value)

    if floating:
        return values if from_float else _mapped(to_float, values)
    return _mapped(to_bool if kind == "BOOL" else to_int, values)


def negative(node: Node, values: Values) -> Values:
    """Elements subtracted from 0."""
    return _mapped(lambda value: node.algebra.mul(value, -1), values)


def either(node: Node, a: Values | None, b: Values | None) -> Values:
    """Elements of an Or layer."""
    return _mapped(node.algebra.maximum, a, b)


def select(node: Node, condition: Values, a: Values, b: Values) -> Values:
    """Elements of a Select layer."""
    return _mapped(node.algebra.select, condition, a, b)


_REDUCTIONS: Mapping[str, tuple[str, Value | None]] = {
    "ReduceMax": ("Max", None),
    "ReduceMin": ("Min", None),
    "ReduceProd": ("Mul", 1),
    "ReduceSum": ("Add", 0),
}
"""The function of a reduction, and the result for no elements, by operator."""


def reduce(node: Node, values: Values, axes: set[int], *, keep: bool) -> Values | None:
    """Elements of a Reduce layer."""
    if node.op not in _REDUCTIONS:
        return None
    op, empty = _REDUCTIONS[node.op]
    if not values.size and empty is None:
        return None
    function = np.frompyfunc(_function(node, op), 2, 1)
    result = values
    for axis in sorted(axes, reverse=True):
        if result.shape[axis]:
            result = as_array(function.reduce(result, axis=axis, keepdims=keep))
        else:
            rest = [1 if place == axis else n for place, n in enumerate(result.shape)]
            filled = np.full(rest, empty, dtype=object)
            result = (
                filled if keep else filled.reshape([n for i, n in enumerate(rest) if i != axis])
            )
    return result


def _mapped(function: Function, *arrays: Values | None) -> Values:
    mapped: Callable[..., object] = np.frompyfunc(function, len(arrays), 1)
    return as_array(mapped(*arrays))


def small(dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Dims that are all known and few enough to follow each element."""
    sizes = tuple(dim for dim in dims if isinstance(dim, int))
    return sizes if len(sizes) == len(dims) and math.prod(sizes) <= LARGEST_VECTOR else None


def keep(node: Node, values: Values | None) -> None:
    """Set the elements of the output, if there are any."""
    if values is not None:
        node.results[0] = values


def pass_on(node: Node) -> None:
    """The output has the elements of the input."""
    keep(node, node.values(0))


def reorder(
    node: Node, dims: Sequence[Dim], change: Callable[[Values, tuple[int, ...]], Values]
) -> None:
    """The output has the elements of the input in another order or shape.

    Args:
        node: The node.
        dims: Of the output.
        change: Takes the elements and the dims of the output.
    """
    values, sizes = node.values(0), small(dims)
    if values is not None and sizes is not None and values.size == math.prod(sizes):
        keep(node, change(values, sizes))
