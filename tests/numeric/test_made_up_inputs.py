"""Inputs that nobody gave: those on which a graph runs and gives numbers are looked for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import onnx_text
from tripoint.cli import app
from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.numeric import npz, ort, trials
from tripoint.numeric.inputs import inputs_of
from tripoint.numeric.trials import UNSUITED
from tripoint.parity.verify import verify
from tripoint.report import fixes
from tripoint.report import locate as locate_text
from tripoint.rewrites import numbers
from tripoint.rewrites.points import Points
from tripoint.shape_inference import truth
from tripoint.spec import Spec

SIZES = [{"N": 2, "T": 8}, {"N": 1, "T": 3}, {"N": 3, "T": 5}]
LOOP = (
    "g (float[N,T,3] x, int32[N] width) => (float[a,b] y)"
    "<int32 zero = {0}, int32 one = {1}, bool yes = {1}, int64 first = {0}, float o = {1.}>"
    "{ m = ReduceMax<keepdims = 0>(width)  r = Range(zero, m, one)"
    "  w = Unsqueeze<axes = [1]>(width)"
    "  k = Less(r, w)  kt = Transpose(k)  xt = Transpose<perm = [1,0,2]>(x)  s = Shape(xt)"
    "  n = Gather(s, first)  h = Gather(xt, first)"
    "  v = Loop(n, yes, h) <body = b (int64 i, bool c, float[p,q] o) => (bool d, float[u,v] z)"
    "  { xi = Gather(xt, i)  ki = Gather(kt, i)  a = Add(xi, o)  t = Tanh(a)"
    "    ku = Unsqueeze<axes = [1]>(ki)  z = Where(ku, t, o)  d = Identity(c) }>"
    "  g = Mul(v, o)  y = Neg(g) }"
)
LENGTHS = (
    "g (float[N,T,4] x, int64[N] lens) => (float[a,b] y)"
    "<int64 zero = {0}, int64 one = {1}, int64[1] ax = {1}, int64[1] last = {2}, float o = {1.}>"
    "{ s = Shape(x)  n = Gather(s, one)  r = Range(zero, n, one)  q = Max(lens)"
    "  l = Unsqueeze(q, ax)"
    "  m = Less(r, l)  f = Cast<to = 1>(m)  u = Unsqueeze(f, last)  p = Mul(x, u)"
    "  a = ReduceSum<keepdims = 0>(p, ax)  c = ReduceSum<keepdims = 1>(f, ax)  v = Div(a, c)"
    "  g = Mul(v, o)  y = Neg(g) }"
)
PADDED = (
    "g (float[N,T,4] x, float[N,T] weight, int64[N] end) => (float[a,b] y)"
    "<int64[1] zero = {0}, int64[1] ax = {1}, float o = {1.}>"
    "{ m = ReduceMax<keepdims = 0>(end)  e = Unsqueeze(m, zero)  c = Slice(x, zero, e, ax)"
    "  w = Unsqueeze(weight, ax)  p = MatMul(w, c)  v = Squeeze(p, ax)"
    "  g = Mul(v, o)  y = Neg(g) }"
)
# Of one operand, Max and Sum are not followed.
POSITIVE = (
    "g (float[N,T] x) => (float[N,T] y) <float o = {1.}>"
    "{ q = Sum(x)  v = Sqrt(q)  g = Mul(v, o)  y = Neg(g) }"
)
SOURCES = {"loop": LOOP, "lengths": LENGTHS, "padded": PADDED, "positive": POSITIVE}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def model_of(source: str) -> Model:
    opset = 11 if "Loop(" in source else 17
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    return Model(ir.from_proto(onnx.parser.parse_model(header + source)))


def runs(source: str, point: Mapping[str, int]) -> trials.Trial:
    model = model_of(source)
    specs = inputs_of(model)
    return trials.first(ort.Session(model).run, trials.feeds(model, specs, point, 0))


@pytest.mark.parametrize(
    ("source", "drawn"),
    [(LOOP, {"width": (8, 8)}), (PADDED, {"end": (8, 8)}), (LENGTHS, {"lens": (8, 8)})],
)
def test_values_with_which_the_graph_runs_are_found(source: str, drawn: dict[str, Any]) -> None:
    found = runs(source, SIZES[0])
    assert (found.values, found.holes) == (drawn, 0.0)


@pytest.mark.parametrize("source", [LENGTHS, POSITIVE])
def test_values_without_nan_are_found_and_those_with_it_are_kept(source: str) -> None:
    found = runs(source, SIZES[0])
    assert found.holes == 0.0
    assert found.before is not None
    assert (found.before.values, found.before.holes > 0) == ({}, True)


def test_what_suits_already_stays() -> None:
    found = runs("g (float[N,T] x, int64[N] n) => (float[N,T] y) { y = Relu(x) }", SIZES[0])
    assert (found.values, found.before) == ({}, None)


def test_the_first_reason_is_told() -> None:
    never = "g (float[T] x, int64[N] i) => (float[N] y) <int64 far = {1000}>"
    with pytest.raises(ExternalStepError, match=r"Gather node.*out of data bounds"):
        runs(never + "{ k = Max(i)  j = Add(k, far)  y = Gather(x, j) }", SIZES[0])


# verify


@each_source
def test_legs_are_compared_with_values_that_suit(source: str) -> None:
    model = model_of(source)
    result = verify(model, fixed=model, bindings=SIZES)
    assert (result.verdict, result.unsuited) == ("unproven", False)
    assert [len(point.outputs) for point in result.points] == [1, 1, 1]
    assert all(entry.equal for point in result.points for entry in point.outputs)
    (note,) = (each for each in result.notes if "made-up" in each)
    assert "do not suit the model; used: --values" in note
    # What the note says makes the same inputs.
    point = next(each for each in result.points if each.values)
    again = verify(model, fixed=model, bindings=[point.sizes], values=point.values)
    assert not again.unsuited


@pytest.mark.parametrize("outputs", ["Sqrt", "Log"])
def test_nan_of_all_legs_is_no_difference_of_the_legs(outputs: str) -> None:
    model = onnx_text(
        f"g (float[N] x) => (float[N] y) {{ e = Exp(x)  m = Neg(e)  y = {outputs}(m) }}"
    )
    result = verify(model, fixed=model, bindings=[{"N": 4}])
    assert (result.verdict, result.unsuited) == ("unproven", True)
    assert "has nan at the same places at 3 of 3 points" in result.reasons[0]
    assert UNSUITED in result.notes
    given = verify(model, fixed=model, inputs=[{"x": np.zeros(4, np.float32)}])
    assert (given.verdict, given.unsuited) == ("unproven", False)
    single = verify(model, bindings=[{"N": 4}])
    assert (single.verdict, single.unsuited) == ("unproven", True)


def test_nan_of_one_leg_is_still_a_difference() -> None:
    first = onnx_text("g (float[N] x) => (float[N] y) { a = Abs(x)  y = Sqrt(a) }")
    second = onnx_text("g (float[N] x) => (float[N] y) { y = Sqrt(x) }")
    for one, other in ((first, second), (second, first)):
        assert verify(one, fixed=other, bindings=[{"N": 20}]).verdict == "different"


def test_a_difference_beside_nan_is_found() -> None:
    first, second = (
        onnx_text(
            "g (float[N] x) => (float[N] y)"
            "{ r = Relu(x)  p = Cast<to = 9>(r)  e = Exp(x)  m = Neg(e)  a = Log(m)"
            f"  z = {operator}(x)  y = Where(p, a, z) }}"
        )
        for operator in ("Neg", "Abs")
    )
    third = onnx_text(
        "g (float[N] x) => (float[N] y) { r = Relu(x)  p = Cast<to = 9>(r)  e = Exp(x)"
        "  m = Neg(e)  a = Log(m)  y = Where(p, a, x) }"
    )
    for fixed, verdict in ((first, "unproven"), (second, "unproven"), (third, "different")):
        assert verify(first, fixed=fixed, bindings=[{"N": 20}]).verdict == verdict


def test_each_cause_is_told_once_and_the_next_command_runs(tmp_path: Path) -> None:
    never = (
        "g (float[T] x, int64[N] i, float[N] s) => (float[N] y) <int64 far = {7}>"
        "{ m = Max(i)  j = Mul(m, far)  k = Add(j, far)  g = Gather(x, k)  y = Add(g, s) }"
    )
    path = tmp_path / "m.onnx"
    onnx.save(ir.to_proto(model_of(never).ir), path)
    words = ["verify", str(path), "--fixed", str(path), "-q"]
    result = CliRunner().invoke(app, [*words, "--dim", "N=1..2..4", "--dim", "T=1..3..6"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("out of data bounds") <= 6
    assert UNSUITED in result.stdout
    (line,) = (each for each in result.stdout.splitlines() if each.startswith("next: "))
    command = shlex.split(line.removeprefix("next: tripoint "))
    assert command[:2] == ["verify", str(path)]
    x, i = np.zeros(30, np.float32), np.array([1, 2], np.int64)
    npz.save(tmp_path / "inputs.npz", {"x": x, "i": i, "s": x[:2]})
    command[command.index("inputs.npz")] = str(tmp_path / "inputs.npz")
    done = CliRunner().invoke(app, command)
    assert "all equal" in done.stdout


# fix


@each_source
def test_the_proof_says_which_values_it_took(source: str) -> None:
    result = tripoint.fix(model_of(source), target="8.6")
    assert result.proof is not None
    assert (result.proof.holds, len(result.applied) > 0) == (True, True)
    assert "since the usual ones do not suit it" in result.proof.numeric.reason


def test_nothing_but_nan_proves_nothing() -> None:
    model = onnx_text(
        "g (float[N] x) => (float[N] y) <float one = {1.}>"
        "{ a = Mul(x, one)  e = Exp(a)  m = Neg(e)  y = Sqrt(m) }"
    )
    result = tripoint.fix(model, target="8.6")
    assert result.proof is not None
    assert result.proof.numeric.status == "undecided"
    assert "NaN" in result.proof.reason
    assert (result.undecided, [each.rewrite for each in result.applied]) == (
        True,
        ["neutral-operand"],
    )
    assert "undecided: the original runs at none" in "\n".join(fixes.fix(result))


def test_nan_where_the_original_has_none_fails() -> None:
    first, second = (
        onnx_text(f"g (float[N] x) => (float[N] y) {{ a = {op}(x)  y = Sqrt(a) }}")
        for op in ("Identity", "Abs")
    )
    for model in (first, second):
        truth.annotate(model.ir)
    points = Points(({"N": 7},) * 3)
    for one, other in ((first, second), (second, first)):
        for is_part in (True, False):
            found = numbers.compare(one, other, points, lambda _: 0, is_part=is_part)
            assert found.status == "fails"


# Sums that are added in another order, behind what enlarges or rounds


def summed(behind: str, *, reversed_order: bool, wrong: float = 0.0) -> Model:
    """A sum of 3000 numbers, from the left or from the right."""
    order = "i" if reversed_order else "j"
    source = (
        "g (float[N,3000] x) => ({out} y)"
        "<int64[1] ax = {1}, int64[1] step = {-1}, int64[1] top = {1073741824},"
        " int64[1] low = {-1073741824}, int64[1] nil = {0}, int64[1] inc = {1},"
        f" float off = {{{wrong}}}, float big = {{100.}}, "
        f" float cents = {{100000.}}, float tens = {{100.}}>"
        "{ i = Slice(x, top, low, ax, step)  j = Slice(x, nil, top, ax, inc)"
        f"  s = ReduceSum<keepdims = 0>({order}, ax)  t = Add(s, off)  {behind} }}"
    )
    integer = "Cast" in behind or "ArgMax" in behind
    return onnx_text(source.replace("{out}", "int64[N]" if integer else "float[N]"))


BEHIND = {
    "enlarged": "a = Mul(t, big)  y = Sin(a)",
    "chaotic": "a = Mul(t, cents)  y = Sin(a)",
    "rounded": "a = Mul(t, tens)  b = Round(a)  y = Div(b, tens)",
    "integer": "a = Mul(t, cents)  y = Cast<to = 7>(a)",
}


def outcome(behind: str, wrong: float = 0.0, rows: int = 512) -> Any:
    one = summed(BEHIND[behind], reversed_order=False)
    other = summed(BEHIND[behind], reversed_order=True, wrong=wrong)
    for model in (one, other):
        truth.annotate(model.ir)
    terms = numbers.terms_of(one.ir, other.ir)
    return numbers.compare(one, other, Points(({"N": rows},) * 3), terms, is_part=False)


@pytest.mark.parametrize("behind", ["enlarged", "rounded"])
def test_another_order_of_a_sum_is_no_difference(behind: str) -> None:
    found = outcome(behind)
    assert found.status == "holds"
    assert "were measured to move it" in found.reason


@pytest.mark.parametrize("behind", ["integer", "chaotic"])
def test_what_any_order_of_sums_changes_decides_nothing(behind: str) -> None:
    found = outcome(behind)
    assert found.status == "undecided"
    assert fixes.numeric(found).startswith("undecided: `y` is another one at every point tried")


@pytest.mark.parametrize("behind", ["enlarged", "rounded", "integer"])
def test_what_is_wrong_is_found_behind_them(behind: str) -> None:
    assert outcome(behind, wrong=0.05).status == "fails"


@pytest.mark.parametrize(("wrong", "status"), [(0.0, "holds"), (1.0, "fails"), (10.0, "fails")])
def test_sums_that_are_quantized_dynamically(wrong: float, status: str) -> None:
    one, other = (
        onnx_text(
            "g (float[N,64,3000] x, int8[64,16] w) => (float[a,b] y)"
            "<int64[1] ax = {2}, int64[1] step = {-1}, int64[1] top = {1073741824},"
            " int64[1] low = {-1073741824}, int64[1] nil = {0}, int64[1] inc = {1},"
            f" float off = {{{off}}}>"
            "{ i = Slice(x, top, low, ax, step)  j = Slice(x, nil, top, ax, inc)"
            f"  s = ReduceSum<keepdims = 0>({order}, ax)  t = Add(s, off)"
            "  q, scale, zero = DynamicQuantizeLinear(t)  k = MatMulInteger(q, w, zero)"
            "  f = Cast<to = 1>(k)  y = Mul(f, scale) }"
        )
        for order, off in (("j", 0.0), ("i", wrong))
    )
    for model in (one, other):
        truth.annotate(model.ir)
    terms = numbers.terms_of(one.ir, other.ir)
    points = Points(({"N": 24},) * 3)
    assert numbers.compare(one, other, points, terms, is_part=False).status == status


def test_the_next_command_of_fix_compares_with_inputs_of_ones_own(tmp_path: Path) -> None:
    model = model_of(
        "g (float[T] x, int64[N] i, float[N] s) => (float[N] y) <int64 far = {7}, float o = {1.}>"
        "{ m = Max(i)  j = Mul(m, far)  k = Add(j, far)  g = Gather(x, k)"
        "  h = Mul(g, o)  y = Add(h, s) }"
    )
    path, out = tmp_path / "m.onnx", tmp_path / "f.onnx"
    onnx.save(ir.to_proto(model.ir), path)
    words = ["fix", str(path), "-o", str(out), "--target", "8.6", "-q", "--dim", "N=2"]
    done = CliRunner().invoke(app, [*words, "--dim", "T=5"])
    assert done.exit_code == 0, done.output
    (line,) = (each for each in done.stderr.splitlines() if "next: " in each)
    command = shlex.split(line.split("next: tripoint ")[1])
    x = np.arange(30, dtype=np.float32)
    inputs = {"x": x, "i": np.array([1, 2], np.int64), "s": x[:2]}
    npz.save(tmp_path / "inputs.npz", inputs)
    command[command.index("inputs.npz")] = str(tmp_path / "inputs.npz")
    assert "all equal" in CliRunner().invoke(app, command).stdout


def test_locate_looks_for_suited_inputs_too(tmp_path: Path) -> None:
    for index, form in enumerate((LOOP, LENGTHS, PADDED, POSITIVE)):
        path = tmp_path / f"{index}.onnx"
        onnx.save(ir.to_proto(model_of(form).ir), path)
        sizes = {"N": 2, "T": 8} if "[N,T" in form else {"N": 2}
        dims = [word for name, size in sizes.items() for word in ("--dim", f"{name}={size}")]
        words = ["locate", str(path), "--fixed", str(path), *dims, "-q", "--format", "json"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert (found["verdict"], found["unsuited"]) == ("equal", False)
        (note,) = found["notes"]
        assert note.startswith("the usual made-up inputs do not suit the model; used: --values ")


def test_locate_claims_nothing_of_nan() -> None:
    model = onnx_text("g (float[N] x) => (float[N] y) { e = Exp(x)  m = Neg(e)  y = Log(m) }")
    spec = Spec.parse((), ["N=4"])
    found = tripoint.locate(model, fixed=model, spec=spec)
    assert (found.verdict, found.unsuited) == ("unproven", True)
    assert "y is NaN at the same places in both" in found.reasons[0]
    said = "\n".join(locate_text.location(found))
    assert "unproven (all legs agree, but not everything is a number)" in said
    assert UNSUITED in found.notes
    given = tripoint.locate(model, fixed=model, inputs=[{"x": np.zeros(4, np.float32)}])
    assert (given.verdict, given.unsuited) == ("equal", False)


def test_locate_finds_the_node_with_suited_inputs() -> None:
    first, second = (
        onnx_text(POSITIVE.replace("y = Neg(g)", f"y = {operator}(g)"))
        for operator in ("Neg", "Abs")
    )
    spec = Spec.parse((), ["N=2", "T=4"])
    found = tripoint.locate(first, fixed=second, spec=spec)
    assert found.verdict == "different"
    assert found.culprit is not None
    assert (found.culprit.tensor, found.culprit.op) == ("y", "Neg")
