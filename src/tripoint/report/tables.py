"""The tensor table, as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from tripoint.report.columns import columns
from tripoint.sanitize import clean
from tripoint.table import (
    INITIALIZER,
    Bound,
    Frozen,
    Refusal,
    TensorFacts,
    TensorTable,
    format_shape,
)
from tripoint.words import number_of, once

LONG_TABLE = 40
"""Rows up to which a summary shows the whole tensor table."""


def shapes(table: TensorTable, *, lost_only: bool = False) -> list[str]:
    """The tensor table: true shape beside TensorRT's view, losses marked."""
    shown = [facts for facts in table.tensors if not lost_only or facts.lost or facts.differs]
    rows: list[Sequence[object]] = [("tensor", "op", "dtype", "true shape", "TensorRT", "")]
    origins = frozenset(table.origins)
    frozen = frozenset(entry.tensor for entry in table.frozen)
    rows += [_row(facts, origins, frozen) for facts in shown]
    lines = columns(rows) if shown else []
    return [*lines, *([""] if lines else []), *summary(table)]


def _row(facts: TensorFacts, origins: frozenset[str], frozen: frozenset[str]) -> Sequence[object]:
    notes = []
    if facts.name in origins:
        notes.append("origin")
    if facts.lost:
        notes.append(f"lost {', '.join(map(str, facts.lost))}")
    if facts.differs:
        notes.append("not the true shape")
    if facts.declared is not None:
        notes.append(f"declared {format_shape(facts.declared)}")
    if facts.name in frozen:
        notes.append("frozen")
    if facts.role == "shape":
        notes.append("shape tensor")
    elif facts.role == "both":
        notes.append("execution and shape tensor")
    return (
        facts.name,
        facts.op or "input",
        facts.dtype or "?",
        format_shape(facts.shape),
        format_shape(facts.tensorrt) if facts.tensorrt is not None else "not reached",
        "; ".join(notes),
    )


def summary(table: TensorTable) -> list[str]:
    """The counts of a table, with what was not decided."""
    counts = table.summary
    lines = [
        f"{number_of(counts.tensors, 'tensor')}, {_lost(counts.lost_dims, counts.lost_tensors)}"
    ]
    if counts.origins:
        named = ", ".join(map(clean, counts.origins[:LONG_TABLE]))
        more = len(counts.origins) - LONG_TABLE
        lines.append(f"origins: {named}{f' and {more} more' if more > 0 else ''}")
    others = [
        (counts.dynamic_dims, "dynamic"),
        (counts.data_dependent_dims, "data-dependent"),
        (counts.unresolved_dims, "not decided"),
    ]
    lines += [f"{number_of(count, 'dim')} {what}" for count, what in others if count]
    if counts.differing_tensors:
        lines.append(
            f"{number_of(counts.differing_tensors, 'tensor')} of another size than the true one"
        )
    if counts.not_seen:
        lines.append(f"{number_of(counts.not_seen, 'tensor')} that the target did not reach")
    lines += once(f"contradiction: {clean(text)}" for text in table.contradictions)
    lines += _listed("frozen sizes", (frozen_line(entry) for entry in table.frozen))
    lines += _listed("sizes that values decide", (_bound(entry) for entry in table.bounds))
    lines += [f"note: {clean(note)}" for note in table.notes]
    return lines + refusals(table)


def _listed(what: str, entries: Iterable[str]) -> list[str]:
    lines = [f"  {entry}" for entry in entries]
    if len(lines) > LONG_TABLE:
        lines = [*lines[:LONG_TABLE], f"  and {len(lines) - LONG_TABLE} more"]
    return [f"{what}:", *lines] if lines else []


def frozen_line(entry: Frozen) -> str:
    """Return one line about a size that an export froze."""
    return clean(
        f"{entry.op} {entry.node}: axis {entry.axis} of {entry.tensor} is {entry.size}, "
        f"not {entry.expected}: {entry.reason}"
    )


def _bound(entry: Bound) -> str:
    most = "" if entry.most is None else f" to {entry.most}"
    return clean(
        f"{entry.symbol} of {entry.tensor}: {entry.least}{most or ' or more'} ({entry.op})"
    )


def parsed_or_built(table: TensorTable) -> list[str]:
    """List what stops a TensorRT: nodes that it does not parse, or an installed one not build."""
    nodes = {facts.node for facts in table.tensors if facts.node}
    nodes = nodes if table.target.kind == "installed" else set()
    late = [note for note in table.notes if any(note.startswith(f"node {n!r} (") for n in nodes)]
    return [*(f"note: {clean(note)}" for note in late), *refusals(table)]


def refusals(table: TensorTable) -> list[str]:
    """Nodes that the target would refuse or read differently."""
    if not table.refusals:
        return []
    from tripoint.views.quantized import hints

    count = len({(each.op, each.node) for each in table.refusals})
    lines = [f"{table.target} refuses or misreads {number_of(count, 'node')}:"]
    reasons: dict[str, list[Refusal]] = {}
    for refusal in table.refusals:
        lead = f"{refusal.op}: " if refusal.op else ""
        reasons.setdefault(f"{lead}{refusal.reason}", []).append(refusal)
    for reason, nodes in reasons.items():
        first, more = nodes[0], f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        source = f", {first.source}" if first.source else ""
        what = "region" if first.node.startswith("{ForeignNode[") else "model"
        where = f"node {first.node}{more}{source}" if first.op else f"{what} {first.node}"
        lines.append(f"  {clean(reason)} ({clean(where)})")
    lines.append("  the table goes on downstream of such a node as if it were understood")
    return [*lines, *(f"  next: {clean(step)}" for step in hints(table.refusals))]


def _lost(dims: int, tensors: int) -> str:
    return f"{number_of(dims, 'lost dim')} in {tensors} of them" if dims else "no lost dimension"


def tensor(facts: TensorFacts) -> list[str]:
    """One tensor: where it comes from, its true shape and TensorRT's view."""
    made_by = f"{facts.op} node {facts.node}" if facts.node is not None else "graph input"
    if facts.op == INITIALIZER:
        made_by = "no node: it is an initializer that the graph gives out"
    seen = format_shape(facts.tensorrt) if facts.tensorrt is not None else "not reached"
    rows = [
        ("tensor", facts.name),
        ("made by", f"{made_by}{f', {facts.source}' if facts.source else ''}"),
        ("true shape", format_shape(facts.shape)),
        ("TensorRT", seen),
    ]
    return columns(rows, indent="")


def shapes_document(table: TensorTable) -> dict[str, Any]:
    """The tensor table."""
    return {
        "target": dataclasses.asdict(table.target),
        "inputs": [_port(table.by_name[name]) for name in table.inputs],
        "outputs": [_port(table.by_name[name]) for name in table.outputs if name in table.by_name],
        "tensors": [tensor_document(facts) for facts in table.tensors],
        "refusals": [dataclasses.asdict(refusal) for refusal in table.refusals],
        "layers": table.layers,
        "contradictions": table.contradictions,
        "frozen": [dataclasses.asdict(entry) for entry in table.frozen],
        "bounds": [dataclasses.asdict(entry) for entry in table.bounds],
        "notes": table.notes,
        "layers_of": dict(table.layers_of),
        "summary": dataclasses.asdict(table.summary),
    }


def tensor_document(facts: TensorFacts) -> dict[str, Any]:
    """One row of the table."""
    return {
        "name": facts.name,
        "op": facts.op,
        "node": facts.node,
        "dtype": facts.dtype,
        "shape": facts.shape,
        "declared": facts.declared,
        "tensorrt": facts.tensorrt,
        "lost": facts.lost,
        "differs": facts.differs,
        "role": facts.role,
        "source": facts.source,
    }


def _port(facts: TensorFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "dtype": facts.dtype,
        "shape": facts.shape,
        "tensorrt": facts.tensorrt,
    }
