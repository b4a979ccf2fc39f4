"""Structures of well-known models, where the folder with them lies beside the project.

All of them, with numbers and engines: ``python bench/fixes.py FOLDER --numeric --build``.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.execution import POINTS, points, with_weights
from tests.helpers.fixing import Feeds, check
from tests.helpers.paths import ARCHIVE
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric import ort
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.rewrites.base import FixResult
from tripoint.shape_inference import truth

NAMES = ("eca", "clip_vision", "bert6", "t5_enc", "llama_tiny")

EXPORTS = [
    *("eca.*", "*.ts_dyn"),
    *(pytest.param(f"{name}.*", marks=pytest.mark.slow) for name in NAMES if name != "eca"),
]
"""Which exports are taken together, as patterns of names."""

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


def exports(zoo: list[Path], name: str) -> list[Path]:
    """Return the exports of one model, or those of one kind."""
    chosen = [path for path in zoo if path.match(f"{name}.onnx")]
    assert chosen
    return chosen


def fix(path: Path, target: str) -> FixResult:
    """Without numbers: the weights are not shipped."""
    return tripoint.fix(Model(ir.load(path)), target=target, numeric=False)


def test_the_zoo_is_whole(zoo: list[Path]) -> None:
    assert len(zoo) >= 4 * (len(NAMES) - 1)


@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_is_lost_any_more(zoo: list[Path], name: str) -> None:
    for path in exports(zoo, name):
        result = fix(path, "8.6")
        assert result.proven, path.name
        assert (result.after.lost_dims, result.remaining) == (0, ()), path.name
        assert result.after.nodes <= result.before.nodes, path.name


@pytest.mark.parametrize("name", EXPORTS)
def test_71_loses_little_and_the_rest_has_a_reason(zoo: list[Path], name: str) -> None:
    for path in exports(zoo, name):
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


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *(("eca.ts_dyn", "7.1"), ("eca.ts_dyn", "8.6"), ("eca.dynamo", "7.1")),
        *(("eca.dynamo", "8.6"), ("t5_enc.ts_dyn", "7.1")),
        pytest.param("llama_tiny.dynamo_dyn", "7.1", marks=pytest.mark.slow),
        pytest.param("llama_tiny.dynamo_dyn", "8.6", marks=pytest.mark.slow),
    ],
)
def test_numbers_stay(zoo: list[Path], tmp_path: Path, name: str, target: str) -> None:
    path = next(each for each in zoo if each.stem == name)
    proto = ir.load(path)
    with_weights(proto)
    model = Model(proto)
    feeds = feeds_of(model)
    assert len(feeds) == POINTS
    result, faults = check(model, feeds, tmp_path, target=target, twice=False)
    assert result.applied
    assert faults == []


def feeds_of(model: Model) -> Feeds:
    """Inputs at the first sizes at which the model runs."""
    session, inputs = ort.Session(model), inputs_of(model)
    symbols = sorted(truth.infer(model.ir).symbols)
    feeds = []
    for seed, point in enumerate(points(symbols) if symbols else [{}] * POINTS):
        feed = generate(inputs, point, seed, model=model)
        try:
            session.run(feed)
        except TripointError:
            continue
        feeds.append((point, feed))
    return feeds[:POINTS]
