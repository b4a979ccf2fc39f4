"""Wall time and peak memory of one command with all its child processes. Linux only.

Memory is measured in two ways, and a peak is the greater of the two:

- the sum over the live processes of the tree, read from ``/proc`` every few milliseconds. What is
  summed is the proportional set size (PSS), in which a page that several processes share counts
  once, or the resident set size (RSS) where the kernel does not tell. It misses what comes and goes
  between two readings (up to 13 % has been seen), counts a library that a process outside the
  tree maps too (another Python, say) in part only, and loses a process whose parent ends first.
- the kernel's own peak RSS of the largest single process, which misses nothing, but counts shared
  pages in full (a few MiB) and knows no sums.

So the peak of a single process is exact to some MiB, and that of several may be too low. Reading
``/proc`` slows a command by some percent; time and memory belong in separate runs.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.01
_PAGE_KIB = resource.getpagesize() // 1024


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a command took.

    Attributes:
        seconds: From its start to its end.
        code: Exit code, negative for a signal; None if it ran out of time and was ended.
        largest_kib: The kernel's peak RSS of the largest single process; 0 where it is not above
            that of the measuring process, which the kernel hands on to the processes it starts.
        tree_kib: Highest sum over the whole tree; None if it was not watched.
    """

    seconds: float
    code: int | None
    largest_kib: int
    tree_kib: int | None

    @property
    def peak_kib(self) -> int:
        """Peak memory, as well as it is known."""
        return max(self.largest_kib, self.tree_kib or 0)


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float,
    watch: bool,
    interval: float = INTERVAL,
) -> Run:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        environment: Its environment.
        log: File for what it prints.
        timeout: Seconds after which the whole tree is ended.
        watch: Whether to follow its memory.
        interval: Seconds between two readings of the memory.
    """
    with log.open("wb") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            in_time, peak = _follow(process.pid, started + timeout, interval if watch else None)
            seconds = time.perf_counter() - started
        finally:
            for pid in reversed(list(tree(process.pid))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # Not process.wait(): only wait4 tells the kernel's peak.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest = usage.ru_maxrss if usage.ru_maxrss > inherited else 0
    return Run(seconds, process.returncode if in_time else None, largest, peak if watch else None)


def _follow(pid: int, deadline: float, interval: float | None) -> tuple[bool, int]:
    peak = 0
    handle = os.pidfd_open(pid)
    try:
        while True:
            left = max(0.0, deadline - time.perf_counter())
            if select.select([handle], [], [], left if interval is None else min(interval, left))[
                0
            ]:
                return True, peak
            if left == 0.0:
                return False, peak
            if interval is not None:
                peak = max(peak, sum(memory_kib(process) for process in tree(pid)))
    finally:
        os.close(handle)


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants, parents first."""
    yield pid
    children: list[str] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += (thread / "children").read_text().split()
    for child in children:
        yield from tree(int(child))


def memory_kib(pid: int) -> int:
    """Memory of one process in KiB: PSS, or RSS where PSS is not told; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB
    return 0


def kind_of_memory() -> str:
    """Which of the two :func:`memory_kib` reads here."""
    try:
        return "PSS" if "Pss:" in Path("/proc/self/smaps_rollup").read_text() else "RSS"
    except OSError:
        return "RSS"
