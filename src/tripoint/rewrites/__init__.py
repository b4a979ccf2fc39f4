"""Rewrites of the graph, one a file, and the proof that each must pass."""

from __future__ import annotations

import importlib

from tripoint.errors import UsageError
from tripoint.rewrites.base import Rewrite

_MODULES = (
    "default_attributes",
    "explicit_pads",
    "needless_ceil",
    "time_first",
    "einsum_letters",
    "distinct_dims",
    "global_average_pool",
    "conv1d_between_squeezes",
    "conv_transpose1d_between_squeezes",
    "pool1d_between_squeezes",
    "norm1d_between_squeezes",
    "elementwise_between_squeezes",
    "lifted1d",
    "late_expand",
    "redundant_expand",
    "constant_nodes",
    "symmetric_zero_point",
    "no_operation",
    "known_values",
    "folded_constants",
    "padded_sizes",
    "constant_sizes",
    "repeated_number",
    "gathered_parts",
    "scalar_gather",
    "neutral_operand",
    "empty_operands",
    "flat_sizes",
    "squeeze_axes",
    "decided_if",
    "nan_guard",
    "merged_reshapes",
    "merged_transposes",
    "transposes_across_gather",
    "permuting_reshapes",
    "common_subexpressions",
    "fully_connected",
    "explicit_reshape",
    "unread",
    "materialise",
)
"""One rewrite each, in the order in which they are tried."""


def all_rewrites() -> tuple[Rewrite, ...]:
    """Every rewrite, in the order in which they are tried."""
    found = []
    for name in _MODULES:
        rewrite: Rewrite = importlib.import_module(f"{__name__}.{name}").REWRITE
        found.append(rewrite)
    return tuple(found)


def select(names: tuple[str, ...] | None, *, unsafe: bool = False) -> tuple[Rewrite, ...]:
    """The rewrites of these names, or all.

    Args:
        names: Names of rewrites, None for all.
        unsafe: Whether those are meant as well that change results in a corner case.

    Raises:
        UsageError: If a name is unknown, or is that of an unsafe rewrite and they are not meant.
    """
    known = {rewrite.name: rewrite for rewrite in all_rewrites()}
    for name in names or ():
        if name not in known:
            raise UsageError(f"unknown rewrite {name!r}", hint=f"there are {', '.join(known)}")
        if known[name].safety == "unsafe" and not unsafe:
            raise UsageError(
                f"the rewrite {name!r} is unsafe: {known[name].corner_case}",
                hint="--unsafe-fixes allows it",
            )
    return tuple(
        rewrite
        for name, rewrite in known.items()
        if (names is None or name in names) and (unsafe or rewrite.safety == "safe")
    )
