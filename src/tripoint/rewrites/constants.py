"""Constants of a graph, and integer tensors that are the same for all sizes of the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

SHAPE_ELEMENTS = 64
"""Elements of the largest tensor that is taken for a shape."""


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initializer or of a Constant node; None for text and for everything else.

    An initializer that is also a graph input is none: the caller may give another.
    """
    if value is None or value.is_graph_input():
        return None
    node = value.producer()
    tensor = value.const_value if node is None else None
    if node is not None and node.op_type == "Constant" and not node.domain:
        try:
            tensor = ir.convenience.get_const_tensor(value)
        except ValueError:
            return None
    # No arithmetic on text matters here, and numpy has no type for it.
    return tensor if tensor is not None and tensor.dtype != ir.DataType.STRING else None


def elements(value: ir.Value | None, most: int = SHAPE_ELEMENTS) -> np.ndarray[Any, Any] | None:
    """The elements of a small constant; None for a large one, and for what is no constant."""
    tensor = constant(value)
    if tensor is None or tensor.size > most:
        return None
    try:
        return tensor.numpy()
    except (OSError, ValueError, TypeError):
        # The file of external data may be missing.
        return None


def decided(value: ir.Value | None) -> list[int] | None:
    """The elements of an integer tensor that is the same for all sizes, constant or computed."""
    if value is None or value.is_graph_input() or value.dtype is None:
        return None
    if not value.dtype.is_integer():
        return None
    constant = value.const_value if value.producer() is not None else None
    if constant is not None and constant.size <= SHAPE_ELEMENTS:
        return [int(element) for element in constant.numpy().flat]
    numbers = elements(value)
    return [int(element) for element in numbers.flat] if numbers is not None else None


def initializer(
    array: np.ndarray[Any, Any], name: str, dtype: ir.DataType | None = None
) -> ir.Value:
    """A new initializer, which a :class:`~tripoint.rewrites.base.Replacement` may bring.

    Args:
        array: Its elements.
        name: A name for it, made unique later.
        dtype: ONNX element type, None for that of the array.
    """
    tensor = ir.Tensor(array, dtype=dtype, name=name)
    return ir.Value(
        name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype)
    )


def vector(numbers: Sequence[int]) -> ir.Value:
    """A new initializer for a size operand; its name tells what it holds."""
    name = "_".join(["sizes", *(str(number).replace("-", "m") for number in numbers)])
    return initializer(np.array(numbers, dtype=np.int64), name[:80])
