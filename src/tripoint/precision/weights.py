"""Constants in a lower type, converted when they are written and not before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tripoint.precision.choice import LIMITS


@dataclass(frozen=True, slots=True)
class Clamped:
    """A constant with numbers beyond the range, which become the largest of the type.

    Args:
        name: Name of the initializer.
        largest: The number that is farthest beyond.
    """

    name: str
    largest: float


def converted(tensor: ir.TensorProtocol, low: ir.DataType) -> ir.TensorProtocol:
    """A float32 tensor in a lower type.

    Args:
        tensor: It is read when the result is.
        low: FLOAT16 or BFLOAT16.
    """
    return ir.LazyTensor(
        lambda: ir.tensor(array(tensor.numpy(), low), dtype=low, name=tensor.name),
        dtype=low,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name,
    )


def array(numbers: npt.NDArray[Any], low: ir.DataType) -> npt.NDArray[Any]:
    """Round to the nearest number of a type; what is finite stays so, what is not stays not.

    Numbers that are too small become zero. ONNX Runtime's converter makes the smallest number of
    them, which turns padding such as 1e-30 into noise of 6e-8; an epsilon that matters stands in
    a node that stays in float32.

    Args:
        numbers: Of float32.
        low: FLOAT16 or BFLOAT16.
    """
    limit = LIMITS[low]
    bounded = np.where(np.isfinite(numbers), np.clip(numbers, -limit, limit), numbers)
    return np.asarray(bounded.astype(low.numpy()))


def clamped(value: ir.Value, low: ir.DataType) -> Clamped | None:
    """Return the values of an initializer that are beyond the range, None if there are none.

    Args:
        value: The initializer, of float32.
        low: FLOAT16 or BFLOAT16.
    """
    tensor = value.const_value
    if tensor is None or not tensor.size:
        return None
    numbers = tensor.numpy()
    low_end, high_end = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    finite = [each for each in (low_end, high_end) if np.isfinite(each)]
    largest = max(finite, key=abs, default=0.0)
    return Clamped(value.name or "", largest) if abs(largest) > LIMITS[low] else None
