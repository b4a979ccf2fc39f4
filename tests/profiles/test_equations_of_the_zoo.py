"""Equations of real models, where the folder with them lies beside the project."""

from __future__ import annotations

import itertools
import runpy
import sys
import tarfile
from pathlib import Path

import onnx_ir as ir
import onnxruntime
import pytest

import tripoint
from tests.helpers.paths import ARCHIVE, ZOO
from tripoint.model import Model
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.shape_inference import constraints
from tripoint.shape_inference.constraints.evaluate import holds

pytestmark = pytest.mark.skipif(not ZOO.exists(), reason="no zoo beside the project")

IMAGE = ["N", 3, "H", "W"]


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        member = next(each for each in archive if Path(each.name).name == f"{name}.onnx")
        archive.extract(member, folder, filter="data")
    return folder / member.name


@pytest.mark.parametrize(
    ("name", "heights", "widths", "needed"),
    [
        (
            "segformer.ts_dyn",
            (16, 28, 29, 32),
            (28, 29, 40),
            {"floor(H/4 + 3/4) >= 8", "floor(W/4 + 3/4) >= 8"},
        ),
        # Exported for 224; what the export froze shows as equations.
        (
            "levit_128s.ts_dyn",
            (192, 208, 209, 224, 225),
            (224,),
            {"floor(H/16 + 15/16)*floor(W/16 + 15/16) == 196"},
        ),
    ],
)
def test_exactly_the_sizes_that_satisfy_all_equations_run(
    name: str,
    heights: tuple[int, ...],
    widths: tuple[int, ...],
    needed: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = unpacked(name, tmp_path)
    monkeypatch.setattr(sys, "argv", ["materialize.py", str(path)])
    runpy.run_path(str(ZOO / "materialize.py"), run_name="__main__")
    model = Model(ir.load(path))
    (image,) = model.ir.graph.inputs
    image.shape = ir.Shape(IMAGE)
    for node in model.ir.graph.all_nodes():
        for value in node.outputs:
            value.shape = None
    ir.save(model.ir, path)
    found = constraints.collect(model.ir)
    assert needed <= {equation.text for equation in found}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outcomes = set()
    for batch, height, width in itertools.product((1, 2), heights, widths):
        at = {"N": batch, "H": height, "W": width}
        expected = all(holds(equation, at) for equation in found if equation.decided)
        try:
            session.run(None, generate(inputs_of(model), at, 0))
            ran = True
        except Exception:  # noqa: BLE001 - whatever it raises
            ran = False
        assert ran == expected, at
        outcomes.add(ran)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("name", "text"), [("bert6.ts_dyn", "S <= 512"), ("bert6.dynamo_dyn", "S <= 512")]
)
def test_tables_of_positions_are_found(name: str, text: str, tmp_path: Path) -> None:
    model = Model(ir.load(unpacked(name, tmp_path)))
    assert [equation.text for equation in constraints.collect(model.ir)] == [text]
    (proposal,) = tripoint.profile(model).proposals
    assert proposal.ranges["S"].max == 512
