"""Builds that are killed, interrupted, out of space or beside another: whole processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.building import COMMAND, environment, names, saved, tripoint_build
from tests.helpers.marks import RTX, needs_rtx
from tripoint.engine import manifest, outputs
from tripoint.errors import OutputError
from tripoint.model import sha256

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks for processes in /proc and mounts tmpfs"
)
_PATIENCE_SECONDS = 120.0


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path)
    return tmp_path


def heed_signals() -> None:
    """Whoever started the tests in the background may have let them ignore these."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def building(
    folder: Path, *arguments: object, behaviour: str = "sleep", until: str = "build: Timing"
) -> Iterator[subprocess.Popen[str]]:
    """A build with the stand-in that has come to a line of its progress."""
    words = [*COMMAND, "model.onnx", "--timing-cache", "off", *map(str, arguments)]
    variables = environment(STAND_IN=behaviour)
    with subprocess.Popen(
        words,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    ) as process:
        try:
            for line in process.stderr:
                if line.startswith(until):
                    break
            yield process
        finally:
            process.kill()


def child_of(process: subprocess.Popen[str]) -> int:
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def gone(pid: int) -> bool:
    """Whether a process ends, and is no zombie, before long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was printed to stderr since."""
    _, stderr = process.communicate(timeout=_PATIENCE_SECONDS)
    return process.returncode, stderr


# Ends that come from outside


def test_child_is_killed(folder):
    with building(folder) as process:
        child = child_of(process)
        os.kill(child, signal.SIGKILL)
        code, stderr = ended(process)
    assert code == 4
    assert "the TensorRT builder was ended (killed by signal 9, SIGKILL)" in stderr
    assert "while building the engine (Timing)" in stderr
    assert "next: free memory" in stderr
    assert "Traceback" not in stderr
    assert gone(child)
    assert names(folder) == ["model.onnx"]


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_parent_is_asked_to_end(folder, number, code, message):
    with building(folder) as process:
        child = child_of(process)
        process.send_signal(number)
        found, stderr = ended(process)
    assert found == code
    assert f"tripoint {message}; nothing half-written is left behind" in stderr
    assert "Traceback" not in stderr
    assert gone(child)
    assert names(folder) == ["model.onnx"]


def test_earlier_files_stay_when_a_build_ends_early(folder):
    (folder / "model.plan").write_text("earlier plan")
    (folder / "model.manifest.json").write_text("earlier manifest")
    with building(folder, "--force") as process:
        process.send_signal(signal.SIGTERM)
        ended(process)
    assert (folder / "model.plan").read_text() == "earlier plan"
    assert (folder / "model.manifest.json").read_text() == "earlier manifest"
    assert names(folder) == ["model.manifest.json", "model.onnx", "model.plan"]


def test_parent_is_killed_and_the_next_build_clears_up(folder):
    with building(folder) as process:
        child = child_of(process)
        process.kill()
        process.wait()
    assert gone(child)
    assert not (folder / "model.plan").exists()
    assert len(names(folder)) > 1
    done = tripoint_build("model.onnx", "-q", folder=folder, variables=environment())
    assert done.returncode == 0, done.stderr
    assert names(folder) == ["model.manifest.json", "model.onnx", "model.plan"]


@needs_rtx
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_of_a_real_build_ends_with_its_parent(folder, number):
    with building(folder, "--tensorrt", RTX, until="build: reading the model") as process:
        child = child_of(process)
        process.send_signal(number)
        process.wait()
    assert gone(child)
    assert not (folder / "model.plan").exists()


@needs_rtx
def test_real_child_is_killed(folder):
    with building(folder, "--tensorrt", RTX, until="build: checking the options") as process:
        child = child_of(process)
        os.kill(child, signal.SIGSTOP)
        assert not (folder / "model.plan").exists()
        os.kill(child, signal.SIGKILL)
        code, stderr = ended(process)
    assert code == 4
    assert "killed by signal 9, SIGKILL" in stderr
    assert names(folder) == ["model.onnx"]


def test_timeout(folder):
    done = tripoint_build(
        *("model.onnx", "-q", "--timeout", 0.2),
        folder=folder,
        variables=environment(STAND_IN="sleep"),
    )
    assert done.returncode == 4
    assert "the TensorRT builder was stopped after 0.2 s" in done.stderr
    assert "next: give it more time with --timeout SECONDS" in done.stderr
    assert names(folder) == ["model.onnx"]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("crash", "the TensorRT builder crashed (killed by signal 11, SIGSEGV)"),
        ("exhaust", "ran out of memory"),
        ("exit", "stopped without a result (exit code 7)"),
        ("say:something new", "could not build an engine: something new"),
        (
            "say:Error Code 10: Internal Error (Could not find any implementation for node "
            "{ForeignNode[A...B]}.)",
            "what it means: mostly memory",
        ),
    ],
)
def test_builder_fails(folder, behaviour, message):
    done = tripoint_build(
        *("model.onnx", "-q", "--timing-cache", "off", "--debug"),
        folder=folder,
        variables=environment(STAND_IN=behaviour),
    )
    assert done.returncode == 4
    assert message in done.stderr
    if behaviour.startswith("say:"):  # --debug shows the native text as it was
        assert behaviour.removeprefix("say:") in done.stderr.splitlines()
    assert names(folder) == ["model.onnx"]


# Places that cannot be written


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """An empty file system in memory on a folder, or a skipped test."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_folder_that_is_read_only(folder):
    results = folder / "results"
    results.mkdir()
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:  # root may write to any folder but not to such a file system
            stack.enter_context(mounted(results, "ro"))
        else:
            results.chmod(0o555)
            stack.callback(results.chmod, 0o755)
        done = tripoint_build(
            "model.onnx", "-o", "results/a.plan", folder=folder, variables=environment()
        )
        assert names(results) == []
    assert done.returncode == 2
    assert "cannot write results/a.plan: " in done.stderr
    assert "read-only" in done.stderr or "permission denied" in done.stderr
    assert "build: checking" not in done.stderr  # nothing was begun


@needs_rtx
def test_disk_that_is_full(folder):
    results = folder / "results"
    results.mkdir()
    with mounted(results, "size=256k"):
        done = tripoint_build(
            *("model.onnx", "-q", "--tensorrt", RTX, "-o", "results/a.plan"),
            folder=folder,
            variables=environment(),
        )
        assert names(results) == []
    assert done.returncode == 2
    assert "cannot write the engine: the disk is full" in done.stderr


def test_disk_that_is_full_when_the_manifest_is_written(folder):
    results = folder / "results"
    results.mkdir()
    with mounted(results, "size=4k"):  # the plan takes the only page
        done = tripoint_build(
            *("model.onnx", "-q", "-o", "results/a.plan"),
            folder=folder,
            variables=environment(XDG_CACHE_HOME=str(folder / "cache")),
        )
        assert names(results) == []
    assert done.returncode == 2
    assert "cannot write results/a.plan: the disk is full" in done.stderr


# Two builds of the same output


def test_two_builds_of_one_output(folder):
    with building(folder) as first:
        second = tripoint_build("model.onnx", "-q", folder=folder, variables=environment())
        assert second.returncode == 2
        assert "another build is writing model.plan" in second.stderr
        assert names(folder)[0].startswith(".model.manifest.json.")
        first.send_signal(signal.SIGINT)
        ended(first)
    assert names(folder) == ["model.onnx"]
    third = tripoint_build("model.onnx", "-q", folder=folder, variables=environment())
    assert third.returncode == 0, third.stderr


@needs_rtx
def test_builds_at_once_leave_one_pair(folder):
    levels = ("8.6", "8.9", "12.0")
    words = [*COMMAND, "model.onnx", "-q", "--force", "--tensorrt", RTX, "--compute-capability"]
    running = [
        subprocess.Popen(
            [*words, level], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
        )
        for level in levels
    ]
    ends = [ended(process) for process in running]
    assert {code for code, _ in ends} <= {0, 2}
    assert 0 in [code for code, _ in ends]
    assert all("another build is writing" in stderr for code, stderr in ends if code == 2)
    content = manifest.read(folder / "model.manifest.json")
    assert content["engine"]["sha256"] == sha256(folder / "model.plan")
    assert names(folder) == ["model.manifest.json", "model.onnx", "model.plan"]


# The pair of files


def write(folder: Path, text: str, *, force: bool = True) -> None:
    plan, described = folder / "a.plan", folder / "a.manifest.json"
    with outputs.pair(plan, described, force=force) as (new_plan, new_manifest):
        new_plan.write_text(text)
        new_manifest.write_text(text)


def test_pair_is_replaced_together(tmp_path):
    write(tmp_path, "old")
    write(tmp_path, "new")
    assert {path.read_text() for path in tmp_path.iterdir()} == {"new"}
    assert names(tmp_path) == ["a.manifest.json", "a.plan"]


def test_pair_stays_when_the_plan_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path, "old")
    monkeypatch.setattr("tripoint.files.publish", lambda *_: (_ for _ in ()).throw(OSError(5, "E")))
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path, "new")
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}
    assert names(tmp_path) == ["a.manifest.json", "a.plan"]


def test_old_manifest_never_stands_beside_a_new_plan(tmp_path, monkeypatch):
    write(tmp_path, "old")
    seen = []

    def spy(temporary, path):
        seen.append(sorted(p.read_text() for p in tmp_path.glob("[a-z]*")))
        temporary.replace(path)

    monkeypatch.setattr("tripoint.files.publish", spy)
    write(tmp_path, "new")
    assert seen == [["old"], ["new"]]


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    plan = tmp_path / "a.plan"

    def build() -> None:
        with outputs.pair(plan, tmp_path / "a.manifest.json") as (new_plan, new_manifest):
            new_plan.write_text("new")
            new_manifest.write_text("new")
            plan.write_text("somebody else's")

    with pytest.raises(OutputError, match="exists"):
        build()
    assert plan.read_text() == "somebody else's"
    assert names(tmp_path) == ["a.plan"]
