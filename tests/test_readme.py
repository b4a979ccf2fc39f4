"""The README and docs/ are executed: console blocks with their output, and Python blocks."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer

import tripoint
from tests.helpers.marks import needs_tensorrt
from tests.helpers.paths import ROOT
from tripoint.cli import app
from tripoint.trt import gpu

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}

without_gpu = pytest.mark.skipif(
    gpu.absence() is None, reason="pages show what is printed without a GPU"
)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXTS[page], re.MULTILINE | re.DOTALL)
    return [text for called, text in found if called == language]


def commands(page: Path) -> list[tuple[str, str]]:
    """Each command of the console blocks of a page, with the output that is shown."""
    shown = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            shown.append((command, output.rstrip("\n")))
    return shown


def chains() -> list[list[Path]]:
    """Pages that continue one another, each behind the one whose files it takes."""
    before = {
        page: (page.parent / found[1]).resolve() if found else None
        for page in PAGES
        for found in [re.search(r"^Continues \[.*?\]\((.*?\.md)\)", TEXTS[page], re.MULTILINE)]
    }

    def chain(page: Path) -> list[Path]:
        return [page, *(each for n in PAGES if before[n] == page for each in chain(n))]

    all_chains = [chain(page) for page in PAGES if before[page] is None]
    assert sorted(page for each in all_chains for page in each) == sorted(PAGES)
    return [each for each in all_chains if any(commands(page) for page in each)]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


@needs_tensorrt
@without_gpu
@pytest.mark.needs_torch
@pytest.mark.parametrize("chain", chains(), ids=lambda chain: name(chain[0]))
def test_console_blocks_do_what_they_show(chain: list[Path], workplace: Path) -> None:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    for command, expected in (each for page in chain for each in commands(page)):
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


@needs_tensorrt
@pytest.mark.needs_torch
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(
    page: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(workplace)
    for block in blocks(page, "python"):
        names: dict[str, Any] = {}
        exec(compile(block, name(page), "exec"), names)
        for each in [value for key, value in names.items() if key.startswith("test_")]:
            each(*map(request.getfixturevalue, inspect.signature(each).parameters))


def test_nothing_is_executed_twice() -> None:
    executed = Counter(
        [command for page in PAGES for command, _ in commands(page)]
        + [block for page in PAGES for block in blocks(page, "python")]
    )
    assert len(executed) >= 20
    assert [each for each, count in executed.items() if count > 1] == []


def test_the_second_command_is_what_ci_runs() -> None:
    first, second, *_ = [block.strip() for block in blocks(README, "sh")]
    assert (first, second) == ("make demo", "make test")
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(second)


def named_commands(page: Path) -> list[str]:
    """Commands in running text and in blocks that are not executed."""
    quiet = "\n".join(block for language in ("", "sh") for block in blocks(page, language))
    text = re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^tripoint (\S.*)", quiet, re.MULTILINE) + re.findall(
        r"`tripoint (\S[^`]*)`", text
    )


def options(words: list[str]) -> set[str] | None:
    """The options of the command that words begin with, or None if there is no such command."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        command = command.get_command(None, words.pop(0))
    if command is None:
        return None
    return {opt for each in command.params for opt in [*each.opts, *each.secondary_opts]}


@pytest.mark.parametrize("page", [page for page in PAGES if named_commands(page)], ids=name)
def test_commands_that_are_only_named_exist(page: Path) -> None:
    for line in named_commands(page):
        words = line.split()
        accepted = options([*words])
        if words[0] == "COMMAND":
            continue
        assert accepted is not None, line
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= accepted, line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    named = re.findall(r"`((?:tests|bench|src|docs|tools|examples)/[\w./-]+)`", TEXTS[page])
    named += re.findall(r"python (bench/[\w.]+)", TEXTS[page])
    named = [path for path in named if "NAME" not in path]
    assert [path for path in named if not (ROOT / path).exists()] == []
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", TEXTS[page])
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    listed = re.findall(r'"([\w/-]+\.md)"', navigation)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES[1:])


def test_the_api_page_has_every_public_name() -> None:
    names = re.findall(r"^::: tripoint\.(\w+)$", TEXTS[DOCS / "reference/python.md"], re.MULTILINE)
    assert sorted(names) == sorted(set(tripoint.__all__) - {"__version__"})


def test_the_json_page_has_every_key() -> None:
    record = json.loads(next(ROOT.glob("tests/**/public.json")).read_text(encoding="utf-8"))
    common = {"schema_version", "command", "tool", "environment", "model", "packages"}
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", TEXTS[DOCS / "reference/json.md"], re.MULTILINE)
    assert {command: set(re.findall(r"`(\w+)`", keys)) for command, keys in rows} == {
        command: {re.split(r"[.\[]", path.lstrip("."))[0] for path in paths} - common
        for command, paths in record["keys"].items()
    }
