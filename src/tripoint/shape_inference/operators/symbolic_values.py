"""Arithmetic on the elements of a shape tensor, and between them and dims.

An element is a Python ``int``, a ``Fraction`` (floats in shape arithmetic, taken exactly), a sympy
expression in the symbols of the model, or ``UNKNOWN``. What a float type makes of a result is the
matter of :func:`rounded`. What involves ``UNKNOWN`` is ``UNKNOWN``, so
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

from tripoint import symbolic_functions, symbols
from tripoint.shape_inference.operators.intervals import (
    interval as interval,  # used through this module
)

LARGEST = 64
"""Elements of the largest tensor that is taken for a shape."""


Element = Any
"""``int``, ``Fraction``, ``sympy.Expr`` or ``UNKNOWN``."""

UNKNOWN: Element = sympy.nan

_INT64 = 2**63
_LONGEST = 2**1100
"""Fractions with more than this below or above the line are given up; doubles have less."""
_LARGE_SIZE = 2**21
"""Floats are written as what they are where sizes up to this one are not exact in them."""
_LARGEST = 256
"""Parts of an expression; a larger one helps nobody and takes long."""


def is_known(element: Element) -> bool:
    """Return whether an element is a number or an expression."""
    return element is not UNKNOWN


def from_dim(dim: int | ir.SymbolicDim | None) -> Element:
    """A dim as an element."""
    if isinstance(dim, int):
        return dim
    if dim is None or dim.value is None:
        return UNKNOWN
    return from_text(dim.value)


def from_text(text: str) -> Element:
    """A dim's text as an element."""
    return _from_text(text, symbols.that_may_be_zero())


@functools.lru_cache(maxsize=1 << 14)
def _from_text(text: str, zero: frozenset[str]) -> Element:
    del zero
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
            return result if max(abs(result.numerator), result.denominator) < _LONGEST else UNKNOWN
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


_ROUNDING = (
    *(sympy.floor, sympy.ceiling, sympy.Mod, sympy.Max, sympy.Min),
    *(
        symbolic_functions.Rounded,
        symbolic_functions.Round,
        symbolic_functions.Where,
        symbolic_functions.Less,
        symbolic_functions.Equal,
    ),
)


# Floats


def rounded(a: Element, dtype: ir.DataType | None) -> Element:
    """Return what a tensor of some type holds of a number.

    Of floats with 16 bits only what they hold exactly is known: ONNX Runtime computes with 32 bits
    in their place, TensorRT does not.
    """
    if dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return _rounded(a, _FLOATS[dtype])
    if dtype in _HALVES:
        return _kept(a, *_HALVES[dtype])
    return a


def wrapped(a: Element, dtype: ir.DataType) -> Element:
    """Return what a tensor of integers holds of an integer; unknown where it may be too large."""
    if isinstance(a, int):
        low, high = _integers(dtype)
        return a if low <= a <= high else UNKNOWN
    if dtype in _SHORT and a is not UNKNOWN:
        (least, most), (low, high) = interval(a), _integers(dtype)
        return a if low <= least and most <= high else UNKNOWN
    return a


_SHORT = frozenset({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16})


def _integers(dtype: ir.DataType) -> tuple[int, int]:
    bits = dtype.bitwidth
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.is_signed() else (0, 2**bits - 1)


_FLOATS = {
    ir.DataType.FLOAT: symbolic_functions.Float32,
    ir.DataType.DOUBLE: symbolic_functions.Float64,
}
_HALVES = {ir.DataType.FLOAT16: (11, 15), ir.DataType.BFLOAT16: (8, 127)}
"""Binary digits and largest exponent."""


@_arithmetic
def _rounded(a: Element, kind: Any) -> Any:
    if isinstance(a, int | Fraction):
        return symbolic_functions.nearest(a, kind.digits, kind.largest)
    return a if _is_exact(a, kind.digits) else kind(a)


@_arithmetic
def _kept(a: Element, digits: int, largest: int) -> Any:
    if isinstance(a, int | Fraction):
        return a if symbolic_functions.nearest(a, digits, largest) == a else None
    return a if _is_exact(a, digits) else None


def _is_exact(a: Any, digits: int) -> bool:
    """Return whether a float of that many digits holds an expression of sizes not too large."""
    if isinstance(a, sympy.Rational):
        exact = Fraction(int(a.p), int(a.q))
        return symbolic_functions.nearest(exact, digits, 127) == exact
    if isinstance(a, symbolic_functions.Rounded):
        return bool(a.digits <= digits)
    if isinstance(a, sympy.Max | sympy.Min):
        return all(_is_exact(part, digits) for part in a.args)
    if isinstance(a, symbolic_functions.Where):
        return all(_is_exact(part, digits) for part in a.args[1:])
    whole, divisor = symbols.over_integer(a)
    below = int(divisor)
    return bool(whole.is_integer and not below & (below - 1) and _magnitude(whole) <= 2**digits)


def _magnitude(a: Any) -> float | Fraction:
    low, high = interval(a, _LARGE_SIZE)
    return high if high >= -low else -low


def _near(a: Any) -> Any:
    """An expression with the same integers around it: without a rounding that leaves them.

    With integers p and q whose sum is less than ``2**(digits + 1)``, no integer lies between p/q
    and the float that is next to it, and neither does half of one where the sum is less than
    ``2**(digits - 1)``: p/q is ``1/(2q)`` away from it at least. The same holds for roots of
    integers of less than ``2**(digits - 1)``.
    """
    if not isinstance(a, symbolic_functions.Rounded):
        return a
    (inner,) = a.args
    limit = 2 ** (a.digits - 3)
    if (base := symbolic_functions.radicand(inner)) is not None:
        return inner if base.is_integer and _magnitude(base) <= limit else a
    above, below = sympy.fraction(sympy.together(inner))
    fits = above.is_integer and below.is_integer and interval(below)[0] > 0
    return inner if fits and max(_magnitude(above), _magnitude(below)) <= limit else a


def _in_cases(function: Callable[[Any], Any]) -> Callable[[Element], Element]:
    """Let a function act on each case of one that is not decided."""

    @functools.wraps(function)
    def apply(a: Element) -> Any:
        if isinstance(a, symbolic_functions.Where):
            condition, *cases = a.args
            return symbolic_functions.Where(condition, *map(apply, cases))
        if isinstance(a, sympy.Rational):
            a = Fraction(int(a.p), int(a.q))
        return function(a)

    return apply


@_arithmetic
@_in_cases
def floor(a: Element) -> Any:
    """The largest integer that is not more."""
    return math.floor(a) if isinstance(a, int | Fraction) else symbols.floor(_near(a))


@_arithmetic
@_in_cases
def ceiling(a: Element) -> Any:
    """The smallest integer that is not less."""
    return math.ceil(a) if isinstance(a, int | Fraction) else symbols.ceiling(_near(a))


@_arithmetic
@_in_cases
def truncate(a: Element) -> Any:
    """Towards zero, as ONNX casts floats and divides integers."""
    if isinstance(a, int | Fraction):
        return int(a)
    if a.is_integer:
        return a
    near = _near(a)
    if a.is_nonnegative or interval(a)[0] >= 0:
        return symbols.floor(near)
    return sympy.Max(0, symbols.floor(near)) + sympy.Min(0, symbols.ceiling(near))


@_arithmetic
@_in_cases
def round_even(a: Element) -> Any:
    """Return the nearest integer, of halves the even one."""
    return round(a) if isinstance(a, int | Fraction) else symbolic_functions.Round(_near(a))


@_arithmetic
def remainder(a: Element, b: Element) -> Any:
    """Return the remainder of a division, with the sign of ``b``.

    Of integers it is written with a floor, as in ``H - 4*floor(H/4)``: a sum of it and the size
    that it was taken of then reads as the multiple that it is.
    """
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if isinstance(b, int) and b > 0 and a.is_integer:
        return sympy.expand(a - b * symbols.floor(a / b))
    return sympy.Mod(a, b)


@_arithmetic
def power(a: Element, b: Element) -> Any:
    """``a`` to the power of a small number."""
    if b == Fraction(1, 2):
        return root(a)
    return a**b if isinstance(b, int) and 0 <= b <= 8 else UNKNOWN


def root(a: Element, dtype: ir.DataType | None = None) -> Element:
    """The square root as a tensor of some type holds it; exactly without a type."""
    kind = _FLOATS.get(dtype) if dtype is not None else None
    exact = _root(a, kind)
    return exact if kind is not None else rounded(exact, dtype)


@_arithmetic
def _root(a: Element, kind: Any) -> Any:
    inner = a.args[0] if isinstance(a, symbolic_functions.Rounded) else a
    exact = sympy.sqrt(inner)
    if kind is None:
        return sympy.sqrt(a)
    # The root of a square that was rounded is the number that was squared (binary floats).
    if exact.is_integer and _is_exact(exact, kind.digits):
        return exact
    return kind(sympy.sqrt(a))


@_arithmetic
def maximum(a: Element, b: Element) -> Any:
    """The larger one."""
    if _plain(a, b):
        return max(a, b)
    return a if is_at_least(a, b) else b if is_at_least(b, a) else sympy.Max(a, b)


@_arithmetic
def minimum(a: Element, b: Element) -> Any:
    """The smaller one."""
    if _plain(a, b):
        return min(a, b)
    return b if is_at_least(a, b) else a if is_at_least(b, a) else sympy.Min(a, b)


def is_at_least(a: Any, b: Any) -> bool:
    """Return whether ``a`` is known to be no less than ``b``."""
    if isinstance(a, sympy.Max) and any(is_at_least(part, b) for part in a.args):
        return True
    if isinstance(b, sympy.Min) and any(is_at_least(a, part) for part in b.args):
        return True
    if isinstance(b, sympy.Max):
        return all(is_at_least(a, part) for part in b.args)
    if isinstance(a, sympy.Min):
        return all(is_at_least(part, b) for part in a.args)
    return bool(interval(a - b)[0] >= 0)


def _plain(*elements: Element) -> bool:
    return all(isinstance(element, int | Fraction) for element in elements)


def sign(a: Element) -> Element:
    """-1, 0 or 1."""
    return choose(is_less(a, 0), -1, is_less(0, a))


@_arithmetic
def is_negative(a: Element) -> Any:
    """1 or 0 where that is the same for all sizes."""
    if isinstance(a, int | Fraction):
        return int(a < 0)
    lowest, highest = interval(a)
    if a.is_negative or highest < 0:
        return 1
    return 0 if a.is_nonnegative or lowest >= 0 else UNKNOWN


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


def is_less(a: Element, b: Element) -> Element:
    """1 or 0, or the comparison itself where the sizes decide."""
    answer = less(a, b)
    return answer if answer is not UNKNOWN else _compared(symbolic_functions.Less, a, b)


def is_equal(a: Element, b: Element) -> Element:
    """1 or 0, or the comparison itself where the sizes decide."""
    answer = equal(a, b)
    return answer if answer is not UNKNOWN else _compared(symbolic_functions.Equal, a, b)


@_arithmetic
def _compared(kind: Any, a: Element, b: Element) -> Any:
    return kind(a, b)


def choose(condition: Element, a: Element, b: Element) -> Element:
    """``a`` where the condition holds, else ``b``."""
    if condition is UNKNOWN:
        return a if a == b else UNKNOWN
    if isinstance(condition, int | Fraction):
        return a if condition != 0 else b
    return _where(condition, a, b)


@_arithmetic
def _where(condition: Element, a: Element, b: Element) -> Any:
    return symbolic_functions.Where(condition, a, b)


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
