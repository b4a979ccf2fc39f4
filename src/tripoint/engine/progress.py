"""Progress of a build as TensorRT's ``IProgressMonitor`` reports it: phases within phases."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tripoint.progress import Progress

_SECONDS_BETWEEN_LINES = 5.0
_DEPTH_OF_LINES = 2


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase that began, went on or ended.

    Args:
        name: Its name, unique among the phases that are not done.
        parent: The phase that it is a part of, None for an outermost one.
        step: How many steps are done.
        steps: How many there are; 0 if nobody counts them.
        done: Whether it is over.
    """

    name: str
    parent: str | None = None
    step: int = 0
    steps: int = 0
    done: bool = False


OnPhase = Callable[[Phase], None]


@dataclass
class Open:
    """The phases that are not done, outermost first."""

    phases: dict[str, Phase] = field(default_factory=dict)

    def take(self, phase: Phase) -> None:
        """Note a phase; with it end the phases inside of it, and what nobody counts."""
        if phase.done:
            self._drop(phase.name)
            return
        if phase.parent is None and phase.name not in self.phases:
            self.phases.clear()
        self.phases[phase.name] = phase

    def depth(self, name: str) -> int:
        """Return the number of phases that enclose a phase."""
        depth = 0
        phase = self.phases.get(name)
        while phase and phase.parent in self.phases and depth < len(self.phases):
            phase = self.phases.get(phase.parent or "")
            depth += 1
        return depth

    def _drop(self, name: str) -> None:
        self.phases.pop(name, None)
        for inner in [p.name for p in self.phases.values() if p.parent == name]:
            self._drop(inner)


class Lines:
    """Turns phases into plain lines: one for each outer phase, and one now and then.

    Args:
        say: Takes a line.
    """

    def __init__(self, say: Progress) -> None:
        self.say = say
        self.open = Open()
        self.said: set[str] = set()
        self.last = time.monotonic()

    def __call__(self, phase: Phase) -> None:
        """Take a phase."""
        self.open.take(phase)
        if phase.done:
            return
        first = phase.name not in self.said and self.open.depth(phase.name) < _DEPTH_OF_LINES
        if first or time.monotonic() - self.last > _SECONDS_BETWEEN_LINES:
            self.said.add(phase.name)
            self.last = time.monotonic()
            count = f" {phase.step}/{phase.steps}" if phase.step else ""
            self.say(f"build: {phase.name}{count}")
