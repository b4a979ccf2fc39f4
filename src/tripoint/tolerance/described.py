"""What tolerances and reports have to know of a leg."""

from __future__ import annotations

from typing import Protocol


class Described(Protocol):
    """What reports and tolerances have to know of a leg."""

    @property
    def name(self) -> str:
        """As reports call it: ``"PyTorch"``, ``"ONNX Runtime"``, ``"TensorRT"``."""

    @property
    def version(self) -> str:
        """Version of the library."""

    @property
    def device(self) -> str:
        """Where it runs: ``"cpu"`` or the name of a GPU."""

    @property
    def tf32(self) -> bool:
        """Return whether float32 products may be rounded to TF32."""
