"""Contents of a recorded verbose log, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tripoint.report import chains, tables
from tripoint.sanitize import clean
from tripoint.table import TensorTable
from tripoint.views.log import Recording
from tripoint.words import number_of


def lines(
    recordings: Sequence[tuple[int, Recording, TensorTable]], count: int, *, lost_only: bool = False
) -> list[str]:
    """The models of a log, each with the version that wrote it and its tensor table.

    Args:
        recordings: The models to show: number, from 1 on, what was recorded, and its table.
        count: Number of models in the log.
        lost_only: Whether only tensors with lost dims are listed.
    """
    shown: list[str] = []
    for number, recording, table in recordings:
        shown += [
            *([""] if shown else []),
            *_heading(recording, f", model {number} of {count}" if count > 1 else ""),
            "",
            *tables.shapes(table, lost_only=lost_only),
            *chains.chains(table),
        ]
    return shown


def _heading(recording: Recording, which: str) -> list[str]:
    """Return the heading: the model, and the version that wrote the log."""
    target = recording.view.target
    opset = f"opset {recording.model.opset}, " if recording.model.opset else ""
    return [
        f"{clean(target.name)}{which}: {opset}{number_of(recording.model.nodes, 'node')}",
        f"target: {clean(target)}",
        f"version: {clean(recording.version)}, because {clean(recording.evidence)}",
        *(f"note: {clean(note)}" for note in recording.notes),
    ]


def document(
    recordings: Sequence[tuple[int, Recording, TensorTable]], count: int
) -> dict[str, Any]:
    """As :func:`lines`, as JSON values.

    Args:
        recordings: The models to show: number, from 1 on, what was recorded, and its table.
        count: Number of models in the log.
    """
    return {
        "models": count,
        "recordings": [
            {
                "model": {
                    "number": number,
                    "opset": recording.model.opset or None,
                    "nodes": recording.model.nodes,
                },
                "version": recording.version,
                "evidence": recording.evidence,
                "notes": recording.notes,
                **tables.shapes_document(table),
                "chains": [chains.chain_document(chain) for chain in table.chains],
            }
            for number, recording, table in recordings
        ],
    }
