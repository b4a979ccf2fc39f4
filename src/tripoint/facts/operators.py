"""What onnx-shape-inference 0.4 lacks, added through its registry.

TorchScript exports compute the size operand of ``Expand`` as
``Where(Equal(shape, ConstantOfShape(n) * -1), ConstantOfShape(n), shape)``. Without the values
of these operators the rank of everything behind such an Expand is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
from onnx_shape_inference import registry

from tripoint.facts import symbols

_LARGEST = 64
"""Longest vector that is taken for a shape."""

_FAR = 2**31 - 1
"""An end from here on means all that is left."""

_VERSIONS = (1, 7, 8, 9, 11, 13, 16, 19, 20, 21, 23, 24, 25)

Values = list[int | ir.SymbolicDim]


def register() -> None:
    """Wrap the registered functions of the operators below, for every opset that has one."""
    symbols.allow_ceiling()
    registry.collect()
    for op, propagate in (
        ("ConstantOfShape", _constant_of_shape),
        ("Equal", _equal),
        ("Where", _where),
        ("Slice", _slice),
    ):
        known: list[Callable[..., None]] = []
        for version in _VERSIONS:
            function = registry.get("", op, version=version)
            if function is not None and function not in known:
                known.append(function)
                registry.register("", op, since_version=version)(_then(function, propagate))


def _then(
    infer: Callable[[Any, ir.Node], None], propagate: Callable[[Any, ir.Node], None]
) -> Callable[[Any, ir.Node], None]:
    def both(ctx: Any, node: ir.Node) -> None:
        infer(ctx, node)
        propagate(ctx, node)

    return both


def _constant_of_shape(ctx: Any, node: ir.Node) -> None:
    sizes = _values(ctx, node.inputs[0])
    if sizes is None:
        return
    fill = node.attributes.get_tensor("value")
    dtype = fill.dtype if fill is not None else ir.DataType.FLOAT
    ctx.set_shape_and_dtype(node.outputs[0], ir.Shape(sizes), dtype)
    if fill is None or not dtype.is_integer() or len(sizes) != 1:
        return
    (count,) = sizes
    if isinstance(count, int) and count <= _LARGEST:
        ctx.set_symbolic_value(node.outputs[0], [int(fill.numpy().item())] * count)


def _equal(ctx: Any, node: ir.Node) -> None:
    operands = _aligned(ctx, node.inputs)
    if operands is None:
        return
    decided = [_same(a, b) for a, b in zip(*operands, strict=True)]
    if None not in decided:
        ctx.set_symbolic_value(node.outputs[0], [int(bool(value)) for value in decided])


def _where(ctx: Any, node: ir.Node) -> None:
    operands = _aligned(ctx, node.inputs)
    if operands is None:
        return
    conditions, then, otherwise = operands
    if all(isinstance(condition, int) for condition in conditions):
        chosen = [
            a if condition else b
            for condition, a, b in zip(conditions, then, otherwise, strict=True)
        ]
        ctx.set_symbolic_value(node.outputs[0], chosen)


def _slice(ctx: Any, node: ir.Node) -> None:
    """Do not let a slice of a symbolic dim be longer than that dim.

    The library assumes that constant bounds lie inside, so ``x[1:5]`` of N rows has 4.
    """
    data, output = node.inputs[0], node.outputs[0]
    operands = [_integers(ctx, value) for value in node.inputs[1:]]
    if data is None or data.shape is None or output.shape is None or None in operands[:2]:
        return
    starts, ends = operands[0] or [], operands[1] or []
    axes = operands[2] if len(operands) > 2 and operands[2] else list(range(len(starts)))
    steps = operands[3] if len(operands) > 3 and operands[3] else [1] * len(starts)
    dims = list(output.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=False):
        dim = data.shape[axis]
        inside = 0 <= start < end < _FAR and step > 0
        if isinstance(dim, ir.SymbolicDim) and inside and (start, end) != (0, 1):
            dims[axis] = symbols.sliced(dim, start, end, step)
    output.shape = ir.Shape(dims)


def _integers(ctx: Any, value: ir.Value | None) -> list[int] | None:
    known = _values(ctx, value)
    if known is None or not all(isinstance(element, int) for element in known):
        return None
    return [element for element in known if isinstance(element, int)]


def _values(ctx: Any, value: ir.Value | None) -> Values | None:
    known: Values | None = ctx.get_symbolic_value(value) if value is not None else None
    return known


def _aligned(ctx: Any, inputs: Sequence[ir.Value | None]) -> list[Values] | None:
    operands: list[Values] = []
    for value in inputs:
        known = _values(ctx, value)
        if known is None:
            return None
        operands.append(known)
    length = max(len(known) for known in operands)
    if any(len(known) not in (1, length) for known in operands):
        return None
    return [known * length if len(known) == 1 else known for known in operands]


def _same(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool | None:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, ir.SymbolicDim) and isinstance(b, ir.SymbolicDim):
        return True if a.value is not None and a.value == b.value else None
    size = a if isinstance(a, int) else b
    # A dim is never negative, whatever its symbol stands for.
    return False if isinstance(size, int) and size < 0 else None
