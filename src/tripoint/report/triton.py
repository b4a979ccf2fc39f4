"""The results of ``tripoint triton`` as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from tripoint.sanitize import clean
from tripoint.triton import Checked, Exported, Finding


def exported(result: Exported) -> list[str]:
    """List the written files, the batching with its reason, and the requirements."""
    lines = [f"wrote {clean(path)}" for path in result.written]
    if result.kept is not None:
        lines.append(f"kept {clean(result.kept)}, which is the same")
    lines.append(f"max_batch_size {result.batching.max_batch_size}: {result.batching.reason}")
    lines += [f"needs {need}" for need in result.needs]
    lines += [f"warning: {warning}" for warning in result.warnings]
    return [*map(clean, lines), "", *map(clean, result.config.splitlines())]


def exported_document(result: Exported) -> dict[str, Any]:
    """The same as JSON values."""
    return dataclasses.asdict(result)


def checked(result: Checked) -> list[str]:
    """Each mistake with its place and what to write instead, and what was not compared."""
    lines = []
    for finding in result.findings:
        lines.append(clean(f"{_place(finding)}: {finding.severity} {finding.name}"))
        lines.append(clean(f"    {finding.message}"))
        if finding.write is not None:
            lines.append(clean(f"    write: {finding.write}"))
    for model in result.models:
        compared = (
            f"compared with {', '.join(model.compared)}"
            if model.compared
            else ("its tensors were compared with nothing")
        )
        lines.append(clean(f"{model.name}: {model.backend or 'backend not known'}, {compared}"))
    lines += [clean(f"not compared: {u.model}: {u.what}: {u.reason}") for u in result.unchecked]
    counts = Counter(finding.severity for finding in result.findings)
    totals = ", ".join(f"{_many(counts[kind], kind)}" for kind in ("error", "warning"))
    return [*lines, f"{_many(len(result.models), 'model')}: {totals}"]


def checked_document(result: Checked) -> dict[str, Any]:
    """The same as JSON values."""
    return dataclasses.asdict(result)


def _place(finding: Finding) -> str:
    return finding.file if finding.line is None else f"{finding.file}:{finding.line}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
