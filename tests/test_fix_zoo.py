"""Structures of well-known models, where the folder with them lies beside the project."""

from __future__ import annotations

import tarfile
from pathlib import Path

import onnx_ir as ir
import pytest

import tripoint
from tripoint.model import Model
from tripoint.rewrites.base import FixResult

ARCHIVE = Path(__file__).parent.parent.parent / "shared" / "zoo" / "zoo.tar.xz"
NAMES = ("eca", "clip_vision", "bert6", "t5_enc", "llama_tiny")

pytestmark = pytest.mark.skipif(
    not ARCHIVE.exists(), reason=f"no {ARCHIVE.name} beside the project"
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        members = [m for m in archive.getmembers() if Path(m.name).name.split(".")[0] in NAMES]
        archive.extractall(folder, members, filter="data")
    return sorted(folder.rglob("*.onnx"))


def fix(path: Path, target: str) -> FixResult:
    """Without numbers: the weights are not shipped."""
    return tripoint.fix(Model(ir.load(path)), target=target, numeric=False)


def test_nothing_is_lost_any_more(zoo: list[Path]) -> None:
    assert len(zoo) >= 4 * (len(NAMES) - 1)
    for path in zoo:
        result = fix(path, "8.6")
        assert result.proven, path.name
        assert (result.after.lost_dims, result.remaining) == (0, ()), path.name
        assert result.after.nodes <= result.before.nodes, path.name


def test_71_loses_little_and_the_rest_has_a_reason(zoo: list[Path]) -> None:
    for path in zoo:
        result = fix(path, "7.1")
        assert result.proven, path.name
        assert result.after.lost_dims <= result.before.lost_dims / 4, path.name
        if "dyn" not in path.name:
            assert result.after.lost_dims == 0, path.name
        for each in result.remaining:
            assert "loses it here" in each.reason or "decided at run time" in each.reason, each
        for refused in result.refused:
            assert "cannot be read" not in refused.reason, refused
            assert "the proof failed" not in refused.reason, refused
