"""What is made up for inputs of which only the graph says something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import onnx_text
from tripoint.cli import app
from tripoint.model import Model
from tripoint.numeric.inputs import generate, inputs_of, told
from tripoint.parity.verify import verify
from tripoint.spec import Spec

POINTS = [{"N": 2, "T": 4}, {"N": 3, "T": 7}, {"N": 400, "T": 8}]

W = "float[3,2] w = {0.,1.,2.,3.,4.,5.}"
MASKED = "float h = {-1e9}"

# By name: inputs and output, body, name of the input, what is said of it, and numbers that are
# among those of the last point.
GRAPHS: dict[str, tuple[str, str, str, str, set[float]]] = {
    "clamp": (
        "(float[N] x) => (float[N] y)",
        "<float a = {0.}, float b = {6.}>{ y = Clip(x, a, b) }",
        "x",
        "floats -3..9, on both sides of 0 and 6",
        {-0.5, 0.5, 4.5, 7.5},
    ),
    "clamp of integers": (
        "(int64[N] x) => (int64[N] y)",
        "<int64 b = {999}>{ y = Min(x, b) }",
        "x",
        "integers -1000..1998, on both sides of 999",
        {998, 999, 1000},
    ),
    "behind moves": (
        "(float[N] x) => (bool[N,1] y)",
        "<float k = {8.}, float b = {5.}, int64[1] ax = {1}>"
        "{ u = Unsqueeze(x, ax)  d = Div(u, k)  n = Neg(d)  y = Less(n, b) }",
        "x",
        "floats -60..1, on both sides of -40",
        {-50, -30},
    ),
    "special id": (
        "(int64[N,T] x) => (float[N,T,2] y, bool[N,T] m)",
        f"<{W}, int64 p = {{1}}>{{ y = Gather(w, x)  m = Equal(x, p) }}",
        "x",
        "integers 0..2 of the table that it indexes, on both sides of 1",
        {0, 1, 2},
    ),
    "shifted index": (
        "(int64[N] x) => (float[N,2] y)",
        f"<{W}, int64 p = {{2}}>{{ a = Add(x, p)  y = Gather(w, a) }}",
        "x",
        "integers -2..0 of the table that it indexes",
        {-2, 0},
    ),
    "negative index": (
        "(int64[N] x) => (float[N,2] y)",
        f"<{W}, int64 three = {{3}}, int64 z = {{0}}>"
        "{ l = Less(x, z)  a = Add(x, three)  i = Where(l, a, x)  y = Gather(w, i) }",
        "x",
        "integers -3..2 of the table that it indexes, on both sides of 0",
        {-3, -1, 0, 2},
    ),
    "clamped index": (
        "(int64[N] x) => (float[N,2] y)",
        f"<{W}, int64 l = {{-1}}, int64 h = {{1}}>"
        "{ c = Clip(x, l, h)  a = Add(c, h)  y = Gather(w, a) }",
        "x",
        "integers -3..3, on both sides of -1 and 1",
        {-2, -1, 1, 2},
    ),
    "axis of some size": (
        "(float[N,T] d, int64[N,1] x) => (float[N,1] y)",
        "{ y = GatherElements<axis = 1>(d, x) }",
        "x",
        "integers 0..7 of the axis that it indexes",
        {0, 7},
    ),
    "classes": (
        "(int64[N] x) => (float[N,5] y)",
        "<int64 d = {5}, float[2] v = {0., 1.}>{ y = OneHot(x, d, v) }",
        "x",
        "integers 0..4 of the classes that it numbers",
        {0, 4},
    ),
    "length": (
        "(float[N,T] d, int64[N] x) => (bool[N,T] y)",
        "<int64 z = {0}, int64 o = {1}, int64[1] ax = {1}>{ s = Shape(d)  n = Gather(s, o)"
        "  r = Range(z, n, o)  u = Unsqueeze(x, ax)  y = Less(r, u) }",
        "x",
        "integers 1..8, since they are compared with 4 positions",
        {1, 8},
    ),
    "shifted logarithm": (
        "(float[N] x) => (float[N] y)",
        "<float e = {-100.}>{ a = Add(x, e)  y = Log(a) }",
        "x",
        "floats above 100, since Log needs them",
        set(),
    ),
    "divisor": (
        "(int64[N] x, int64[N] d) => (int64[N] y)",
        "{ y = Div(d, x) }",
        "x",
        "integers 1..16, since others are divided by them",
        {1, 16},
    ),
    "arc": (
        "(float[N] x) => (float[N] y)",
        "{ y = Acos(x) }",
        "x",
        "floats -1..1, since Acos takes no others",
        set(),
    ),
    "pixels": (
        "(float[N,3] x) => (float[N,3] y)",
        "<float k = {0.00392156862745098}>{ y = Mul(x, k) }",
        "x",
        "floats 0..255, as their division by 255 suggests",
        set(),
    ),
    "square": (
        "(float[N,3] x) => (float[N,3] y)",
        "<float k = {65025.}>{ s = Mul(x, x)  y = Div(s, k) }",
        "x",
        "floats 0..255, as their division by 255 suggests",
        set(),
    ),
    "mean and deviation": (
        "(float[N,3] x) => (float[N,3] y)",
        "<float[3] m = {0.485, 0.456, 0.406}, float[3] d = {0.229, 0.224, 0.225}>"
        "{ s = Sub(x, m)  y = Div(s, d) }",
        "x",
        "floats 0..1, as their normalization by 0.449 and 0.226 suggests",
        set(),
    ),
    "saturation": (
        "(float[N] x) => (uint8[N] y)",
        "<float s = {0.1}, uint8 z = {128}>{ y = QuantizeLinear(x, s, z) }",
        "x",
        "floats -25.55..25.45, on both sides of -12.8 and 12.7",
        set(),
    ),
    "time step": (
        "(int64[N] x) => (float[N,2] y)",
        "<float[2] f = {1., 0.1}, int64[1] ax = {1}>"
        "{ u = Unsqueeze(x, ax)  a = Cast<to = 1>(u)  m = Mul(a, f)  y = Sin(m) }",
        "x",
        "integers -1000..1000, half of them 0 or 1",
        {0, 1},
    ),
    "quantized": (
        "(int8[N] x) => (float[N] y)",
        "<float s = {0.1}>{ y = DequantizeLinear(x, s) }",
        "x",
        "integers -128..127, half of them 0 or 1",
        {0, 1},
    ),
    "exponent": (
        "(int64[N] x) => (float[N] y)",
        "{ a = Cast<to = 1>(x)  y = Exp(a) }",
        "x",
        "integers -10..10, half of them 0 or 1",
        {0, 1},
    ),
    "additive mask": (
        "(float[N,T] x, float[N,4] q, float[4,T] k) => (float[N,T] y)",
        "{ s = MatMul(q, k)  a = Add(s, x)  y = Softmax(a) }",
        "x",
        "normal floats, a quarter of them -10000, as they are added before a Softmax",
        {-10000},
    ),
}


def model_of(ports: str, body: str) -> Model:
    return onnx_text(f"g {ports} {body}")


def drawn(model: Model) -> list[dict[str, np.ndarray[Any, Any]]]:
    specs = inputs_of(model)
    return [generate(specs, point, seed, model=model) for seed, point in enumerate(POINTS)]


@pytest.mark.parametrize(("ports", "body", "name", "text", "among"), GRAPHS.values(), ids=GRAPHS)
def test_inputs_are_what_the_graph_says(
    ports: str, body: str, name: str, text: str, among: set[float]
) -> None:
    model = model_of(ports, body)
    assert told(inputs_of(model), model=model, points=POINTS)[name] == text
    arrays = [each[name] for each in drawn(model)]
    assert among <= set(arrays[-1].ravel().tolist())
    span = text.split()[1].rstrip(",")
    if ".." in span:
        low, high = map(float, span.split(".."))
        assert all(low <= array.min() <= array.max() <= high for array in arrays)
        assert float(arrays[-1].max()) - float(arrays[-1].min()) > 0.6 * (high - low)


def test_limits_of_a_size_follow_the_size() -> None:
    ports, body = GRAPHS["length"][:2]
    for point, arrays in zip(POINTS, drawn(model_of(ports, body)), strict=True):
        assert 1 <= arrays["x"].min() <= arrays["x"].max() <= point["T"]


def test_a_number_alone_is_on_each_side_at_some_point() -> None:
    model = model_of(
        "(float x, bool c) => (bool y, bool z)",
        "<float k = {3.}>{ y = Greater(x, k)  z = Not(c) }",
    )
    arrays = drawn(model)
    assert {bool(each["x"] > 3) for each in arrays} == {True, False}
    assert {bool(each["c"]) for each in arrays} == {True, False}


@pytest.mark.parametrize(
    ("dtype", "body", "kept"),
    [
        ("bool", "{ a = Where(x, d, h)  y = Softmax(a) }", 1),
        ("bool", "{ a = Where(x, h, d)  y = Softmax(a) }", 0),
        ("bool", "{ n = Not(x)  a = Where(n, h, d)  y = Softmax(a) }", 1),
        ("int64", "{ n = Equal(x, z)  a = Where(n, h, d)  y = Softmax(a) }", 1),
        ("int64", "{ n = Cast<to = 9>(x)  a = Where(n, h, d)  y = Softmax(a) }", 0),
        (
            "int64",
            "{ f = Cast<to = 1>(x)  s = Sub(o, f)  m = Mul(s, h)  a = Add(d, m)  y = Softmax(a) }",
            1,
        ),
        ("float", "{ s = Sub(o, x)  m = Mul(s, h)  a = Add(d, m)  y = Softmax(a) }", 1),
        ("float", "{ m = Mul(x, h)  a = Add(d, m)  y = Softmax(a) }", 0),
    ],
)
def test_a_mask_keeps_something_in_every_row(dtype: str, body: str, kept: int) -> None:
    constants = "<float h = {-1e9}, float o = {1.}, int64 z = {0}>"
    model = model_of(f"({dtype}[N,T] x, float[N,T] d) => (float[N,T] y)", constants + body)
    for arrays in drawn(model):
        rows = arrays["x"] == kept
        assert set(np.unique(arrays["x"])) == {0, 1}
        assert rows.any(1).all()
    # Scattered, and padded at the end.
    gaps = (np.diff(rows.astype(int)) > 0).any(1)
    assert rows[:, 0].all()
    assert gaps.any()
    assert (~gaps & ~rows[:, -1]).any()


def test_places_to_write_to_are_not_the_same_twice() -> None:
    model = model_of(
        "(float[N,8] d, int64[N,3] x, float[N,3] u) => (float[N,8] y)",
        "{ y = ScatterElements<axis = 1>(d, x, u) }",
    )
    for arrays in drawn(model):
        assert all(len(set(row)) == 3 for row in arrays["x"].tolist())


# What is found with them

FAULTS = {
    "clamp left out": (
        "(int64[N] t) => (float[N] y)",
        "<int64 k = {999}>{ c = Min(t, k)  y = Cast<to = 1>(c) }",
        "<int64 k = {999}>{ y = Cast<to = 1>(t) }",
    ),
    "truncated division": (
        "(int64[N,T] t) => (int64[N,T] y)",
        "<int64 k = {8}>{ m = Mod(t, k)  s = Sub(t, m)  y = Div(s, k) }",
        "<int64 k = {8}>{ y = Div(t, k) }",
    ),
    "clamp at another number": (
        "(float[N,T] x) => (float[N,T] y)",
        "<float a = {0.}, float b = {6.}>{ y = Clip(x, a, b) }",
        "<float a = {0.}, float b = {7.}>{ y = Clip(x, a, b) }",
    ),
    "at least for more than": (
        "(int64[N] x) => (bool[N] y)",
        "<int64 k = {100}>{ y = Greater(x, k) }",
        "<int64 k = {100}>{ y = GreaterOrEqual(x, k) }",
    ),
    "another special id": (
        "(int64[N,T] x) => (float[N,T,2] v, bool[N,T] y)",
        f"<{W}, int64 p = {{2}}>{{ v = Gather(w, x)  y = Equal(x, p) }}",
        f"<{W}, int64 p = {{1}}>{{ v = Gather(w, x)  y = Equal(x, p) }}",
    ),
    "saturation at another end": (
        "(float[N,T] x) => (float[N,T] y)",
        "<float s = {0.5}, int8 z = {0}>{ q = QuantizeLinear(x, s, z)"
        "  y = DequantizeLinear(q, s, z) }",
        "<float s = {0.5}, float l = {-63.5}, float h = {63.5}>"
        "{ d = Div(x, s)  r = Round(d)  m = Mul(r, s)  y = Clip(m, l, h) }",
    ),
    "size left out before a root": (
        "(float[N,T] x) => (float[N,T] y)",
        "{ a = Abs(x)  y = Sqrt(a) }",
        "{ y = Sqrt(x) }",
    ),
}


@pytest.mark.parametrize(("ports", "right", "wrong"), FAULTS.values(), ids=FAULTS)
def test_a_fault_at_other_numbers_is_found(ports: str, right: str, wrong: str) -> None:
    good, bad = model_of(ports, right), model_of(ports, wrong)
    for one, other in ((good, bad), (bad, good)):
        assert verify(one, fixed=other, bindings=POINTS[:2]).verdict == "different"
    assert all(
        entry.equal
        for point in verify(good, fixed=good, bindings=POINTS[:2]).points
        for entry in point.outputs
    )


def test_beyond_what_an_operator_takes_nan_in_both_is_no_reason() -> None:
    model = model_of("(float[N,T] x) => (float[N,T] y)", "{ y = Log(x) }")
    result = verify(model, fixed=model, bindings=POINTS[:2])
    assert [point.beyond for point in result.points] == [False, False, False, True]
    assert not any("nan" in reason for reason in result.reasons)
    assert not result.unsuited
    assert result.inputs == {"x": "positive floats, since Log needs them"}


def test_the_output_says_what_each_input_was(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(ir.to_proto(model_of(*GRAPHS["pixels"][:2]).ir), path)
    words = ["verify", str(path), "--fixed", str(path), "--dim", "N=2", "-q"]
    said = GRAPHS["pixels"][3]
    assert f"input x: {said}" in CliRunner().invoke(app, words).stdout
    shown = json.loads(CliRunner().invoke(app, [*words, "--format", "json"]).stdout)
    assert shown["inputs"] == {"x": said}


def test_other_commands_take_the_same() -> None:
    ports, right, wrong = FAULTS["clamp left out"]
    spec = Spec.parse((), ["N=4"])
    found = tripoint.locate(model_of(ports, right), fixed=model_of(ports, wrong), spec=spec)
    assert (found.verdict, found.culprit and found.culprit.op) == ("different", "Cast")
