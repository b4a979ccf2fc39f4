"""Well-known models with random weights: no false alarm, and small faults do not hide."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.helpers.paths import ARCHIVE, ZOO
from tests.helpers.stand_ins import Optimized
from tripoint import api
from tripoint import model as models
from tripoint.model import Model
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.parity.results import Verification
from tripoint.shape_inference import truth
from tripoint.spec import Spec

DIMS = ("N=1..2..4", "H=64..96..128", "W=64..96..128", "S=16..32..64")

pytestmark = pytest.mark.skipif(not ZOO.exists(), reason="no zoo beside the project")

Load = Callable[[str], Model]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")

    def load(name: str) -> Model:
        path = folder / f"{name}.onnx"
        if not path.with_name(f"{path.name}.data").exists():
            command = [sys.executable, str(ZOO / "materialize.py"), str(path)]
            subprocess.run(command, check=True, capture_output=True)
        return api.load(path)

    return load


def compared(model: Model, other: Model) -> Verification:
    known = truth.infer(model.ir).symbols
    spec = Spec.parse([], [each for each in DIMS if each.partition("=")[0] in known])
    specs = inputs_of(model, named=False)
    points = [
        Point(sizes, generate(specs, sizes, seed, model=model), seed)
        for seed, sizes in enumerate(api.sweep(model, spec)[:3])
    ]
    return compare_legs(model, specs, [OnnxRuntimeLeg(model), Optimized(other)], points)


@pytest.mark.parametrize(
    "name",
    [
        *("eca.ts_dyn", "mobilenetv3.ts_dyn", "levit_128s.ts"),
        pytest.param("vit_tiny.ts_dyn", marks=pytest.mark.slow),
        *("bert6.dynamo_dyn", "llama_tiny.dynamo_dyn"),
        pytest.param("t5_enc.ts_dyn", marks=pytest.mark.slow),
    ],
)
def test_no_alarm_in_another_order_of_sums(load: Load, name: str) -> None:
    model = load(name)
    result = compared(model, model)
    entries = [entry for point in result.points for entry in point.outputs]
    assert len(entries) >= 3
    assert all(entry.equal for entry in entries)
    assert {check.status for check in result.metamorphic} <= {"equal", "not applicable"}
    assert max(entry.excess or 0.0 for entry in entries) < 0.9


def epsilon_of_another_framework(graph: ir.Graph) -> None:
    norm = next(node for node in graph if node.op_type == "LayerNormalization")
    assert norm.attributes.get_float("epsilon", 1e-5) == pytest.approx(1e-5)
    norm.attributes["epsilon"] = ir.AttrFloat32("epsilon", 1e-6)


def one_weight_negated(graph: ir.Graph) -> None:
    conv = next(node for node in graph if node.op_type == "Conv")
    weights = conv.inputs[1]
    assert weights is not None
    assert weights.const_value is not None
    array = np.array(weights.const_value.numpy())
    array.flat[int(np.abs(array).argmax())] *= -1
    weights.const_value = ir.tensor(array, name=weights.name)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("clip_vision.ts_dyn", epsilon_of_another_framework),
        pytest.param(
            *("whisper_enc.dynamo_dyn", epsilon_of_another_framework), marks=pytest.mark.slow
        ),
        ("mobilenetv3.ts_dyn", one_weight_negated),
    ],
)
def test_a_small_fault_is_seen(
    load: Load, name: str, fault: Callable[[ir.Graph], None], tmp_path: Path
) -> None:
    model = load(name)
    changed = Model(model.ir.clone())
    fault(changed.ir.graph)
    result = compared(model, models.save(changed, tmp_path / "changed.onnx"))
    assert result.verdict == "different"
    assert any(entry.status == "different" for point in result.points for entry in point.outputs)
