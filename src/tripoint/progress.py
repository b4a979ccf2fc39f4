"""Messages of a stage while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Takes one line at the start of each step."""

    def __call__(self, line: str, /) -> None:
        """Take a line."""


def silent(line: str, /) -> None:
    """Take a line, and show it nowhere."""
