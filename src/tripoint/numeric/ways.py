"""Path of an input's numbers to a tensor, and the limits that follow for the input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

Interval = tuple[float, float]
Inverse = Callable[[Interval], Interval]
"""Carries an interval behind an operator back to before it."""


@dataclass(frozen=True)
class Way:
    """Path of an input's numbers to a tensor.

    Args:
        integer: Whether they are integers.
        back: What carries an interval there back to the input, the last one first.
        scale: With ``offset`` and ``power``, the numbers are scale * input**power + offset; None
            if that is not so.
        exact: Whether that holds of all channels, not only in the mean.
        logical: Whether they are 0 and 1, for the input's 0 and 1 in this or the other order.
        branches: Operands of Where that lie between.
    """

    integer: bool
    back: tuple[Inverse, ...] = ()
    scale: float | None = 1.0
    offset: float = 0.0
    power: float = 1.0
    exact: bool = True
    logical: bool = False
    branches: tuple[tuple[ir.Node, int], ...] = ()

    def origin(self, low: float, high: float) -> Interval:
        """The interval of the input that becomes this one."""
        for inverse in reversed(self.back):
            low, high = inverse((low, high))
        return low, high

    def behind(self, inverse: Inverse, **changes: Any) -> Way:
        """The way downstream of one more operator."""
        return replace(self, back=(*self.back, inverse), **{"scale": None, **changes})

    def affine(self, factor: float, shift: float, *, exact: bool = True) -> Way:
        """The way downstream of numbers that become factor * number + shift, factor not 0."""

        def inverse(interval: Interval) -> Interval:
            ends = sorted((end - shift) / factor for end in interval)
            return ends[0], ends[1]

        return self.behind(
            inverse,
            scale=None if self.scale is None else self.scale * factor,
            offset=self.offset * factor + shift,
            exact=self.exact and exact,
        )

    def divided(self, by: float) -> Way:
        """The way downstream of a division of integers, which drops what is left over."""
        exact = self.affine(1.0 / by, 0.0)

        def inverse(interval: Interval) -> Interval:
            ends = sorted(end * by for end in interval)
            return ends[0], ends[1] + abs(by) - 1.0

        return self.behind(inverse, scale=exact.scale, offset=exact.offset)

    def clipped(self, low: float, high: float) -> Way:
        """The way downstream of a clamp: limits that it keeps are none of the input."""

        def inverse(interval: Interval) -> Interval:
            first = -math.inf if interval[0] <= low else interval[0]
            last = math.inf if interval[1] >= high else interval[1]
            return first, last

        return self.behind(inverse)

    def raised(self, to: float) -> Way:
        """The way downstream of an even power."""

        def inverse(interval: Interval) -> Interval:
            low, high = (max(end, 0.0) ** (1.0 / to) for end in interval)
            return (low if interval[0] > 0 else -high), high

        simple = self.scale is not None and not self.offset
        scale = self.scale**to if simple and self.scale is not None else None
        return self.behind(inverse, scale=scale, power=self.power * to)

    def folded(self) -> Way:
        """The way downstream of the size of numbers."""
        return self.behind(
            lambda interval: (interval[0] if interval[0] > 0 else -interval[1], interval[1])
        )

    @property
    def ends(self) -> Interval | None:
        """Images of 0 and 1, None if they are not determined."""
        if self.scale is None or self.power != 1.0 or not self.exact:
            return None
        return self.offset, self.scale + self.offset
