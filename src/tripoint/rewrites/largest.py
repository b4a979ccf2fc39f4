"""The largest set of rewrites with which a whole model is still the same function.

Each rewrite is proven where it is made. All together may still differ further than is allowed, or
the file of the result may not load. Then the rewrite with which that starts is looked for by
halving, left out with the reason, and the rest is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tripoint.analysis.facts import Facts
from tripoint.progress import Progress
from tripoint.rewrites.base import Proof
from tripoint.rewrites.state import Place, State

_ATTEMPTS = 24
"""How often a model is rewritten and compared in search of those that have to be left out."""


@dataclass(frozen=True)
class Attempt:
    """A model after some rewrites.

    Args:
        state: The model on the way, and what was done.
        after: Facts of the model as its file will say it; None if nothing was applied.
        whole: Both obligations for the whole of it; None if nothing was applied.
    """

    state: State
    after: Facts | None = None
    whole: Proof | None = None

    @property
    def differs(self) -> bool:
        """Return whether it is not the same function."""
        return self.whole is not None and self.whole.refuted


Try = Callable[[int | None, Mapping[Place, str]], Attempt]
"""Rewrites a model at so many places at most, and not at the given ones; why not, by place."""


def proven(attempt: Try, progress: Progress) -> Attempt:
    """All rewrites, or if with them the model is not the same, as many as can be kept.

    Args:
        attempt: Makes them, the same in the same order each time.
        progress: Called with one line where the search starts.
    """
    excluded: dict[Place, str] = {}
    done, good = attempt(None, excluded), 0
    if not done.differs:
        return done
    progress("the whole differs: looking for the rewrite with which that starts")
    left = _ATTEMPTS
    while done.differs and left > 0:
        good, bad, worst = 0, len(done.state.places), done
        while bad - good > 1:
            middle = (good + bad) // 2
            tried, left = attempt(middle, excluded), left - 1
            if tried.differs:
                bad, worst = middle, tried
            else:
                good = middle
        if not worst.state.places or worst.whole is None:
            break
        reason = f"with it the whole model is not the same: {worst.whole.reason}"
        excluded[worst.state.places[-1]] = reason
        done, left = attempt(None, excluded), left - 1
    if done.differs:
        done = attempt(good, excluded)
    return attempt(0, excluded) if done.differs else done
