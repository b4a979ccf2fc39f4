"""Differences between two targets' views of one model, as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tripoint.analysis.differences import Difference, Differences, Kind
from tripoint.report.columns import columns
from tripoint.sanitize import clean
from tripoint.table import ViewShape, format_shape
from tripoint.words import number_of

_KINDS: Mapping[Kind, str] = {
    "lost_in_a": "lost in A only",
    "lost_in_b": "lost in B only",
    "lost_in_both": "lost in both, on other axes",
    "another_size": "of another size or rank",
    "only_in_a": "reached by A only",
    "only_in_b": "reached by B only",
}


def lines(value: Differences) -> list[str]:
    """One row for each tensor that the two targets see differently, then the counts."""
    titles = ("tensor", "op", "true shape", f"A ({value.a.name})", f"B ({value.b.name})", "")
    rows: list[Sequence[object]] = [titles, *(_row(each) for each in value.tensors)]
    shown = [*columns(rows), ""] if value.tensors else []
    return [f"A: {clean(value.a)}", f"B: {clean(value.b)}", "", *shown, *_summary(value)]


def document(value: Differences) -> dict[str, Any]:
    """The same for programs."""
    return {
        "targets": [dataclasses.asdict(value.a), dataclasses.asdict(value.b)],
        "differences": [_entry(each) for each in value.tensors],
        "summary": {
            "same": value.same,
            "different": len(value.tensors),
            "kinds": dict(value.counts),
            "lost_dims": [value.lost_dims_a, value.lost_dims_b],
        },
    }


def _row(value: Difference) -> Sequence[object]:
    return (
        value.name,
        value.op or "input",
        format_shape(value.shape),
        _seen(value.a),
        _seen(value.b),
        _note(value),
    )


def _seen(shape: ViewShape | None) -> str:
    return "not reached" if shape is None else format_shape(shape)


def _note(value: Difference) -> str:
    notes = [
        f"{letter} loses {', '.join(map(str, lost))}"
        for letter, lost in (("A", value.lost_a), ("B", value.lost_b))
        if lost
    ]
    if not notes:
        notes = [_KINDS[value.kind]]
    return "; ".join(notes)


def _summary(value: Differences) -> list[str]:
    if not value.tensors:
        return [f"both see all {value.same} tensors alike"]
    return [
        f"{number_of(len(value.tensors), 'tensor')} seen differently, {value.same} alike",
        *(
            f"{value.counts[kind]} {words}"
            for kind, words in _KINDS.items()
            if kind in value.counts
        ),
        f"lost dims: {value.lost_dims_a} in A, {value.lost_dims_b} in B",
    ]


def _entry(value: Difference) -> dict[str, Any]:
    return {
        "name": value.name,
        "op": value.op,
        "node": value.node,
        "kind": value.kind,
        "shape": value.shape,
        "tensorrt": [value.a, value.b],
        "lost": [value.lost_a, value.lost_b],
    }
