"""The axes that an operator is about."""

from __future__ import annotations

import onnx_ir as ir


def constant_axes(node: ir.Node) -> tuple[int, ...] | None:
    """The axes of Squeeze, Unsqueeze or a Reduce operator.

    They are an attribute before opset 13 (Squeeze, Unsqueeze, ReduceSum) or 18 (the other Reduce
    operators), and an input since.

    Returns:
        The axes as written, or None if there are none or they are computed at run time.
    """
    attribute = node.attributes.get_ints("axes")
    if attribute is not None:
        return tuple(attribute)
    value = node.inputs[1] if len(node.inputs) > 1 else None
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tuple(int(axis) for axis in tensor.numpy().flatten()) if tensor is not None else None


def normalized(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def permutation(node: ir.Node, rank: int) -> list[int]:
    """The ``perm`` of a Transpose; without one it reverses the axes."""
    return list(node.attributes.get_ints("perm", range(rank)[::-1]))
