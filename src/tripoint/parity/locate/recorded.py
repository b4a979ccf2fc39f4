"""Outputs that were recorded elsewhere, as the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tripoint.model import Model
from tripoint.numeric import dtypes, npz
from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.legs import Named


def read(path: Path, model: Model) -> Arrays:
    """The outputs in a ``.npz`` file.

    Args:
        path: The file; see :mod:`tripoint.numeric.npz`.
        model: Where the dtypes of outputs are looked up of which the file has the bytes only.

    Raises:
        InputError: If the file is missing or not such a file.
    """
    outputs = model.ir.graph.outputs
    types = {value.name or "": value.dtype.numpy() for value in outputs if value.dtype is not None}
    return dtypes.restored(npz.load(path), types)


class Recorded:
    """Gives the outputs that a file holds, for the inputs that belong to them.

    Args:
        outputs: Array by output name.
    """

    name = "recorded outputs"
    version = ""
    device = ""
    tf32 = False
    resolution = ""

    def __init__(self, outputs: Arrays) -> None:
        self.notes: list[str] = []
        self._outputs = outputs

    def values(self, tensors: Sequence[str], feed: Arrays) -> Named:
        """The outputs and inputs among some tensors."""
        arrays = {**feed, **self._outputs}
        yield from ((name, arrays[name]) for name in tensors if name in arrays)
