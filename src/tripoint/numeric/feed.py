"""Statements of a caller about the inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tripoint.numeric.inputs import Arrays


@dataclass(frozen=True)
class Feed:
    """Statements of a caller about the inputs of a model; empty by default.

    Args:
        values: Smallest and largest value of generated inputs, by name.
        like: Examples that generated inputs follow, by name.
        arrays: Inputs to use in place of generated ones, one entry for a point.
    """

    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    like: Arrays = field(default_factory=dict)
    arrays: Sequence[Arrays] = ()
