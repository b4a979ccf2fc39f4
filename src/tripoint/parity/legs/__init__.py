"""The three that are compared. All take and give arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from tripoint.numeric.inputs import Arrays


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
        """Whether float32 products may be rounded to TF32."""


class Leg(Described, Protocol):
    """Something that computes a model's outputs."""

    def run(self, inputs: Arrays) -> Arrays:
        """Compute the outputs for one set of inputs."""

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        """Compute the outputs for several; a leg that is slow to start does so once."""
