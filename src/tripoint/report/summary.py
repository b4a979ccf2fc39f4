"""The summary that ``tripoint run`` prints, from the sections of :mod:`tripoint.report.text`."""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.facts.table import TensorTable
from tripoint.pipeline import RunResult
from tripoint.report import text, verification
from tripoint.report.sanitize import clean


def run(result: RunResult) -> list[str]:
    """The whole main job on a screen or two."""
    before, after = result.fix.facts_before.table, result.fix.facts_after.table
    lines = text.heading(result.model, before)
    lines += [f"note: {clean(note)}" for note in result.notes]
    lines += text.section("Tensors", _table(before))
    if before.chains:
        lines += text.section("Why", text.chains(before))
    lines += text.section("Rewrites", text.fix(result.fix))
    if result.fix.applied and result.fix.proven:
        lines += text.section("Tensors after the rewrites", _after(after))
    lines += text.section("Network before", text.network(result.network_before)[1:])
    lines += text.section("Network after", text.network(result.network_after)[1:])
    lines += text.section("Engine", _engine(result))
    lines += text.section("Comparison", verification.verification(result.verification))
    lines += ["", f"files in {clean(result.folder)}: {', '.join(_files(result))}"]
    return lines


def _table(table: TensorTable) -> Sequence[str]:
    if len(table.tensors) <= text.LONG_TABLE:
        return text.shapes(table)
    kept = text.shapes(table, lost_only=True)
    return [*kept, "the tensors without a loss are in report.json"]


def _after(table: TensorTable) -> Sequence[str]:
    return text.shapes(table, lost_only=True)


def _engine(result: RunResult) -> list[str]:
    if result.build is None:
        return [f"not built: {clean(result.no_build)}"]
    return [line for line in text.build(result.build) if " | " not in line and "===" not in line]


def _files(result: RunResult) -> list[str]:
    return sorted(path.name for path in result.folder.iterdir() if path.is_file())
