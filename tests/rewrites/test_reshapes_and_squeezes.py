"""Squeeze, Unsqueeze and Flatten that lose dims become Reshape; Squeeze without axes names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import build, fixed, operators
from tripoint.cli import app
from tripoint.spec import Spec

RESHAPE, AXES = "explicit-reshape", "squeeze-axes"
SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]


@pytest.mark.parametrize(
    ("inputs", "body", "operand"),
    [
        ("float[N,64,49,1] x", "r = Squeeze<axes = [3]>(x)", [0, 64, 49]),
        ("float[N,1,S,3] x", "r = Squeeze<axes = [1]>(x)", [0, -1, 3]),
        ("float[N,64] x", "r = Unsqueeze<axes = [1,3]>(x)", [0, 1, 64, 1]),
        ("float[N,6,4] x", "r = Flatten(x)", [0, 24]),
    ],
)
def test_reshape(inputs: str, body: str, operand: list[int]) -> None:
    model = build(inputs, f"a = Relu(x); {body}; y = Neg(r)", outputs="float[] y", opset=11)
    result = fixed(model, SIZES, [RESHAPE])
    assert operators(result.model) == ["Relu", "Reshape", "Neg"]
    sizes = list(result.model.ir.graph)[1].inputs[1]
    assert sizes is not None
    assert sizes.const_value is not None
    assert list(sizes.const_value.numpy()) == operand
    assert result.before.lost_dims > result.after.lost_dims == 0


def test_a_squeeze_that_loses_nothing_stays() -> None:
    model = build("float[2,64,49,1] x", "y = Squeeze<axes = [3]>(x)", opset=11)
    assert fixed(model, select=[RESHAPE]).applied == ()


def test_two_dims_that_move_are_refused() -> None:
    model = build(
        "float[1,N,S,6] x", "r = Squeeze<axes = [0]>(x); y = Neg(r)", outputs="float[] y", opset=11
    )
    result = fixed(model, SIZES, [RESHAPE])
    assert result.applied == ()
    (refused,) = result.refused
    assert refused.reason == "N and S are both decided at run time, one -1 is allowed"


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(("shape", "expected"), [("2,1,3,1", ["Squeeze", "Neg"]), ("2,3", ["Neg"])])
def test_axes(shape: str, expected: list[str], opset: int) -> None:
    model = build(f"float[{shape}] x", "r = Squeeze(x); y = Neg(r)", opset)
    result = fixed(model, select=[AXES])
    assert operators(result.model) == expected
    assert len(result.applied) == 1


def test_a_dim_that_may_be_1_keeps_the_axes_open() -> None:
    model = build("float[N,1,3] x", "r = Squeeze(x); y = Neg(r)", outputs="float[] y")
    result = fixed(model, [{"N": 2}], [AXES])
    assert result.applied == ()
    (refused,) = result.refused
    assert refused.reason == "N may be 1, and the rank of the result changes then"


READERS = [
    ("y = Transpose<perm=[1,0]>(r)", "Transpose"),
    ("y = Softmax<axis=1>(r)", "Softmax"),
    ("y = Softmax<axis=-2>(r)", "Softmax"),
    ("y = Gather<axis=1>(r, first)", "Gather"),
    ("q = Relu(r); y = ReduceMax<axes=[1]>(q)", "ReduceMax"),
    ("q = Add(one, r); y = Transpose<perm=[1,0]>(q)", "Transpose"),
    ("y = Pad(r, pads)", "Pad"),
    ("y = Concat<axis=0>(r, rows)", "Concat"),
    ("y = Slice(r, first, one_more, second)", "Slice"),
    ("y = Unsqueeze(r, third)", "Unsqueeze"),
]
CONSTANTS = """<int64[1] first={0}, int64[1] one_more={1}, int64[1] second={1}, int64[1] third={2},
    float[1] one={1}, int64[4] pads={0, 1, 0, 0}, float[2,3] rows={1, 2, 3, 4, 5, 6}>"""


def squeezed(folder: Path, body: str, outputs: str = "float[] y", inputs: str = "N,1,3") -> Path:
    body = body.replace("; ", "\n")
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[{inputs}] x) => ({outputs}) {CONSTANTS} {{ r = Squeeze(x) {body} }}"""
    onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize(("body", "reader"), READERS)
def test_what_the_rest_of_the_graph_needs_decides_the_axes(
    tmp_path: Path, body: str, reader: str
) -> None:
    path = squeezed(tmp_path, body)
    result = tripoint.fix(path, target="8.6", select=[AXES])
    (applied,) = result.applied
    assert applied.assumes == f"N is not 1: {reader} `y` needs rank 2"
    assert result.proven
    assert all(point["N"] > 1 for point in result.proof.numeric.points)
    # At the size that is left out the graph does not run as it was.
    with pytest.raises(Exception, match=r"Status|axis|rank|dimension"):
        onnxruntime.InferenceSession(str(path)).run(None, {"x": np.ones((1, 1, 3), np.float32)})


def test_a_range_with_1_is_no_hindrance_where_the_graph_does_not_run_at_1(tmp_path: Path) -> None:
    path = squeezed(tmp_path, "y = Transpose<perm=[1,0]>(r)")
    result = tripoint.fix(path, target="8.6", select=[AXES], spec=Spec.parse(dims=["N=1..2..4"]))
    assert [each.rewrite for each in result.applied] == [AXES]
    assert result.proven


def test_a_declared_rank_decides_the_axes_of_sizes_that_nobody_gave(tmp_path: Path) -> None:
    path = squeezed(tmp_path, "y = Neg(r)", outputs="float[N,3] r, float[] y")
    result = tripoint.fix(path, target="8.6", select=[AXES])
    (applied,) = result.applied
    assert applied.assumes == "N is not 1: `r` is declared with rank 2"
    assert result.proven
    asked = tripoint.fix(path, target="8.6", select=[AXES], spec=Spec.parse(dims=["N=1..2..4"]))
    assert asked.applied == ()
    assert [each.rewrite for each in asked.refused] == [AXES]


def test_a_declared_rank_that_does_not_fit_decides_nothing(tmp_path: Path) -> None:
    path = squeezed(tmp_path, "y = Neg(r)", outputs="float[3] r, float[] y")
    result = tripoint.fix(path, target="8.6", select=[AXES])
    assert result.applied == ()


@pytest.mark.parametrize("body", ["y = Neg(r)", "y = Softmax<axis=0>(r)", "y = Add(r, rows)"])
def test_a_range_without_1_decides_the_axes(tmp_path: Path, body: str) -> None:
    path = squeezed(tmp_path, body, inputs="N,1,3")
    spec = Spec.parse(dims=["N=2"] if "rows" in body else ["N=2..3..5"])
    result = tripoint.fix(path, target="8.6", select=[AXES], spec=spec)
    (applied,) = result.applied
    assert applied.assumes == ""
    assert result.proven
    assert tripoint.fix(path, target="8.6", select=[AXES]).applied == ()


def test_a_squeeze_that_removes_nothing_goes_where_no_dim_is_1(tmp_path: Path) -> None:
    path = squeezed(tmp_path, "y = Transpose<perm=[1,0]>(r)", inputs="N,3")
    result = tripoint.fix(path, target="8.6")
    assert [each.rewrite for each in result.applied][:1] == [AXES]
    assert result.proven
    assert "Squeeze" not in operators(result.model)


def test_the_assumption_is_printed(tmp_path: Path) -> None:
    path = squeezed(tmp_path, "y = Transpose<perm=[1,0]>(r)")
    result = CliRunner().invoke(app, ["fix", str(path), "--dry-run", "-q", "--target", "8.6"])
    assert result.exit_code == 0
    assert "squeeze-axes: r\n    assumes: N is not 1: Transpose `y` needs rank 2" in result.stdout
