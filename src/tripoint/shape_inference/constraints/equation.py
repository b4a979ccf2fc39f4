"""One equation between sizes, and the forms that it is brought into.

A rule of an operator claims something about sizes (:class:`Claim`). :func:`normalized` drops what
holds for all sizes of at least 1 and writes the rest so that a person can read it:
``2*floor(H/2) == H`` is ``H % 2 == 0``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import onnx_ir as ir
import sympy

from tripoint import symbols
from tripoint.graph.source_lines import Source
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element
from tripoint.symbols import Dim

Kind = Literal["equal", "broadcast", "expands", "divisible", "volume", "at_least", "at_most"]
"""Relation of the left and the right side.

=============  ======================================================
``equal``      they are the same
``broadcast``  they are the same, or one of them is 1
``expands``    the right side is 1 or the same as the left one
``divisible``  the right side divides the left one
``volume``     two numbers of elements are the same
``at_least``   the left side is not less than the right one
``at_most``    the left side is not more than the right one
=============  ======================================================
"""

_LONGEST = 1000
"""Characters of a side; a longer one is not decided."""
_LARGE = 120
"""Parts of an expression."""
_SIGNS = {"equal": "==", "volume": "==", "at_least": ">=", "at_most": "<="}


@dataclass(frozen=True, slots=True)
class Equation:
    """Equation that a node needs sizes to satisfy, so that it runs and means the same.

    Args:
        kind: See :data:`Kind`.
        left: Integer or expression in the symbols of the inputs.
        right: The same; of an undecided equation in words, such as ``max(lengths)``.
        node: Name of the node.
        op: Its operator.
        tensor: Name of the tensor of the node that it is about.
        source: PyTorch line of the node, if the export recorded it.
        reason: One sentence that says why.
        decided: Whether sizes of the inputs decide it. False where tensor values do, or where
            the node is located in a branch or loop that may not run.
    """

    kind: Kind
    left: Dim
    right: Dim
    node: str
    op: str
    tensor: str
    source: Source | None
    reason: str
    decided: bool = True

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols of both sides."""
        return symbols.symbols_of(self.left) | symbols.symbols_of(self.right)

    @property
    def text(self) -> str:
        """The equation by itself, for instance ``"H % 32 == 0"``."""
        left, right = str(self.left), str(self.right)
        if self.kind == "divisible":
            return f"{_grouped(left)} % {_grouped(right)} == 0"
        if self.kind in ("broadcast", "expands"):
            if not self.decided:
                return self.meant
            sides = (self.left, self.right) if self.kind == "broadcast" else (self.right,)
            ones = [f"{side} == 1" for side in sides if _may_be_one(side)]
            return " or ".join([self.meant, *ones])
        return f"{left} {_SIGNS[self.kind]} {right}"

    @property
    def meant(self) -> str:
        """Return :attr:`text` without the 1 that sizes that broadcast may be."""
        if self.kind == "broadcast":
            return f"{self.left} == {self.right}"
        return f"{self.right} == {self.left}" if self.kind == "expands" else self.text


def _may_be_one(side: Dim) -> bool:
    """Return whether a side of an equation can be 1, where all sizes are 1 at least."""
    if isinstance(side, int):
        return side == 1
    low, high = e.interval(symbols.expression(side))
    return low <= 1 <= high


def _grouped(text: str) -> str:
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth == 0 and character in "+-*/ ":
            return f"({text})"
    return text


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim of a rule about a node, before it is normalized."""

    kind: Kind
    left: Element
    right: Element
    tensor: ir.Value | None
    reason: str


def normalized(claim: Claim) -> Iterator[tuple[Kind, Element, Element]]:
    """The equations that a claim comes to; none if it holds for all sizes of at least 1."""
    left, right = claim.left, claim.right
    if left is UNKNOWN or right is UNKNOWN:
        yield claim.kind, left, right
    elif _is_large(left) or _is_large(right):
        if not _same(left, right):
            yield claim.kind, left, right
    elif claim.kind == "volume":
        yield from _volume(left, right)
    elif claim.kind == "divisible":
        yield from _divisible(left, right)
    elif claim.kind == "equal":
        yield from _equal(left, right)
    elif claim.kind in ("broadcast", "expands"):
        yield from _broadcast(claim.kind, left, right)
    else:
        less, more = (right, left) if claim.kind == "at_least" else (left, right)
        apart = e.is_negative(_expanded(e.subtract(more, less))) != 0
        if apart and not e.is_at_least(more, less):
            yield _ordered(claim.kind, left, right)


def _ordered(kind: Kind, left: Element, right: Element) -> tuple[Kind, Element, Element]:
    """An inequality with its integers on the right: ``S <= 6`` for ``8 >= S + 2``."""
    if isinstance(left, int) and not isinstance(right, int):
        kind, left, right = ("at_most" if kind == "at_least" else "at_least"), right, left
    if isinstance(left, sympy.Expr) and isinstance(right, int):
        constant, rest = left.as_coeff_Add()
        if constant.is_Integer and rest != 0:
            left, right = rest, right - int(constant)
    return kind, left, right


def _expanded(element: Element) -> Element:
    return _plain(sympy.expand(element)) if isinstance(element, sympy.Expr) else element


def _equal(left: Element, right: Element) -> Iterator[tuple[Kind, Element, Element]]:
    if _same(left, right):
        return
    for a, b in ((left, right), (right, left)):
        if (divisor := _whole_part_of(b, a) or _rounded_up(b, a)) is not None:
            yield "divisible", a, divisor
            return
        if isinstance(b, sympy.Min | sympy.Max) and a in b.args:
            rest = b.func(*(part for part in b.args if part != a))
            yield ("at_most" if isinstance(b, sympy.Min) else "at_least"), a, _plain(rest)
            return
        if (cut := _cut(b, a)) is not None:
            yield _ordered("at_most", *cut)
            return
    yield "equal", *_integer_last(left, right)


def _integer_last(left: Element, right: Element) -> tuple[Element, Element]:
    return (right, left) if isinstance(left, int) else (left, right)


def _broadcast(
    kind: Kind, left: Element, right: Element
) -> Iterator[tuple[Kind, Element, Element]]:
    if _same(left, right) or right == 1 or (left == 1 and kind == "broadcast"):
        return
    for a, b in ((left, right), (right, left)):
        if (divisor := _whole_part_of(b, a)) is not None:
            yield "divisible", a, divisor
            return
        if isinstance(b, sympy.Min) and a in b.args:
            rest = _plain(b.func(*(part for part in b.args if part != a)))
            if (isinstance(rest, int) and rest > 1) or _is_by_data(a):
                yield "at_most", a, rest
                return
        if (cut := _cut(b, a)) is not None:
            yield _ordered("at_most", *cut)
            return
    if kind == "expands" and isinstance(right, int):
        yield "equal", left, right
        return
    yield (kind, *(_integer_last(left, right) if kind == "broadcast" else (left, right)))


def _is_by_data(side: Any) -> bool:
    """Return whether a side holds a made-up size, so that nothing is lost by a clear word."""
    return any(symbols.is_made_up(each.name) for each in side.free_symbols)


def _divisible(left: Element, right: Element) -> Iterator[tuple[Kind, Element, Element]]:
    if isinstance(left, int) and isinstance(right, int):
        if right == 0 or left % right:
            yield "divisible", left, right
        return
    quotient = e.divide(left, right)
    if quotient is UNKNOWN:
        yield "divisible", left, right
        return
    if isinstance(quotient, int) or quotient.is_integer or _is_whole(quotient):
        return
    above, below = sympy.fraction(sympy.together(quotient))
    yield "divisible", _plain(above), _plain(below)


def _is_whole(quotient: Any) -> bool:
    """Return whether every term of a sum of products has an integer coefficient and no divisor."""
    if not isinstance(quotient, sympy.Expr):
        return False
    return bool(sympy.expand(quotient).is_integer)


def _volume(left: Element, right: Element) -> Iterator[tuple[Kind, Element, Element]]:
    if _same(left, right):
        return
    if isinstance(left, int) and isinstance(right, int):
        yield "volume", left, right
        return
    if left == 0 or right == 0:
        yield "volume", left, right
        return
    ratio = e.divide(left, right)
    if ratio is UNKNOWN:
        yield "volume", left, right
        return
    if isinstance(ratio, int) and ratio == 1:
        return
    above, below = sympy.fraction(sympy.together(sympy.sympify(ratio)))
    pairs = _pairs(above, below) or _pairs(below, above)
    if pairs:
        for whole, divisor in pairs:
            yield "divisible", whole, divisor
        return
    yield "volume", *_integer_last(_plain(above), _plain(below))


def _pairs(above: Any, below: Any) -> list[tuple[Element, int]]:
    """Divisors that the factors of ``above`` must have, so that both products are the same.

    With ``a·b == m·floor(a/m)·n·floor(b/n)`` no factor on the right is more than its partner on
    the left, so the products are equal only if each pair is.
    """
    coefficient, factors = sympy.Mul(below).as_coeff_mul()
    open_factors = list(sympy.Mul.make_args(above))
    pairs: list[tuple[Element, int]] = []
    rest = int(coefficient) if coefficient.is_Integer else 0
    for factor in factors:
        match = next(
            (
                (whole, divisor)
                for whole in open_factors
                for divisor in _divisors(rest)
                if divisor > 1 and symbols.floor(whole / divisor) == factor
            ),
            None,
        )
        if match is None:
            return []
        open_factors.remove(match[0])
        pairs.append(match)
        rest //= match[1]
    left_over = sympy.Mul(*open_factors)
    return pairs if pairs and left_over == rest else []


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, min(number, 4096) + 1) if number % d == 0] if number > 0 else []


def _whole_part_of(product: Element, whole: Element) -> int | None:
    """The k for which ``product`` is ``k·floor(whole/k)``, if there is one."""
    if not isinstance(product, sympy.Expr) or not isinstance(whole, sympy.Expr):
        return None
    factor, rest = product.as_coeff_Mul()
    if not factor.is_Integer:
        return None
    if factor == 1:
        # floor((H + 1)/2 - 1/2) and the like were brought into one form before.
        constant, terms = product.as_coeff_Add()
        return None if constant == 0 or terms == product else _shifted(product, whole)
    return int(factor) if factor > 1 and symbols.floor(whole / factor) == rest else None


def _rounded_up(product: Element, whole: Element) -> int | None:
    """The k for which ``product`` is ``k·ceiling(whole/k)``, if there is one."""
    if not isinstance(product, sympy.Expr) or not isinstance(whole, sympy.Expr):
        return None
    factor = product.as_coeff_Add()[1].as_coeff_Mul()[0]
    if not factor.is_Integer or factor < 2:
        return None
    return (
        int(factor) if sympy.expand(factor * symbols.ceiling(whole / factor)) == product else None
    )


def _cut(part: Element, whole: Element) -> tuple[Element, int] | None:
    """Return what must not exceed a limit, so that a slice of a table is as long as was asked.

    With ``whole == X - Y``, ``Max(0, Min(c, X) - Min(c, Y))`` is ``whole`` where ``X <= c``, and
    less elsewhere; ``Y`` may be known to be no more than ``c``.

    Returns:
        ``X`` and ``c``; None if ``part`` is no such slice of ``whole``.
    """
    if isinstance(part, sympy.Max) and 0 in part.args and len(part.args) == 2:
        (part,) = (each for each in part.args if each != 0)
    if not isinstance(part, sympy.Expr):
        return None
    minima: list[tuple[int, Any, Any]] = []
    for term in sympy.Add.make_args(part):
        sign, inner = term.as_coeff_Mul()
        numbers = [each for each in inner.args if each.is_Integer]
        if isinstance(inner, sympy.Min) and sign in (1, -1) and len(numbers) == 1:
            ends = inner.func(*(each for each in inner.args if not each.is_Integer))
            minima.append((int(sign), ends, numbers[0]))
    last = [(ends, limit) for sign, ends, limit in minima if sign == 1]
    if len(last) != 1 or len({limit for *_, limit in minima}) != 1 or len(minima) > 2:
        return None
    uncut = part.subs({sympy.Min(ends, limit): ends for _, ends, limit in minima})
    if sympy.expand(uncut - whole) != 0 or e.sign(whole) != 1:
        return None
    ends, limit = last[0]
    return _plain(ends), int(limit)


def _shifted(product: Any, whole: Any) -> int | None:
    """Return the result of :func:`_whole_part_of` where an integer was taken out of the floor."""
    coefficients = {term.as_coeff_Mul()[0] for term in product.args if not term.is_number}
    if len(coefficients) != 1:
        return None
    (factor,) = coefficients
    if not factor.is_Integer or factor < 2:
        return None
    return int(factor) if sympy.expand(factor * symbols.floor(whole / factor)) == product else None


def _same(left: Element, right: Element) -> bool:
    if left == right or e.equal(left, right) == 1:
        return True
    difference = e.subtract(left, right)
    return not _is_large(difference) and _expanded(difference) == 0


def _is_large(element: Element) -> bool:
    """Return whether an expression is so long that rearranging it takes long, and helps nobody."""
    if not isinstance(element, sympy.Expr):
        return False
    parts = itertools.islice(sympy.preorder_traversal(element), _LARGE + 1)
    return sum(1 for _ in parts) > _LARGE


def _plain(expression: Any) -> Element:
    return int(expression) if getattr(expression, "is_Integer", False) else expression


def dim(element: Element) -> Dim | None:
    """An element as a dim in text; None if it is unknown, or too long to help anybody."""
    if isinstance(element, int):
        return element
    if element is UNKNOWN:
        return None
    text = str(element)
    return text if len(text) <= _LONGEST else None
