"""Arithmetic on the elements of a shape tensor, and between them and dims.

An element is a Python ``int``, a ``Fraction`` (floats in shape arithmetic, taken exactly), a sympy
expression in the symbols of the model, or ``UNKNOWN``. What involves ``UNKNOWN`` is ``UNKNOWN``, so
no function fails; neither does one on numbers or expressions that grow out of hand.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import onnx_ir as ir
import sympy

from tripoint.facts import symbols

Element = Any
"""``int``, ``Fraction``, ``sympy.Expr`` or ``UNKNOWN``."""

UNKNOWN: Element = sympy.nan

_INT64 = 2**63
_LARGEST = 256
"""Parts of an expression; a larger one helps nobody and takes long."""


def is_known(element: Element) -> bool:
    """Whether an element is a number or an expression."""
    return element is not UNKNOWN


def from_dim(dim: int | ir.SymbolicDim | None) -> Element:
    """A dim as an element."""
    if isinstance(dim, int):
        return dim
    if dim is None or dim.value is None:
        return UNKNOWN
    return from_text(dim.value)


@functools.lru_cache(maxsize=1 << 14)
def from_text(text: str) -> Element:
    """A dim's text as an element."""
    try:
        return _tidy(symbols.expression(text))
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return UNKNOWN


@functools.lru_cache(maxsize=1 << 14)
def to_dim(element: Element) -> int | ir.SymbolicDim | None:
    """An element as a dim; None if it is unknown or no integer."""
    if isinstance(element, int):
        return element
    if element is UNKNOWN or isinstance(element, Fraction) or not element.free_symbols:
        return None
    return ir.SymbolicDim(element if element.is_integer else symbols.floor(element))


def _tidy(result: Any) -> Element:
    if isinstance(result, sympy.Expr):
        if result.is_Integer:
            result = int(result)
        elif result.is_Rational:
            result = Fraction(int(result.p), int(result.q))
        elif result.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I):
            return UNKNOWN
        else:
            parts = itertools.islice(sympy.preorder_traversal(result), _LARGEST + 1)
            return result if sum(1 for _ in parts) <= _LARGEST else UNKNOWN
    if isinstance(result, Fraction):
        if result.denominator == 1:
            result = int(result)
        else:
            return result if max(abs(result.numerator), result.denominator) < _INT64 else UNKNOWN
    if isinstance(result, int):
        return int(result) if -_INT64 <= result < _INT64 else UNKNOWN
    return UNKNOWN


def _arithmetic(function: Callable[..., Any]) -> Callable[..., Element]:
    """Let a function see known elements only, and remember what it made of expressions."""

    def tidied(*elements: Element) -> Element:
        try:
            return _tidy(function(*elements))
        except (ArithmeticError, ValueError, TypeError, AttributeError, RecursionError):
            return UNKNOWN

    remembered = functools.lru_cache(maxsize=1 << 14)(tidied)

    @functools.wraps(function)
    def apply(*elements: Element) -> Element:
        if any(element is UNKNOWN for element in elements):
            return UNKNOWN
        if all(isinstance(element, int) for element in elements):
            return tidied(*elements)
        return remembered(*elements)

    return apply


@_arithmetic
def add(a: Element, b: Element) -> Any:
    """``a + b``."""
    return a + b


@_arithmetic
def subtract(a: Element, b: Element) -> Any:
    """``a - b``; what is taken from the larger one of two leaves the smaller one."""
    for larger, smaller in ((sympy.Max, sympy.Min), (sympy.Min, sympy.Max)):
        if isinstance(b, larger):
            left = [a - part for part in b.args]
            if any(isinstance(part, int) or part.is_number for part in left):
                return smaller(*left)
    return a - b


@_arithmetic
def multiply(a: Element, b: Element) -> Any:
    """``a · b``."""
    return a * b


@_arithmetic
def divide(a: Element, b: Element) -> Any:
    """``a / b``, exactly."""
    if isinstance(a, int) and isinstance(b, int):
        return Fraction(a, b)
    quotient = a / b
    sums = isinstance(b, sympy.Expr) and b.has(sympy.Add)
    if sums and isinstance(quotient, sympy.Expr) and not quotient.is_integer:
        # (N**2 + N)/(N + 1) only shows that it is N when it is cancelled.
        parts = {part: sympy.Dummy() for part in quotient.atoms(*_ROUNDING)}
        cancelled = sympy.cancel(quotient.xreplace(parts))
        quotient = cancelled.xreplace({dummy: part for part, dummy in parts.items()})
    return quotient


_ROUNDING = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.Max, sympy.Min)


@_arithmetic
def floor(a: Element) -> Any:
    """The largest integer that is not more."""
    return math.floor(a) if isinstance(a, int | Fraction) else symbols.floor(a)


@_arithmetic
def ceiling(a: Element) -> Any:
    """The smallest integer that is not less."""
    return math.ceil(a) if isinstance(a, int | Fraction) else symbols.ceiling(a)


@_arithmetic
def truncate(a: Element) -> Any:
    """Towards zero, as ONNX casts floats and divides integers."""
    if isinstance(a, int | Fraction):
        return int(a)
    if a.is_integer:
        return a
    if a.is_nonnegative or interval(a)[0] >= 0:
        return symbols.floor(a)
    return sympy.Max(0, symbols.floor(a)) + sympy.Min(0, symbols.ceiling(a))


@_arithmetic
def round_even(a: Element) -> Any:
    """To the nearest integer, halves to the even one."""
    if isinstance(a, int | Fraction):
        return round(a)
    return a if a.is_integer else UNKNOWN


@_arithmetic
def remainder(a: Element, b: Element) -> Any:
    """What division leaves, with the sign of ``b``."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return sympy.Mod(a, b)


@_arithmetic
def power(a: Element, b: Element) -> Any:
    """``a`` to the power of a small number."""
    if b == Fraction(1, 2):
        return sympy.sqrt(a)
    return a**b if isinstance(b, int) and 0 <= b <= 8 else UNKNOWN


@_arithmetic
def maximum(a: Element, b: Element) -> Any:
    """The larger one."""
    if _plain(a, b):
        return max(a, b)
    return a if _at_least(a, b) else b if _at_least(b, a) else sympy.Max(a, b)


@_arithmetic
def minimum(a: Element, b: Element) -> Any:
    """The smaller one."""
    if _plain(a, b):
        return min(a, b)
    return b if _at_least(a, b) else a if _at_least(b, a) else sympy.Min(a, b)


def _at_least(a: Any, b: Any) -> bool:
    """Whether ``a`` is known to be no less than ``b``."""
    if isinstance(a, sympy.Max) and any(_at_least(part, b) for part in a.args):
        return True
    if isinstance(b, sympy.Min) and any(_at_least(a, part) for part in b.args):
        return True
    if isinstance(b, sympy.Max):
        return all(_at_least(a, part) for part in b.args)
    if isinstance(a, sympy.Min):
        return all(_at_least(part, b) for part in a.args)
    return bool(interval(a - b)[0] >= 0)


def _plain(*elements: Element) -> bool:
    return all(isinstance(element, int | Fraction) for element in elements)


@_arithmetic
def sign(a: Element) -> Any:
    """-1, 0 or 1 where that is the same for all sizes."""
    if isinstance(a, int | Fraction):
        return (a > 0) - (a < 0)
    if a.is_positive:
        return 1
    return -1 if a.is_negative else 0 if a.is_zero else UNKNOWN


@_arithmetic
def is_negative(a: Element) -> Any:
    """1 or 0 where that is the same for all sizes."""
    if isinstance(a, int | Fraction):
        return int(a < 0)
    lowest, highest = interval(a)
    if a.is_negative or highest < 0:
        return 1
    return 0 if a.is_nonnegative or lowest >= 0 else UNKNOWN


@functools.lru_cache(maxsize=1 << 14)
def interval(a: Element) -> tuple[float | Fraction, float | Fraction]:
    """Two numbers that an element lies between for all sizes; they may be infinite.

    Each part is taken by itself, so the numbers need not be the closest.
    """
    if isinstance(a, int | Fraction):
        return a, a
    if isinstance(a, sympy.Rational):
        exact = Fraction(int(a.p), int(a.q))
        return exact, exact
    if isinstance(a, sympy.Symbol):
        return (1 if a.is_positive else 0 if a.is_nonnegative else -math.inf), math.inf
    parts = [interval(part) for part in a.args]
    if isinstance(a, sympy.Add):
        return sum(low for low, _ in parts), sum(high for _, high in parts)
    if isinstance(a, sympy.Mul):
        return functools.reduce(_times, parts)
    if isinstance(a, sympy.Max | sympy.Min):
        choose = max if isinstance(a, sympy.Max) else min
        return choose(low for low, _ in parts), choose(high for _, high in parts)
    if isinstance(a, sympy.floor | sympy.ceiling):
        ((low, high),) = parts
        near = math.floor if isinstance(a, sympy.floor) else math.ceil
        return low if math.isinf(low) else near(low), high if math.isinf(high) else near(high)
    if isinstance(a, sympy.Mod) and parts[1][0] > 0:
        return 0, parts[1][1]
    if isinstance(a, sympy.Pow) and parts[0][0] >= 0 and a.exp.is_Integer:
        (low, high), exponent = parts[0], int(a.exp)
        if exponent > 0:
            return low**exponent, high**exponent
        if exponent == -1:
            return (0 if math.isinf(high) else 1 / Fraction(high)), (
                1 / Fraction(low) if low else math.inf
            )
    return -math.inf, math.inf


def _times(
    a: tuple[float | Fraction, float | Fraction], b: tuple[float | Fraction, float | Fraction]
) -> tuple[float | Fraction, float | Fraction]:
    corners = [x * y if x and y else 0 for x in a for y in b]
    return min(corners), max(corners)


@_arithmetic
def is_zero(a: Element) -> Any:
    """1 or 0 where that is the same for all sizes."""
    if isinstance(a, int | Fraction):
        return int(a == 0)
    if a.is_zero:
        return 1
    lowest, highest = interval(a)
    apart = a.is_zero is False or a.is_positive or a.is_negative
    return 0 if apart or lowest > 0 or highest < 0 else UNKNOWN


def negate(a: Element) -> Element:
    """``-a``."""
    return multiply(a, -1)


def absolute(a: Element) -> Element:
    """``|a|``."""
    return maximum(a, negate(a))


def invert(a: Element) -> Element:
    """Logical not."""
    return subtract(1, a)


def less(a: Element, b: Element) -> Element:
    """1 or 0 where that is the same for all sizes."""
    return is_negative(subtract(a, b))


def equal(a: Element, b: Element) -> Element:
    """1 or 0 where that is the same for all sizes."""
    return is_zero(subtract(a, b))


def both(a: Element, b: Element) -> Element:
    """Logical and, which one operand may decide."""
    return 0 if a == 0 or b == 0 else minimum(a, b)


def either(a: Element, b: Element) -> Element:
    """Logical or, which one operand may decide."""
    return 1 if a == 1 or b == 1 else maximum(a, b)


def choose(condition: Element, a: Element, b: Element) -> Element:
    """``a`` where the condition holds, else ``b``."""
    if condition is UNKNOWN:
        return a if a == b else UNKNOWN
    return a if condition != 0 else b


def divide_integers(a: Element, b: Element) -> Element:
    """``a / b`` of integer tensors: towards zero."""
    return truncate(divide(a, b))


def divide_up(a: Element, b: Element) -> Element:
    """``a / b``, rounded up."""
    return ceiling(divide(a, b))


def divide_down(a: Element, b: Element) -> Element:
    """``a / b``, rounded down."""
    return floor(divide(a, b))


def product(elements: Iterable[Element]) -> Element:
    """All of them multiplied."""
    return functools.reduce(multiply, elements, 1)
