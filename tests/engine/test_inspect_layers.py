"""Layers of networks and engines, and the ONNX nodes behind them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.helpers.graphs import GRAPH_A, build
from tests.helpers.marks import RTX, needs_rtx
from tests.helpers.paths import TESTS
from tripoint.cli import app
from tripoint.engine import inspect, inspector, manifest
from tripoint.errors import ExternalStepError
from tripoint.model import save, sha256
from tripoint.report import layers as report
from tripoint.sanitize import clean
from tripoint.trt import gpu, layers

FILES = TESTS / "inspector"


def recorded(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


# The inspector's JSON


def test_layers_of_tensorrt_10():
    found = inspector.read(recorded("trt10.json"))
    assert found.detailed
    assert found.note is None
    assert [(layer.type, layer.precision, layer.nodes) for layer in found.layers] == [
        ("Reformat", "fp16+fp32", ()),
        ("CaskConvolution", "fp16", ("/conv1/Conv", "/relu/Relu")),
        (
            "kgen",
            "fp16",
            ("/norm/cast_in", "/norm/LayerNormalization", "/norm/cast_out"),
        ),
        ("gemm", "fp16+fp32", ("/head/MatMul",)),
    ]
    conv = found.layers[1]
    assert conv.weights == "float16"
    assert conv.tactic.startswith("sm80_xmma_fprop")
    (output,) = conv.outputs
    assert output.shape == (1, 64, 112, 112)
    assert output.format == "Channel major FP16 format where channel % 8 == 0"
    assert layers.counted(found.layers) == {"fp16": 2, "fp16+fp32": 1}


def test_layers_of_tensorrt_11():
    found = inspector.read(recorded("trt11.json"))
    conv, constant = found.layers
    assert conv.nodes == ("/a[0]/Conv",)
    assert conv.precision == "bf16"
    assert conv.inputs[0].format == "N/A due to dynamic shapes"
    assert conv.inputs[0].dtype == "bfloat16"
    assert conv.inputs[0].shape == (-1, 3, 8, 8)
    assert constant.precision is None
    assert constant.told
    assert not constant.computes
    assert layers.counted(found.layers) == {"bf16": 1}


def test_names_only():
    found = inspector.read(recorded("trt8-names.json"))
    assert not found.detailed
    assert "without detailed profiling verbosity" in found.note
    assert [layer.nodes for layer in found.layers] == [
        (),
        ("/conv1/Conv", "/relu/Relu"),
        ("/act/Sigmoid", "/act/Mul"),
        ("/attn/MatMul", "/attn/Reshape_1"),
        ("/last/Add",),
    ]
    assert layers.counted(found.layers) == {"not told": 5}


def test_names_that_hold_separators():
    known = {"a + b", "c"}
    assert layers.nodes_of("", "a + b", known) == ("a + b",)
    assert layers.nodes_of("", "c + PWN(c, d)", known) == ("c",)
    assert layers.nodes_of("", "__myl_Fc_myl0_1") == ()
    assert layers.nodes_of("[ONNX Layer: a] b]", "x") == ("a] b",)
    assert layers.nodes_of("[ONNX Layer: a], [ONNX Layer: b]") == ("a", "b")


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ("Row major linear FP32 format", "float32"),
        ("Two wide channel vectorized row major FP16 format", "float16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Half", "float16"),
        ("BFloat16", "bfloat16"),
        ("FP8", "float8_e4m3fn"),
        ("N/A due to dynamic shapes", None),
        ("", None),
    ],
)
def test_type_in_words(words, dtype):
    assert inspector.dtype_of(words) == dtype


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("", "is broken"),
        ('{"Layers": [', "is broken"),
        ("[]", "lists no layers"),
        ('{"Layers": 3}', "lists no layers"),
        ('{"Layers": []}', "lists no layers"),
    ],
)
def test_json_that_is_none(content, note):
    found = inspector.read(content)
    assert found.layers == ()
    assert note in found.note


def test_json_with_odd_entries():
    content = {"Layers": [{"Name": 3, "Inputs": "x", "Outputs": [4], "Weights": [], "Metadata": 1}]}
    (layer,) = inspector.read(json.dumps(content)).layers
    assert layer == layers.Layer("", None, (), (), (layers.LayerTensor("4", None),))


def test_tf32_is_told_by_the_tactic():
    tensors = (layers.LayerTensor("x", "float32"),)
    layer = layers.Layer("a", "gemm", (), tensors, tactic="sm80_xmma_gemm_tf32f32_tf32f32_f32")
    assert layer.precision == "tf32"


# Parsed networks


@needs_rtx
def test_layers_of_a_parsed_network():
    model = build(
        "float[N,4] x, float[4,4] w_a",
        "m = MatMul(x, w_a); s = Shape(x); r = Reshape(m, s); y = Relu(r)",
    )
    found = inspect.inspect_network(model, tensorrt=RTX)
    by_output = {tensor.name: layer for layer in found for tensor in layer.outputs}
    assert by_output["y"].type == "ACTIVATION"
    assert by_output["y"].precision == "fp32"
    assert by_output["y"].outputs[0].shape == (-1, 4)
    assert by_output["m"].type == "MATRIX_MULTIPLY"
    assert any(layer.shape_only for layer in found)
    assert layers.counted(found)["fp32"] == 2


@needs_rtx
def test_network_that_the_parser_refuses():
    model = build("float[2,3] x", "y = NonZero(x)", outputs="int64[2,M] y")
    model.ir.graph[0].name = "where"
    with pytest.raises(ExternalStepError, match=r"node 'where' \(NonZero\)"):
        inspect.inspect_network(model, tensorrt=RTX)


@needs_rtx
def test_inspect_lists_layers(tmp_path):
    model = save(build("float[2,4] x", "r = Relu(x); y = Softmax(r)"), tmp_path / "m.onnx")
    arguments = ["inspect", str(model.path), "--layers", "--tensorrt", RTX]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "=== Network Description ===" in done.stdout
    assert "ACTIVATION" in done.stdout
    assert "layers that compute: 2 fp32" in done.stdout
    document = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).stdout)
    entry = next(each for each in document["layers"] if each["outputs"][0]["name"] == "r")
    assert entry["type"] == "ACTIVATION"
    assert entry["outputs"][0]["shape"] == [2, 4]


@needs_rtx
def test_layers_without_a_note_belong_to_the_node_that_reads_them():
    done = CliRunner().invoke(app, ["inspect", str(GRAPH_A), "--layers", "--tensorrt", RTX])
    assert done.exit_code == 0, done.stderr
    rows = [line.split("  ") for line in done.stdout.splitlines() if "ONNXTRT_" in line]
    assert rows
    assert all(len([cell for cell in row if cell.strip()]) >= 6 for row in rows)
    assert any("shape tensor" in line for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.plan", "--layers"], "--layers needs --load"),
        ([str(GRAPH_A), "--load"], "--load needs a plan"),
        ([str(GRAPH_A), "--layers", "--target", "7.1"], "does not go with --target 7.1"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    done = CliRunner().invoke(app, ["inspect", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr


# Plans, with a stand-in for TensorRT, since loading one takes a GPU

STAND_IN = """
import enum, os
from pathlib import Path
__version__ = "10.9.0"
class ILogger:
    Severity = enum.Enum("Severity", ["ERROR", "WARNING", "INFO", "VERBOSE"])
DataType = enum.Enum("DataType", ["FLOAT", "HALF", "INT64"])
TensorIOMode = enum.Enum("TensorIOMode", ["INPUT", "OUTPUT"])
TensorLocation = enum.Enum("TensorLocation", ["DEVICE", "HOST"])
EngineStat = enum.Enum("EngineStat", ["TOTAL_WEIGHTS_SIZE"])
LayerInformationFormat = enum.Enum("LayerInformationFormat", ["JSON"])
TENSORS = {
    "size": ("INPUT", "INT64", (2,), "HOST"),
    "x": ("INPUT", "HALF", (-1, 3), "DEVICE"),
    "y": ("OUTPUT", "FLOAT", (-1, 3), "DEVICE"),
}
class Inspector:
    execution_context = None
    def get_engine_information(self, form):
        if "fails" in os.environ.get("ODD", "") and self.execution_context:
            return ""
        return Path(os.environ["INSPECTOR"]).read_text()
class Engine:
    num_io_tensors, num_layers, num_optimization_profiles = 3, 4, 2
    name, refittable, device_memory_size_v2, streamable_weights_size = "net", False, 4096, 0
    def get_tensor_name(self, i): return list(TENSORS)[i]
    def get_tensor_mode(self, name): return TensorIOMode[TENSORS[name][0]]
    def get_tensor_dtype(self, name): return DataType[TENSORS[name][1]]
    def get_tensor_shape(self, name): return TENSORS[name][2]
    def get_tensor_location(self, name): return TensorLocation[TENSORS[name][3]]
    def get_tensor_format_desc(self, name): return "Row major linear format"
    def is_shape_inference_io(self, name): return name == "size"
    def get_aliased_input_tensor(self, name): return "x"
    def get_engine_stat(self, stat): return 1000
    def get_device_memory_size_for_profile_v2(self, i): return 2048 * (i + 1)
    def get_tensor_profile_shape(self, name, i): return [(2,)] * 3 if name == "size" else [
        (1, 3), (2, 3), (4 * (i + 1), 3)]
    def get_tensor_profile_values(self, i, name): return [[1, 1], [2, 2], [4, 4]]
    def create_engine_inspector(self): return Inspector()
    def create_execution_context(self):
        if "context" in os.environ.get("ODD", ""):
            raise RuntimeError("out of memory")
        return object()
class Runtime:
    engine_host_code_allowed = False
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, plan):
        if self.engine_host_code_allowed or plan == b"refused":
            return None
        return Engine()
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan that the stand-in loads as if there were a GPU."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "tensorrt.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(gpu, "absence", lambda: None)
    monkeypatch.setattr(gpu, "probe", lambda: gpu.Probe((), "a stand-in"))
    monkeypatch.setenv("INSPECTOR", str(FILES / "trt10.json"))
    path = tmp_path / "model.plan"
    path.write_bytes(b"a plan")
    return path


def test_plan_that_is_loaded(plan):
    found = inspect.inspect_plan(plan, load=True, tensorrt="tensorrt")
    contents = found.contents
    assert [(t.name, t.dtype, t.shape) for t in found.network.inputs] == [
        ("size", "int64", (2,)),
        ("x", "float16", (-1, 3)),
    ]
    assert contents.memory == {
        "context": 4096,
        "context_by_profile": [2048, 4096],
        "weights": 1000,
        "streamable_weights": 0,
    }
    assert contents.io["size"] == {
        "format": "Row major linear format",
        "location": "host",
        "shape_tensor": True,
        "aliases": None,
    }
    assert contents.io["y"]["aliases"] == "x"
    assert contents.profiles[1][1] == {"name": "x", "min": [1, 3], "opt": [2, 3], "max": [8, 3]}
    assert contents.profiles[0][0]["max_values"] == [4, 4]
    assert contents.layers[1].nodes == ("/conv1/Conv", "/relu/Relu")
    assert contents.note is None


def test_plan_as_text_and_json(plan):
    arguments = ["inspect", str(plan), "--load", "--tensorrt", "tensorrt"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    for line in (
        "weights: 1000 bytes",
        "device memory of a context: 4096 bytes",
        "  with profile 1: 4096 bytes",
        "  size   values 1, 1  values 2, 2  values 4, 4",
        "  size  Row major linear format  on the host; shape tensor",
        "  y     Row major linear format  on the device; shares the memory of x",
        "layers that compute: 2 fp16, 1 fp16+fp32",
    ):
        assert line in done.stdout.splitlines(), done.stdout
    assert "/conv1/Conv, /relu/Relu" in done.stdout
    document = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).stdout)
    assert document["contents"]["layers"][1]["nodes"] == ["/conv1/Conv", "/relu/Relu"]
    assert document["contents"]["counts"] == {"fp16": 2, "fp16+fp32": 1}


def test_layouts_are_told_only_with_a_context(plan, monkeypatch):
    monkeypatch.setenv("ODD", "fails")
    found = inspect.inspect_plan(plan, load=True, tensorrt="tensorrt").contents
    assert found.layers
    assert found.note == "the inspector tells nothing with an execution context, so no layouts"
    monkeypatch.setenv("ODD", "context")
    found = inspect.inspect_plan(plan, load=True, tensorrt="tensorrt").contents
    assert found.layers
    assert "no execution context could be made" in found.note


def test_plan_that_is_refused(plan):
    plan.write_bytes(b"refused")
    with pytest.raises(ExternalStepError, match="cannot load this plan"):
        inspect.inspect_plan(plan, load=True, tensorrt="tensorrt")


def test_manifest_tells_of_the_precision(plan):
    content = {
        "schema_version": "1.0",
        "model": {"path": "model.onnx", "sha256": "0"},
        "engine": {"file": plan.name, "bytes": 6, "sha256": sha256(plan)},
        "tensorrt": {"name": "tensorrt", "kind": "tensorrt", "version": "10.1"},
        "layers": 7,
        "inputs": [],
        "outputs": [],
        "precision": {
            "requested": "fp16",
            "conversion": {"keep_fp32": ["*/head/*"], "io": "match"},
            "network": {"counts": {"fp16": 3, "fp32": 1}},
            "engine": {"counts": None, "note": "not inspected: no GPU"},
        },
    }
    manifest.path_for(plan).write_text(manifest.text(content))
    done = CliRunner().invoke(app, ["inspect", str(plan), "--tensorrt", "tensorrt"])
    assert done.exit_code == 0, done.stderr
    assert "precision asked for: fp16" in done.stdout
    assert "network: 3 fp16, 1 fp32" in done.stdout
    assert "engine: not inspected: no GPU" in done.stdout
    # And the command that builds it again asks for it again.
    assert "--precision fp16 --keep-fp32 '*/head/*' --io-precision match" in done.stdout


def test_names_from_a_plan_do_not_steer_the_terminal():
    evil = layers.Layer("a\x1b[2J", "x\x1b", ("n\x1b[0m",), (), ())
    lines = report.engine([evil])
    assert not any("\x1b" in line for line in lines)
    assert clean("\x1b") in "".join(lines)
