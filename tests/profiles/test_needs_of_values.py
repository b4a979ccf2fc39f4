"""What a profile says of needs that tensor values decide, and of those inside of loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import build, feed
from tests.profiles.test_equations import session_of
from tripoint.cli import app
from tripoint.model import Model
from tripoint.shape_inference import constraints
from tripoint.shape_inference.constraints.evaluate import holds

LENGTHS = (
    "float[B,L,4] feats, int64[B] lens | int64 zero = {0}, int64 one = {1}, int64[1] ax0 = {0},"
    " int64[1] ax1 = {1}, int64[1] axl = {-1}, float fz = {0.0}",
    "mx = ReduceMax <keepdims = 0> (lens); r = Range (zero, mx, one); ru = Unsqueeze (r, ax0);"
    " sb = Shape (lens); m1 = Unsqueeze (mx, ax0); es = Concat <axis = 0> (sb, m1);"
    " re = Expand (ru, es); lu = Unsqueeze (lens, ax1); mask = Less (re, lu);"
    " cut = Slice (feats, ax0, m1, ax1); m3 = Unsqueeze (mask, axl); y = Where (m3, cut, fz)",
)
TABLE = (
    "int64[B] lens, float[16,4] w_table | int64 zero = {0}, int64 one = {1}",
    "mx = ReduceMax <keepdims = 0> (lens); r = Range (zero, mx, one); y = Gather (w_table, r)",
)
PACKED = (
    "float[N,4] x, int64[B] lens | int64[1] zero = {0}, int64 one = {1}, int64[1] u = {0},"
    " int64[1] four = {4}",
    "n = ReduceSum <keepdims = 1> (lens); t = Concat <axis = 0> (n, four);"
    " z = ConstantOfShape (t); y = Add (x, z)",
)
CAST = (
    "float[B,L] x, int32[B] lens | int64 zero = {0}, int64 one = {1}",
    "mx = ReduceMax <keepdims = 0> (lens); m = Cast <to = 7> (mx); r = Range (zero, m, one);"
    " f = Cast <to = 1> (r); y = Add (x, f)",
)
NONZERO = ("float[N,4] x, float[N,4] v", "i = NonZero (x); j = NonZero (v); y = Add (i, j)")

LOOP = """<ir_version: 7, opset_import: ["" : 11]>
g (float[N,T,3] image, {more}) => (float[a,b] out)
<int32 zero = {{0}}, int32 one = {{1}}, bool yes = {{1}}, int64 i0 = {{0}}{constants}>
{{
  {front}
  xT = Transpose <perm = [1,0,2]> (image)
  sh = Shape (xT)
  steps = Gather (sh, i0)
  h0 = Gather <axis = 0> (xT, i0)
  out = Loop (steps, yes, h0) <body = body (int64 it, bool cin, float[n,m] hin)
    => (bool cout, float[n2,m2] hout) {{
      xt = Gather <axis = 0> (xT, it)
      mt = Gather <axis = 0> (rows, it)
      s = Add (xt, hin)
      hout = Add (s, mt)
      cout = {cond}
    }}>
}}"""


def loop(more: str, front: str, constants: str = "", cond: str = "Identity (cin)") -> Model:
    text = LOOP.format(more=more, front=front, constants=constants, cond=cond)
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


BY_WIDTH = loop(
    "int32[N] width",
    "mx = ReduceMax <keepdims = 0> (width) rng = Range (zero, mx, one)"
    " rf = Cast <to = 1> (rng) rows = Unsqueeze <axes = [1, 2]> (rf)",
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (build(*LENGTHS, opset=14), ["max(lens) <= L"]),
        (build(*TABLE, opset=14), ["max(lens) <= 16"]),
        (build(*PACKED, opset=14), ["N == sum(lens)"]),
        (build(*CAST, opset=14), ["L == max(lens)"]),
        (build(*NONZERO, opset=14, outputs="int64[A,B] y"), ["axis 1 of `i` == axis 1 of `j`"]),
        (BY_WIDTH, ["T <= max(width)"]),
    ],
)
def test_needs_that_values_decide_are_told_in_words(model: Model, expected: list[str]) -> None:
    found = tripoint.profile(model)
    assert [each.text for each in found.needed.equations] == expected
    assert {f.status for f in found.examined[0].findings} == {"undecided"}
    assert not any("_d" in each.reason or "?" in each.reason for each in found.needed.equations)


def test_the_same_number_is_one_size() -> None:
    """Range, Expand and Slice by one number agree; only the data they are cut from is shorter."""
    model = build(*LENGTHS, opset=14)
    session = session_of(model)
    for longest, fits in ((3, True), (5, True), (6, False)):
        given = dict(feed(model, B=2, L=5)) | {"lens": np.array([2, longest], np.int64)}
        if fits:
            assert session.run(None, given)[0].shape == (2, longest, 4)
        else:
            with pytest.raises(Exception, match="Where"):
                session.run(None, given)


def test_a_loop_that_reads_past_the_mask_fails_as_the_equation_says() -> None:
    session = session_of(BY_WIDTH)
    for longest, runs in ((5, True), (6, True), (4, False)):
        given = dict(feed(BY_WIDTH, N=2, T=5)) | {"width": np.array([2, longest], np.int32)}
        if runs:
            session.run(None, given)
        else:
            with pytest.raises(Exception, match="Gather"):
                session.run(None, given)


IN_LOOP = loop("float[K,1,3] table", "rows = Identity (table)")
IN_LOOP_THAT_MAY_END = loop(
    "float[K,1,3] table",
    "rows = Identity (table)",
    cond="Not (cin)",
)


def test_what_a_loop_needs_that_runs_for_certain_is_decided() -> None:
    (need,) = constraints.collect(IN_LOOP.ir)
    assert (need.text, need.decided) == ("T <= K", True)
    session = session_of(IN_LOOP)
    for steps, rows in ((3, 3), (3, 4), (4, 3)):
        try:
            session.run(None, dict(feed(IN_LOOP, N=2, T=steps, K=rows)))
            runs = True
        except Exception:  # noqa: BLE001 - whatever it raises
            runs = False
        assert runs == bool(holds(need, {"T": steps, "K": rows}))
    ranges = tripoint.profile(IN_LOOP).proposals[0].ranges
    assert ranges["T"].max <= ranges["K"].max


def test_what_a_loop_needs_that_may_end_is_not_decided(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(IN_LOOP_THAT_MAY_END.ir, path)
    result = CliRunner().invoke(app, ["profile", str(path), "--dim", "N=1", "--dim", "T=4"])
    assert result.exit_code == 0
    assert "T <= K: it is located in a branch or loop that may not run" in result.stdout


def test_json_says_it_in_words_as_well(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(build(*LENGTHS, opset=14).ir, path)
    result = CliRunner().invoke(app, ["profile", str(path), "--format", "json"])
    (found,) = json.loads(result.stdout)["equations"]
    assert (found["left"], found["text"]) == ("max(lens)", "max(lens) <= L")
    assert found["status"] == "undecided"


def test_a_long_equation_goes_on_in_the_next_line(tmp_path: Path) -> None:
    question, context = "tokens_of_the_question", "tokens_of_the_context"
    mask = "tokens_that_the_mask_of_both_covers"
    path = tmp_path / "model.onnx"
    model = build(
        f"float[1,{question},4] q, float[1,{context},4] c, float[1,{mask},4] m",
        "both = Concat <axis = 1> (q, c); two = Concat <axis = 1> (both, both); y = Mul (two, m)",
    )
    ir.save(model.ir, path)
    dims = [f"{question}=2", f"{context}=3", f"{mask}=10"]
    arguments = [word for dim in dims for word in ("--dim", dim)]
    result = CliRunner().invoke(app, ["profile", str(path), *arguments])
    table = result.stdout.split("what the graph needs:\n")[1].split("\n\n")[0].splitlines()
    assert len(table) > 1
    assert max(map(len, table)) < 120
