"""Comparing tensors of two legs, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.deviation import Deviation, measure
from tripoint.parity.locate.legs import Named, Reference
from tripoint.tolerance.derivation import Tolerance

Array = np.ndarray[Any, Any]


def scan(
    reference: Reference,
    other: Reference,
    tensors: Sequence[str],
    feed: Arrays,
    allowed: Callable[[str, Array], Tolerance],
) -> dict[str, Deviation]:
    """Compare tensors while both legs compute their outputs.

    The two take turns; a tensor waits for its counterpart and is then forgotten.

    Args:
        reference: The leg that is taken to be right.
        other: The leg that is compared with it.
        tensors: Names, in graph order.
        feed: Array by input name.
        allowed: Tolerance by name and values of the reference.

    Returns:
        The deviation of each tensor that both legs could give, in the order of ``tensors``.
    """
    deviations = {
        name: measure(a, b, allowed(name, a))
        for name, a, b in _pairs(reference.values(tensors, feed), other.values(tensors, feed))
    }
    return {name: deviations[name] for name in tensors if name in deviations}


def _pairs(ours: Named, theirs: Named) -> Iterator[tuple[str, Array, Array]]:
    waiting: tuple[dict[str, Array], dict[str, Array]] = {}, {}
    sides: list[tuple[int, Named]] = [(0, ours), (1, theirs)]
    while sides:
        for side in list(sides):
            index, stream = side
            entry = next(stream, None)
            if entry is None:
                sides.remove(side)
                continue
            name, array = entry
            partner = waiting[1 - index].pop(name, None)
            if partner is None:
                waiting[index][name] = array
            else:
                yield (name, partner, array) if index else (name, array, partner)
