"""Relations of two dims that hold for all sizes of the inputs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from fractions import Fraction

from tripoint.symbols import Dim, Shape, equal, expression, symbols_of


def same(a: Dim, b: Dim) -> bool:
    """Return whether two dims are equal for all sizes."""
    return a == b or equal(a, b) is True


def same_shape(a: Shape | None, b: Shape | None) -> bool:
    """Return whether two shapes are equal for all sizes."""
    return a is not None and b is not None and len(a) == len(b) and all(map(same, a, b))


def may_be_zero(dim: Dim) -> bool:
    """Return whether a dim is 0 for some sizes, or that is not decided."""
    try:
        return expression(dim).is_positive is not True
    except ValueError:
        return True


@functools.lru_cache(maxsize=4096)
def ratio(small: Dim, large: Dim) -> Fraction | None:
    """``large / small`` where that is the same for all sizes; None where it is not."""
    if small == 0:
        return None
    if isinstance(small, int) and isinstance(large, int):
        return Fraction(large, small)
    if symbols_of(small) != symbols_of(large):
        return None
    import sympy

    try:
        quotient = sympy.simplify(expression(large) / expression(small))
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return Fraction(int(quotient.p), int(quotient.q)) if quotient.is_Rational else None


@functools.lru_cache(maxsize=4096)
def difference(a: Dim, b: Dim) -> int | None:
    """``a - b`` where that is the same for all sizes; None where it is not."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    if symbols_of(a) != symbols_of(b):
        return None
    import sympy

    try:
        rest = sympy.simplify(expression(a) - expression(b))
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return int(rest) if rest.is_Integer else None


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dims, as a dim."""
    number, factors = 1, []
    for dim in dims:
        if isinstance(dim, int):
            number *= dim
        else:
            factors.append(f"({dim})")
    if not factors or not number:
        return number
    return "*".join([str(number), *factors] if number != 1 else factors)


def split(pieces: Sequence[Dim], wholes: Sequence[Dim]) -> list[list[int]] | None:
    """Return the consecutive pieces that multiply to each whole; None if there is no such split.

    Args:
        pieces: Dims, in order.
        wholes: Dims of the same elements in the same order, each a product of some pieces.

    Returns:
        Indices of the pieces for each whole, those of size 1 left out; None if a whole is no
        product of pieces in a row.
    """
    rest = [index for index, dim in enumerate(pieces) if dim != 1]
    groups: list[list[int]] = []
    for whole in wholes:
        group: list[int] = []
        while not same(product(pieces[index] for index in group), whole):
            if not rest:
                return None
            group.append(rest.pop(0))
        groups.append(group)
    return groups if not rest else None
