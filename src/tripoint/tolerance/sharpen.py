"""Tolerances where the movement of an output by roundings was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tripoint.tolerance.parts import Parts

Array = np.ndarray[Any, Any]
_TIMES = 3.0
"""Both sides err, and another order of sums by the size of what was measured, not by that."""
_TIMES_SHORT = 1.5
"""What is cut off is not known as well as what is rounded."""
_FEW = 64
"""Numbers of which the largest is as good as known."""
_RUNS = 2
_PROPORTION = 3.0


@dataclass(frozen=True)
class Moved:
    """Movement of an output by noise, for each element, divided by the noise's enlargement.

    Args:
        near: With the smaller noise.
        far: With the larger one.
        short: What products that are too small move it by; None if they are rounded.
    """

    near: Array
    far: Array
    short: Array | None = None

    def limits(self, parts: Parts, eps: float) -> tuple[float, ...] | None:
        """Return the tolerance of each part; None where the output does not move in proportion.

        Args:
            parts: The parts of the output.
            eps: Machine epsilon of the output; one of a typical element is allowed at least.
        """
        limits = []
        short = parts.largest(self.short) if self.short is not None else (0.0,) * len(parts.scales)
        ends = (parts.largest(self.near), parts.largest(self.far))
        for near, far, count, scale, cut in zip(
            *ends, parts.moving(self.far), parts.scales, short, strict=True
        ):
            most, floor = max(near, far), eps * scale
            if most > max(_PROPORTION * min(near, far), floor):
                return None
            chance = max(1.0, _FEW / max(1, _RUNS * count)) ** 0.5
            limits.append(max(_TIMES * chance * most, _TIMES_SHORT * cut, floor))
        return tuple(limits)
