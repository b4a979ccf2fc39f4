"""Building in a precision, and what is accepted as proof of it."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import build, execute
from tests.helpers.marks import RTX, needs_rtx
from tripoint.cli import app
from tripoint.engine import manifest, precision_check
from tripoint.engine.precision_check import Evidence
from tripoint.errors import ExternalStepError
from tripoint.model import Model, save
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare import within
from tripoint.precision import recorded
from tripoint.precision.lower import lower
from tripoint.precision.prepare import Prepared, prepare
from tripoint.precision.rounding import rounding
from tripoint.precision.simulate import rehearse
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.tolerance.derivation import Budget, Chain, Cost, derive, widen
from tripoint.trt import gpu
from tripoint.trt.layers import Layer, LayerTensor

MODEL = build(
    "float[N,3,8,8] x, float[4,3,3,3] w_c",
    "c = Conv<pads=[1,1,1,1]>(x, w_c); r = Relu(c); y = Softmax<axis=1>(r)",
    opset=17,
)
MODEL.ir.graph[0].name = "conv"
SQUARE = build("float[4] x | float f = {1e4}", "a = Mul(x, f); b = Mul(a, a); y = Neg(b)")


@pytest.fixture
def path(tmp_path):
    return save(MODEL, tmp_path / "model.onnx").path


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


# Builds without a GPU


@needs_rtx
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_build_in_a_lower_precision(path, precision):
    done = run("build", path, "--dim", "N=1..2..4", "--precision", precision, "--tensorrt", RTX)
    assert done.exit_code == 0, done.stderr
    assert f"precision {precision}: 2 nodes in it, 1 kept in float32" in done.stdout
    content = manifest.read(manifest.path_for(path.with_suffix(".plan")))
    found = content["precision"]
    assert found["requested"] == precision
    assert found["network"]["strongly_typed"] is True
    assert found["network"]["counts"] == {precision: 2, "fp32": 1}
    assert found["conversion"]["nodes_kept"] == [
        {"node": "y", "op": "Softmax", "reason": "it reduces over exponentials"}
    ]
    points = found["error"]["points"]
    assert [point["sizes"] for point in points] == [{"N": 1}, {"N": 2}, {"N": 4}]
    assert all(0 < point["outputs"][0]["max_abs"] < 0.1 for point in points)
    # Inputs and outputs are those of the model that was given, and so is the model.
    assert [entry["dtype"] for entry in (*content["inputs"], *content["outputs"])] == [
        "float32"
    ] * 2
    assert content["model"]["path"] == "model.onnx"
    if gpu.absence():
        assert found["engine"]["inspected"] is False
        assert found["engine"]["note"].startswith("not inspected: no GPU")
        assert found["engine"]["proven"] is False


@needs_rtx
@pytest.mark.parametrize("listed", [False, True])
def test_build_keeps_nodes_in_float32(path, tmp_path, listed):
    names = tmp_path / "names.txt"
    names.write_text("r*\n\n", encoding="utf-8")
    done = run(
        *("build", path, "--dim", "N=2", "--precision", "fp16", "--tensorrt", RTX),
        *("--keep-fp32", f"@{names}" if listed else "r*"),
        *("--io-precision", "match", "--no-numeric-proof"),
    )
    assert done.exit_code == 0, done.stderr
    assert "error against float32: not measured" in done.stdout
    content = manifest.read(manifest.path_for(path.with_suffix(".plan")))
    assert content["precision"]["network"]["counts"] == {"fp32": 2, "fp16": 1}
    assert content["precision"]["conversion"]["keep_fp32"] == ["r*"]
    assert [entry["dtype"] for entry in content["inputs"]] == ["float16"]
    assert recorded.command_line(content) == [
        *("--precision", "fp16", "--keep-fp32", "r*", "--io-precision", "match")
    ]


@needs_rtx
@pytest.mark.parametrize(("option", "tf32"), [("fp32", False), ("tf32", True), (None, True)])
def test_fp32_is_exact_and_tf32_the_default(path, option, tf32):
    asked = ["--precision", option] if option else []
    done = run("build", path, "--dim", "N=2", "--tensorrt", RTX, *asked)
    assert done.exit_code == 0, done.stderr
    content = manifest.read(manifest.path_for(path.with_suffix(".plan")))
    assert content["flags"]["tf32"] is tf32
    assert content["precision"]["requested"] == option
    assert content["precision"]["conversion"] is None
    assert content["precision"]["network"]["counts"] == {"fp32": 3}


@needs_rtx
@pytest.mark.parametrize(
    ("model", "precision", "message"),
    [
        (build("int64[4] x", "y = Add(x, x)"), "fp16", "no node of the model can compute in fp16"),
        (build("float16[4] x", "y = Add(x, x)"), "fp32", "the model itself has float16"),
        (
            build(
                "float[4] x | float f = {1e5}", "y = Mul(x, f); z = Mul(y, y)", outputs="float[4] z"
            ),
            "fp16",
            "is the first whose result is not finite",
        ),
    ],
)
def test_precision_that_cannot_be_had_is_an_error(tmp_path, model, precision, message):
    path = save(model, tmp_path / "model.onnx").path
    done = run("build", path, "--precision", precision, "--tensorrt", RTX)
    assert done.exit_code == 4, done.stdout
    assert message in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "tf32", "--no-tf32"], "--precision tf32 does not go with --no-tf32"),
        (["--keep-fp32", "a"], "--keep-fp32 does not go with"),
        (["--precision", "fp32", "--keep-fp32", "a"], "--keep-fp32 does not go with"),
        (["--precision", "fp16", "--keep-fp32", "@nowhere.txt"], "nowhere.txt: cannot be read"),
    ],
)
def test_options_that_do_not_go_together(path, arguments, message):
    done = run("build", path, "--dim", "N=2", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


@needs_rtx
def test_unknown_node_is_a_usage_error(path):
    arguments = ("--precision", "fp16", "--keep-fp32", "convv", "--tensorrt", RTX)
    done = run("build", path, "--dim", "N=2", *arguments)
    assert done.exit_code == 2
    assert "--keep-fp32 'convv' fits no node of the model" in done.stderr
    assert "did you mean conv" in done.stderr


@needs_rtx
def test_existing_plan_is_refused_before_any_work(path):
    plan = path.with_suffix(".plan")
    plan.write_text("mine")
    done = run("build", path, "--dim", "N=2", "--precision", "fp16", "--tensorrt", RTX)
    assert done.exit_code == 2
    assert "precision: converting" not in done.stderr
    assert plan.read_text() == "mine"


@needs_rtx
def test_manifest_fulfils_its_schema(path):
    jsonschema = pytest.importorskip("jsonschema")
    for precision in (None, "fp16"):
        result = tripoint.build(
            path,
            path.with_suffix(".plan"),
            spec=Spec.parse(dims=["N=1..2..4"]),
            precision=precision,
            tensorrt=RTX,
            force=True,
        )
        content = json.loads(manifest.text(result.manifest))
        jsonschema.validate(content, manifest.schema())
        assert result.precision.prepared.requested == precision


def test_model_that_onnxruntime_cannot_run_needs_an_option():
    model = build("float[4] x", "a = Relu(x); b = Sigmoid(a); y = Neg(b)")
    model.ir.graph[1].domain = "plugins"
    model.ir.opset_imports["plugins"] = 1
    with pytest.raises(ExternalStepError, match="ONNX Runtime cannot load") as raised:
        prepare(model, "fp16", points=[{}])
    assert raised.value.hint == "--no-numeric-proof leaves the comparison out"
    kept = prepare(model, "fp16", points=None).lowered.kept
    assert [(entry.node, entry.op) for entry in kept][:1] == [("b", "Sigmoid")]


@needs_rtx
def test_run_in_a_lower_precision(path, tmp_path):
    arguments = ("run", path, "--dim", "N=1..2..4", "-o", tmp_path / "out", "--tensorrt", RTX)
    done = run(*arguments, "--precision", "fp16")
    assert done.exit_code == 0, done.stderr
    assert "precision fp16: 2 nodes in it" in done.stdout


# Proof


def tensor(dtype: str | None) -> LayerTensor:
    return LayerTensor("t", dtype)


def layer(name: str, *dtypes: str | None, kind: str = "gemm") -> Layer:
    first, *others = dtypes
    return Layer(name, kind, (name,), (tensor(first),), tuple(map(tensor, others or (first,))))


LOWERED = prepare(MODEL, "fp16", points=None)


def found(network, engine, prepared=LOWERED, note=None) -> Evidence:
    return Evidence(prepared, tuple(network), engine and tuple(engine), note, strongly_typed=True)


def test_engine_with_the_precision_is_proven():
    value = found([layer("conv", "float16")], [layer("conv", "float16", "float32")])
    precision_check.check(value)
    assert value.proven
    assert value.elsewhere == ()


def test_engine_that_was_not_asked_is_not_proven():
    value = found([layer("conv", "float16")], None, note="not inspected: no GPU")
    precision_check.check(value)
    assert not value.proven
    assert precision_check.as_json(value)["engine"]["note"] == "not inspected: no GPU"


def test_engine_without_the_precision_is_refused():
    value = found([layer("conv", "float16")], [layer("conv", "float32"), layer("y", "float32")])
    with pytest.raises(ExternalStepError, match=r"no layer of the engine has it; .* 2 layers in f"):
        precision_check.check(value)
    assert value.elsewhere == ("conv",)


def test_casts_are_no_proof():
    casts = [layer("cast", "float32", "float16", kind="Reformat"), layer("conv", "float32")]
    with pytest.raises(ExternalStepError, match="no layer of the engine"):
        precision_check.check(found([layer("conv", "float16")], casts))
    with pytest.raises(ExternalStepError, match="no layer of the network"):
        precision_check.check(found([layer("c", "float32", "float16", kind="CAST")], None))


def test_engine_that_tells_no_types_proves_nothing():
    value = found([layer("conv", "float16")], [layer("conv", None)])
    precision_check.check(value)
    assert not value.proven


@pytest.mark.parametrize("where", ["network", "engine"])
def test_fp32_with_a_lower_layer_is_refused(where):
    low, high = [layer("a", "float16")], [layer("a", "float32")]
    value = found(*((low, high) if where == "network" else (high, low)), Prepared("fp32"))
    with pytest.raises(ExternalStepError, match=f"layer 'a' of the {where} has fp16"):
        precision_check.check(value)
    precision_check.check(found(low, low, Prepared()))


def test_fp32_with_tf32_is_refused():
    tactic = "sm80_xmma_gemm_tf32f32_tf32f32_f32_tn_n"
    engine = [Layer("a", "gemm", ("a",), (tensor("float32"),), tactic=tactic)]
    with pytest.raises(ExternalStepError, match="layer 'a' of the engine has tf32"):
        precision_check.check(found([layer("a", "float32")], engine, Prepared("fp32")))


def test_product_that_the_engine_computes_otherwise_is_listed():
    engine = [layer("conv", "float32"), layer("r", "float16")]
    value = found([layer("conv", "float16")], engine)
    precision_check.check(value)
    assert value.elsewhere == ("conv",)
    assert precision_check.as_json(value)["engine"]["without_it"] == ["conv"]


def test_measured_error_widens_the_tolerance():
    content = {
        "precision": {
            "error": {
                "points": [
                    {"sizes": {}, "outputs": [{"name": "y", "max_abs": 0.25}]},
                    {"sizes": {}, "outputs": [{"name": "y", "max_abs": 0.5}]},
                ]
            }
        }
    }
    assert recorded.rounding(content) == {"y": (Cost(1.0, 0.5),)}
    assert recorded.rounding({}) == {}
    narrow = derive(Chain(), np.ones(3, np.float32))
    assert widen(narrow, ()) is narrow
    assert widen(narrow, [Cost(1.0, 0.0)]) is narrow
    assert widen(narrow, [Cost(1.0, 0.5)]).atol == pytest.approx(narrow.atol + 2.0)
    assert "measured to cost" in widen(narrow, [Cost(1.0, 0.5)]).reason


def manifest_of(*points: list[tuple[float, float]]) -> dict[str, Any]:
    outputs = [
        {
            "name": "y",
            "max_abs": max(error for _, error in each),
            "parts": [{"size": size, "max_abs": error} for size, error in each],
        }
        for each in points
    ]
    return {"precision": {"error": {"points": [{"outputs": [each]} for each in outputs]}}}


def test_what_is_measured_of_one_part_widens_no_other():
    content = manifest_of([(0.5, 0.01), (300.0, 0.7)], [(0.4, 0.02), (310.0, 0.6)])
    costs = recorded.rounding(content)["y"]
    assert costs == (Cost(0.4, 0.02), Cost(300.0, 0.7))
    mixed = np.linspace(0.2, 0.9, 40).astype(np.float32)
    mixed[20:] *= 1000
    widened = widen(derive(Chain(), mixed, seams={0: (20,)}), costs)
    assert widened.atols == pytest.approx((0.08, 2.8), rel=0.01)
    # At a point that has one part only, the error of the numbers of its size counts.
    assert widen(derive(Chain(), mixed[:20]), costs).atol == pytest.approx(0.08, rel=0.01)
    assert widen(derive(Chain(), mixed[20:]), costs).atol == pytest.approx(2.8, rel=0.01)


def test_points_with_other_parts_count_for_the_part_of_their_size():
    content = manifest_of([(0.5, 0.01), (300.0, 0.7)], [(0.6, 0.02)], [(200.0, 0.9)])
    assert recorded.rounding(content)["y"] == (Cost(0.6, 0.02), Cost(200.0, 0.9))


HEAD = """p = MatMul(x, w_p); q = Sigmoid(p); b = MatMul(x, w_b); s = Mul(b, size);
    y = Concat<axis = 2>(s, q)"""
MASKED = "k = MatMul(x, w_k); y = Where(mask, k, low)"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    ("inputs", "body", "place"),
    [
        (
            "float[N,40,32] x, float[32,5] w_p, float[32,4] w_b | float size = {320.0}",
            HEAD,
            (..., slice(4, None)),
        ),
        (
            "float[N,40,32] x, bool[40,16] mask, float[32,16] w_k | float low = {-3.4e38}",
            MASKED,
            None,
        ),
    ],
    ids=["head with mixed units", "masked logits"],
)
def test_a_fault_of_small_numbers_beside_large_ones_is_seen(inputs, body, place, precision):
    model = build(inputs, body, opset=18)
    lowered = lower(model, precision)
    rehearsal = rehearse(lowered, [{"N": 1}, {"N": 3}], original=model)
    prepared = Prepared(precision, lowered=lowered, rehearsal=rehearsal)
    content = json.loads(
        json.dumps({"precision": precision_check.as_json(found([], None, prepared))})
    )
    fed = generate(inputs_of(model, named=False), {"N": 2}, 7, model=model)
    (exact,) = execute(model, fed)
    (low,) = execute(Model(rounding(lowered.model, lowered.low)), fed)
    graph = model.ir.clone()
    truth.annotate(graph)
    (allowed,) = (
        Budget(graph).allowed({"y": exact}, {"N": 2}, rounding=recorded.rounding(content)).values()
    )
    assert within(exact, low, allowed)
    wrong = low.copy()
    if place is None:
        wrong[np.abs(wrong) < 1e3] += 0.5
    else:
        wrong[place] *= 0.8
    assert not within(exact, wrong, allowed)


# A weakly typed TensorRT, which is no longer to be had, in the form of a stand-in

WEAK = """
import enum
from types import SimpleNamespace
__version__ = "8.6.1"
class ILogger:
    Severity = enum.Enum("Severity", ["ERROR", "WARNING", "INFO", "VERBOSE"])
BuilderFlag = enum.IntEnum("BuilderFlag", ["TF32", "FP16"])
NetworkDefinitionCreationFlag = enum.IntEnum("F", ["EXPLICIT_BATCH"])
DataType = enum.Enum("DataType", ["FLOAT", "HALF"])
"""


@pytest.mark.parametrize(("precision", "flags"), [("fp16", ["FP16"]), ("bf16", None), (None, [])])
def test_weakly_typed_network_needs_a_flag(tmp_path, monkeypatch, precision, flags):
    (tmp_path / "weak_tensorrt.py").write_text(WEAK)
    monkeypatch.syspath_prepend(tmp_path)
    trt = importlib.import_module("weak_tensorrt")

    from tripoint.errors import UsageError
    from tripoint.tasks import layers
    from tripoint.trt import native

    class Config:
        set: list[str]

        def set_flag(self, flag):
            self.set.append(flag.name)

    config = Config()
    config.set = []
    assert not native.strongly_typed(trt, None)
    if flags is None:
        with pytest.raises(UsageError, match="cannot build in bf16"):
            layers.set_precision(trt, None, config, precision)
    else:
        layers.set_precision(trt, None, config, precision)
        assert config.set == flags
