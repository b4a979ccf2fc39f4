"""Properties of a leg that tolerances and reports need."""

from __future__ import annotations

from typing import Protocol


class Described(Protocol):
    """Properties of a leg that reports and tolerances need."""

    @property
    def name(self) -> str:
        """As reports call it: ``"PyTorch"``, ``"ONNX Runtime"``, ``"TensorRT"``."""

    @property
    def version(self) -> str:
        """Version of the library."""

    @property
    def device(self) -> str:
        """Device of the leg: ``"cpu"`` or the name of a GPU."""

    @property
    def tf32(self) -> bool:
        """Return whether float32 products may be rounded to TF32."""
