"""Rewrites of the graph, one a file, and the proof that each must pass."""

from __future__ import annotations

from tripoint.errors import UsageError
from tripoint.rewrites.base import Rewrite


def all_rewrites() -> tuple[Rewrite, ...]:
    """Every rewrite, in the order in which they are tried."""
    from tripoint.rewrites import conv1d_between_squeezes, global_average_pool, redundant_expand

    return (
        global_average_pool.REWRITE,
        conv1d_between_squeezes.REWRITE,
        redundant_expand.REWRITE,
    )


def select(names: tuple[str, ...] | None) -> tuple[Rewrite, ...]:
    """The rewrites of these names, or all.

    Raises:
        UsageError: If a name is unknown.
    """
    known = {rewrite.name: rewrite for rewrite in all_rewrites()}
    for name in names or ():
        if name not in known:
            raise UsageError(f"unknown rewrite {name!r}", hint=f"there are {', '.join(known)}")
    return tuple(rewrite for name, rewrite in known.items() if names is None or name in names)
