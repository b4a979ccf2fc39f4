"""The sizes inside one optimization profile that a graph can take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tripoint.model import Model
from tripoint.numeric.inputs import MINIMUM_POINTS
from tripoint.profiles import points
from tripoint.profiles.constraints import profiles
from tripoint.profiles.constraints.needs import Needs
from tripoint.profiles.points import Point
from tripoint.profiles.profile import Profile
from tripoint.spec import Range, Spec


@dataclass(frozen=True, slots=True)
class LegalSizes:
    """Sizes of the symbols in the inputs, values of shape tensors too.

    Args:
        ranges: Range by symbol. The graph takes its sizes at min, at opt and at max.
        needs: What it needs of those between them.
        profile: The optimization profile with these ranges, None for a static model.
    """

    ranges: Mapping[str, Range]
    needs: Needs
    profile: Profile | None = None

    @classmethod
    def of(cls, model: Model, spec: Spec | None) -> LegalSizes:
        """The sizes that a person asked for.

        Raises:
            UsageError: If a dynamic dim has no range, a shape tensor no values, or min, opt or max
                is a size that the graph cannot take.
        """
        specs = [spec or Spec()]
        needed = profiles.needs(model, specs)
        examined = profiles.asked(needed, specs)
        if not examined:
            return cls({}, needed)
        return cls(examined[0].ranges, needed, examined[0].profile)

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Smallest and largest size by symbol."""
        return {symbol: (size.min, size.max) for symbol, size in self.ranges.items()}

    def take(self, sizes: Mapping[str, int]) -> bool:
        """Return whether the graph takes some sizes, as far as is known."""
        return profiles.takes(self.needs, sizes)

    def points(self) -> list[Point]:
        """Min, opt, max, what is 0 and a random point, or fewer repeated: three at least."""
        count = 4 + min(2, sum(1 for _ in points.empty(self.ranges)))
        sizes = points.few(self.ranges, count, allowed=self.take)
        return sizes * math.ceil(MINIMUM_POINTS / len(sizes))
