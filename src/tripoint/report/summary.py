"""The summary that ``tripoint run`` prints, from the sections of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tripoint.api.running import RunResult
from tripoint.report import chains, columns, engines, fixes, networks, tables, verification
from tripoint.report.chains import chain_document
from tripoint.report.engines import build_document
from tripoint.report.fixes import fix_document
from tripoint.report.tables import shapes_document
from tripoint.report.verification import verification_document
from tripoint.sanitize import clean
from tripoint.table import TensorTable


def run(result: RunResult) -> list[str]:
    """The whole main job on a screen or two."""
    before, after = result.fix.facts_before.table, result.fix.facts_after.table
    lines = columns.heading(result.model, before)
    lines += [f"note: {clean(note)}" for note in result.notes]
    lines += columns.section("Tensors", _table(before))
    if before.chains:
        lines += columns.section("Why", chains.chains(before))
    lines += columns.section("Rewrites", fixes.fix(result.fix))
    if result.fix.applied and result.fix.proven:
        lines += columns.section("Tensors after the rewrites", _after(after))
    lines += columns.section("Network before", networks.network(result.network_before)[1:])
    lines += columns.section("Network after", networks.network(result.network_after)[1:])
    lines += columns.section("Engine", _engine(result))
    lines += columns.section("Comparison", verification.verification(result.verification))
    lines += ["", f"files in {clean(result.folder)}: {', '.join(_files(result))}"]
    return lines


def _table(table: TensorTable) -> Sequence[str]:
    if len(table.tensors) <= tables.LONG_TABLE:
        return tables.shapes(table)
    kept = tables.shapes(table, lost_only=True)
    return [*kept, "the tensors without a loss are in report.json"]


def _after(table: TensorTable) -> Sequence[str]:
    return tables.shapes(table, lost_only=True)


def _engine(result: RunResult) -> list[str]:
    if result.build is None:
        return [f"not built: {clean(result.no_build)}"]
    return [line for line in engines.build(result.build) if " | " not in line and "===" not in line]


def _files(result: RunResult) -> list[str]:
    return sorted(path.name for path in result.folder.iterdir() if path.is_file())


def run_document(result: RunResult) -> dict[str, Any]:
    """Everything that the main job found out."""
    return {
        "notes": result.notes,
        "before": {
            **shapes_document(result.fix.facts_before.table),
            "chains": [chain_document(entry) for entry in result.fix.facts_before.table.chains],
            "network": result.network_before,
        },
        "fix": fix_document(result.fix),
        "after": {
            **shapes_document(result.fix.facts_after.table),
            "chains": [chain_document(entry) for entry in result.fix.facts_after.table.chains],
            "network": result.network_after,
        },
        "build": build_document(result.build) if result.build else {"not_built": result.no_build},
        "verify": verification_document(result.verification),
        "verdict": result.verification.verdict,
        "next": result.verification.next,
    }
