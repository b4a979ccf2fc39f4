"""Chains from lost dims to their origins, as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tripoint.report.columns import OFTEN, columns
from tripoint.report.tables import frozen_line
from tripoint.sanitize import clean
from tripoint.table import Chain, Step, TensorTable
from tripoint.words import number_of

_ENDS = 12
"""Steps of a long chain that are shown at either end."""


def chain(value: Chain) -> list[str]:
    """Explain the loss of one tensor's dimensions, step by step."""
    if value.misread is not None:
        where = f"that starts at {clean(value.misread)}"
        lines = [f"{clean(value.tensor)}: TensorRT gives it another shape, and {where}"]
    elif value.origin is None:
        lines = [f"{clean(value.tensor)}: no dimension is lost"]
    else:
        lines = [f"{clean(value.tensor)}: the loss starts at {clean(value.origin)}"]
    steps = [_step(step) for step in value.back]
    if len(steps) > 2 * _ENDS:
        hidden = len(steps) - 2 * _ENDS
        steps[_ENDS:-_ENDS] = [("...", "", "", f"{number_of(hidden, 'more step')}")]
    lines += columns(steps, indent="    ")
    if value.reaches:
        lines.append(f"    reaches the outputs {', '.join(map(clean, value.reaches))}")
    lines += _refused_on_the_way(value)
    lines += [f"    frozen: {frozen_line(entry)}" for entry in value.frozen[:OFTEN]]
    if len(value.frozen) > OFTEN:
        lines.append(f"    and {number_of(len(value.frozen) - OFTEN, 'more frozen size')}")
    return lines


def _refused_on_the_way(value: Chain) -> list[str]:
    """List what the target refuses or misreads of a tensor's node, and of those that feed it."""
    groups: dict[tuple[bool, str, str], list[str]] = {}
    told = {step.reason for step in value.back}
    for refusal in value.refusals:
        if refusal.reason in told:
            continue
        behind = refusal.node != value.node
        groups.setdefault((behind, refusal.op, refusal.reason), []).append(refusal.node)
    lines = []
    for (behind, op, reason), nodes in groups.items():
        more = f" and {len(nodes) - OFTEN} more" if len(nodes) > OFTEN else ""
        made_from = f"made from {op} {', '.join(nodes[:OFTEN])}{more}, " if behind else ""
        lines.append(clean(f"    {made_from}refused or misread: {reason}"))
    return lines


def _step(step: Step) -> Sequence[object]:
    return (step.tensor, step.op or "input", step.source or "", step.reason)


def chains(table: TensorTable, *, limit: int = 5) -> list[str]:
    """The chains of the origins, the first few in full."""
    lines = [line for value in table.chains[:limit] for line in chain(value)]
    if len(table.chains) > limit:
        lines.append(f"and {number_of(len(table.chains) - limit, 'more origin')}")
    return lines


def chain_document(value: Chain) -> dict[str, Any]:
    """Return the loss of one tensor's dimensions as a document."""
    return {
        "tensor": value.tensor,
        "origin": value.origin,
        "misread": value.misread,
        "chain": [
            {
                "node": step.node,
                "op": step.op,
                "tensor": step.tensor,
                "reason": step.reason,
                "source": step.source,
            }
            for step in value.back
        ],
        "reaches": value.reaches,
    }


def explained_document(value: Chain) -> dict[str, Any]:
    """As :func:`chain`, with what the target refuses, and what is frozen, on the way to it."""
    return {
        **chain_document(value),
        "refusals": [dataclasses.asdict(refusal) for refusal in value.refusals],
        "frozen": [dataclasses.asdict(entry) for entry in value.frozen],
    }
