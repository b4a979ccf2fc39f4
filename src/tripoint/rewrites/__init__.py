"""Rewrites of the graph, one a file, and the proof that each must pass."""

from __future__ import annotations

import importlib

from tripoint.errors import UsageError
from tripoint.rewrites.base import Rewrite

_MODULES = (
    "rules.default_attributes",
    "rules.explicit_pads",
    "rules.needless_ceil",
    "rules.time_first",
    "rules.einsum_letters",
    "rules.distinct_dims",
    "rules.global_average_pool",
    "lift_1d.conv1d_between_squeezes",
    "lift_1d.conv_transpose1d_between_squeezes",
    "lift_1d.pool1d_between_squeezes",
    "lift_1d.norm1d_between_squeezes",
    "lift_1d.elementwise_between_squeezes",
    "lift_1d.lifted_1d_operator",
    "rules.late_expand",
    "rules.redundant_expand",
    "rules.constant_nodes",
    "rules.symmetric_zero_point",
    "rules.no_operation",
    "rules.known_values",
    "rules.folded_constants",
    "rules.padded_sizes",
    "rules.constant_sizes",
    "rules.repeated_number",
    "rules.gathered_parts",
    "rules.scalar_gather",
    "rules.neutral_operand",
    "rules.empty_operands",
    "rules.flat_sizes",
    "rules.squeeze_axes",
    "rules.decided_if",
    "rules.nan_guard",
    "rules.merged_reshapes",
    "rules.merged_transposes",
    "rules.transposes_across_gather",
    "rules.permuting_reshapes",
    "rules.common_subexpressions",
    "rules.no_fully_connected",
    "rules.explicit_reshape",
    "rules.unread",
    "rules.materialise",
)
"""One rewrite each, in the order in which they are tried."""


def all_rewrites() -> tuple[Rewrite, ...]:
    """Every rewrite, in the order in which they are tried."""
    rewrites = []
    for name in _MODULES:
        rewrite: Rewrite = importlib.import_module(f"{__name__}.{name}").REWRITE
        rewrites.append(rewrite)
    return tuple(rewrites)


def select(names: tuple[str, ...] | None, *, unsafe: bool = False) -> tuple[Rewrite, ...]:
    """The rewrites of these names, or all.

    Args:
        names: Names of rewrites, None for all.
        unsafe: Whether those are meant as well that change results in a corner case.

    Raises:
        UsageError: If a name is unknown, or is that of an unsafe rewrite and they are not meant.
    """
    by_name = {rewrite.name: rewrite for rewrite in all_rewrites()}
    for name in names or ():
        if name not in by_name:
            raise UsageError(f"unknown rewrite {name!r}", hint=f"there are {', '.join(by_name)}")
        if by_name[name].safety == "unsafe" and not unsafe:
            raise UsageError(
                f"the rewrite {name!r} is unsafe: {by_name[name].corner_case}",
                hint="--unsafe-fixes allows it",
            )
    return tuple(
        rewrite
        for name, rewrite in by_name.items()
        if (names is None or name in names) and (unsafe or rewrite.safety == "safe")
    )
