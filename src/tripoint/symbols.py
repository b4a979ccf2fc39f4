"""Arithmetic on symbolic dims. The expressions are parsed, never evaluated as Python."""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

Dim = int | str
"""A true dim: an integer, or an expression in symbols such as ``"2*N"`` or ``"floor(H/2)"``."""


Shape = tuple[Dim, ...]


_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_MADE_UP = re.compile(r"_d\d+")
_FLOATS = frozenset({"float32", "float64"})
_OWN = frozenset({"round", "less", "equal", "where"}) | _FLOATS
_FUNCTIONS = (
    frozenset({"floor", "ceiling", "max", "min", "mod", "Max", "Min", "Mod", "sqrt"}) | _OWN
)


def is_plain(text: str) -> bool:
    """Return whether a text is a symbol by itself: a name, and not that of a function."""
    return bool(_NAME.fullmatch(text)) and text not in _FUNCTIONS


def is_made_up(text: str) -> bool:
    """Return whether a text names a size that inference made up: ``_d0``, ``_d1`` and so on."""
    return bool(_MADE_UP.fullmatch(text))


@functools.lru_cache(maxsize=4096)
def symbols_of(dim: Dim) -> frozenset[str]:
    """Names of the symbols in a dim; empty for an integer."""
    if isinstance(dim, int):
        return frozenset()
    return frozenset(_NAME.findall(dim)) - _FUNCTIONS


_MAY_BE_ZERO: ContextVar[frozenset[str]] = ContextVar("_MAY_BE_ZERO", default=frozenset())


@contextlib.contextmanager
def symbols_that_may_be_zero(names: Iterable[str]) -> Iterator[None]:
    """Let the symbols of these names be 0 in every expression that is made meanwhile."""
    token = _MAY_BE_ZERO.set(frozenset(names))
    try:
        yield
    finally:
        _MAY_BE_ZERO.reset(token)


def that_may_be_zero() -> frozenset[str]:
    """The names given to :func:`symbols_that_may_be_zero`: what texts mean depends on them."""
    return _MAY_BE_ZERO.get()


def expression(dim: Dim) -> Any:
    """The dim as a sympy expression over integer symbols, see :func:`symbol`.

    Raises:
        ValueError: If the text is not an expression.
    """
    return _expression(dim, that_may_be_zero())


@functools.lru_cache(maxsize=4096)
def _expression(dim: Dim, zero: frozenset[str]) -> Any:
    del zero
    return _parsed(dim, symbol)


@functools.lru_cache(maxsize=4096)
def bare_expression(dim: Dim) -> Any:
    """Return :func:`expression` over symbols of which nothing is known: they may be 0.

    Raises:
        ValueError: As :func:`expression`.
    """
    return _parsed(dim, _bare)


def _parsed(dim: Dim, named: Callable[[str], Any]) -> Any:
    import sympy

    if isinstance(dim, int):
        return sympy.Integer(dim)
    if is_plain(dim):
        return named(dim)
    try:
        return _built(ast.parse(dim.strip(), mode="eval").body, named)
    except (
        *(SyntaxError, TypeError, LookupError, AttributeError),
        *(ArithmeticError, RecursionError, MemoryError),
    ) as error:
        raise ValueError(f"{dim!r} is not an expression in sizes") from error


def _built(node: ast.expr, named: Callable[[str], Any], decimals: Any = None) -> Any:
    """The expression of a tree.

    Args:
        node: The tree.
        named: The symbol of a name.
        decimals: The float type that decimals are of, see :mod:`tripoint.symbolic_functions`.
    """
    import sympy

    if isinstance(node, ast.Constant) and type(node.value) is int:
        return sympy.Integer(node.value)
    if isinstance(node, ast.Constant) and type(node.value) is float and decimals is not None:
        number = decimals.read(repr(node.value))
        return sympy.Rational(number.numerator, number.denominator)
    if isinstance(node, ast.Name):
        return named(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_built(node.operand, named, decimals)
    if isinstance(node, ast.BinOp):
        operands = (_built(operand, named, decimals) for operand in (node.left, node.right))
        return _BINARY[type(node.op)](*operands)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name in _OWN:
            from tripoint.symbolic_functions import FUNCTIONS

            function = FUNCTIONS[name]
            decimals = function if name in _FLOATS else decimals
        else:
            function = _CALLS[name]
        return function(*(_built(each, named, decimals) for each in node.args))
    raise TypeError(type(node).__name__)


@functools.lru_cache(maxsize=4096)
def _bare(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, integer=True)


def floor(value: Any) -> Any:
    """The largest integer that is not more, in canonical form.

    Equal sizes then read the same: with integers m and n, ``floor((floor(x) + m)/n)`` is
    ``floor((x + m)/n)``, an integer inside of a floor stands outside, and ``floor(-x/n)`` is
    ``-floor((x + n - 1)/n)``.
    """
    import sympy

    whole, divisor = over_integer(value)
    if whole.is_integer and whole.as_coeff_Add()[1].could_extract_minus_sign():
        return -floor((divisor - 1 - whole) / divisor)
    if whole.is_integer:
        terms = sympy.Add.make_args(whole)
        flat = [term.args[0] if isinstance(term, sympy.floor) else term for term in terms]
        value = sympy.Add(*flat) / divisor
    constant = sympy.floor(value.as_coeff_Add()[0])
    return sympy.floor(value - constant) + constant


def ceiling(value: Any) -> Any:
    """The smallest integer that is not less; of integers over an integer as a floor."""
    import sympy

    whole, divisor = over_integer(value)
    return floor((whole + divisor - 1) / divisor) if whole.is_integer else sympy.ceiling(value)


def over_integer(value: Any) -> tuple[Any, Any]:
    """An expression as a numerator with integer coefficients, over an integer."""
    import sympy

    terms = sympy.Add.make_args(value)
    divisor = sympy.ilcm(1, *(term.as_coeff_Mul()[0].as_numer_denom()[1] for term in terms))
    return sympy.Add(*(term * divisor for term in terms)), divisor


def _of_sympy(name: str) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        import sympy

        return getattr(sympy, name)(*values)

    return call


_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: floor(a / b),
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_CALLS: Mapping[str, Callable[..., Any]] = {
    "floor": floor,
    "ceiling": ceiling,
    **{name: _of_sympy(name) for name in ("sqrt", "Max", "Min", "Mod")},
    **{name.lower(): _of_sympy(name) for name in ("Max", "Min", "Mod")},
}


def symbol(name: str) -> Any:
    """The sympy symbol of a size: positive, but at least 0 for one that was made up.

    Such sizes, named ``_d0``, ``_d1`` and so on, may be decided by tensor values. See also
    :func:`symbols_that_may_be_zero`.
    """
    return _symbol(name, name in that_may_be_zero())


@functools.lru_cache(maxsize=4096)
def _symbol(name: str, may_be_zero: bool) -> Any:
    import sympy

    if may_be_zero or _MADE_UP.fullmatch(name):
        return sympy.Symbol(name, integer=True, nonnegative=True)
    return sympy.Symbol(name, integer=True, positive=True)


def evaluate(dim: Dim, bindings: Mapping[str, int]) -> int | None:
    """The size of a dim when the symbols have these values.

    Args:
        dim: Integer or expression.
        bindings: Size by symbol.

    Returns:
        The size, or None if a symbol is not bound.
    """
    if isinstance(dim, int):
        return dim
    if dim in bindings:
        return bindings[dim]
    if not symbols_of(dim) <= bindings.keys():
        return None
    value = bare_expression(dim).subs({_bare(name): size for name, size in bindings.items()})
    return int(value) if value.is_Integer else None


def equal(a: Dim, b: Dim) -> bool | None:
    """Return whether two dims are the same for all positive sizes.

    Returns:
        True or False where that is decided, None where it is not.
    """
    return _equal(a, b, that_may_be_zero())


@functools.lru_cache(maxsize=4096)
def _equal(a: Dim, b: Dim, zero: frozenset[str]) -> bool | None:
    del zero
    if a == b:
        return True
    if differ(a, b):
        return False
    import sympy

    # Slow, so it comes last.
    return True if sympy.simplify(expression(a) - expression(b)).is_zero else None


def differ(a: Dim, b: Dim) -> bool:
    """Return whether two dims are seen to differ at some sizes, which a few tell quickly.

    Raises:
        ValueError: If a text is not an expression.
    """
    if isinstance(a, int) and isinstance(b, int):
        return a != b
    names = sorted(symbols_of(a) | symbols_of(b))
    for sizes in _PROBES:
        at = {name: sizes[index % len(sizes)] + index for index, name in enumerate(names)}
        if evaluate(a, at) != evaluate(b, at):
            return True
    return False


def equal_within(a: Dim, b: Dim, ranges: Mapping[str, tuple[int, int]]) -> bool | None:
    """Return whether two dims are the same for all sizes in some ranges, by trying them all.

    Args:
        a: The one.
        b: The other.
        ranges: Smallest and largest size by symbol.

    Returns:
        None where a symbol has no range, or there are too many sizes to try.
    """
    names = sorted(symbols_of(a) | symbols_of(b))
    if not ranges.keys() >= set(names):
        return None
    sizes = [range(ranges[name][0], ranges[name][1] + 1) for name in names]
    if math.prod(map(len, sizes)) > _MOST_TRIED:
        return None
    points = (dict(zip(names, point, strict=True)) for point in itertools.product(*sizes))
    pairs = ((evaluate(a, point), evaluate(b, point)) for point in points)
    return all(one is not None and one == other for one, other in pairs)


_MOST_TRIED = 4096

_PROBES = ((97, 101, 103), (2, 3, 5), (64, 32, 16))
"""Sizes at which dims that differ are told apart quickly."""
