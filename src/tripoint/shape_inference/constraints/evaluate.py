"""Equations at many sizes at once, exactly: in whole numbers of any length."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from tripoint import symbolic_functions, symbols
from tripoint.shape_inference.constraints.equation import Equation
from tripoint.symbols import Dim

Sizes = Mapping[str, Any]
"""By symbol a whole number, or an object array of such; all arrays have the same length."""


class UndecidedError(Exception):
    """An expression holds something that is not worked out here, such as a root."""


def holds(equation: Equation, sizes: Sizes, *, strict: bool = False) -> Any:
    """Return whether an equation holds, for each size.

    What divides by zero does not hold.

    Args:
        equation: A decided one.
        sizes: A size, or many, for each of its symbols.
        strict: Whether sizes that broadcast must be the same, though one of them may be 1.

    Returns:
        A bool, or an array of them.

    Raises:
        UndecidedError: If a symbol has no size, or an expression cannot be worked out.
    """
    try:
        return _holds(equation, sizes, strict=strict)
    except ZeroDivisionError:
        count = next((len(each) for each in sizes.values() if isinstance(each, np.ndarray)), 0)
        if not count:
            return False
        return np.array(
            [bool(holds(equation, _at(sizes, index), strict=strict)) for index in range(count)]
        )


def _at(sizes: Sizes, index: int) -> Sizes:
    return {
        name: each[index] if isinstance(each, np.ndarray) else each for name, each in sizes.items()
    }


def is_one(side: Dim, sizes: Sizes) -> bool:
    """Return whether a side of an equation is 1.

    Raises:
        UndecidedError: As :func:`holds`.
    """
    try:
        above, below = _ratio(symbols.bare_expression(side), sizes)
    except ZeroDivisionError:
        return False
    return bool(above == below)


def _holds(equation: Equation, sizes: Sizes, *, strict: bool) -> Any:
    (a, below_a), (b, below_b) = (
        _ratio(symbols.bare_expression(side), sizes) for side in (equation.left, equation.right)
    )
    left, right = a * below_b, b * below_a
    if equation.kind == "divisible":
        return _yes(left % right == 0)
    if equation.kind in ("equal", "volume") or (
        strict and equation.kind in ("broadcast", "expands")
    ):
        return _yes(left == right)
    if equation.kind == "broadcast":
        return _yes(left == right) | _yes(a == below_a) | _yes(b == below_b)
    if equation.kind == "expands":
        return _yes(left == right) | _yes(b == below_b)
    return _yes(left >= right if equation.kind == "at_least" else left <= right)


def _yes(answer: Any) -> Any:
    return answer.astype(bool) if isinstance(answer, np.ndarray) else bool(answer)


def _ratio(expression: Any, sizes: Sizes) -> tuple[Any, Any]:
    """An expression as a numerator over a denominator of more than 0."""
    if expression.is_Rational:
        return int(expression.p), int(expression.q)
    if expression.is_Symbol:
        if expression.name not in sizes:
            raise UndecidedError(expression.name)
        return sizes[expression.name], 1
    if isinstance(expression, sympy.Pow):
        return _power(expression, sizes)
    if isinstance(expression, symbolic_functions.Rounded):
        return _rounded(expression, sizes)
    if type(expression) in _ROOTS:
        base = symbolic_functions.radicand(expression.args[0])
        if base is not None:
            return _each(_ROOTS[type(expression)], *_ratio(base, sizes)), 1
    parts = [_ratio(part, sizes) for part in expression.args]
    if isinstance(expression, sympy.Add):
        return functools.reduce(_sum, parts)
    if isinstance(expression, sympy.Mul):
        return functools.reduce(lambda a, b: (a[0] * b[0], a[1] * b[1]), parts)
    if isinstance(expression, sympy.floor):
        return parts[0][0] // parts[0][1], 1
    if isinstance(expression, sympy.ceiling):
        return -(-parts[0][0] // parts[0][1]), 1
    if isinstance(expression, symbolic_functions.Round):
        return _each(lambda a, b: round(Fraction(int(a), int(b))), *parts[0]), 1
    if isinstance(expression, symbolic_functions.Less | symbolic_functions.Equal):
        (a, below_a), (b, below_b) = parts
        left, right = a * below_b, b * below_a
        answer = left < right if isinstance(expression, symbolic_functions.Less) else left == right
        return _each(int, answer), 1
    if isinstance(expression, symbolic_functions.Where):
        (condition, _), (a, below_a), (b, below_b) = parts
        chosen = _each(lambda c, x, y: x if c else y, condition, a * below_b, b * below_a)
        return chosen, below_a * below_b
    if isinstance(expression, sympy.Mod):
        (a, below_a), (b, below_b) = parts
        return (a * below_b) % (b * below_a), below_a * below_b
    if isinstance(expression, sympy.Max | sympy.Min):
        larger = isinstance(expression, sympy.Max)
        return functools.reduce(lambda a, b: _choice(a, b, larger=larger), parts)
    raise UndecidedError(type(expression).__name__)


def _root_below(above: Any, below: Any) -> int:
    if above < 0:
        raise UndecidedError("the root of a negative number")
    return math.isqrt(int(above) // int(below))


def _root_above(above: Any, below: Any) -> int:
    root = _root_below(above, below)
    return root if root * root * below >= above else root + 1


def _root_next_to(above: Any, below: Any) -> int:
    # No root of a whole number is a half.
    return (_root_below(4 * above, below) + 1) // 2


_ROOTS: dict[Any, Callable[[Any, Any], int]] = {
    sympy.floor: _root_below,
    sympy.ceiling: _root_above,
    symbolic_functions.Round: _root_next_to,
}
"""The integers next to a root."""


def _each(function: Callable[..., Any], *operands: Any) -> Any:
    """A function of numbers, at each size."""
    return np.frompyfunc(function, len(operands), 1)(*operands)


def _rounded(expression: Any, sizes: Sizes) -> tuple[Any, Any]:
    """A number, or the root of one, as a float type holds it."""
    kind, (inner,) = type(expression), expression.args
    base = symbolic_functions.radicand(inner)
    root = base is not None
    above, below = _ratio(base if root else inner, sizes)

    def nearest(a: Any, b: Any) -> Fraction:
        exact = Fraction(int(a), int(b))
        if not root:
            rounded = symbolic_functions.nearest(exact, kind.digits, kind.largest)
        else:
            rounded = symbolic_functions.nearest_root(exact, kind.digits) if exact >= 0 else None
        if rounded is None:
            raise UndecidedError(str(expression))
        return rounded

    fractions = _each(nearest, above, below)
    return _each(lambda x: x.numerator, fractions), _each(lambda x: x.denominator, fractions)


def _sum(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    if a[1] is b[1]:
        return a[0] + b[0], a[1]
    return a[0] * b[1] + b[0] * a[1], a[1] * b[1]


def _choice(a: tuple[Any, Any], b: tuple[Any, Any], *, larger: bool) -> tuple[Any, Any]:
    left, right, below = a[0] * b[1], b[0] * a[1], a[1] * b[1]
    first = left >= right if larger else left <= right
    if isinstance(first, np.ndarray):
        return np.where(first.astype(bool), left, right), below
    return (left if first else right), below


def _power(expression: Any, sizes: Sizes) -> tuple[Any, Any]:
    if not expression.exp.is_Integer:
        raise UndecidedError(str(expression))
    above, below = _ratio(expression.base, sizes)
    exponent = int(expression.exp)
    if exponent >= 0:
        return above**exponent, below**exponent
    if np.any(above == 0):
        raise ZeroDivisionError
    sign = np.where(above < 0, -1, 1) if isinstance(above, np.ndarray) else -1 if above < 0 else 1
    return (sign * below) ** -exponent, (sign * above) ** -exponent
