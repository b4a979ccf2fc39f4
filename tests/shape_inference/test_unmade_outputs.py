"""Graph outputs that no node makes: initializers, graph inputs, and outputs that are listed twice.

What ONNX Runtime gives for them, and what the installed parser makes of them, is the expectation.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import execute, feed
from tests.helpers.marks import RTX, installed, needs_rtx, needs_tensorrt
from tripoint import api, triton
from tripoint import model as models
from tripoint.cli import app
from tripoint.engine.network import describe
from tripoint.errors import InputError
from tripoint.graph import passthrough
from tripoint.model import Model
from tripoint.runner import caller_buffers
from tripoint.runner.tensors import Tensor
from tripoint.spec import Spec

RUNNER = CliRunner()
CONSTANTS = {
    "float": "float[2,2] w = {1.0, 2.0, 3.0, 4.0}",
    "float16": "float16[2] w = {15360, 16384}",
    "double": "double[2] w = {1.0, 2.0}",
    "int64": "int64[3] w = {1, 2, 3}",
    "int32": "int32[3] w = {1, 2, 3}",
    "bool": "bool[2] w = {1, 0}",
    "scalar": "float w = {2.0}",
}


def text_model(text: str) -> Model:
    return Model(ir.from_onnx_text(text))


def constant(entry: str, opset: int = 17, version: int = 8, given: bool = False) -> Model:
    """A model that gives out an initializer beside what it computes."""
    declared = entry.partition(" =")[0]
    inputs = f"float[N,3] x, {declared}" if given else "float[N,3] x"
    return text_model(
        f"""<ir_version: {version}, opset_import: ["": {opset}]>
        net ({inputs}) => (float[N,3] y, {declared}) <{entry}>
        {{ z = Relu (x) same = Identity (z) y = Neg (same) }}"""
    )


PASSED = """<ir_version: 8, opset_import: ["": 17]>
net (float[N,3] x, float[2] z) => (float[N,3] y, float[N,3] x) { y = Relu (x) }"""
TWICE = """<ir_version: 8, opset_import: ["": 17]>
net (float[N,3] x) => (float[N,3] y, float[2] w, float[N,3] y, float[2] w)
<float[2] w = {1.0, 2.0}> { y = Relu (x) }"""


def row(model: Model, name: str, target: str | None = None):
    return tripoint.shapes(model, target=target).by_name[name]


@pytest.mark.parametrize("entry", CONSTANTS.values(), ids=CONSTANTS)
@pytest.mark.parametrize("target", [installed, "8.6", "10.1"])
def test_an_initializer_that_is_an_output_has_a_row(entry: str, target: str):
    model = constant(entry)
    found = row(model, "w", target)
    array = execute(model, feed(model, N=2))[1]
    assert (found.op, found.node, found.shape) == ("initializer", None, array.shape)
    assert found.tensorrt == array.shape
    assert found.lost == ()


@pytest.mark.parametrize(("opset", "version"), [(9, 3), (9, 4), (11, 6), (20, 9)])
@pytest.mark.parametrize("listed", [False, True])
def test_opsets_and_initializers_that_are_listed_as_inputs(opset: int, version: int, listed: bool):
    if version == 3 and not listed:
        pytest.skip("in IR version 3 every initializer is an input")
    model = constant(CONSTANTS["float"], opset, version, given=listed)
    table = tripoint.shapes(model, target="10.1")
    assert table.inputs == ("x",)
    assert table.by_name["w"].op == "initializer"
    network = describe(table)
    assert [each.name for each in network.inputs] == ["x"]
    assert [(each.name, each.shape) for each in network.outputs] == [("y", (-1, 3)), ("w", (2, 2))]


def test_what_is_declared_of_a_constant_is_not_its_shape():
    model = text_model(
        """<ir_version: 8, opset_import: ["": 17]>
        net (float[N,3] x) => (float[N,3] y, float[A] w) <float[2] w = {1.0, 2.0}>
        { y = Relu (x) }"""
    )
    assert row(model, "w", "10.1").shape == (2,)


def test_tensorrt_7_takes_no_constant_for_an_output():
    table = tripoint.shapes(constant(CONSTANTS["float"]), target="7.1")
    assert any("no constant for the output `w`" in each.reason for each in table.refusals)


@pytest.mark.parametrize("kind", CONSTANTS)
def test_fix_proves_a_model_with_such_an_output(kind: str):
    model = constant(CONSTANTS[kind])
    result = tripoint.fix(model, target="10.1")
    assert result.proven
    assert result.applied
    assert [value.name for value in result.model.ir.graph.outputs] == ["y", "w"]
    fed = feed(model, N=3)
    for before, after in zip(execute(model, fed), execute(result.model, fed), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_size_operand_that_is_an_output_stays_one():
    model = text_model(
        """<ir_version: 8, opset_import: ["": 16]>
        net (float[N,4,6] x) => (float[a,b] y, int64[2] sh)
        <int64[2] sh = {-1, 24}, float one = {1.0}>
        { r = Reshape (x, sh) y = Mul (r, one) }"""
    )
    result = tripoint.fix(model, target="10.1")
    assert result.proven
    fed = feed(result.model, N=2)
    assert execute(result.model, fed)[1].tolist() == [-1, 24]


@pytest.mark.parametrize("text", [PASSED, TWICE])
def test_fix_keeps_passed_and_repeated_outputs(text: str):
    model = text_model(
        text.replace("y = Relu (x)", "z1 = Relu (x) z2 = Identity (z1) y = Neg (z2)")
    )
    result = tripoint.fix(model, target="10.1")
    assert result.proven
    names = [value.name for value in model.ir.graph.outputs]
    assert [value.name for value in result.model.ir.graph.outputs] == names


@pytest.mark.parametrize("target", [installed, "7.1", "10.1"])
def test_an_input_that_is_an_output_has_another_name_in_the_network(target: str):
    table = tripoint.shapes(text_model(PASSED), target=target)
    network = describe(table)
    assert [each.name for each in network.inputs] == ["__x", "z"]
    assert [(each.name, each.shape) for each in network.outputs] == [("y", (-1, 3)), ("x", (-1, 3))]
    assert any("calls the input `__x`" in note for note in table.notes)


def test_a_repeated_output_is_described_once():
    table = tripoint.shapes(text_model(TWICE), target="10.1")
    assert [each.name for each in describe(table).outputs] == ["y", "w"]
    assert any("output `y` is listed 2 times" in note for note in table.notes)


@needs_rtx
def test_a_plan_whose_input_is_an_output(tmp_path: Path):
    models.save(text_model(PASSED), tmp_path / "p.onnx")
    spec = Spec.parse(dims=["N=1..2..4"])
    built = api.build(tmp_path / "p.onnx", tmp_path / "p.plan", spec=spec, tensorrt=RTX)
    names = [each["name"] for each in built.manifest["inputs"]]
    assert names == ["__x", "z"]
    assert [each["name"] for each in built.manifest["outputs"]] == ["y", "x"]
    profiles = built.manifest["profiles"]
    assert [each["name"] for each in profiles[0]] == names
    result = triton.export(tmp_path / "p.plan", tmp_path / "repo")
    assert '"__x"' in result.config
    assert {each.name for each in triton.check(tmp_path / "repo").findings} == {"rtx-plan"}


@needs_rtx
@pytest.mark.parametrize("kind", ["float16", "int64", "bool", "double", "scalar"])
def test_a_plan_with_a_constant_output(tmp_path: Path, kind: str):
    models.save(constant(CONSTANTS[kind]), tmp_path / "c.onnx")
    spec = Spec.parse(dims=["N=1..2..4"])
    built = api.build(tmp_path / "c.onnx", tmp_path / "c.plan", spec=spec, tensorrt=RTX)
    assert [each.name for each in built.network.outputs] == ["y", "w"]


def test_profiles_for_tools_that_build_the_whole_model(tmp_path: Path):
    models.save(text_model(PASSED), tmp_path / "p.onnx")
    result = RUNNER.invoke(
        app, ["profile", str(tmp_path / "p.onnx"), "--dim", "N=1..2..4", "--format", "json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["spellings"]
    assert "--minShapes=__x:1x3" in found["trtexec"]
    assert "__x:[1,3]" in found["polygraphy"]
    trt = found["onnxruntime"]["TensorrtExecutionProvider"]
    assert trt["trt_profile_min_shapes"] == "x:1x3"


def test_an_engine_takes_its_input_under_either_name():
    tensors = [Tensor(name, np.dtype("float32"), (2,), False, (), ()) for name in ("__x", "z")]
    assert caller_buffers.in_order(tensors, {"x": 1, "z": 2}) == [1, 2]
    assert caller_buffers.in_order(tensors, {"__x": 1, "z": 2}) == [1, 2]
    with pytest.raises(InputError, match="input '__x' of the engine was not given"):
        caller_buffers.in_order(tensors, {"z": 2, "y": 1})
    assert passthrough.onnx_name("__x", {"y"}) == "__x"
    assert passthrough.engine_name("x", {"y"}) == "x"


def test_a_repeated_output_is_configured_once_for_triton(tmp_path: Path):
    models.save(text_model(TWICE), tmp_path / "t.onnx")
    result = triton.export(tmp_path / "t.onnx", tmp_path / "repo")
    assert result.config.count('"y"') == 1
    assert not triton.check(tmp_path / "repo").findings


@pytest.mark.parametrize("kind", CONSTANTS)
def test_triton_serves_a_constant_output(tmp_path: Path, kind: str):
    models.save(constant(CONSTANTS[kind]), tmp_path / "c.onnx")
    result = triton.export(tmp_path / "c.onnx", tmp_path / "repo")
    assert 'name: "w"' in result.config
    assert not triton.check(tmp_path / "repo").findings


@pytest.mark.parametrize(
    "text",
    [PASSED, TWICE, """<ir_version: 3, opset_import: ["": 9]>
    net (float[N,3] x, float[3] w) => (float[N,3] y, float[3] w) <float[3] w = {1.0, 2.0, 3.0}>
    { y = Add (x, w) }"""],
)  # fmt: skip
@pytest.mark.parametrize("command", [["verify"], ["locate", "--against"]])
def test_verify_and_locate_compare_them(tmp_path: Path, text: str, command: list[str]):
    path = tmp_path / "m.onnx"
    models.save(text_model(text), path)
    name, *option = command
    arguments = [name, str(path), *option, *([str(path)] if option else ["--fixed", str(path)])]
    result = RUNNER.invoke(app, [*arguments, "--dim", "N=1..2..4", "-q"])
    assert result.exit_code == 0, result.output
    assert "differ" not in result.output


def test_locate_names_a_constant_that_differs(tmp_path: Path):
    for name, last in (("a", 4.0), ("b", 5.0)):
        entry = CONSTANTS["float"].replace("4.0", str(last))
        models.save(constant(entry), tmp_path / f"{name}.onnx")
    paths = [str(tmp_path / "a.onnx"), "--against", str(tmp_path / "b.onnx")]
    result = RUNNER.invoke(app, ["locate", *paths, "--dim", "N=1..2..4", "-q"])
    assert result.exit_code == 1, result.output
    assert "no node produces output w: the file gives out an initializer as it is" in result.output
    assert "an engine built for the search" not in result.output


def test_why_explains_an_output_that_no_node_makes(tmp_path: Path):
    models.save(constant(CONSTANTS["int64"]), tmp_path / "c.onnx")
    result = RUNNER.invoke(app, ["why", str(tmp_path / "c.onnx"), "w", "--target", "10.1"])
    assert result.exit_code == 0, result.output
    assert "initializer that the graph gives out" in result.output


MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("anchors", torch.arange(8.0).reshape(2, 4))

    def forward(self, x):
        return x.relu(), self.anchors, x


def model():
    return Net()
"""


@pytest.mark.needs_torch
@needs_tensorrt
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_run_takes_a_module_that_returns_a_buffer_and_its_input(tmp_path: Path, exporter: str):
    (tmp_path / "net.py").write_text(MODULE, encoding="utf-8")
    arguments = ["run", f"{tmp_path / 'net.py'}:model", "--input", "x:1..2..4x3"]
    out = tmp_path / "out"
    result = RUNNER.invoke(app, [*arguments, "--exporter", exporter, "-o", str(out), "-q"])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    shapes = {each["name"]: each["shape"] for each in report["after"]["outputs"]}
    assert shapes["output_1"] == [2, 4]
    assert {each["status"] for p in report["verify"]["points"] for each in p["outputs"]} == {
        "equal"
    }


@pytest.mark.parametrize("version", ["7.1", "8.6", "10.1"])
def test_a_recorded_log_shows_what_it_says_of_a_constant(tmp_path: Path, version: str):
    text = """<ir_version: 8, opset_import: ["": 9]>
    net (float[N,4,6] x) => (float[N,24] y, int64[2] sh) <int64[2] sh = {-1, 24}>
    { y = Reshape (x, sh) }"""
    models.save(text_model(text), tmp_path / "m.onnx")
    arguments = ["shapes", str(tmp_path / "m.onnx"), "--target", version, "--as-log"]
    result = RUNNER.invoke(app, arguments)
    (tmp_path / "build.log").write_text(result.output, encoding="utf-8")
    result = RUNNER.invoke(app, ["log", str(tmp_path / "build.log"), "--format", "json"])
    (recording,) = json.loads(result.output)["recordings"]
    found = {each["name"]: each["shape"] for each in recording["tensors"]}
    assert found["sh"] == [2]


@pytest.mark.parametrize("suffix", [".onnx", ".onnxtxt"])
@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ("float[M,4] x", "(M, 4)"),
        ("float[4,3] x", None),
        ("float[a,b,c] x", "(a, b, c)"),
        ("float[N] x", "(N,)"),
        ("float[M,3] x", None),
        ("x", None),
        ("int64[N,3] x", None),
    ],
)
def test_the_input_decides_what_an_output_that_is_one_is(
    tmp_path: Path, declared: str, shown: str | None, suffix: str
):
    text = f"""<ir_version: 8, opset_import: ["": 17]>
    net (float[N,3] x) => (float[N,3] y, {declared}) {{ y = Neg (x) }}"""
    path = tmp_path / f"m{suffix}"
    proto = onnx.parser.parse_model(text)
    if suffix == ".onnx":
        onnx.save(proto, path)
    else:
        path.write_text(text, encoding="utf-8")
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = np.ones((2, 3), np.float32)
    assert [(a.shape, a.dtype) for a in session.run(None, {"x": x})] == [((2, 3), x.dtype)] * 2
    model = models.load(path)
    table = tripoint.shapes(model, target="10.1")
    assert [(each.shape, each.dtype) for each in table.tensors] == [(("N", 3), "float")] * 2
    expected = f"`x` is declared {shown}, but the input gives (N, 3)"
    assert list(table.contradictions) == ([expected] if shown else [])


@needs_rtx
def test_a_constant_of_a_type_that_is_refused_is_blamed(tmp_path: Path):
    path = tmp_path / "m.onnx"
    text = """<ir_version: 8, opset_import: ["": 17]>
    net (float[N,3] x) => (float[N,3] y, uint8[3] palette) <uint8[3] palette = {1, 2, 3}>
    { y = Relu (x) }"""
    onnx.save(onnx.parser.parse_model(text), path)
    words = ["build", str(path), "-o", str(tmp_path / "m.plan"), "--dim", "N=1..2..4", "-q"]
    result = RUNNER.invoke(app, [*words, "--tensorrt", RTX])
    assert result.exit_code == 4, result.output
    assert "output 'palette', an initializer of type uint8: " in result.output
    assert "node 'y'" not in result.output
    assert "leave palette out of the outputs" in result.output
