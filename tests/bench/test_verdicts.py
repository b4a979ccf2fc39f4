"""The functions of ``bench/verdicts.py`` on a few pairs, so that it keeps working."""

from __future__ import annotations

import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

import verdict_engines
import verdict_zoo
from tests.helpers.stand_ins import Optimized
from verdict_exports import exported
from verdict_models import KINDS
from verdict_net import model_of
from verdict_pairs import (
    Bench,
    assert_close,
    element,
    polygraphy,
    right_legs,
    spoiled,
    units_of,
    wrong,
)
from verdict_table import BEGIN, END, document
from verdict_twins import Twin, weight_off

pytestmark = pytest.mark.needs_torch


def bench_of(name: str, dtype: str = "float32") -> Bench:
    return Bench(next(kind for kind in KINDS if kind.name == name), dtype)


def test_there_are_enough_models() -> None:
    pairs = [(kind.name, dtype) for kind in KINDS for dtype in kind.types]
    assert len(set(pairs)) == len(pairs) >= 60
    assert {dtype for _, dtype in pairs} == {"float32", "float16", "bfloat16"}
    assert len({kind.group for kind in KINDS}) >= 12


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("unit_vectors", "float32"), ("pixels_and_scores", "float16"), ("layers", "bfloat16")],
)
def test_pairs(name: str, dtype: str, tmp_path: Path) -> None:
    bench = bench_of(name, dtype)
    legs = right_legs(bench)
    units = units_of(bench, legs)
    rows = [
        bench.judged(twin, what, twin, compute, tf32=tf32) for (twin, what, compute), tf32 in legs
    ]
    assert {row.verdict for row in rows} == {"equal"}
    weight = next(each.name for each in bench.proto.graph.initializer if each.name[0] == "w")
    twin = Twin("one weight", weight, weight_off(bench.proto, weight, 3, 1.0))
    for number in (0, 1):
        (row,) = wrong(bench, twin, None, False, units[False], number)
        assert (row.right, row.verdict) == (False, "different")
        assert row.size is not None
        assert row.size > 4
        rows.append(row)
    offset = element(bench, 1000.0, units[False])
    assert offset is not None
    (row,) = wrong(bench, Twin("one element", "", bench.proto), offset, False, units[False], 0)
    assert row.size == pytest.approx(1000.0, rel=1e-3)
    assert row.verdict == "different"
    path = tmp_path / "table.md"
    path.write_text(f"before\n{BEGIN}\n{END}\nafter\n".replace("{}", ""))
    document(path, [*rows, row])
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "Right twins that are called different: none." in text
    assert "| wrong: one weight | 2 | 2 | 0 | 0 | 0 |" in text


def test_the_other_exporter_writes_the_same_function() -> None:
    bench = bench_of("exported_eca")
    ((twin, what, compute),) = [
        each for each, _ in right_legs(bench) if each[0] == "other exporter"
    ]
    row = bench.judged(twin, what, twin, compute)
    assert (row.right, row.verdict) == (True, "equal")
    graphs = [exported("exported_eca").proto(), exported("exported_eca").other()]
    kinds = [[node.op_type for node in proto.graph.node] for proto in graphs]
    assert kinds[0] != kinds[1]
    assert kinds[0].count("Conv") == kinds[1].count("Conv") == 2


def test_integers_and_holes_have_no_unit() -> None:
    bench = bench_of("classifier")
    unit = units_of(bench, right_legs(bench))[False]
    outputs = [{name: array.copy() for name, array in each.items()} for each in bench.plain]
    assert bench.size(outputs, unit) <= 1.0
    best = next(name for name, array in outputs[0].items() if array.dtype == np.int64)
    outputs[0][best][0] += 1
    assert bench.size(outputs, unit) == math.inf
    spoil = spoiled(lambda inputs: dict(inputs), ("x", 1, 2.0))
    assert spoil({"x": np.zeros(3, np.float32)})["x"].tolist() == [0.0, 2.0, 0.0]


def test_other_comparisons() -> None:
    one = {"y": np.array([1.0, 0.0, 1e6], np.float32)}
    for off, passes in (([0.9e-5, 0, 0], True), ([2e-5, 0, 0], False), ([0, 0, 1.0], True)):
        other = {"y": one["y"] + np.array(off, np.float32)}
        assert polygraphy(one, other) is passes
    assert assert_close(one, {"y": one["y"] * np.float32(1 + 1e-6)})
    assert not assert_close(one, {"y": one["y"] + np.float32(1e-4)})
    assert not polygraphy(one, {"z": one["y"]})


def test_engines_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ONNX Runtime and all its fusions in the place of TensorRT."""
    monkeypatch.setattr(verdict_engines, "FAULTS_EACH", 2)
    assert set(verdict_engines.NAMES) <= {kind.name for kind in KINDS}
    assert len(set(verdict_engines.NAMES)) == 20
    rows = verdict_engines.compare(
        "pooled", tf32=False, build=lambda proto, *_: Optimized(model_of(proto))
    )
    right, *wrong_ones = rows
    assert (right.right, right.verdict) == (True, "equal")
    assert len(wrong_ones) >= 2
    assert all(
        row.verdict == "different" for row in wrong_ones if row.size is not None and row.size > 20
    )


def test_a_zoo_without_a_fault(tmp_path: Path) -> None:
    proto = bench_of("pooled").proto
    (tmp_path / "pooled.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "materialize.py").write_text("")
    with tarfile.open(tmp_path / verdict_zoo.ARCHIVE, "w:xz") as archive:
        for name in ("pooled.onnx", "broken.onnx"):
            archive.add(tmp_path / name, name)
    assert verdict_zoo.names(tmp_path) == ["broken.onnx", "pooled.onnx"]
    row = verdict_zoo.compare(tmp_path, "pooled.onnx")
    assert isinstance(row, verdict_zoo.Row)
    assert (row.name, row.alarm, row.outputs) == ("pooled", False, 3)
    failed = verdict_zoo.compare(tmp_path, "broken.onnx")
    assert isinstance(failed, str)
    assert failed.startswith("failed: ")
