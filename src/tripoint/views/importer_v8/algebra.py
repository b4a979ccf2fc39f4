"""Integer expressions over dims that are not known, in the normal form of the TensorRT core.

From 8.0 on the core computes sizes with expressions instead of giving up at an unknown dim:
``N - N`` is 0, the -1 of a reshape from ``(N, 768)`` to ``(N, -1, 64)`` is 12. It knows a size
where the normal form of the expression is an integer, and prints -1 elsewhere. How far the normal
form goes was found by experiment with TensorRT-RTX 1.6.1:

- sums of products with integer factors are added up; a product of sums is not multiplied out;
- a division by an integer is carried out if it divides every factor, or downstream of another
  division;
- ``x - min(x, y)`` becomes ``max(x - y, 0)``;
- a minimum or maximum is decided by bounds, by equal operands, or if one operand is a multiple of
  the other or differs from it by an integer;
- a selection is decided by its condition alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

Bound: TypeAlias = int | float
"""An integer, or plus or minus infinity."""

COPY = "copy_or_size"
"""The operator of a size in a reshape that copies the dim at its place if it is 0."""

MOST = 2**31 - 1
"""Largest size of a dim."""

_MOST_TERMS = 16
_MOST_FACTORS = 16
_MOST_PARTS = 16
_INT64 = 2**63
_LONGEST_TEXT = 80
_LONGEST_OPERAND = 24


@dataclass(frozen=True, eq=False, slots=True)
class Atom:
    """Expression that is not broken down further: a dim, a minimum, a division.

    Args:
        rank: Place in the order of all atoms of one algebra.
        operator: Empty for a symbol.
        operands: What the operator is applied to.
        low: Smallest value.
        high: Largest value.
        name: How it is printed.
    """

    rank: int
    operator: str
    operands: tuple[Value, ...]
    low: Bound
    high: Bound
    name: str

    def __str__(self) -> str:
        return self.name


Product: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Expression:
    """A sum of products and an integer. Equal expressions of one algebra are one object.

    Args:
        terms: Products with their factors.
        constant: The integer.
        low: Smallest value.
        high: Largest value.
        rank: Place in the order of all expressions of one algebra.
    """

    terms: tuple[tuple[Product, int], ...]
    constant: int
    low: Bound
    high: Bound
    rank: int

    def __str__(self) -> str:
        parts = [_term(product, factor) for product, factor in self.terms]
        if self.constant:
            parts.append(str(self.constant))
        text = " + ".join(parts).replace("+ -", "- ")
        return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


Value: TypeAlias = int | float | Expression
"""An element of a shape tensor. Floats are only computed with where they are known."""

Dim: TypeAlias = int | Expression
Dims: TypeAlias = tuple[Dim, ...]


def _short(operand: Value) -> str:
    text = str(operand)
    return text if len(text) <= _LONGEST_OPERAND else "..."


def _term(product: Product, factor: int) -> str:
    names = [str(atom) for atom in product]
    return "*".join([*(() if factor == 1 else (str(factor),)), *names])


def bounds(value: Value) -> tuple[Bound, Bound]:
    """Smallest and largest value."""
    if isinstance(value, Expression):
        return value.low, value.high
    return value, value


@dataclass
class Algebra:
    """Makes expressions and keeps one object for all that are equal."""

    _atoms: dict[tuple[object, ...], Atom] = field(default_factory=dict)
    _expressions: dict[tuple[object, ...], Expression] = field(default_factory=dict)

    def symbol(self, name: str, low: Bound = 0, high: Bound = MOST) -> Expression:
        """A value that nothing is known of but its bounds; one for each name."""
        return self._single(self._atom("", (name,), low, high, name))

    def unknown(self, operator: str, *operands: Value) -> Expression:
        """The result of an operator that is not computed; equal operands give equal results."""
        return self._apply(operator, operands, -math.inf, math.inf)

    def size(self, operator: str, *operands: Value) -> Expression:
        """Return the symbol of :meth:`unknown`, for a result that is a size."""
        return self._apply(operator, operands, 0, MOST)

    def add(self, a: Dim, b: Dim) -> Dim:
        """Sum."""
        if isinstance(a, int) and isinstance(b, int):
            return self._sum({}, a + b)
        total: Counter[Product] = Counter()
        constant = 0
        for value in (a, b):
            if isinstance(value, int):
                constant += value
            else:
                constant += value.constant
                for product, factor in value.terms:
                    total[product] += factor
        return self._sum(total, constant)

    def sub(self, a: Dim, b: Dim) -> Dim:
        """Difference; ``x - min(x, y)`` is ``max(x - y, 0)``, and so for the maximum."""
        for operator, other in (("min", self.maximum), ("max", self.minimum)):
            operands = _operands(b, operator)
            if a in operands:
                (rest,) = (each for each in operands if each != a)
                assert not isinstance(rest, float)  # noqa: S101 - sizes are not
                return other(self.sub(a, rest), 0)
        return self.add(a, self.mul(b, -1))

    def mul(self, a: Dim, b: Dim) -> Dim:
        """Product; only an integer is multiplied into a sum."""
        if isinstance(b, int):
            a, b = b, a
        if isinstance(a, int):
            if isinstance(b, int):
                return self._sum({}, a * b)
            return self._sum({p: f * a for p, f in b.terms}, b.constant * a)
        if isinstance(b, int):
            return self.mul(b, a)
        (x, left), (y, right) = self._factors(a), self._factors(b)
        return self._product(x * y, (*left, *right))

    def product(self, values: Iterable[Dim]) -> Dim:
        """Product of any number of values."""
        result: Dim = 1
        for value in values:
            result = self.mul(result, value)
        return result

    def floor_div(self, a: Dim, b: Dim) -> Dim:
        """Quotient, rounded down."""
        if isinstance(b, int):
            if b == 0:
                return self.unknown("floor_div", a, b)
            if isinstance(a, int):
                return a // b
            if b < 0:
                return self.floor_div(self.mul(a, -1), -b)
            if b == 1:
                return a
            if all(factor % b == 0 for _, factor in a.terms):
                return self._sum({p: f // b for p, f in a.terms}, a.constant // b)
            inner = self._inner_division(a)
            if inner is not None:
                numerator, divisor = inner
                return self.floor_div(numerator, divisor * b)
            low, high = a.low, a.high
            return self._apply("floor_div", (a, b), _floor(low, b), _floor(high, b))
        low, high = bounds(a)
        ratio = self._ratio(a, b) if b.low > 0 else None
        if ratio is not None:
            return ratio
        if low >= 0 and b.low >= 0:
            return self._apply("floor_div", (a, b), 0, high)
        return self.unknown("floor_div", a, b)

    def _ratio(self, a: Dim, b: Expression) -> int | None:
        """The integer that ``a`` is ``b`` times."""
        if not isinstance(a, Expression) or a.terms[0][1] % b.terms[0][1]:
            return None
        ratio = a.terms[0][1] // b.terms[0][1]
        return ratio if self.mul(b, ratio) is a else None

    def _inner_division(self, a: Expression) -> tuple[Dim, int] | None:
        """``x + k * d`` and ``d``, if the value is ``x // d + k``."""
        if len(a.terms) != 1 or a.terms[0][1] != 1 or len(a.terms[0][0]) != 1:
            return None
        (atom,) = a.terms[0][0]
        if atom.operator != "floor_div":
            return None
        numerator, divisor = atom.operands
        if not isinstance(divisor, int) or isinstance(numerator, float):
            return None
        return self.add(numerator, a.constant * divisor), divisor

    def div(self, a: Dim, b: Dim) -> Dim:
        """Quotient, rounded towards zero."""
        if isinstance(a, int) and isinstance(b, int) and b:
            return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        low, _ = bounds(a)
        if isinstance(b, Expression) and low >= 0 and b.low >= 0:
            return self.floor_div(a, b)
        if isinstance(b, int) and b > 0 and isinstance(a, Expression):
            exact = a.constant % b == 0 and all(factor % b == 0 for _, factor in a.terms)
            if low >= 0 or exact:
                return self.floor_div(a, b)
        return self.unknown("div", a, b)

    def mod(self, a: Dim, b: Dim) -> Dim:
        """Remainder with the sign of the divisor."""
        return self.sub(a, self.mul(b, self.floor_div(a, b)))

    def maximum(self, a: Dim, b: Dim) -> Dim:
        """The larger one."""
        order = self._order(a, b)
        if order is not None:
            return a if order >= 0 else b
        for x, y in ((a, b), (b, a)):
            inner = _beside_integer(x, "max")
            if inner is not None and isinstance(y, int):
                return self.maximum(inner, y)  # else the bounds would have decided
        (low, high), (lower, higher) = bounds(a), bounds(b)
        return self._apply("max", self._sorted((a, b)), max(low, lower), max(high, higher))

    def minimum(self, a: Dim, b: Dim) -> Dim:
        """The smaller one."""
        order = self._order(a, b)
        if order is not None:
            return a if order <= 0 else b
        for x, y in ((a, b), (b, a)):
            inner = _beside_integer(x, "min")
            if inner is not None and isinstance(y, int):
                return self.minimum(inner, y)  # else the bounds would have decided
        (low, high), (lower, higher) = bounds(a), bounds(b)
        return self._apply("min", self._sorted((a, b)), min(low, lower), min(high, higher))

    def absolute(self, a: Dim) -> Dim:
        """Without its sign."""
        low, high = bounds(a)
        if low >= 0:
            return a
        return self.mul(a, -1) if high <= 0 else self.unknown("abs", a)

    def equal(self, a: Dim, b: Dim) -> Dim:
        """1 or 0."""
        difference = self._difference(a, b)
        if difference is not None:
            low, high = bounds(difference)
            if low > 0 or high < 0:
                return 0
            if low == high == 0:
                return 1
        return self._apply("equal", self._sorted((a, b)), 0, 1)

    def greater(self, a: Dim, b: Dim) -> Dim:
        """1 or 0."""
        difference = self._difference(a, b)
        if difference is not None and bounds(difference)[0] > 0:
            return 1
        order = self._order(a, b)
        if order is not None and order <= 0:
            return 0
        return self._apply("greater", (a, b), 0, 1)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """The first value where the condition holds, else the second."""
        if not isinstance(condition, Expression):
            return a if condition else b
        (low, high), (lower, higher) = bounds(a), bounds(b)
        return self._apply("select", (condition, a, b), min(low, lower), max(high, higher))

    def broadcast(self, a: Dim, b: Dim) -> Dim:
        """Dim of an elementwise layer; the caller has refused integers that do not fit."""
        if a is b or a == b or b == 1:
            return a
        if a == 1:
            return b
        for value in (a, b):
            if isinstance(value, int):
                return value
        parts = {*(_operands(a, "broadcast") or (a,)), *(_operands(b, "broadcast") or (b,))}
        if len(parts) > _MOST_PARTS:
            parts = {a, b}
        left = [part for part in parts if not _covered(part, parts)]
        if len(left) == 1 and not isinstance(left[0], float):
            return left[0]
        return self._apply("broadcast", self._sorted(left), 0, MOST)

    def solve(self, sizes: Iterable[Dim], others: Iterable[Dim]) -> Dim:
        """The -1 of a reshape: the product of some dims divided by that of others."""
        volume, rest = self.product(sizes), self.product(others)
        if rest == 1 or volume == 0:
            return volume
        (count, factors), (divisor, divisors) = self._primitive(volume), self._primitive(rest)
        open_, left = Counter(factors), Counter(divisors)
        if divisor and count % divisor == 0 and not left - open_:
            return self._product(count // divisor, tuple((open_ - left).elements()))
        return self._apply("solve", (volume, rest), 0, MOST)

    def uncancelled(self, a: Dim, b: Dim) -> tuple[Dim, Dim]:
        """Return a quotient's two sides with their common factors removed."""
        (count, factors), (divisor, divisors) = self._primitive(a), self._primitive(b)
        above, below = Counter(factors), Counter(divisors)
        common = math.gcd(count, divisor) or 1
        return (
            self._product(count // common, tuple((above - below).elements())),
            self._product(divisor // common, tuple((below - above).elements())),
        )

    def never_equal(self, a: Dim, b: Dim) -> bool:
        """Return whether one number of elements is not 0, and the other a multiple of it."""
        (count, factors), (divisor, divisors) = self._primitive(a), self._primitive(b)
        if not count or not divisor or count == divisor:
            return False
        smaller = b
        if abs(count) < abs(divisor):
            count, factors, divisor, divisors = divisor, divisors, count, factors
            smaller = a
        return (
            bounds(smaller)[0] > 0
            and count % divisor == 0
            and not Counter(divisors) - Counter(factors)
        )

    def _order(self, a: Dim, b: Dim) -> int | None:
        """Positive if ``a`` is never smaller, negative if it is never larger, 0 if equal."""
        difference = self._difference(a, b)
        (low, high), (lower, higher) = bounds(a), bounds(b)
        least, most = (low - higher, high - lower) if difference is None else bounds(difference)
        if least == most == 0:
            return 0
        if least >= 0 or low >= higher:
            return 1
        if most <= 0 or high <= lower:
            return -1
        return 1 if _never_smaller(a, b) else -1 if _never_smaller(b, a) else None

    def _difference(self, a: Dim, b: Dim) -> Dim | None:
        """``a - b`` if both are multiples of one sum, except for integers."""
        if isinstance(a, Expression) and isinstance(b, Expression):
            if [product for product, _ in a.terms] != [product for product, _ in b.terms]:
                return None
            ratios = {Fraction(x, y) for (_, x), (_, y) in zip(a.terms, b.terms, strict=True)}
            if len(ratios) > 1:
                return None
        return self.sub(a, b)

    def _factors(self, value: Dim) -> tuple[int, Product]:
        """A value as an integer times a product; a sum is taken as one factor."""
        if isinstance(value, int):
            return value, ()
        if len(value.terms) == 1 and not value.constant:
            product, factor = value.terms[0]
            return factor, product
        return 1, (self._atom("sum", (value,), value.low, value.high, f"({value})"),)

    def _primitive(self, value: Dim) -> tuple[int, Product]:
        """Return the result of :meth:`_factors`, with the integer that divides a sum taken out."""
        if isinstance(value, int):
            return self._factors(value)
        common = math.gcd(value.constant, *(factor for _, factor in value.terms))
        primitive = self._sum({p: f // common for p, f in value.terms}, value.constant // common)
        factor, product = self._factors(primitive)
        return factor * common, product

    def _product(self, factor: int, factors: Product) -> Dim:
        """An integer times factors, after ``x * min(x, 1) = max(x, 1) * min(x, 1) = x``."""
        left = Counter(factors)
        for atom in factors:
            if atom.operator != "min" or 1 not in atom.operands or not left[atom]:
                continue
            (value,) = (operand for operand in atom.operands if operand != 1)
            if not isinstance(value, Expression):
                continue
            one, single = self._factors(value)
            larger = self._single_atom(self.maximum(value, 1))
            rest = left - Counter([atom])
            if one == 1 and not Counter(single) - rest:
                left = rest
            elif one == 1 and larger is not None and rest[larger]:
                left = rest - Counter([larger]) + Counter(single)
        ordered = tuple(sorted(left.elements(), key=lambda atom: atom.rank))
        if not ordered:
            return factor
        if factor and len(ordered) == 1 and ordered[0].operator == "sum":
            (operand,) = ordered[0].operands
            assert isinstance(operand, Expression)  # noqa: S101 - a sum has one
            return self.mul(operand, factor)
        return self._sum({ordered: factor}, 0)

    def _sum(self, terms: Mapping[Product, int], constant: int) -> Dim:
        left = {product: factor for product, factor in terms.items() if factor}
        if max(map(abs, (constant, *left.values()))) >= _INT64:
            return self.symbol(f"overflow {len(self._atoms)}", -math.inf, math.inf)
        if not left:
            return constant
        ranked = sorted(left.items(), key=lambda term: tuple(atom.rank for atom in term[0]))
        key = (tuple(ranked), constant)
        if key not in self._expressions:
            low: Bound = constant
            high: Bound = constant
            for product, factor in ranked:
                least, most = _times((factor, factor), _bounds_of(product))
                low, high = low + least, high + most
                remainder = _remainder(left, constant, product, factor)
                if remainder is not None:
                    low, high = remainder
                    break
            low, high = _bounded(low), _bounded(high)
            expression = Expression(tuple(ranked), constant, low, high, len(self._expressions))
            self._expressions[key] = expression
            longest = max(len(product) for product, _ in ranked)
            if len(ranked) > _MOST_TERMS or longest > _MOST_FACTORS:
                self._expressions[key] = self._apply("long", (expression,), low, high)
        return self._expressions[key]

    def _apply(
        self, operator: str, operands: Sequence[Value], low: Bound, high: Bound
    ) -> Expression:
        name = f"{operator}({', '.join(map(_short, operands))})"
        return self._single(self._atom(operator, tuple(operands), low, high, name))

    def _atom(
        self, operator: str, operands: tuple[Value | str, ...], low: Bound, high: Bound, name: str
    ) -> Atom:
        key = (operator, *((type(operand), operand) for operand in operands))
        if key not in self._atoms:
            kept = tuple(operand for operand in operands if not isinstance(operand, str))
            self._atoms[key] = Atom(len(self._atoms), operator, kept, low, high, name)
        return self._atoms[key]

    def _single(self, atom: Atom) -> Expression:
        result = self._sum({(atom,): 1}, 0)
        assert isinstance(result, Expression)  # noqa: S101 - it has a term
        return result

    @staticmethod
    def _single_atom(value: Dim) -> Atom | None:
        if isinstance(value, int) or value.constant or len(value.terms) != 1:
            return None
        product, factor = value.terms[0]
        return product[0] if factor == 1 and len(product) == 1 else None

    @staticmethod
    def _sorted(values: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(
            sorted(
                values,
                key=lambda value: (1, value.rank) if isinstance(value, Expression) else (0, value),
            )
        )


def _operands(value: Dim, operator: str) -> tuple[Value, ...]:
    """Operands of a value that is nothing but this operator, else none."""
    atom = Algebra._single_atom(value)
    return atom.operands if atom is not None and atom.operator == operator else ()


def _remainder(
    terms: Mapping[Product, int], constant: int, product: Product, factor: int
) -> tuple[int, int] | None:
    """Bounds of a sum that is ``x - c * (x // c)``, whose last product this is, plus an integer."""
    if len(product) != 1 or product[0].operator != "floor_div":
        return None
    numerator, divisor = product[0].operands
    if not isinstance(numerator, Expression) or divisor != -factor:
        return None
    rest = {other: count for other, count in terms.items() if other != product}
    if rest != dict(numerator.terms):
        return None
    offset = constant - numerator.constant
    return offset, offset - factor - 1


def _covered(part: Value, others: set[Value]) -> bool:
    """Return whether a dim adds nothing to a broadcast with another that it is made from.

    Either it is a size that copies a dim where it is 0, or the minimum with an integer: where it
    is not the other dim, the broadcast is not valid.
    """
    if not isinstance(part, Expression):
        return False
    if any(operand in others for operand in _operands(part, COPY)[:1]):
        return True
    return _beside_integer(part, "min") in others


def _never_smaller(a: Dim, b: Dim) -> bool:
    """Return whether ``b`` is a minimum of ``a``, a part of it, or ``a`` a maximum of ``b``."""
    numerator, divisor = _operands(b, "floor_div") or (None, None)
    part = numerator is a and isinstance(divisor, int) and bounds(a)[0] >= 0
    return part or b in _operands(a, "max") or a in _operands(b, "min")


def _beside_integer(value: Dim, operator: str) -> Expression | None:
    """The other operand of a minimum or maximum with an integer."""
    operands = _operands(value, operator)
    if not any(isinstance(operand, int) for operand in operands):
        return None
    return next((each for each in operands if isinstance(each, Expression)), None)


def _bounds_of(product: Product) -> tuple[Bound, Bound]:
    result: tuple[Bound, Bound] = (1, 1)
    for atom in product:
        result = _times(result, (atom.low, atom.high))
    return result


def _times(a: tuple[Bound, Bound], b: tuple[Bound, Bound]) -> tuple[Bound, Bound]:
    corners = [x * y if x and y else 0 for x in a for y in b]
    return min(corners), max(corners)


def _bounded(bound: Bound) -> Bound:
    """A bound that is infinite where it does not fit into INT64."""
    if abs(bound) < _INT64:
        return bound
    return math.inf if bound > 0 else -math.inf


def _floor(bound: Bound, divisor: int) -> Bound:
    return bound // divisor if isinstance(bound, int) else bound
