"""Shapes and element types that a file declares and its nodes contradict.

The true ones are what ONNX Runtime computes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import execute, feed
from tripoint import model as models
from tripoint import triton
from tripoint.cli import app
from tripoint.model import Model

RUNNER = CliRunner()
HEAD = '<ir_version: 8, opset_import: ["": 17]> net '
LOOP = """(float[3] x, int64 n) => (float[3] y)
{{ c = Constant <value = bool {{1}}> ()
  y = Loop (n, c, x) <body = b (int64 i, bool k, {v}) => (bool k2, float[3] v2)
    {{ k2 = Identity (k) v2 = Neg (v) }}> }}"""
IF = """(float[N,4] x, bool c) => (float[N,4] y)
{ y = If (c) <then_branch = t () => (float[N,9] a) { a = Relu (x) },
              else_branch = e () => (float[N,4] b) { b = Neg (x) }> }"""

CONTRADICTED = {
    "rank": ("(float[N,4] x) => (float[a,b,c] y) { y = Relu (x) }", {"y": ("a", "b", "c")}),
    "scalar": ("(float[N,4] x) => (float y) { y = Abs (x) }", {"y": ()}),
    "dim": ("(float[N,4] x) => (float[N,5] y) { y = Relu (x) }", {"y": ("N", 5)}),
    "fixed": ("(float[2,4] x) => (float[3,4] y) { y = Relu (x) }", {"y": (3, 4)}),
    "twice": ("(float[N,4] x) => (float[N,4] y) { y = Concat <axis = 0> (x, x) }", {"y": ("N", 4)}),
    "inner": (
        "(float[N,4] x) => (float[N,4] y) <float[N,7] a, float[N] b> "
        "{ a = Relu (x) b = Abs (a) y = Neg (b) }",
        {"a": ("N", 7), "b": ("N",)},
    ),
    "initializer": (
        "(float[N,4] x) => (float[N,4] y, float[3] w) <float[2] w = {1.0, 2.0}> { y = Relu (x) }",
        {"w": (3,)},
    ),
    "loop": (LOOP.format(v="float[2] v"), {"v": (2,)}),
    "loop of another rank": (LOOP.format(v="float[1,3] v"), {"v": (1, 3)}),
    "branch": (IF, {"a": ("N", 9)}),
}
AGREES = {
    "an example": "(float[N,4] x) => (float[1,4] y) { y = Relu (x) }",
    "another name": "(float[N,4] x) => (float[batch,4] y) { y = Relu (x) }",
    "no name": "(float[N,4] x) => (float[?,4] y) { y = Relu (x) }",
    "an expression": "(float[N,4] x) => (float[M,4] y) { y = Concat <axis = 0> (x, x) }",
    "no type": "(float[N,4] x) => (y) { y = Relu (x) }",
    "loop": LOOP.format(v="float[3] v"),
    "loop that says nothing": LOOP.format(v="v"),
}


def net(text: str) -> Model:
    return Model(ir.from_onnx_text(HEAD + text))


@pytest.mark.parametrize("name", CONTRADICTED)
def test_a_declared_shape_that_is_not_the_true_one(name: str):
    text, expected = CONTRADICTED[name]
    table = tripoint.shapes(net(text), target="10.1")
    found = {each.name: each.declared for each in table.tensors if each.declared is not None}
    assert found == expected
    for tensor in expected:
        assert [t for t in table.contradictions if t.startswith(f"`{tensor}` is declared")]


@pytest.mark.parametrize("name", ["rank", "scalar", "dim", "fixed", "twice", "initializer"])
def test_the_true_shape_is_that_of_the_run(name: str):
    model = net(CONTRADICTED[name][0])
    table = tripoint.shapes(model, target="10.1")
    arrays = execute(model, feed(model, N=3))
    for output, array in zip(table.outputs, arrays, strict=True):
        dims = table.by_name[output].shape or ()
        sizes = {"N": 3, "2*N": 6}
        assert tuple(sizes.get(d, d) if isinstance(d, str) else d for d in dims) == array.shape


@pytest.mark.parametrize("text", AGREES.values(), ids=AGREES)
def test_what_may_be_true_is_no_contradiction(text: str):
    assert tripoint.shapes(net(text), target="10.1").contradictions == ()


@pytest.mark.parametrize(
    ("text", "wrong", "true"),
    [
        ("(float[N,4] x) => (int64[N,4] y) { y = Relu (x) }", "y", "float"),
        ("(float[N,4] x) => (float[N,4] y) <int64[N,4] a> { a = Relu (x) y = Neg (a) }",
         "a", "float"),
        ("(float[N,4] x) => (float[N,4] y) { y = Equal (x, x) }", "y", "bool"),
        ("(float[N,4] x) => (int32[2] y) { y = Shape (x) }", "y", "int64"),
        (LOOP.format(v="int64[3] v"), "v", "float"),
    ],
)  # fmt: skip
def test_a_declared_element_type_that_is_another(text: str, wrong: str, true: str):
    model = net(text)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        execute(model, {})
    table = tripoint.shapes(model, target="10.1")
    assert [t.split("`")[1] for t in table.contradictions] == [wrong]
    assert table.by_name[wrong].dtype == true


def test_text_and_json_show_it(tmp_path: Path):
    path = tmp_path / "m.onnx"
    models.save(net(CONTRADICTED["rank"][0]), path)
    shown = RUNNER.invoke(app, ["shapes", str(path), "--target", "10.1"]).output
    assert "declared (a, b, c)" in shown
    assert "contradiction: `y` is declared (a, b, c), but Relu `y` gives (N, 4)" in shown
    arguments = ["shapes", str(path), "--target", "10.1", "--format", "json"]
    document = json.loads(RUNNER.invoke(app, arguments).output)
    assert document["contradictions"] == ["`y` is declared (a, b, c), but Relu `y` gives (N, 4)"]
    rows = {each["name"]: each["declared"] for each in document["tensors"]}
    assert rows == {"x": None, "y": ["a", "b", "c"]}


# --- Triton ----------------------------------------------------------------------------------


def dims(config: str) -> list[str]:
    outputs = config.partition("output {")[2]
    return [line.split(": ")[1] for line in outputs.splitlines() if "dims:" in line]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rank", "[-1, 4]"),
        ("scalar", "[-1, 4]"),
        ("dim", "[-1, 4]"),
        ("fixed", "[2, 4]"),
        ("twice", "[-1, 4]"),
    ],
)
def test_triton_is_told_the_true_dims(tmp_path: Path, name: str, expected: str):
    path = tmp_path / "m.onnx"
    models.save(net(CONTRADICTED[name][0]), path)
    result = triton.export(path, tmp_path / "repo")
    assert dims(result.config) == [expected]
    assert any("declares output 'y'" in text for text in result.warnings)
    written = tmp_path / "repo/m/1/model.onnx"
    session = onnxruntime.InferenceSession(str(written), providers=["CPUExecutionProvider"])
    seen = [size if isinstance(size, int) else -1 for size in session.get_outputs()[0].shape]
    assert str(seen) == expected
    x = np.ones((2, 4), np.float32)
    old = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], old.run(None, {"x": x})[0])
    assert not triton.check(tmp_path / "repo").findings


def test_triton_check_names_a_declared_rank_that_is_not_true(tmp_path: Path):
    path = tmp_path / "m.onnx"
    models.save(net(CONTRADICTED["rank"][0]), path)
    triton.export(path, tmp_path / "repo")
    models.save(models.load(path), tmp_path / "repo/m/1/model.onnx", force=True)
    (finding,) = triton.check(tmp_path / "repo").findings
    assert (finding.name, finding.severity) == ("declared-rank", "error")
    assert "'y' is declared (a, b, c), and the graph gives (N, 4)" in finding.message


def test_triton_is_told_dims_that_nothing_declares(tmp_path: Path):
    path = tmp_path / "m.onnx"
    models.save(net("(float[N,4] x) => (y) { y = Relu (x) }"), path)
    assert dims(triton.export(path, tmp_path / "repo").config) == ["[-1, 4]"]


def test_a_true_scalar_stays_one(tmp_path: Path):
    path = tmp_path / "m.onnx"
    models.save(net("(float[2,4] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }"), path)
    result = triton.export(path, tmp_path / "repo")
    assert dims(result.config) == ["[1]"]
    assert not result.warnings
