"""Dtypes that NumPy does not have of its own: bfloat16, float8, int4 and their like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[Any]

_REGISTERED = 2
"""What NumPy says in ``dtype.isbuiltin`` of a dtype that another package brought."""


def named(name: str) -> np.dtype[Any]:
    """The dtype of a name that NumPy or ml_dtypes knows.

    Raises:
        TypeError: If neither knows it.
    """
    try:
        return np.dtype(name)
    except TypeError:
        dtype = of_ml_dtypes(name)
        if dtype is None:
            raise
        return dtype


def of_ml_dtypes(name: str) -> np.dtype[Any] | None:
    """The dtype that ml_dtypes has under a name, None if it has none."""
    import ml_dtypes

    scalar = getattr(ml_dtypes, name, None)
    if not isinstance(scalar, type) or not issubclass(scalar, np.generic):
        return None
    return np.dtype(scalar)


def is_foreign(dtype: np.dtype[Any]) -> bool:
    """Return whether the dtype is none of NumPy's own, so that the ``.npy`` format forgets it."""
    return dtype.isbuiltin == _REGISTERED


def epsilon(dtype: np.dtype[Any]) -> float | None:
    """Machine epsilon; None of what is no floating-point number."""
    import ml_dtypes

    if dtype.kind in "iubOSU":
        return None
    try:
        return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    except ValueError:
        return None


def as_bytes(array: Array) -> Array:
    """The same elements as plain bytes (NumPy's ``void``), without a copy."""
    return array.view(np.dtype((np.void, array.dtype.itemsize)))


def restored(arrays: Mapping[str, Array], dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, Array]:
    """Arrays of which a file kept the bytes only, in the dtypes that somebody knows.

    Args:
        arrays: Array by name.
        dtypes: Dtype by name; arrays that have a dtype, and those of another size, stay as they
            are.
    """
    return {
        name: array.view(dtypes[name])
        if name in dtypes and _is_bytes(array) and array.dtype.itemsize == dtypes[name].itemsize
        else array
        for name, array in arrays.items()
    }


def _is_bytes(array: Array) -> bool:
    return array.dtype.kind == "V" and not is_foreign(array.dtype)


def held(dtype: ir.DataType) -> tuple[int, int]:
    """The smallest and the largest number of an integer dtype, as far as NumPy draws them."""
    import ml_dtypes

    info = ml_dtypes.iinfo(dtype.numpy())  # type: ignore[no-untyped-call]
    return int(info.min), min(int(info.max), 2**63 - 1)
