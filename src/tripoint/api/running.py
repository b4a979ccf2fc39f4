"""The main job in one call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tripoint.pipeline import RunResult


def run(model: str, output: str | os.PathLike[str], **options: Any) -> RunResult:
    """The main job in one call; see :func:`tripoint.pipeline.run` for the options."""
    from tripoint.pipeline import run as run_pipeline

    return run_pipeline(model, Path(output), **options)
