"""Outputs that were recorded elsewhere, as the reference."""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.legs import Named


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
        known = {**feed, **self._outputs}
        yield from ((name, known[name]) for name in tensors if name in known)
