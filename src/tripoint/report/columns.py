"""Columns and headings, shared by the reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tripoint.model import Model
from tripoint.sanitize import clean
from tripoint.table import TensorTable
from tripoint.words import number_of


def columns(rows: Sequence[Sequence[object]], *, indent: str = "  ") -> list[str]:
    """Align rows into columns, cleaned of control characters.

    Args:
        rows: Cells; the last cell of a row is not padded.
        indent: What each line starts with.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    count = max((len(row) for row in cells), default=0)
    widths = [max((len(row[i]) for row in cells if i < len(row)), default=0) for i in range(count)]
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append((indent + "  ".join(padded)).rstrip())
    return lines


def heading(model: Model, table: TensorTable | None = None) -> list[str]:
    """Return the heading: the model, and whose view it is."""
    recorded = table is not None and table.target.kind == "log" and model.path is None
    name = clean(table.target.name if table and recorded else model.origin or "model in memory")
    lines = [f"{name}: opset {model.opset or 'unknown'}, {number_of(model.nodes, 'node')}"]
    if table is not None:
        lines.append(f"target: {clean(table.target)}")
    return lines


def point(bindings: object) -> str:
    """The sizes of one point, ``N=1 H=5``; for a static model, that inputs are random."""
    if not isinstance(bindings, dict) or not bindings:
        return "random inputs"
    return " ".join(f"{clean(name)}={size}" for name, size in bindings.items())


OFTEN = 4
"""Applications of one rewrite that are shown one by one."""


def section(title: str, lines: Iterable[str]) -> list[str]:
    """Lines under a title, with an empty line before."""
    return ["", title, *lines]
