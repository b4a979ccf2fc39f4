"""Tolerances of single tensors: downstream of the whole graph, or of one part of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.rounded import Rounded
from tripoint.tolerance.derivation import (
    Chain,
    Given,
    Products,
    Tolerance,
    derive,
    given_for,
    lift,
    narrow,
    override,
)


class Allowed:
    """Tolerances for two legs at one point.

    Where both have a graph of their own, the chain that rounds more counts.

    Args:
        suspect: The graph that is compared.
        reference: That of the other leg; None if it has none, or the same.
        bindings: Size of each input symbol.
        products: How the less precise leg computes float32 products.
        atol: Absolute tolerance of the outputs in place of the derived one.
        rtol: Relative tolerance of the outputs in place of the derived one.
        inputs: Array by input name, to measure with what a type shorter than float32 costs the
            outputs; None to keep to what is derived.
    """

    def __init__(
        self,
        suspect: Graph,
        reference: Graph | None,
        bindings: Mapping[str, int],
        *,
        products: Products,
        atol: Given = None,
        rtol: Given = None,
        inputs: Arrays | None = None,
    ) -> None:
        self._graphs = [suspect]
        if reference is not None and reference is not suspect:
            self._graphs.append(reference)
        self.bindings = bindings
        self.products = products
        self._atol, self._rtol = atol, rtol
        self._inputs = inputs
        self._behind: list[dict[str, Chain]] | None = None

    def behind(
        self,
        name: str,
        reference: np.ndarray[Any, Any],
        moved: np.ndarray[Any, Any] | None = None,
    ) -> Tolerance:
        """Return the tolerance of a tensor after all nodes from the inputs to it.

        Args:
            name: The tensor.
            reference: Its values.
            moved: How far errors of sums were measured to move it, see
                :mod:`tripoint.tolerance.sensitivity`; None if that was not measured.
        """
        if self._behind is None:
            self._behind = [
                graph.chains(self.bindings, products=self.products) for graph in self._graphs
            ]
        chain = _worst(self._behind, name)
        tolerance = derive(chain, reference, products=self.products)
        output = name in self._graphs[0].outputs
        if output and name in self._rounded:
            tolerance = narrow(tolerance, chain, reference, self._rounded[name])
        tolerance = lift(tolerance, moved)
        if not output:
            return tolerance
        return override(
            tolerance, atol=given_for(self._atol, name), rtol=given_for(self._rtol, name)
        )

    @functools.cached_property
    def _rounded(self) -> Arrays:
        return Rounded(self._graphs[0].ir).at(self._inputs) if self._inputs is not None else {}

    def across(
        self, part: Part, reference: Mapping[str, np.ndarray[Any, Any]]
    ) -> dict[str, Tolerance]:
        """Return the tolerances of the outputs of a part that was fed with values of the reference.

        Args:
            part: A part of the suspect's graph.
            reference: Values by output name.
        """
        names = [value.name or "" for value in part.outputs]
        chains = [self._chains(self._graphs[0], part)]
        for graph in self._graphs[1:]:
            same = graph.counterpart(part)
            chains += [self._chains(graph, same)] if same is not None else []
        return {
            name: derive(_worst(chains, name), reference[name], products=self.products)
            for name in names
        }

    def _chains(self, graph: Graph, part: Part | None = None) -> dict[str, Chain]:
        return graph.chains(self.bindings, products=self.products, part=part)


def _worst(chains: Sequence[Mapping[str, Chain]], name: str) -> Chain:
    candidates = (each.get(name, Chain()) for each in chains)
    return max(candidates, key=lambda chain: chain.variance, default=Chain())
