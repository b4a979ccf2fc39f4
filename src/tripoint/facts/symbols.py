"""Arithmetic on symbolic dims. The expressions are parsed, never evaluated as Python."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from tripoint.facts.table import Dim

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_FUNCTIONS = frozenset({"floor", "ceiling", "max", "min", "mod", "Max", "Min", "Mod", "sqrt"})


def is_plain(text: str) -> bool:
    """Whether a text is a symbol by itself: a name, and not that of a function."""
    return bool(_NAME.fullmatch(text)) and text not in _FUNCTIONS


@functools.lru_cache(maxsize=4096)
def symbols_of(dim: Dim) -> frozenset[str]:
    """Names of the symbols in a dim; empty for an integer."""
    if isinstance(dim, int):
        return frozenset()
    return frozenset(_NAME.findall(dim)) - _FUNCTIONS


@functools.lru_cache(maxsize=4096)
def expression(dim: Dim) -> Any:
    """The dim as a sympy expression over positive integer symbols.

    Raises:
        ValueError: If the text is not an expression.
    """
    import sympy
    from onnx_shape_inference import _symbolic_shapes

    if isinstance(dim, int):
        return sympy.Integer(dim)
    allow_ceiling()
    parsed = _symbolic_shapes.parse_symbolic_expression(dim)
    return parsed.xreplace(
        {s: sympy.Symbol(s.name, integer=True, positive=True) for s in parsed.free_symbols}
    )


def allow_ceiling() -> None:
    """Let dims contain ceiling: onnx-shape-inference 0.4 writes it and cannot read it.

    Pooling with ``ceil_mode`` is where it comes from.
    """
    import sympy
    from onnx_shape_inference import _symbolic_shapes

    _symbolic_shapes.ALLOWED_FUNCTIONS.setdefault("ceiling", sympy.ceiling)


def sliced(dim: Any, start: int, end: int, step: int) -> Any:
    """Number of elements that ``[start:end:step]`` takes of a symbolic dim.

    Args:
        dim: An ``onnx_ir.SymbolicDim``.
        start: At least 0.
        end: More than ``start``.
        step: At least 1.
    """
    import sympy
    from onnx_shape_inference import _symbolic_shapes

    size = _symbolic_shapes.dim_to_expr(dim)
    if size is None:
        return dim
    count = sympy.ceiling((sympy.Min(end, size) - start) / step)
    return _symbolic_shapes.expr_to_dim(sympy.Max(0, count))


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
    value = expression(dim).subs({_symbol(name): size for name, size in bindings.items()})
    return int(value) if value.is_Integer else None


@functools.lru_cache(maxsize=4096)
def equal(a: Dim, b: Dim) -> bool | None:
    """Whether two dims are the same for all positive sizes.

    Returns:
        True or False where that is decided, None where it is not.
    """
    if a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    names = sorted(symbols_of(a) | symbols_of(b))
    for sizes in _PROBES:
        at = {name: sizes[index % len(sizes)] + index for index, name in enumerate(names)}
        if evaluate(a, at) != evaluate(b, at):
            return False
    import sympy

    # Slow, so it comes last.
    return True if sympy.simplify(expression(a) - expression(b)).is_zero else None


_PROBES = ((97, 101, 103), (2, 3, 5), (64, 32, 16))
"""Sizes at which dims that differ are told apart quickly."""


def _symbol(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, integer=True, positive=True)
