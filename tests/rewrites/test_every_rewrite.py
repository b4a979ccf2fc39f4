"""Each rewrite is tried, named for its file, described and listed; a failure names the file."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import tripoint.rewrites
from tests.helpers.paths import ROOT
from tripoint.rewrites import all_rewrites
from tripoint.rewrites.base import Rewrite

PACKAGE = Path(tripoint.rewrites.__file__).parent
REFERENCE = ROOT / "docs" / "reference" / "rewrites.md"
FILES = [
    path
    for folder in ("rules", "lift_1d")
    for path in sorted((PACKAGE / folder).glob("*.py"))
    if "\nREWRITE = " in path.read_text(encoding="utf-8")
]


def rewrite_of(path: Path) -> Rewrite:
    module = importlib.import_module(f"tripoint.rewrites.{path.parent.name}.{path.stem}")
    rewrite: Rewrite = module.REWRITE
    return rewrite


def test_every_file_is_tried() -> None:
    tried = {rewrite.name for rewrite in all_rewrites()}
    missing = [path for path in FILES if rewrite_of(path).name not in tried]
    assert not missing, "add it to _MODULES of src/tripoint/rewrites/__init__.py"
    assert len(FILES) == len(all_rewrites())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_named_described_and_listed(path: Path) -> None:
    name = rewrite_of(path).name
    assert path.stem == name.replace("-", "_"), f"{path}: name the file for the rewrite {name}"
    text = path.read_text(encoding="utf-8").split('"""')[1]
    assert "Why:" in text or "the reason" in text, f"{path}: say in the docstring why it is done"
    reference = REFERENCE.read_text(encoding="utf-8")
    # Those of a family share a row: `conv1d-`, `pool1d-`, ... `elementwise-between-squeezes`.
    words = (f"`{name}`", f"`{name.removesuffix('between-squeezes')}`")
    assert any(each in reference for each in words), (
        f"{name}: add a row to {REFERENCE.relative_to(ROOT)}"
    )
