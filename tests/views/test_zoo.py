"""Structures of well-known models, where the folder with them lies beside the project."""

from __future__ import annotations

import tarfile
from pathlib import Path

import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.paths import ARCHIVE
from tripoint.model import Model

COVERED = ("eca", "resnet50", "mobilenetv3", "ecaresnet26t", "vit_tiny")
"""Models whose every operator the model of TensorRT 7.1 knows, or knows to be refused."""

pytestmark = pytest.mark.skipif(
    not ARCHIVE.exists(), reason=f"no {ARCHIVE.name} beside the project"
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def of(zoo: dict[str, Path], *names: str) -> list[Path]:
    return [path for stem, path in zoo.items() if stem.split(".")[0] in names]


def structure(path: Path) -> Model:
    """The graph without its weights, which are not shipped."""
    return Model(ir.load(path))


def test_71_reaches_every_tensor(zoo: dict[str, Path]) -> None:
    paths = of(zoo, *COVERED)
    assert len(paths) == 20
    for path in paths:
        table = tripoint.shapes(structure(path), target="7.1")
        summary = table.summary
        assert (summary.not_seen, summary.unresolved_dims) == (0, 0), path.name
        silent = [facts.name for facts in table.tensors if facts.differs]
        assert bool(silent) <= bool(table.refusals), path.name


def test_71_never_fails_on_any_model(zoo: dict[str, Path]) -> None:
    assert len(zoo) == 66
    for path in zoo.values():
        table = tripoint.shapes(structure(path), target="7.1")
        assert len(table.tensors) > 5, path.name
        assert all(chain.origin == chain.tensor for chain in table.chains), path.name


def test_rewrites_are_found_in_real_models(zoo: dict[str, Path]) -> None:
    for path in of(zoo, "ecaresnet26t"):
        result = tripoint.fix(
            structure(path), target="7.1", select=["redundant-expand"], numeric=False
        )
        assert len(result.applied) == 8, path.name
        assert result.after.lost_dims <= result.before.lost_dims, path.name
