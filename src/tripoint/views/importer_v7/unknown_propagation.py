"""Operands brought to one rank by the 7.x parser: one unknown dim spoils the whole shape."""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.table import ViewShape
from tripoint.views.importer import core
from tripoint.views.importer.context import UNKNOWN
from tripoint.views.importer_v7.context import Node


def aligned_broadcast(node: Node, operands: Sequence[int]) -> ViewShape:
    """Broadcast inputs of any rank.

    The parser gives operands of lower rank leading ones by a reshape, which loses all of
    their dims as soon as one is unknown.

    Raises:
        RefusedError: If sizes do not fit together.
    """
    named = [(node.name(index), node.shape(index)) for index in operands]
    return broadcast_named(node, named)


def broadcast_named(node: Node, operands: Sequence[tuple[str, ViewShape]]) -> ViewShape:
    """As :func:`aligned_broadcast`, for shapes that are not all inputs as they stand."""
    rank = max(len(shape) for _, shape in operands)
    per_dim = core.broadcast([core.align(shape, rank) for _, shape in operands])
    spoilt = {name for name, shape in operands if len(shape) < rank and not core.is_known(shape)}
    if not spoilt:
        return per_dim
    result = core.broadcast(
        [
            (UNKNOWN,) * rank if name in spoilt else core.align(shape, rank)
            for name, shape in operands
        ]
    )
    if result != per_dim:
        node.blame(sorted(spoilt))
    return result
