"""Folders that the child process imports from."""

from __future__ import annotations

import sys
from pathlib import Path


def child_path() -> list[str]:
    """The import path of the child: the parent's, without what depends on the user's folder."""
    try:
        here = Path.cwd()
    except OSError:
        here = None
    absolute = [entry for entry in sys.path if Path(entry).is_absolute()]
    return [
        entry
        for entry in absolute
        if Path(entry) != here or (Path(entry) / "tripoint" / "__init__.py").is_file()
    ]
