"""Bounds of expressions in sizes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy

from tripoint import symbolic_functions, symbols


@functools.lru_cache(maxsize=1 << 14)
def interval(a: Any, most: float = math.inf) -> tuple[float | Fraction, float | Fraction]:
    """Two numbers that an element lies between for all sizes; they may be infinite.

    Each part is taken by itself, so the numbers need not be the closest.

    Args:
        a: The element.
        most: The largest size.
    """
    if isinstance(a, int | Fraction):
        return a, a
    if isinstance(a, sympy.Rational):
        exact = Fraction(int(a.p), int(a.q))
        return exact, exact
    if isinstance(a, sympy.Symbol):
        return (1 if a.is_positive else 0 if a.is_nonnegative else -most), most
    parts = [interval(part, most) for part in a.args]
    if isinstance(a, sympy.Add):
        low, high = sum(low for low, _ in parts), sum(high for _, high in parts)
        least, greatest = _without_floors(a, most)
        return max(low, least), min(high, greatest)
    if isinstance(a, sympy.Mul):
        return functools.reduce(_times, parts)
    if isinstance(a, sympy.Max | sympy.Min):
        choose = max if isinstance(a, sympy.Max) else min
        return choose(low for low, _ in parts), choose(high for _, high in parts)
    if isinstance(a, symbolic_functions.Less | symbolic_functions.Equal):
        return 0, 1
    if isinstance(a, symbolic_functions.Where):
        return min(low for low, _ in parts[1:]), max(high for _, high in parts[1:])
    for kind, near in _NEAR.items():
        if isinstance(a, kind):
            ((low, high),) = parts
            return low if math.isinf(low) else near(low), high if math.isinf(high) else near(high)
    if isinstance(a, sympy.Mod) and parts[1][0] > 0:
        return 0, parts[1][1]
    if isinstance(a, sympy.Pow) and parts[0][0] >= 0 and a.exp == sympy.Rational(1, 2):
        # Between roots of integers, as they are exact.
        low, high = parts[0]
        return math.isqrt(math.floor(low)), high if math.isinf(high) else math.isqrt(
            math.ceil(high)
        ) + 1
    if isinstance(a, sympy.Pow) and parts[0][0] >= 0 and a.exp.is_Integer:
        (low, high), exponent = parts[0], int(a.exp)
        if exponent > 0:
            return low**exponent, high**exponent
        if exponent == -1:
            return (0 if math.isinf(high) else 1 / Fraction(high)), (
                1 / Fraction(low) if low else math.inf
            )
    return -math.inf, math.inf


def _without_floors(a: Any, most: float) -> tuple[float | Fraction, float | Fraction]:
    """Bounds of a sum in which parts cancel out, such as ``H - 4*floor(H/4)``.

    With an integer x, ``floor(x/n)`` is x/n or less, by ``(n - 1)/n`` at most.
    """
    low: float | Fraction = 0
    high: float | Fraction = 0
    terms = []
    for term in a.args:
        factor, inner = term.as_coeff_Mul()
        if not isinstance(inner, sympy.floor):
            terms.append(term)
            continue
        whole, divisor = symbols.over_integer(inner.args[0])
        slack = Fraction(int(factor.p), int(factor.q))
        if whole.is_integer:
            slack *= Fraction(int(divisor) - 1, int(divisor))
        low -= max(slack, Fraction(0))
        high -= min(slack, Fraction(0))
        terms.append(factor * inner.args[0])
    if len(terms) < 2 or terms == list(a.args):
        return -math.inf, math.inf
    least, greatest = interval(sympy.expand(sympy.Add(*terms)), most)
    least, greatest = least + low, greatest + high
    if a.is_integer:
        least = least if math.isinf(least) else math.ceil(least)
        greatest = greatest if math.isinf(greatest) else math.floor(greatest)
    return least, greatest


def _nearest(kind: Any) -> Callable[[float | Fraction], float | Fraction]:
    def near(a: float | Fraction) -> float | Fraction:
        rounded = symbolic_functions.nearest(Fraction(a), kind.digits, kind.largest)
        return rounded if rounded is not None else a

    return near


_NEAR: dict[Any, Callable[[float | Fraction], float | Fraction]] = {
    sympy.floor: math.floor,
    sympy.ceiling: math.ceil,
    symbolic_functions.Round: round,
    symbolic_functions.Float32: _nearest(symbolic_functions.Float32),
    symbolic_functions.Float64: _nearest(symbolic_functions.Float64),
}


def _times(
    a: tuple[float | Fraction, float | Fraction], b: tuple[float | Fraction, float | Fraction]
) -> tuple[float | Fraction, float | Fraction]:
    corners = [x * y if x and y else 0 for x in a for y in b]
    return min(corners), max(corners)
