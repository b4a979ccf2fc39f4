"""Precisions of engines that are really loaded and run. Needs a CUDA device and TensorRT."""

from __future__ import annotations

import pytest

import tripoint
from tests.helpers.graphs import build
from tests.helpers.marks import needs_tensorrt
from tripoint.engine import inspect
from tripoint.precision import recorded
from tripoint.spec import Spec
from tripoint.trt import gpu

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu.absence() is not None, reason=f"no GPU: {gpu.absence()}"),
    needs_tensorrt,
]

MODEL = build(
    "float[N,8,16,16] x, float[16,8,3,3] w_c, float[16,64] w_m",
    "c = Conv<pads=[1,1,1,1]>(x, w_c); r = Relu(c); p = GlobalAveragePool(r);"
    "f = Flatten(p); m = MatMul(f, w_m); y = Softmax(m)",
    opset=17,
)
SPEC = Spec.parse(dims=["N=1..2..8"])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_precision_is_proven_and_near(tmp_path, precision):
    plan = tmp_path / "model.plan"
    result = tripoint.build(MODEL, plan, spec=SPEC, precision=precision)
    assert result.precision.engine is not None, result.precision.note
    assert result.precision.proven
    assert result.precision.elsewhere == ()
    assert recorded.rounding(result.manifest)["y"][0].error > 0
    found = tripoint.verify(MODEL, engine=plan, spec=SPEC)
    assert {leg.name: leg.status for leg in found.legs}["TensorRT"] == "ran"
    assert "different" not in found.verdict, found.reasons


def test_fp32_has_nothing_less(tmp_path):
    result = tripoint.build(MODEL, tmp_path / "model.plan", spec=SPEC, precision="fp32")
    assert result.precision.engine is not None, result.precision.note
    assert set(result.manifest["precision"]["engine"]["counts"]) <= {"fp32", "integers", "not told"}


def test_inspection_maps_layers_to_nodes(tmp_path):
    plan = tmp_path / "model.plan"
    tripoint.build(MODEL, plan, spec=SPEC, precision="fp16")
    contents = inspect.inspect_plan(plan, load=True, timeout=300).contents
    assert contents.layers is not None, contents.note
    nodes = {node for layer in contents.layers for node in layer.nodes}
    # The parser's name for a node that has none.
    names = {node.name or f"node_of_{node.outputs[0].name}" for node in MODEL.ir.graph}
    assert nodes & names, [layer.name for layer in contents.layers]
    assert contents.memory["context"] is not None
    assert contents.memory["weights"] > 0
    (profile,) = contents.profiles
    assert profile[0] == {
        "name": "x",
        "min": [1, 8, 16, 16],
        "opt": [2, 8, 16, 16],
        "max": [8, 8, 16, 16],
    }
    assert contents.io["x"]["location"] == "device"
