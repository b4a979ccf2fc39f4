"""Decision whether an equation holds for all sizes of a box, without trying them all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import sympy

from tripoint import symbols
from tripoint.shape_inference.constraints.equation import Equation
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.spec import Range
from tripoint.symbols import Dim

_MOST_TRIED = 100_000
"""Sizes that are tried where that many show it for all."""
_MOST_BOXES = 256
"""Parts that a box is cut into."""


def surely_holds(equation: Equation, ranges: Mapping[str, Range]) -> bool:
    """Return whether an equation surely holds for all sizes in the ranges; False says nothing."""
    own = {name: ranges[name] for name in sorted(equation.symbols)}
    left, right = (_limited(side, own) for side in (equation.left, equation.right))
    if equation.kind in ("at_least", "at_most"):
        return _bounded(equation, own)
    if equation.kind in ("broadcast", "expands"):
        sides = (right,) if equation.kind == "expands" else (left, right)
        if any(e.interval(side) == (1, 1) for side in sides):
            return True
    if equation.kind != "divisible" and e.interval(sympy.expand(left - right)) == (0, 0):
        return True
    return _repeats(equation, own)


def _limited(side: Dim, ranges: Mapping[str, Range]) -> sympy.Expr:
    """A side, with each symbol inside of its range."""
    limited = {}
    for name, size in ranges.items():
        # Of no sign by itself, so that nothing is left out of Max and Min.
        free = sympy.Symbol(name, integer=True)
        limited[free] = (
            sympy.Integer(size.min)
            if size.min == size.max
            else sympy.Min(sympy.Max(free, size.min), size.max)
        )
    return symbols.bare_expression(side).xreplace(limited)


def _bounded(equation: Equation, ranges: Mapping[str, Range]) -> bool:
    """Return whether bounds show an inequality, of the whole box or of the parts it is cut into."""
    more, less = (
        (equation.left, equation.right)
        if equation.kind == "at_least"
        else (equation.right, equation.left)
    )
    pending, count = [dict(ranges)], 0
    while pending:
        box = pending.pop()
        count += 1
        if e.interval(_limited(more, box) - _limited(less, box))[0] >= 0:
            continue
        name, widest = max(box.items(), key=lambda each: each[1].max - each[1].min)
        if widest.min == widest.max or count > _MOST_BOXES:
            return False
        middle = (widest.min + widest.max) // 2
        pending += [
            {**box, name: Range(low, low, high)}
            for low, high in ((widest.min, middle), (middle + 1, widest.max))
        ]
    return True


def _repeats(equation: Equation, ranges: Mapping[str, Range]) -> bool:
    """Return whether an equation between sums of products, rounded down or not, always holds.

    With ``L`` a multiple of all divisors, each side is a polynomial in ``k`` at the sizes
    ``L·k + r``, so both are the same for all sizes if they are at as many ``k`` as its degree
    and one more, for every ``r``.
    """
    whole = symbols.bare_expression(equation.left)
    other = symbols.bare_expression(equation.right)
    if equation.kind == "divisible" and not other.is_Integer:
        return False
    period = math.lcm(*(_period(side) or 0 for side in (whole, other)))
    if equation.kind == "divisible":
        period *= abs(int(other))
    if not 0 < period <= _MOST_TRIED:
        return False
    spans = [
        range(size.min, size.min + period * (max(_degree(s, name) for s in (whole, other)) + 1))
        for name, size in ranges.items()
    ]
    if math.prod(map(len, spans)) > _MOST_TRIED:
        return False
    tried = np.array(list(itertools.product(*spans)), dtype=object).T
    try:
        return bool(np.all(holds(equation, dict(zip(ranges, tried, strict=True)), strict=True)))
    except UndecidedError:
        return False


def _period(expression: sympy.Expr) -> int | None:
    """The ``L`` of one side; None if it holds anything but sums, products and rounding.

    Steps of ``L·n`` change the parts of a product or of a rest by multiples of ``n``, whatever
    they are at the first one.
    """
    if expression.is_Rational:
        return int(expression.q)
    if expression.is_Symbol:
        return 1
    if isinstance(expression, sympy.Pow):
        plain = expression.exp.is_Integer and expression.exp > 0
        return _period(expression.base) if plain else None
    parts = [_period(part) for part in expression.args]
    periods = [part for part in parts if part is not None]
    if len(periods) < len(parts):
        return None
    if isinstance(expression, sympy.Add | sympy.floor | sympy.ceiling):
        return math.lcm(*periods)
    if isinstance(expression, sympy.Mul):
        divisor = int(expression.as_coeff_Mul()[0].q)
        return divisor * math.lcm(*(_period(part) or 1 for part in expression.args if part.args))
    if isinstance(expression, sympy.Mod) and expression.args[1].is_Integer:
        return int(expression.args[1]) * periods[0]
    return None


def _degree(expression: sympy.Expr, name: str) -> int:
    """The degree in one symbol, which rounding does not change."""
    if isinstance(expression, sympy.Symbol):
        return int(expression.name == name)
    if isinstance(expression, sympy.Pow):
        return _degree(expression.base, name) * int(expression.exp)
    parts = [_degree(part, name) for part in expression.args]
    if isinstance(expression, sympy.Mul):
        return sum(parts)
    return max(parts, default=0)
