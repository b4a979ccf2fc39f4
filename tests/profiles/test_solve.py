"""Sizes that are proposed, and those of a hint, satisfy what a graph needs at all three ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import build, feed
from tests.profiles.test_equations import session_of
from tests.profiles.test_wrong_profiles import followed
from tripoint.cli import app
from tripoint.model import Model
from tripoint.profiles.constraints import check
from tripoint.profiles.constraints.solve import solve
from tripoint.profiles.proposal import ProfileResult
from tripoint.shape_inference import constraints as equations
from tripoint.shape_inference.constraints.decide import surely_holds
from tripoint.shape_inference.constraints.evaluate import holds
from tripoint.spec import ENDS, Range, Spec

PAST = (
    "int64[B,S] ids, float[B,M] mask, float[B,2,P,4] past, float[10,8] w_emb, float[64,8] w_pos |"
    " int64[4] hs = {0, 0, 2, 4}, int64 i1 = {1}, int64 i2 = {2}, int64[2] ax = {1, 2}",
    "x0 = Gather (w_emb, ids); ps = Shape (past); pl = Gather (ps, i2); is = Shape (ids);"
    " sl = Gather (is, i1); tot = Add (pl, sl); pid = Range (pl, tot, i1);"
    " pe = Gather (w_pos, pid); x = Add (x0, pe); q1 = Reshape (x, hs);"
    " q = Transpose <perm = [0, 2, 1, 3]> (q1); k = Concat <axis = 2> (past, q);"
    " kt = Transpose <perm = [0, 1, 3, 2]> (k); s0 = MatMul (q, kt); mu = Unsqueeze (mask, ax);"
    " s1 = Add (s0, mu); p = Softmax (s1); y = MatMul (p, k)",
)
ROPE = (
    "float[B,S,8] q, float[B,P,8] past, float[1,16,8] w_cos | int64[1] i1 = {1}",
    "sh = Shape (q); s = Gather (sh, i1); ph = Shape (past); p = Gather (ph, i1);"
    " tot = Add (s, p); c = Slice (w_cos, p, tot, i1); r = Mul (q, c);"
    " y = Concat <axis = 1> (past, r)",
)
TOPK = (
    "float[B,3,H,W] x, float[3,3,1,1] w_c | int64[1] k = {1000}, int64[3] r = {0, -1, 3}",
    "c = Conv <kernel_shape = [1, 1], strides = [8, 8]> (x, w_c);"
    " p = Transpose <perm = [0, 2, 3, 1]> (c); f = Reshape (p, r);"
    " m = ReduceMax <axes = [2], keepdims = 0> (f); y, i = TopK <axis = 1> (m, k)",
)
MASK = (
    "float[B,2,T,4] q, float[B,2,C,4] k, float[B,1,S,N] mask",
    "kt = Transpose <perm = [0, 1, 3, 2]> (k); s = MatMul (q, kt); y = Add (s, mask)",
)
BIAS = (
    "float[B,T,4] x, float[S,4] bias, float[B,L,4] z",
    "a = Add (x, bias); y = Concat <axis = 2> (a, z)",
)
JOINED = (
    "float[B,P,4] past, float[B,S,4] new, float[B,K,4] other",
    "c = Concat <axis = 1> (past, new); y = Add (c, other)",
)
VOLUME = ("float[N,H] x | int64[2] s = {6, 8}", "y = Reshape (x, s)")
SPLIT = (
    "float[B,C,4] x, float[B,D,4] z",
    "a, b, c = Split <axis = 1> (x); y = Add (b, z)",
)
REFLECT = (
    "float[B,1,T] x, float[1,1,9] w_c | int64[6] p = {0, 0, 4, 0, 0, 4}",
    'a = Pad <mode = "reflect"> (x, p); y = Conv <strides = [4]> (a, w_c)',
)
EINSUM = (
    "float[B,T,D] q, float[B,S,E] k, float[B,L,D] v",
    'a = Einsum <equation = "btd,bsd->bts"> (q, k); y = Einsum <equation = "bts,bsd->btd"> (a, v)',
)
GRAPHS = {
    name: globals()[name]
    for name in (
        *("PAST", "ROPE", "TOPK", "MASK", "BIAS", "JOINED", "VOLUME", "SPLIT", "REFLECT"),
        "EINSUM",
    )
}


def proposed(graph: tuple[str, str], *dims: str) -> ProfileResult:
    return tripoint.profile(build(*graph), specs=[Spec.parse((), dims)])


def runs(model: Model, sizes: Mapping[str, int]) -> bool:
    try:
        session_of(model).run(None, dict(feed(model, **sizes)))
    except Exception:  # noqa: BLE001 - whatever it raises
        return False
    return True


@pytest.mark.parametrize("name", GRAPHS)
def test_a_proposal_runs_and_nothing_is_broadcast_by_chance(name: str) -> None:
    model = build(*GRAPHS[name])
    (found,) = tripoint.profile(model).proposals
    for end in ENDS:
        at = {symbol: getattr(size, end) for symbol, size in found.ranges.items()}
        assert all(holds(each, at, strict=True) for each in equations.collect(model.ir)), at
        # Smaller ones run as well as those at max, and faster.
        if end != "max":
            assert runs(model, at), at


def test_a_mask_is_as_long_as_the_past_and_what_is_new() -> None:
    result = proposed(PAST)
    ranges = result.proposals[0].ranges
    for end in ENDS:
        assert getattr(ranges["M"], end) == getattr(ranges["P"], end) + getattr(ranges["S"], end)
    assert ranges["M"].max <= 64
    assert [e.text for e in result.needed.equations][:2] == ["P + S <= 64", "P + S == M or M == 1"]


def test_what_a_slice_of_a_table_needs_is_said_in_the_symbols_of_the_inputs() -> None:
    assert [each.text for each in proposed(ROPE).needed.equations] == ["P + S <= 16"]


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("PAST", ["B=1..2..4", "S=1..4..8", "P=1..4..8", "M=1..4..8"]),
        ("PAST", ["B=1..2..4", "S=1..4..8", "P=1..4..8", "M=1..1..8"]),
        ("PAST", ["B=1", "S=64", "P=64", "M=128"]),
        ("ROPE", ["B=1", "S=1..8..16", "P=1..8..16"]),
        ("TOPK", ["B=1..2..4", "H=64..256..512", "W=64..256..512"]),
        ("TOPK", ["B=1..2..4", "H=512", "W=64..256..512"]),
        ("MASK", ["B=1..2..4", "T=4..8..16", "C=8..16..32", "S=4..8..17", "N=8..16..32"]),
        ("BIAS", ["B=1..2..4", "T=2..3..8", "S=1..3..3", "L=2..3..8"]),
        ("JOINED", ["B=1..2..4", "P=2..8..16", "S=1..8..16", "K=3..8..32"]),
        ("VOLUME", ["N=1..2..4", "H=7..8..9"]),
        ("SPLIT", ["B=1", "C=3..7..9", "D=1..2..4"]),
        ("REFLECT", ["B=1", "T=2..100..1000"]),
        ("EINSUM", ["B=1", "T=2", "D=4", "S=8", "E=5", "L=9"]),
    ],
)
def test_a_hint_is_followed_once(name: str, dims: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(build(*GRAPHS[name]).ir, path)
    arguments = [word for dim in dims for word in ("--dim", dim)]
    wrong = CliRunner().invoke(app, ["build", str(path), "-o", str(tmp_path / "p"), *arguments])
    assert wrong.exit_code == 2
    right = CliRunner().invoke(app, ["profile", str(path), *followed(arguments, wrong.stderr)])
    assert right.exit_code == 0, (wrong.stderr, right.output)


@pytest.mark.parametrize("command", ["profile", "build"])
def test_no_hint_where_nothing_is_legal(command: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = build(
        "float[N] x | int64[2] s = {2, 3}, int64[2] r = {4, -1}, int64[1] f = {-1}",
        "t = Reshape (x, r); u = Reshape (t, f); a, b = Split <axis = 0> (u, s); y = Relu (a)",
    )
    ir.save(model.ir, path)
    result = CliRunner().invoke(app, [command, str(path), "--dim", "N=5"])
    assert result.exit_code == 2
    assert "no sizes near these satisfy all that the graph needs" in result.stderr
    assert "next:" not in result.stderr


def test_a_one_that_was_given_is_meant() -> None:
    result = proposed(PAST, "M=1", "S=1..4..8", "P=1..4..8")
    ranges = result.proposals[0].ranges
    assert (ranges["S"], ranges["P"]) == (Range(1, 4, 8), Range(1, 4, 8))
    assert not result.examined[0].violated


def test_hints_come_in_the_words_that_were_used(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(build(*ROPE).ir, path)
    ends = ["--minShapes=q:1x1x8,past:1x1x8", "--optShapes=q:1x8x8,past:1x8x8"]
    arguments = [*ends, "--maxShapes=q:1x16x8,past:1x16x8"]
    wrong = CliRunner().invoke(app, ["build", str(path), *arguments])
    assert "next: for instance --minShapes=q:1x1x8,past:1x1x8 --optShapes=" in wrong.stderr
    right = CliRunner().invoke(app, ["profile", str(path), *followed(arguments, wrong.stderr)])
    assert right.exit_code == 0, right.output
    profiles = ["--profile", "B=1 S=2 P=2", "--profile", "B=1 S=16 P=16"]
    wrong = CliRunner().invoke(app, ["build", str(path), *profiles])
    assert "profile 1: " in wrong.stderr
    assert "next: for instance --profile 'S=8 P=8'" in wrong.stderr


# Deciding


@pytest.mark.parametrize(
    ("graph", "dims", "expected"),
    [
        (("float[N,3] x, float[M,3] z", "y = Add (x, z)"), ["N=1..500..1000", "M=1"], "holds"),
        (TOPK, ["B=1", "H=512..600..2048", "W=512..600..2048"], "holds"),
        (TOPK, ["B=1", "H=64..600..2048", "W=1024..1100..2048"], "holds"),
        (REFLECT, ["B=1", "T=5..1000..150000"], "holds"),
        (VOLUME, ["N=6", "H=8"], "holds"),
    ],
)
def test_what_can_be_decided_is(graph: tuple[str, str], dims: list[str], expected: str) -> None:
    (examined,) = proposed(graph, *dims).examined
    assert {finding.status for finding in examined.findings} == {expected}


PADDED = (
    "float[1,H,W,2] x | int64 one = {1}, int64 two = {2}, int64 w = {4}, int64[1] w1 = {4},"
    " int64[1] zero = {0}, int64[1] n1 = {1}, int64[1] c = {2}, int64[3] z3 = {0, 0, 0},"
    " int64[1] ax = {0}",
    "s = Shape (x); h = Gather (s, one); v = Gather (s, two); hm = Mod (h, w); hr = Sub (w, hm);"
    " hp = Mod (hr, w); vm = Mod (v, w); vr = Sub (w, vm); vp = Mod (vr, w);"
    " hpu = Unsqueeze (hp, ax); vpu = Unsqueeze (vp, ax);"
    " pads = Concat <axis = 0> (z3, zero, zero, hpu, vpu, zero); a = Pad (x, pads);"
    " ha = Add (h, hp); va = Add (v, vp); hn = Div (ha, w); vn = Div (va, w);"
    " hnu = Unsqueeze (hn, ax); vnu = Unsqueeze (vn, ax);"
    " t = Concat <axis = 0> (n1, hnu, w1, vnu, w1, c); y = Reshape (a, t)",
)


def test_sizes_that_repeat_are_decided_for_all() -> None:
    result = proposed(PADDED, "H=16..512..2048", "W=16..512..2048")
    assert {finding.status for finding in result.examined[0].findings} <= {"holds"}


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [("2*floor(H/2)", "H", False), ("floor(H/2) + floor(H/2 + 1/2)", "H", True)],
)
def test_decisions_are_right(left: str, right: str, expected: bool) -> None:
    equation = equations.Equation("equal", left, right, "n", "Add", "", None, "")
    assert surely_holds(equation, {"H": Range(1, 10, 10**9)}) is expected
    assert all(holds(equation, {"H": h}) for h in range(1, 50)) is expected


def test_all_that_is_found_is_legal_for_what_is_given() -> None:
    found = equations.collect(build(*PAST).ir)
    wanted = {name: Range(1, 20, 50) for name in "BSMP"}
    solved = solve(found, wanted, ["M"])
    assert not solved.legal
    solved = solve(found, wanted, ["M", "P"])
    assert solved.legal
    assert not [f for f in check(found, solved.ranges) if f.status == "violated"]


def test_ranges_that_are_missing_are_proposed_such_that_they_go_together(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(build(*PAST).ir, path)
    given = ["--dim", "B=1..2..4", "--dim", "P=2..8..32"]
    wrong = CliRunner().invoke(app, ["build", str(path), "-o", str(tmp_path / "p"), *given])
    assert wrong.exit_code == 2
    said = wrong.stderr.split("next: ")[1].split("   (")[0]
    assert "--dim S=" in said
    right = CliRunner().invoke(app, ["profile", str(path), *given, *said.split()])
    assert right.exit_code == 0, (wrong.stderr, right.output)


def test_a_default_that_is_moved_up_stays_a_range() -> None:
    model = build(
        "float[batch_size,N] waveforms, float[1,1,400] w_c | int64[1] ax = {1}",
        "x = Unsqueeze (waveforms, ax); y = Conv <strides = [160]> (x, w_c)",
    )
    (found,) = tripoint.profile(model).proposals
    assert "the length of a sequence" in found.sources["N"]
    assert found.ranges["N"].min == 400 < found.ranges["N"].max
    assert found.ranges["batch_size"] == Range(1, 4, 16)
    large = build("float[B,T] x | int64[1] k = {2000}", "y, i = TopK (x, k)")
    (found,) = tripoint.profile(large).proposals
    assert found.ranges["T"].min == 2000 < found.ranges["T"].opt < found.ranges["T"].max


def test_no_range_is_proposed_where_none_goes_with_those_given(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(build(*PAST).ir, path)
    given = ["--dim", "B=1", "--dim", "P=64", "--dim", "M=128"]
    result = CliRunner().invoke(app, ["build", str(path), "-o", str(tmp_path / "p"), *given])
    assert result.exit_code == 2
    assert "no sizes are known that satisfy what the graph needs with those given" in result.stderr
    assert "next:" not in result.stderr
