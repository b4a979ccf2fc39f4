"""Rewrites with their proofs, as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tripoint.report.columns import OFTEN, columns, point
from tripoint.report.tables import LONG_TABLE
from tripoint.rewrites.base import Applied, FixResult, Numeric, Proof, Refused
from tripoint.sanitize import clean
from tripoint.words import number_of, once


def fix(result: FixResult) -> list[str]:
    """Rewrites with their proofs, refusals, and what remains."""
    lines = _all_applied(result.applied)
    if not result.applied:
        lines.append("no rewrite applies")
    lines += _all_refused(result.refused)
    if result.proof is not None:
        lines += ["whole model", *(f"    {line}" for line in proof(result.proof))]
    lines.append(
        f"nodes {result.before.nodes} -> {result.after.nodes}, "
        f"lost dims {result.before.lost_dims} -> {result.after.lost_dims}"
    )
    if result.remaining:
        lines.append(f"{number_of(len(result.remaining), 'tensor')} with dims that are still lost:")
        rows = [(entry.tensor, f"axes {entry.lost}", entry.reason) for entry in result.remaining]
        lines += columns(rows[:LONG_TABLE], indent="    ")
        if len(rows) > LONG_TABLE:
            lines.append(f"    and {len(rows) - LONG_TABLE} more")
    return lines


def _all_refused(refused: Sequence[Refused]) -> list[str]:
    """Each reason of a rewrite once, with the first nodes at which it holds."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in refused:
        groups.setdefault((entry.rewrite, entry.reason), []).append(entry.node)
    lines = []
    for (rewrite, reason), nodes in groups.items():
        more = f" and {len(nodes) - OFTEN} more" if len(nodes) > OFTEN else ""
        lines.append(f"not applied: {rewrite} at {clean(', '.join(nodes[:OFTEN]))}{more}")
        lines.append(f"    {clean(reason)}")
    return lines


def _all_applied(applied: Sequence[Applied]) -> list[str]:
    """Each application of a rewrite, or one line for a rewrite that was applied often."""
    groups: dict[str, list[Applied]] = {}
    for entry in applied:
        groups.setdefault(entry.rewrite, []).append(entry)
    lines = []
    for name, entries in groups.items():
        if len(entries) <= OFTEN:
            lines += [line for entry in entries for line in _applied(entry)]
            continue
        proofs = Counter(line for entry in entries for line in proof(entry.proof))
        lines.append(f"{name}: {number_of(len(entries), 'place')}")
        lines += once(f"    assumes: {clean(entry.assumes)}" for entry in entries if entry.assumes)
        lines += [f"    {line} ({count})" for line, count in proofs.most_common(OFTEN)]
    return lines


def _applied(entry: Applied) -> list[str]:
    nodes = ", ".join(map(clean, entry.nodes)) or clean(entry.tensor)
    assumes = [f"    assumes: {clean(entry.assumes)}"] if entry.assumes else []
    lines = [*assumes, *(f"    {line}" for line in proof(entry.proof))]
    return [f"{entry.rewrite}: {nodes}", *lines]


def proof(value: Proof) -> list[str]:
    """Both obligations, one line each."""
    shapes_line = {
        "holds": "shapes: the same for all sizes",
        "fails": f"shapes: {value.reason}",
        "undecided": f"shapes: not decided, {value.reason}",
        "skipped": "shapes: not compared",
    }[value.symbolic]
    return [clean(shapes_line), f"numbers: {numeric(value.numeric)}"]


def numeric(value: Numeric) -> str:
    """One sentence about the numbers."""
    if value.status == "skipped":
        return f"not compared ({clean(value.reason)})"
    if value.max_abs_error is None or value.tolerance is None:
        return f"{value.status}: {clean(value.reason)}"
    where = "; ".join(dict.fromkeys(map(point, value.points)))
    return (
        f"{'equal' if value.status == 'holds' else 'different'} in ONNX Runtime at "
        f"{number_of(len(value.points), 'point')} ({where}), max error {value.max_abs_error:.2g}, "
        f"allowed {value.tolerance:.2g}: {clean(value.reason)}"
    )


def fix_document(result: FixResult) -> dict[str, Any]:
    """The outcome of the rewrites."""
    return {
        "applied": [dataclasses.asdict(entry) for entry in result.applied],
        "refused": [dataclasses.asdict(entry) for entry in result.refused],
        "remaining": [dataclasses.asdict(entry) for entry in result.remaining],
        "before": dataclasses.asdict(result.before),
        "after": dataclasses.asdict(result.after),
        "renamed": dict(result.renamed),
        "proof": dataclasses.asdict(result.proof) if result.proof else None,
        "proven": result.proven,
    }
