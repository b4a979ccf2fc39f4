"""The three that are compared. All take and give arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from tripoint.numeric.inputs import Arrays
from tripoint.tolerance.described import Described


class Leg(Described, Protocol):
    """Something that computes a model's outputs."""

    def run(self, inputs: Arrays) -> Arrays:
        """Compute the outputs for one set of inputs."""

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        """Compute the outputs for several; a leg that is slow to start does so once."""
