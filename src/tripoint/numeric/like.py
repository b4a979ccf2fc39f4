"""Numbers like those of an example: its range, its sign and how its values are spread.

An example of a few numbers says little, and one that is the same everywhere (``torch.ones``) is
mostly there for its shape. So not everything is taken from it: see :func:`of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Makes an array of some sizes; the caller converts it to the dtype of the input."""

_FEW = 8
"""Floats of which less say nothing about their range, unless they are large."""
_NORMAL = 4.0
"""Size up to which a single float may be a normal one."""
_MOST_KINDS = 0.25
"""Share of the elements up to which distinct floats are a list of values, as those of a mask."""
_MOST_DRAWN = 1 << 24


@dataclass(frozen=True)
class Like:
    """Rule to draw an input like an example.

    Args:
        text: In words: ``"integers 1..999 like the example"``.
        draw: Makes the numbers.
    """

    text: str
    draw: Draw


def of(example: Array, dtype: ir.DataType) -> Like | None:
    """Return the rule to draw numbers like those of an example; None if it gives none.

    ====================================  ====================================================
    integers                              even over its range; of one value, between 1 (or -1)
                                          and that; those of 0 and 1 say nothing
    floats of a few values (a mask)       one of these values, infinities included
    floats                                spread as its own are, from the smallest to the
                                          largest; a constant one, between 0 and that
    booleans, floats that are all 0,      nothing
    or less than 8 that are no larger
    than normal ones are
    ====================================  ====================================================

    Args:
        example: Any shape.
        dtype: Element type of the input.
    """
    if not example.size or dtype == ir.DataType.BOOL or example.dtype.kind == "c":
        return None
    if dtype.is_integer():
        return _integers(int(example.min()), int(example.max()))
    return _floats(example.astype(np.float64).ravel()) if dtype.is_floating_point() else None


def _integers(low: int, high: int) -> Like | None:
    if low >= 0 and high <= 1:
        return None
    if low == high:
        low, high = (1, high) if high > 0 else (low, -1)
    # NumPy draws no larger ones.
    low, high = max(low, -(2**63)), min(high, 2**63 - 1)
    return Like(
        f"integers {low}..{high} like the example",
        lambda random, sizes: np.asarray(random.integers(low, high, sizes, endpoint=True)),
    )


def _floats(values: Array) -> Like | None:
    distinct = np.unique(values[~np.isnan(values)])
    finite = distinct[np.isfinite(distinct)]
    largest = float(np.abs(finite).max(initial=0.0))
    few = values.size < _FEW
    if not len(finite) or (few and largest <= _NORMAL) or (len(distinct) == 1 and not largest):
        return None
    if len(distinct) == 1:
        low, high = sorted((0.0, float(distinct[0])))
        return Like(
            f"floats {low:.6g}..{high:.6g} like the example",
            lambda random, sizes: random.uniform(low, high, sizes),
        )
    if not few and (len(distinct) == 2 or len(distinct) <= _MOST_KINDS * values.size):
        return _one_of(distinct)
    ordered = np.sort(values[np.isfinite(values)])
    places = np.linspace(0.0, 1.0, len(ordered))

    def draw(random: np.random.Generator, sizes: tuple[int, ...]) -> Array:
        drawn = random.random(min(math.prod(sizes), _MOST_DRAWN))
        return np.resize(np.interp(drawn, places, ordered), sizes)

    return Like(f"floats {ordered[0]:.6g}..{ordered[-1]:.6g} like the example", draw)


def _one_of(distinct: Array) -> Like:
    said = f"{distinct[0]:.6g}..{distinct[-1]:.6g}"
    return Like(
        f"floats {said}, {len(distinct)} values of the example",
        lambda random, sizes: random.choice(distinct, sizes),
    )
