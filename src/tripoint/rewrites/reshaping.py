"""Operands of a Reshape that give its result a shape for all sizes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from tripoint.rewrites.base import Replacement
from tripoint.rewrites.constants import vector
from tripoint.rewrites.dims import may_be_zero, same
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim, Shape


def reshape_operand(shape: Shape, wanted: Shape) -> list[int] | str:
    """The operand with which Reshape, ``allowzero`` being 0, makes one shape of another.

    Known sizes stand as they are. 0 copies a dynamic dim that stays on its axis; -1 is the one
    that remains.

    Args:
        shape: Shape of the input.
        wanted: Shape of the result, with as many elements.

    Returns:
        The operand, or why there is none.
    """
    if 0 in wanted:
        return "a size of 0 cannot be told from a copied one"
    operand: list[int] = []
    rest: list[Dim] = []
    for axis, dim in enumerate(wanted):
        if isinstance(dim, int):
            operand.append(dim)
        elif axis < len(shape) and same(shape[axis], dim):
            operand.append(0)
        else:
            operand.append(-1)
            rest.append(dim)
    if len(rest) > 1:
        return f"{' and '.join(map(str, rest))} are both decided at run time, one -1 is allowed"
    copied = [dim for dim, number in zip(wanted, operand, strict=True) if number == 0]
    if rest and (empty := next((dim for dim in copied if may_be_zero(dim)), None)) is not None:
        return f"{rest[0]} cannot be worked out where {empty} is 0"
    return operand


def reshaped(x: ir.Value, output: ir.Value, nodes: list[ir.Node]) -> Replacement | str:
    """Nodes that only reshape ``x`` as one Reshape with a constant operand.

    Args:
        x: What the nodes reshape.
        output: What they make of it.
        nodes: The nodes, the one that produces ``output`` last.

    Returns:
        The replacement, or why there is none.
    """
    shape, wanted = shape_of(x), shape_of(output)
    if shape is None or wanted is None:
        return f"the rank of `{(x if shape is None else output).name}` is not known"
    operand = reshape_operand(shape, wanted)
    if isinstance(operand, str):
        return operand
    sizes = vector(operand)
    node = new_node("Reshape", [x, sizes])
    return Replacement(nodes, [output], [node], list(node.outputs), [sizes])


def new_node(op_type: str, inputs: list[ir.Value | None], **attributes: Any) -> ir.Node:
    """A new node of the default domain with one output."""
    return ir.node(op_type, inputs, attributes or None)
