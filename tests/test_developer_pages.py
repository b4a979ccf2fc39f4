"""The pages for developers name files that there are, and the floors as they are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ROOT / "CONTRIBUTING.md", ARCHITECTURE, *sorted((ROOT / "docs" / "recipes").glob("*.md"))]
PATH = re.compile(r"`([\w*.-]+(?:/[\w*.-]+)*/(?:[\w*-]+\.(?:py|json|md|toml|txt))?)`")
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")


def is_there(name: str, page: Path) -> bool:
    """Whether a path is one of the project, of the package, of its rewrites, or beside the page."""
    package = ROOT / "src" / "tripoint"
    folders = (ROOT, package, package / "rewrites", page.parent)
    return any(next(folder.glob(name.rstrip("/")), None) is not None for folder in folders)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in LINK.findall(text)} - {""}
    named = sorted(name for name in {*PATH.findall(text), *links} if "NAME" not in name)
    assert named
    assert [name for name in named if not is_there(name, page)] == []


def test_the_floors_are_those_of_the_contract() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(
        contract["layers"]
        for contract in config["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    contract = [re.split(r" *[:|] *", layer) for layer in layers]
    section = (
        ARCHITECTURE.read_text(encoding="utf-8").partition("## Floors")[2].partition("\n## ")[0]
    )
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [re.findall(r"`(\w+)`", row) for row in rows] == contract, "docs/architecture.md"
