"""Tensors in a file, for the way between parent and child."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tripoint.numeric import npz
from tripoint.numeric.dtypes import Array
from tripoint.numeric.dtypes import named as dtype

__all__ = ["Array", "dtype", "load", "save", "taken"]

_INDEX = "index"


def save(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write tensors under any name and of any dtype.

    The archive numbers them, because a name may be no valid member name.
    """
    text = np.frombuffer(json.dumps(list(tensors)).encode(), np.uint8)
    numbered = {f"t{number}": array for number, array in enumerate(tensors.values())}
    npz.write(path, {_INDEX: text, **numbered})


def load(path: Path) -> dict[str, Array]:
    """Read what :func:`save` wrote, in the same order."""
    numbered = npz.read(path)
    names = json.loads(numbered.pop(_INDEX).tobytes())
    return dict(zip(names, numbered.values(), strict=True))


def taken(path: Path) -> dict[str, Array]:
    """Return the result of :func:`load`; the file is removed."""
    tensors = load(path)
    path.unlink()
    return tensors
