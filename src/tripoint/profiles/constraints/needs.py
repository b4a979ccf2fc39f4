"""Conditions that a profile of a model has to satisfy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tripoint.profiles.constraints.solve import Solved, solve
from tripoint.profiles.profile import Values
from tripoint.shape_inference.constraints import Equation
from tripoint.spec import Range
from tripoint.symbols import Shape


@dataclass(frozen=True, slots=True)
class Needs:
    """Inputs, equations and values that a profile of a model is about.

    Args:
        inputs: True shape by graph input that must be fed.
        values: Its shape tensors, with a symbol for each value.
        equations: What the graph needs; empty if there is nothing to choose.
        meant: What holds only at sizes of the export's example that stayed: the graph runs at
            others, but none are proposed.
    """

    inputs: Mapping[str, Shape]
    values: Values
    equations: tuple[Equation, ...]
    meant: tuple[Equation, ...] = ()

    def solved(
        self,
        ranges: Mapping[str, Range],
        free: Sequence[str],
        least: Mapping[str, int] | None = None,
    ) -> Solved:
        """Ranges near some that are wanted; of those that a graph takes, what it is meant for.

        The arguments are those of :func:`tripoint.profiles.constraints.solve.solve`.
        """
        if self.meant:
            solution = solve((*self.equations, *self.meant), ranges, free, least)
            if solution.legal:
                return solution
        return solve(self.equations, ranges, free, least)
