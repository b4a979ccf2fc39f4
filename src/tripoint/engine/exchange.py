"""Tensors in a file, for the way between parent and child."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_INDEX = "index"


def dtype(name: str) -> np.dtype[Any]:
    """The dtype of a name that NumPy or ml_dtypes knows.

    Raises:
        TypeError: If neither knows it.
    """
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        if not hasattr(ml_dtypes, name):
            raise
        known: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return known


def save(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write tensors under any name and of any dtype.

    The archive numbers them, because a name may be no valid member name, and stores bytes,
    because the ``.npy`` format forgets the dtypes of ml_dtypes.
    """
    index = [[name, array.dtype.name, list(array.shape)] for name, array in tensors.items()]
    members = {
        f"t{number}": np.frombuffer(np.asarray(array, order="C").tobytes(), np.uint8)
        for number, array in enumerate(tensors.values())
    }
    text = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez(path, allow_pickle=False, **{_INDEX: text}, **members)


def load(path: Path) -> dict[str, Array]:
    """Read what :func:`save` wrote, in the same order."""
    with np.load(path, allow_pickle=False) as archive:
        index = json.loads(archive[_INDEX].tobytes())
        return {
            name: archive[f"t{number}"].view(dtype(kind)).reshape(shape)
            for number, (name, kind, shape) in enumerate(index)
        }
