"""Interface of a leg in which the node that parts it from another can be found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.graph import Graph, Part
from tripoint.tolerance.described import Described

Named = Iterator[tuple[str, "np.ndarray[Any, Any]"]]
"""Tensors with their names, one after the other."""


class Reference(Described, Protocol):
    """A leg that is taken to be right."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes on assumptions, and on what could not be had; complete once the leg has run."""

    def values(self, tensors: Sequence[str], feed: Arrays) -> Named:
        """The values of tensors while the leg computes its outputs.

        Args:
            tensors: Names in graph order.
            feed: Array by input name.

        Returns:
            Those that the leg can give, as far as possible in the same order, so that few have
            to be in memory at a time.

        Raises:
            ExternalStepError: If the leg does not run.
        """


class Suspect(Reference, Protocol):
    """A leg that runs an ONNX graph, and is compared with a reference."""

    @property
    def graph(self) -> Graph:
        """The graph that it runs."""

    def on(self, graph: Graph) -> Suspect:
        """The same leg on another graph."""

    @property
    def replays(self) -> int | None:
        """Number of replays that are worth their time; None for all."""

    def replay(self, part: Part, feed: Arrays) -> Arrays:
        """Run a part of the graph alone.

        Args:
            part: Of :attr:`graph`.
            feed: Array by input name of the part, from the reference.

        Returns:
            Array by output name of the part.

        Raises:
            ExternalStepError: If the leg cannot run this part alone.
        """

    def fusion(self, part: Part, feed: Arrays) -> Fusion:
        """Relate the error of a part to the fusion of its nodes into one kernel.

        Args:
            part: The part that makes the error.
            feed: Array by input name of the whole graph.
        """


@dataclass(frozen=True)
class Fusion:
    """A part and the kernels that it ends up in.

    Args:
        layer: Name of the layer of the engine that holds it, None if not known.
        unfused: Outputs of the whole graph with the part kept apart from all others, None if the
            leg joins nothing or cannot say.
    """

    layer: str | None = None
    unfused: Arrays | None = None
