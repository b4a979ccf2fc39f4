"""How a build says how far it is: bars, lines, or nothing."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from tests.helpers.building import COMMAND, environment, saved, tripoint_build
from tripoint.cli.progress import Bars
from tripoint.engine.progress import Lines, Open, Phase

OUTER = Phase("Building engine", None, 0, 6)
INNER = Phase("Timing", "Building engine", 0, 9)
INMOST = Phase("Timing graph nodes", "Timing", 2, 4)


def test_phases_within_phases():
    phases = Open()
    for phase in (OUTER, INNER, INMOST):
        phases.take(phase)
    assert [phases.depth(name) for name in phases.phases] == [0, 1, 2]
    phases.take(Phase("Timing", "Building engine", 9, 9, done=True))
    assert list(phases.phases) == ["Building engine"]


def test_next_outermost_phase_ends_the_one_before():
    phases = Open()
    phases.take(Phase("reading the model"))
    phases.take(OUTER)
    assert list(phases.phases) == ["Building engine"]


def test_phase_inside_itself_ends_the_count():
    phases = Open()
    phases.take(Phase("a", "a", 0, 1))
    assert phases.depth("a") <= 1


def test_lines_tell_outer_phases_once():
    said = []
    lines = Lines(said.append)
    for phase in (OUTER, INNER, INMOST, INNER, Phase("Timing", "Building engine", 9, 9, done=True)):
        lines(phase)
    lines(INNER)
    assert said == ["build: Building engine", "build: Timing"]


def test_lines_go_on_in_a_long_phase(monkeypatch):
    said = []
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines = Lines(said.append)
    lines(OUTER)
    for step in range(1, 5):
        now[0] += 2.0
        lines(Phase("Building engine", None, step, 6))
    assert said == ["build: Building engine", "build: Building engine 3/6"]


def shown(*phases: Phase) -> str:
    """The last picture that the bars draw."""
    text = io.StringIO()
    picture = Console(file=text, width=80, color_system=None)
    with Bars(Console(file=io.StringIO(), force_terminal=True)) as bars:
        for phase in phases:
            bars(phase)
        picture.print(bars.progress.get_renderable())
    return text.getvalue()


def test_bars_are_nested():
    picture = shown(OUTER, INNER, Phase("Timing", "Building engine", 3, 9), INMOST)
    first, second, third = [line for line in picture.splitlines() if "/" in line]
    assert first.startswith("Building engine ")
    assert "0/6" in first
    assert second.startswith("  Timing ")
    assert "3/9" in second
    assert third.startswith("    Timing graph nodes ")
    assert "2/4" in third


def test_bars_go_with_their_phase():
    over = Phase("Timing", "Building engine", 9, 9, done=True)
    picture = shown(OUTER, INNER, INMOST, over)
    assert "Building engine" in picture
    assert "Timing" not in picture


def test_names_of_phases_are_no_markup_and_no_escape():
    picture = shown(Phase("[red]a\x1b[31mb", None, 0, 1))
    assert "[red]a" in picture
    assert "\x1b[31m" not in picture


# Through the command line


def test_quiet_says_nothing(tmp_path):
    saved(tmp_path)
    done = tripoint_build("model.onnx", "-q", folder=tmp_path, variables=environment())
    assert (done.returncode, done.stderr) == (0, "")


def test_no_terminal_gets_plain_lines_and_json_stays_json(tmp_path):
    import json

    saved(tmp_path)
    done = tripoint_build(
        *("model.onnx", "--format", "json", "--timing-cache", "off"),
        folder=tmp_path,
        variables=environment(),
    )
    assert done.stderr.splitlines() == [
        "build: checking the options",
        "build: reading the model",
        "build: building the engine",
        "build: Building engine",
        "build: Timing",
        "build: writing the engine",
    ]
    document = json.loads(done.stdout)
    assert document["manifest"]["timing_cache"] == {
        "location": None,
        "reason": "it was turned off",
    }
    assert document["profiles"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_terminal_gets_bars_that_leave_nothing(tmp_path):
    saved(tmp_path)
    ours, theirs = pty.openpty()
    variables = environment(TERM="xterm", COLUMNS="80")
    with subprocess.Popen(
        [*COMMAND, "model.onnx"], cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        drawn = bytearray()
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            drawn += part
        process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"Building engine" in drawn
    assert b"build:" not in drawn
    assert drawn.rstrip().endswith((b"\x1b[2K", b"\x1b[?25h"))  # lines erased, cursor shown
