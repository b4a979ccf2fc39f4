"""What no point exercises is listed: branches, rows of tables, limits of clamps, sides of masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from tripoint.cli import app
from tripoint.model import Model
from tripoint.parity.exercised import exercised
from tripoint.parity.results import Exercised
from tripoint.parity.verify import verify
from tripoint.report.verification import verification

FLOATS = "float[N,4] x) => (float[N,4] y)"
HALVES = "float16[N,4] x) => (float16[N,4] y)"


def model_of(body: str, ports: str = FLOATS, opset: int = 17) -> Model:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]>g ({ports} {body}'
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


def seen(model: Model, *values: float, name: str = "x", dtype: type = np.float32) -> Exercised:
    points = [{name: np.full((2, 4), value, dtype)} for value in values]
    found = exercised(model, points)
    assert found is not None
    return found


def missing(found: Exercised) -> set[str]:
    return {each.what for each in found.missing}


CLIP = "<float l = {0.}, float h = {6.}>{ y = Clip(x, l, h) }"


@pytest.mark.parametrize(
    ("body", "values", "left"),
    [
        (CLIP, (1.0, 2.0), {"below 0", "above 6"}),
        (CLIP, (1.0, -2.0), {"above 6"}),
        (CLIP, (7.0, -2.0), {"between its limits"}),
        (CLIP, (7.0, -2.0, 3.0), set()),
        ("<float h = {6.}>{ y = Clip(x, , h) }", (1.0,), {"above 6"}),
        ("<float h = {6.}>{ y = Min(h, x) }", (1.0,), {"above 6"}),
        ("<float l = {-2.}>{ y = Max(x, l) }", (1.0,), {"below -2"}),
        ("{ y = Relu(x) }", (1.0,), {"below 0"}),
        ("{ y = HardSwish(x) }", (1.0, -4.0), {"above 3"}),
        ("{ y = HardSigmoid<alpha = 0.5, beta = 0.5>(x) }", (2.0, 0.0), {"below -1"}),
        (
            "<float k = {0.}>{ b = Greater(x, k)  n = Neg(x)  y = Where(b, x, n) }",
            (1.0,),
            {"false"},
        ),
    ],
)
def test_a_limit_or_a_side_that_no_point_reaches(
    body: str, values: tuple[float, ...], left: set[str]
) -> None:
    assert missing(seen(model_of(body), *values)) == left


def test_attributes_and_half_precision_and_integers() -> None:
    old = model_of("{ y = Clip<min = 0., max = 6.>(x) }", opset=10)
    assert missing(seen(old, 1.0, -1.0)) == {"above 6"}
    half = model_of("{ y = Relu(x) }", HALVES)
    assert missing(seen(half, 1.0, dtype=np.float16)) == {"below 0"}
    ports = "int64[N,4] x) => (int64[N,4] y)"
    whole = model_of("<int64 l = {0}, int64 h = {9}>{ y = Clip(x, l, h) }", ports)
    assert missing(seen(whole, 1.0, 11.0, dtype=np.int64)) == {"below 0"}


BRANCHES = """<float k = {0.}>{
  s = ReduceSum<keepdims = 0>(x)  c = Greater(s, k)
  y = If (c) <then_branch = t () => (float[N,4] a) { a = Neg(x) },
              else_branch = e () => (float[N,4] b) { b = Abs(x) }>
}"""


@pytest.mark.parametrize(
    ("values", "left"), [((1.0,), {"else"}), ((-1.0, -2.0), {"then"}), ((1.0, -1.0), set())]
)
def test_a_branch_that_is_not_taken(values: tuple[float, ...], left: set[str]) -> None:
    assert missing(seen(model_of(BRANCHES), *values)) == left


@pytest.mark.parametrize("number", ["0.0", "1.0"])
def test_a_loop_that_is_never_entered(number: str) -> None:
    body = """<float k = {NUMBER}, bool go = {1}>{
      m = ReduceMax<keepdims = 0>(x)  s = Mul(m, k)  n = Cast<to = 7>(s)
      y = Loop (n, go, x) <body = b (int64 i, bool c, float[N,4] a) => (bool d, float[N,4] e)
        { d = Identity(c)  e = Neg(a) }>
    }""".replace("NUMBER", number)
    left = missing(seen(model_of(body), 3.0))
    assert left == ({"body"} if number == "0.0" else set())


def test_rows_of_a_table_are_counted_over_all_points() -> None:
    ports = "int64[N,4] x) => (float[N,4,2] y)"
    table = ", ".join(["1."] * 20)
    model = model_of(f"<float[10,2] t = {{{table}}}>{{ y = Gather(t, x) }}", ports)
    found = seen(model, *range(5), -1, dtype=np.int64)
    (rows,) = found.missing
    assert (rows.part, rows.node, rows.what, rows.read) == ("rows", "t", "4 of 10", 0.6)
    assert found.points == {"rows": 6}
    assert not seen(model, *range(10), dtype=np.int64).missing


def test_what_cannot_be_left_is_not_watched() -> None:
    body = "<float[2] t = {1., 2.}, int64 i = {1}>{ g = Gather(t, i)  y = Mul(x, g) }"
    assert exercised(model_of(body), [{"x": np.ones((2, 4), np.float32)}]) is None


def test_verify_lists_it_with_counts_and_a_few_names(tmp_path: Path) -> None:
    clips = "  ".join(f"c{i} = Clip(q, , h)  y{i} = Neg(c{i})" for i in range(5))
    # Made-up inputs follow no Max of one operand.
    body = f"<float h = {{90.}}>{{ q = Max(x)  {clips}  y = Sum(y0, y1, y2, y3, y4) }}"
    model = model_of(body)
    result = verify(model, fixed=model, bindings=[{"N": 2}, {"N": 3}])
    lines = verification(result)
    start = lines.index("not exercised, so that a fault there is not seen:")
    said = " ".join(line.strip() for line in lines[start + 1 : start + 3])
    assert "limits of clamps not reached (5 of 5 clamps): above 90 of c0" in said
    assert "and 2 more" in said
    path = tmp_path / "clips.onnx"
    onnx.save(ir.to_proto(model.ir), path)
    command = ["verify", str(path), "--fixed", str(path), "--dim", "N=1..4", "--format", "json"]
    found = json.loads(CliRunner().invoke(app, [*command, "-q"]).stdout)["exercised"]
    assert (found["points"], found["watched"]) == ({"limits": 4}, {"limits": 5})
    assert len(found["missing"]) == 5
    assert found["missing"][0] == {
        "part": "limits",
        "node": "c0",
        "op": "Clip",
        "what": "above 90",
        "read": None,
    }


def test_a_graph_that_adds_up_is_run_at_two_points_and_its_tables_at_all() -> None:
    ports = "int64[N,4] x) => (float[N,4,2] y)"
    table = ", ".join(["1."] * 20)
    body = f"""<float[10,2] t = {{{table}}}, float[2,2] w = {{1., 0., 0., 1.}}>{{
      g = Gather(t, x)  m = MatMul(g, w)  n = Neg(m)  y = Relu(n) }}"""
    model = model_of(body, ports)
    found = seen(model, 0, 1, 2, 3, 4, dtype=np.int64)
    assert found.points == {"rows": 5, "limits": 2}
    assert missing(found) == {"5 of 10", "between its limits"}
    result = verify(model, fixed=model, bindings=[{"N": 1}, {"N": 2}, {"N": 3}])
    assert any("clamps, at 2 of 3 points): between" in line for line in verification(result))
