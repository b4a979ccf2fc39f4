"""Reason that the core does not know a size, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.views.importer_v8.algebra import COPY, Algebra, Expression, Value

PART = "part_of_reshape"


def sentence(
    algebra: Algebra, dim: Expression, axis: int, size: int, operands: Sequence[str]
) -> str:
    """Continues "TensorRT VERSION ...".

    Args:
        algebra: Made the expression.
        dim: What the core computes.
        axis: The axis that it is for.
        size: What it truly is.
        operands: Names of the size operands that are not constant.
    """
    listed = " and ".join(f"`{name}`" for name in operands)
    source = f" of the size operand {listed}" if operands else ""
    operator, args = _outermost(dim)
    if operator == "solve":
        volume, others = (each for each in args if not isinstance(each, float))
        above, below = algebra.uncancelled(volume, others)
        return (
            f"solves the -1{source} by a division, in which {above} over {below} does not cancel "
            f"to {size}, so dim {axis} is -1"
        )
    if operator == COPY:
        return (
            f"cannot tell whether element {axis}{source}, which is {args[0]}, is a 0 that copies "
            f"a dim of the input, so dim {axis} is -1"
        )
    if operator == PART:
        return (
            f"cannot tell whether element {axis}{source}, which is {args[0]}, is a -1 that is to "
            f"be solved, so dim {axis} is -1"
        )
    if operator == "broadcast":
        sizes = ", ".join(map(str, args))
        return f"cannot tell which of the sizes {sizes} a broadcast takes, so dim {axis} is -1"
    return f"computes dim {axis}{source} as {dim}, which it cannot reduce to {size}, so it is -1"


def _outermost(dim: Expression) -> tuple[str, tuple[Value, ...]]:
    if len(dim.terms) == 1 and not dim.constant:
        product, factor = dim.terms[0]
        if factor == 1 and len(product) == 1:
            return product[0].operator, product[0].operands
    return "", ()
