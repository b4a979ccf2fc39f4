"""Tensors of bfloat16, float8, int4 and their like, in and out of ONNX Runtime.

Its Python interface takes and gives NumPy's own dtypes only; of some others it gives the bytes
under another dtype. What is between the two are the bytes of the tensor, with elements of less than
a byte packed as ONNX packs them.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.numeric.dtypes import Array, is_foreign


def needed(session: Any) -> bool:
    """Return whether an ``onnxruntime.InferenceSession`` has an input or output of such a dtype."""
    ports = (*session.get_inputs(), *session.get_outputs())
    return any(_foreign(port.type) is not None for port in ports)


def run(session: Any, feed: Mapping[str, Array]) -> list[Array]:
    """Compute all outputs, in graph order.

    Args:
        session: The ``onnxruntime.InferenceSession``.
        feed: Array by input name.

    Raises:
        Exception: Whatever ONNX Runtime raises if the graph does not run on these inputs.
    """
    types = {port.name: port.type for port in session.get_inputs()}
    values = {name: _value(array, types.get(name, "")) for name, array in feed.items()}
    results = session.run_with_ort_values(None, values)
    return [
        _array(value, port.type) for value, port in zip(results, session.get_outputs(), strict=True)
    ]


def _foreign(kind: str) -> ir.DataType | None:
    """The type of ``tensor(bfloat16)``; None if NumPy has one for it, or it is no tensor."""
    name = kind.removeprefix("tensor(").removesuffix(")").upper()
    dtype = ir.DataType.__members__.get(name)
    if dtype in (None, ir.DataType.UNDEFINED, ir.DataType.STRING):
        return None
    return dtype if is_foreign(dtype.numpy()) else None


def _value(array: Array, kind: str) -> Any:
    from onnxruntime import OrtValue

    dtype = _foreign(kind)
    if dtype is None:
        return OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
    if array.dtype != dtype.numpy():
        raise TypeError(f"an input of type {kind} is given as {array.dtype}")
    raw = ir.Tensor(np.asarray(array, order="C"), dtype=dtype).tobytes()
    value = OrtValue.ortvalue_from_shape_and_type(list(array.shape), dtype.value)
    if raw:
        ctypes.memmove(value.data_ptr(), raw, len(raw))
    return value


def _array(value: Any, kind: str) -> Array:
    dtype = _foreign(kind)
    if dtype is None:
        array: Array = value.numpy()
        return array
    shape = value.shape()
    size = math.ceil(math.prod(shape) * dtype.bitwidth / 8)
    raw = np.frombuffer(ctypes.string_at(value.data_ptr(), size) if size else b"", np.uint8)
    if dtype.bitwidth < 8:
        return ir.PackedTensor(raw, dtype, shape=ir.Shape(shape)).numpy()
    # A copy, since what comes from bytes cannot be written to.
    return raw.copy().view(dtype.numpy()).reshape(shape)
