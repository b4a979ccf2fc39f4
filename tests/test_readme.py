"""The README is executed: console blocks with their output, Python blocks as they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.marks import needs_tensorrt
from tripoint.trt import gpu

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = [
    needs_tensorrt,
    pytest.mark.skipif(
        gpu.absence() is None, reason="the README shows what is printed without a GPU"
    ),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def commands() -> list[tuple[str, str]]:
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output.rstrip("\n")))
    return found


def test_console_blocks_do_what_they_show(workplace: Path) -> None:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    shown = commands()
    assert len(shown) >= 10
    for command, expected in shown:
        program, *arguments = shlex.split(command)
        assert program == "tripoint"
        ran = subprocess.run(
            [sys.executable, "-m", "tripoint", *arguments],
            cwd=workplace,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        pattern = "".join(
            "(?:.*\n)*?" if line == "..." else re.escape(line) + "\n"
            for line in expected.splitlines()
        )
        assert re.fullmatch(pattern, ran.stdout), f"{command}\n{ran.stdout}"


def test_python_blocks_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_the_second_command_is_what_ci_runs() -> None:
    first, second, *_ = [block.strip() for block in blocks("sh")]
    assert (first, second) == ("make demo", "make test")
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(second)
