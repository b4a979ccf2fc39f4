"""Where numbers are compared if nobody gave sizes, and what is kept if not all can be proven."""

from __future__ import annotations

import json
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
from tripoint import rewrites
from tripoint.cli import app
from tripoint.model import Model
from tripoint.numeric import ort
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.rewrites import proof
from tripoint.rewrites.base import Numeric, Proof, Replacement, Rewrite, Site
from tripoint.rewrites.points import SIZES, Points
from tripoint.shape_inference import truth

ONES = "float one = {1.0}"


def table(rows: int, columns: int) -> str:
    return ",".join(f"{index % 7 - 3}" for index in range(rows * columns))


PAST = (
    "g (float[B,S,4] x, float[B,P,4] past, float[B,M] mask) => (float[a,b,c] y)"
    f"<{ONES}, int64[1] two = {{2}}>"
    "{ k = Concat<axis = 1>(past, x)  t = Transpose<perm = [0,2,1]>(k)  s = MatMul(x, t)"
    "  u = Unsqueeze(mask, two)  v = Transpose<perm = [0,2,1]>(u)  w = Add(s, v)"
    "  z = Mul(w, one)  y = Softmax(z) }"
)
FROZEN = (
    "g (float[N,4,H,W] x) => (float[a,b,c,d] y)"
    f"<int64[4] e = {{2,4,6,5}}, float[1,4,6,5] pos = {{{table(24, 5)}}}>"
    "{ p = Expand(pos, e)  y = Add(x, p) }"
)
ROWS = (
    "g (float[N,S,4] x, float[N,P,4] past) => (float[a,b,c] y)"
    f"<float[1,9,4] pos = {{{table(9, 4)}}}, int64[1] i = {{1}}, {ONES}>"
    "{ s = Shape(x)  n = Gather(s, i)  h = Shape(past)  p = Gather(h, i)  e = Add(p, n)"
    "  c = Slice(pos, p, e, i)  r = Mul(x, c)  m = Mul(r, one)"
    "  y = Concat<axis = 1>(past, m) }"
)
WINDOWS = (
    "g (float[N,8,H,W] x) => (float[a,b,c] y)"
    f"<int64[6] s = {{0,8,2,7,-1,7}}, {ONES}, int64[3] t = {{0,8,-1}}>"
    "{ p = Mul(x, one)  d = DepthToSpace<blocksize = 2>(p)  q = SpaceToDepth<blocksize = 14>(d)"
    "  y = Flatten<axis = 2>(q) }"
)
KERNEL = (
    "g (float[N,1,H,W] x, float[1,1,41,3] w) => (float[a,b,c,d] y)"
    f"<{ONES}> {{ p = Mul(x, one)  y = Conv(p, w) }}"
)
AGREE = (
    "g (float[N,K] x, float[M,L] z) => (float[a,b] y)"
    f"<{ONES}> {{ p = Mul(x, one)  q = Transpose(z)  c = Concat<axis = 0>(p, z)"
    "  m = MatMul(p, q)  r = ReduceSum<keepdims = 0>(c)  y = Add(m, r) }"
)


@pytest.mark.parametrize("text", [PAST, FROZEN, ROWS, KERNEL, AGREE, WINDOWS])
def test_sizes_are_those_that_the_graph_takes(text: str) -> None:
    model = onnx_text(text)
    result = tripoint.fix(model, target="8.6")
    assert result.proof is not None
    assert (result.proof.holds, len(result.applied) > 0) == (True, True)
    assert "taken again" not in result.proof.numeric.reason
    specs = inputs_of(model)
    session = ort.Session(model)
    proofs = [result.proof, *(each.proof for each in result.applied)]
    points = [point for each in proofs for point in each.numeric.points]
    assert len(points) >= 6
    for point in points:
        session.run(generate(specs, point, 0, model=model))


def test_an_equality_is_preferred_to_broadcasting() -> None:
    model = onnx_text(PAST)
    first = tripoint.fix(model, target="8.6").proof.numeric.points
    assert all(point["M"] == point["P"] + point["S"] > 1 for point in first)


def test_leading_dims_stay_small_and_cheap_points_come_first() -> None:
    model = onnx_text(
        "g (float[N,3,H,W] x, float[4,3,45,45] w) => (float[a,b,c,d] y)"
        "{ y = Conv<strides = [2,2]>(x, w) }"
    )
    annotated = model.ir.clone()
    truth.annotate(annotated)
    found = Points.fitting(model.ir, annotated).candidates
    assert all(point["N"] <= 3 for point in found)
    assert [min(point["H"], point["W"]) for point in found[:3]] == [45, 90, 135]


def test_points_that_take_much_memory_come_last() -> None:
    model = onnx_text(
        "g (float[1,A] x, float[1,C,1] z, float[1,D,1,1] v, float[1,E,1,1,1] w)"
        "=> (float[a,b,c,d,e] y) { p = Add(x, z)  q = Add(p, v)  y = Mul(q, w) }"
    )
    annotated = model.ir.clone()
    truth.annotate(annotated)
    found = Points.fitting(model.ir, annotated).candidates
    cost = [point["A"] * point["C"] * point["D"] * point["E"] * 4 for point in found]
    cheap = [each <= 1 << 28 for each in cost]
    assert cheap == sorted(cheap, reverse=True)
    assert (any(cheap), all(cheap)) == (True, False)
    assert found[0] == {"A": 1, "C": 2, "D": 3, "E": 4}
    assert max(SIZES) in found[-1].values()


def test_dims_that_are_no_expression_cost_nothing() -> None:
    model = custom(
        "g (float[N,H] x) => (float[N,H] y) <float one = {1.0}, float[?,H] b> "
        "{ a = Mul(x, one)  b = my.ops.Thing(a)  y = Relu(b) }"
    )
    assert [each.rewrite for each in tripoint.fix(model, target="8.6").applied] == [
        "neutral-operand"
    ]


# Where the whole cannot be compared

UNKNOWN = (
    "g (float[N,4] x) => (float[N,4] y) <float one = {1.0}>"
    "{ a = Mul(x, one)  b = my.ops.Thing(a)  c = Identity(b)  d = Relu(c)"
    "  e = Constant<value_float = 2.0>()  y = Mul(d, e) }"
)
NOWHERE = (
    "g (float[N,4] x, int64[K] i) => (float[a] y)"
    "<float one = {1.0}, int64 big = {100000}, int64[1] m = {-1}>"
    "{ a = Mul(x, one)  f = Reshape(a, m)  k = Add(i, i)  j = Add(k, big)  y = Gather(f, j) }"
)


def custom(text: str) -> Model:
    header = '<ir_version: 8, opset_import: ["" : 17, "my.ops" : 1]>'
    return Model(ir.from_proto(onnx.parser.parse_model(header + text)))


@pytest.mark.parametrize(
    ("text", "kept", "reason"),
    [
        (UNKNOWN, {"neutral-operand", "constant-nodes"}, "cannot load the graph"),
        (NOWHERE, {"neutral-operand"}, "runs at none of the"),
    ],
)
def test_what_is_proven_by_itself_is_kept(text: str, kept: set[str], reason: str) -> None:
    result = tripoint.fix(custom(text), target="8.6")
    assert result.proof is not None
    assert (result.proof.numeric.status, result.proof.holds) == ("undecided", False)
    assert reason in result.proof.reason
    assert (result.proven, result.undecided) == (True, True)
    assert {each.rewrite for each in result.applied} == kept
    for each in result.applied:
        computes = each.rewrite != "constant-nodes"
        assert each.proof.numeric.status == ("holds" if computes else "skipped")
    assert result.after.nodes < result.before.nodes


def test_the_command_says_so(tmp_path: Path) -> None:
    path, out = tmp_path / "m.onnx", tmp_path / "f.onnx"
    onnx.save(ir.to_proto(custom(UNKNOWN).ir), path)
    words = ["fix", str(path), "-o", str(out), "--target", "8.6", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "the whole model could not be compared" in done.stderr
    assert out.exists()
    again = CliRunner().invoke(app, [*words, "--force", "--strict", "--format", "json"])
    assert again.exit_code == 3
    document = json.loads(again.stdout)
    assert (document["proven"], document["proof"]["numeric"]["status"]) == (True, "undecided")


# Where the whole differs


def renamed(operator: str, into: str) -> Rewrite:
    def find(node: ir.Node, site: Site) -> Replacement | None:
        del site
        new = ir.node(into, [node.inputs[0]])
        return Replacement([node], [node.outputs[0]], [new], list(new.outputs))

    return Rewrite(
        f"{operator}-to-{into}".lower(),
        "",
        find=find,
        may_match=lambda node: node.op_type == operator,
    )


CHAIN = (
    "g (float[N,4] x) => (float[N,4] y)"
    "{ a = Exp(x)  b = Abs(a)  c = Abs(b)  d = Abs(c)  e = Sqrt(d)  f = Abs(e)  y = Neg(f) }"
)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Outputs of nodes at which a rewrite spoils the whole; all parts are proven honestly."""
    wrong: list[str] = []
    monkeypatch.setattr(rewrites, "all_rewrites", lambda: (renamed("Abs", "Relu"),))
    prove = proof.prove

    def judged(*sides: Any, **options: Any) -> Proof:
        if options.get("kept") is None:
            # The operand of Abs is positive in the model, which a part does not know.
            return Proof("holds", Numeric("holds", (), 0.0, 0.0, "said to be"))
        made: Mapping[str, ir.Node] = {
            value.name or "": node for node in sides[1].model.ir.graph for value in node.outputs
        }
        if any(made[name].op_type == "Relu" for name in wrong):
            return Proof("holds", Numeric("fails", (), 1.0, 0.0, "differs by 1"), "differs by 1")
        return prove(*sides, **options)

    monkeypatch.setattr(proof, "prove", judged)
    return wrong


@pytest.mark.parametrize("spoilt", [["b"], ["f"], ["c", "d"], ["b", "c", "f"], list("bcdf"), []])
def test_the_rewrites_that_are_not_at_fault_are_kept(only: list[str], spoilt: list[str]) -> None:
    only += spoilt
    model = onnx_text(CHAIN)
    result = tripoint.fix(model, target="8.6")
    assert {each.tensor for each in result.applied} == set("bcdf") - set(spoilt)
    assert result.proven
    assert {each.node for each in result.refused} == set(spoilt)
    assert all("differs by 1" in each.reason for each in result.refused)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    first, second = (ort.Session(each).run({"x": x})[0] for each in (model, result.model))
    assert np.array_equal(first, second)
