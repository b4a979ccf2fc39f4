"""Arrays as PyTorch tensors and back, in every dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tripoint.errors import InputError
from tripoint.numeric.dtypes import is_foreign, of_ml_dtypes

if TYPE_CHECKING:
    import torch


def to_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """A copy of an array as a tensor on the CPU, bfloat16 and float8 included.

    Raises:
        InputError: If PyTorch has no such dtype.
    """
    import torch

    if not is_foreign(array.dtype):
        return torch.from_numpy(np.array(array, order="C"))
    dtype = getattr(torch, array.dtype.name, None)
    if dtype is None or dtype.itemsize != array.dtype.itemsize or not dtype.is_floating_point:
        raise InputError(f"PyTorch has no tensors of {array.dtype}")
    raw = np.array(array, order="C").view(f"i{array.dtype.itemsize}")
    return torch.from_numpy(raw).view(dtype)


def to_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A copy of a tensor, in the dtype that it has."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    foreign = of_ml_dtypes(str(tensor.dtype).removeprefix("torch."))
    if foreign is not None:
        tensor = tensor.view(torch.int8 if foreign.itemsize == 1 else torch.int16)
    # A copy: outputs may share memory with a buffer that the next run overwrites.
    array: np.ndarray[Any, Any] = tensor.numpy().copy()
    return array if foreign is None else array.view(foreign)
