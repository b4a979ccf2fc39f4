"""Findings of ``tripoint triton check``, and what it could not look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake.

    Args:
        name: Its kind, such as ``"dims"``.
        severity: ``"error"`` where Triton refuses the model or requests fail, ``"warning"`` where
            it works otherwise than it reads.
        model: Folder of the model.
        file: File or folder, relative to the repository.
        line: Line of the file, from 1, None where there is none.
        message: What is wrong.
        write: What to write or do instead, None if the message says it.
    """

    name: str
    severity: Severity
    model: str
    file: str
    line: int | None
    message: str
    write: str | None = None


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Part that was not compared.

    Args:
        model: Folder of the model.
        what: What was not compared.
        reason: Why.
    """

    model: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """One model of a repository.

    Args:
        name: Name of its folder.
        backend: The backend that serves it, None if that is not known.
        versions: Its versions.
        compared: The files that its configuration was compared with; of an ensemble the models of
            its steps.
    """

    name: str
    backend: str | None
    versions: Sequence[int]
    compared: Sequence[str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A repository that was checked.

    Args:
        repository: Its folder.
        models: Its models.
        findings: The mistakes, model by model.
        unchecked: What was not compared.
    """

    repository: Path
    models: Sequence[CheckedModel]
    findings: Sequence[Finding]
    unchecked: Sequence[Unchecked]


@dataclass
class Notes:
    """Collects what is found about one model.

    Args:
        model: Name of its folder.
        config: Its configuration, relative to the repository.
    """

    model: str
    config: str
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)

    def error(
        self,
        name: str,
        message: str,
        write: str | None = None,
        *,
        line: int | None = None,
        file: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Note a mistake, by default one in the configuration."""
        finding = Finding(name, severity, self.model, file or self.config, line, message, write)
        if finding not in self.findings:
            self.findings.append(finding)

    def warning(
        self,
        name: str,
        message: str,
        write: str | None = None,
        *,
        line: int | None = None,
        file: str | None = None,
    ) -> None:
        """Note something that works otherwise than it reads."""
        self.error(name, message, write, line=line, file=file, severity="warning")

    def skip(self, what: str, reason: str) -> None:
        """Note something that is not compared."""
        skipped = Unchecked(self.model, what, reason)
        if skipped not in self.unchecked:
            self.unchecked.append(skipped)
