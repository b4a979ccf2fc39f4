"""Functions of sympy that sizes hold besides arithmetic: rounding, comparisons, cases.

A float that shape arithmetic made is written as what it is: ``floor(float32(0.3*H))`` is the floor
of the product of ``H`` and the float32 that is next to 0.3, which itself is rounded to a float32
(IEEE 754: to the nearest, halves to the even one). Decimals inside of ``float32(...)`` and
``float64(...)`` stand for the float of that type that is next to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, ClassVar

import sympy

_PLAIN_DENOMINATOR = 1 << 10
"""Up to here a fraction is written as one, beyond it as a decimal."""


def nearest(number: Fraction | int, digits: int, largest: int) -> Fraction | None:
    """The float that is next to a number, as IEEE 754 rounds to it.

    Args:
        number: Any; numbers so small that they are rounded to a subnormal are left out.
        digits: Binary digits of the significand.
        largest: Exponent of the largest float.

    Returns:
        None where that is infinite or subnormal.
    """
    if number == 0:
        return Fraction(0)
    exact = Fraction(number)
    place = exact.numerator.bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** place:
        place -= 1
    unit = Fraction(2) ** (place - digits + 1)
    rounded = round(exact / unit) * unit
    return rounded if place >= 1 - largest and abs(rounded) < Fraction(2) ** (largest + 1) else None


def nearest_root(square: Fraction, digits: int) -> Fraction:
    """The float that is next to the root of a number, which is not negative."""
    # Two digits more than the float has, and a last one that says whether anything is left.
    shift = max(0, 2 * digits + 8 - square.numerator.bit_length() + square.denominator.bit_length())
    shift += shift % 2
    scaled, rest = divmod(square.numerator << shift, square.denominator)
    root = math.isqrt(scaled)
    exact = 2 * root + int(bool(rest) or root * root != scaled)
    rounded = nearest(Fraction(exact, 1 << (shift // 2 + 1)), digits, 1 << 14)
    return rounded if rounded is not None else Fraction(0)


def radicand(expression: Any) -> Any:
    """Return the expression that an expression is the square root of; None if it is no root.

    sympy writes the root of ``3*H`` as a product of roots.
    """
    half = sympy.Rational(1, 2)
    if isinstance(expression, sympy.Pow) and expression.exp == half:
        return expression.base
    factors = sympy.Mul.make_args(expression)
    roots = [part for part in factors if isinstance(part, sympy.Pow) and part.exp == half]
    # Symbols are sizes, whatever else they are said to be.
    others = [part for part in factors if part not in roots and not part.is_Symbol]
    if not roots or not all(part.is_nonnegative for part in others):
        return None
    return sympy.Mul(*(part.base if part in roots else part**2 for part in factors))


def _rational(number: Fraction | None) -> Any:
    return sympy.nan if number is None else sympy.Rational(number.numerator, number.denominator)


def _fraction(number: Any) -> Fraction:
    return Fraction(int(number.p), int(number.q))


class Rounded(sympy.Function):  # type: ignore[misc]
    """A number rounded to a float; a number again where the argument is one."""

    digits: ClassVar[int]
    largest: ClassVar[int]
    is_real = True
    is_finite = True

    @classmethod
    def eval(cls, number: Any) -> Any:
        """The number itself, if it is one or needs no rounding."""
        if number.is_Rational:
            return _rational(nearest(_fraction(number), cls.digits, cls.largest))
        if number in (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
            return sympy.nan
        if isinstance(number, Rounded) and number.digits <= cls.digits:
            return number
        if not number.free_symbols and (square := number**2).is_Rational:
            root = nearest_root(_fraction(square), cls.digits)
            return _rational(-root if number.is_negative else root)
        return None

    def _eval_is_integer(self) -> bool | None:
        return True if self.args[0].is_integer else None

    def _eval_is_nonnegative(self) -> bool | None:
        return self.args[0].is_nonnegative  # type: ignore[no-any-return]

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_positive else None

    def _sympystr(self, printer: Any) -> str:
        # A printer lasts for one text, in which what is nested stands in all that is around it.
        texts = vars(printer).setdefault("rounded", {})
        if self not in texts:
            written = self.args[0].xreplace(self._written(self.args[0], printer))
            texts[self] = f"{type(self).__name__}({printer._print(written)})"
        return str(texts[self])

    def _written(self, whole: Any, printer: Any) -> dict[Any, Any]:
        """The parts that are not written as sympy does: decimals, and floats of other types."""
        inner = {part: sympy.Symbol(printer._print(part)) for part in whole.atoms(Rounded)}
        plain = whole.xreplace({part: sympy.Dummy() for part in inner})
        for number in plain.atoms(sympy.Rational):
            if number.q > _PLAIN_DENOMINATOR:
                text = self.decimal(_fraction(number))
                if text is not None:
                    inner[number] = sympy.Symbol(text)
        return inner

    @classmethod
    def decimal(cls, number: Fraction) -> str | None:
        """The shortest decimal that stands for a float of this type, None if there is none."""
        if nearest(number, cls.digits, cls.largest) != number:
            return None
        for places in range(1, 18):
            text = f"{float(number):.{places}g}"
            if "e" not in text and cls.read(text) == number:
                return text
        return None

    @classmethod
    def read(cls, decimal: str) -> Fraction | None:
        """The float that a decimal stands for."""
        return nearest(Fraction(decimal), cls.digits, cls.largest)


class Float32(Rounded):
    """A float of 24 binary digits."""

    digits = 24
    largest = 127


class Float64(Rounded):
    """A float of 53 binary digits."""

    digits = 53
    largest = 1023


class Round(sympy.Function):  # type: ignore[misc]
    """The nearest integer, of halves the even one."""

    is_integer = True

    @classmethod
    def eval(cls, number: Any) -> Any:
        """The integer, if it is decided."""
        if number.is_Rational:
            return sympy.Integer(round(_fraction(number)))
        if number.is_integer:
            return number
        # No root of a number is a half.
        return None if number.free_symbols else sympy.floor(number + sympy.Rational(1, 2))

    def _eval_is_nonnegative(self) -> bool | None:
        return True if self.args[0].is_nonnegative else None


class Less(sympy.Function):  # type: ignore[misc]
    """1 where the first number is less than the second, else 0."""

    is_integer = True
    is_nonnegative = True

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        """The answer, if it is decided."""
        difference = a - b
        return None if difference.free_symbols else sympy.Integer(int(bool(difference < 0)))


class Equal(sympy.Function):  # type: ignore[misc]
    """1 where two numbers are the same, else 0."""

    is_integer = True
    is_nonnegative = True

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        """The answer, if it is decided."""
        difference = a - b
        return None if difference.free_symbols else sympy.Integer(int(bool(difference == 0)))


class Where(sympy.Function):  # type: ignore[misc]
    """The second number where the first is not 0, else the third."""

    is_real = True

    @classmethod
    def eval(cls, condition: Any, a: Any, b: Any) -> Any:
        """The case that holds, if it is decided, or a simpler form."""
        if condition.is_Rational:
            return b if condition == 0 else a
        if a == b:
            return a
        turned = 1 - condition
        if isinstance(turned, Less | Equal):
            return cls(turned, b, a)
        if isinstance(condition, Less):
            if (a, b) == condition.args:
                return sympy.Min(a, b)
            if (b, a) == condition.args:
                return sympy.Max(a, b)
        return None

    def _eval_is_integer(self) -> bool | None:
        return True if all(part.is_integer for part in self.args[1:]) else None

    def _eval_is_nonnegative(self) -> bool | None:
        return True if all(part.is_nonnegative for part in self.args[1:]) else None

    def _eval_is_positive(self) -> bool | None:
        return True if all(part.is_positive for part in self.args[1:]) else None


FUNCTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "float32": Float32,
        "float64": Float64,
        "round": Round,
        "less": Less,
        "equal": Equal,
        "where": Where,
    }
)
"""By the name that they have in the text of a dim."""

for _name, _function in FUNCTIONS.items():
    # sympy writes a function as its class is called.
    _function.__name__ = _name
