"""Progress bars of a build on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from tripoint.engine.progress import Open, Phase
from tripoint.sanitize import clean


class Bars:
    """One bar for each phase that is not done; they go when the block ends.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self.open = Open()
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, phase: Phase) -> None:
        """Take a phase."""
        self.open.take(phase)
        for name in [name for name in self.tasks if name not in self.open.phases]:
            self.progress.remove_task(self.tasks.pop(name))
        if phase.name not in self.open.phases:
            return
        total = phase.steps or None
        if phase.name in self.tasks:
            self.progress.update(self.tasks[phase.name], completed=phase.step, total=total)
            return
        indent = "  " * self.open.depth(phase.name)
        self.tasks[phase.name] = self.progress.add_task(
            f"{indent}{clean(phase.name)}", completed=phase.step, total=total
        )
