"""Sizes of the export's example that do not follow an input."""

from __future__ import annotations

import pytest

from tests.helpers.execution import agreement
from tests.helpers.graphs import build
from tripoint.shape_inference import truth
from tripoint.symbols import equal
from tripoint.table import Frozen

Finding = tuple[str, int, str, int, str]

CONTRADICTIONS: list[tuple[str, str, Finding]] = [
    # A table of positions, added and concatenated.
    ("float[N,S,8] x, float[1,7,8] w_p", "y = Add(x, w_p)", ("w_p", 1, "Add", 7, "S")),
    ("float[N,S,8] x, float[7,8] w_p", "y = Add(w_p, x)", ("w_p", 0, "Add", 7, "S")),
    (
        "float[N,S,8] x, float[1,7,8] w_p",
        "t = Transpose<perm = [0,1,2]>(w_p); d = Neg(t); y = Add(x, d)",
        *[("d", 1, "Add", 7, "S")],
    ),
    (
        "float[N,S,8] x, float[1,1,8] w_c",
        "y = Concat<axis = 1>(w_c, x)",
        *[("w_c", 0, "Concat", 1, "N")],
    ),
    (
        "bool[1,1,7,7] m, float[N,2,S,S] x | float zero = {0}",
        "k = Constant<value = bool[7,7] {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
        "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}>(); y = Where(k, x, zero)",
        *[("k", 0, "Where", 7, "S")],
    ),
    ("float[N,S] x, float[7,4] w_m", "y = MatMul(x, w_m)", ("w_m", 0, "MatMul", 7, "S")),
    ("float[N,S] x, float[4,7] w_m", "y = Gemm<transB = 1>(x, w_m)", ("w_m", 1, "Gemm", 7, "S")),
    ("float[N,C,H,W] x, float[8,3,3,3] w_k", "y = Conv(x, w_k)", ("w_k", 1, "Conv", 3, "C")),
    # Sizes that are asked for.
    (
        "float[N,S,8] x | int64[4] m = {0,7,2,4}",
        "y = Reshape(x, m)",
        *[("y", 1, "Reshape", 7, "S")],
    ),
    ("float[N,8] x | int64[2] m = {3,8}", "y = Reshape(x, m)", ("y", 0, "Reshape", 3, "N")),
    (
        "float[N,S,8] x | int64[1] i = {0}, int64[2] k = {7,8}",
        "s = Shape(x); n = Gather(s, i); m = Concat<axis = 0>(n, k); y = Reshape(x, m)",
        *[("y", 1, "Reshape", 7, "S")],
    ),
    (
        "float[N,S,1] x | int64[3] m = {1,7,4}",
        "y = Expand(x, m)",
        *[("m", 1, "Expand", 7, "S")],
    ),
]


def found(inputs: str, body: str) -> list[Frozen]:
    return list(truth.infer(build(inputs, body, 17, "float[] y").ir).frozen)


@pytest.mark.parametrize(("inputs", "body", "expected"), CONTRADICTIONS, ids=lambda v: str(v)[:40])
def test_contradictions(inputs: str, body: str, expected: Finding) -> None:
    first = found(inputs, body)[0]
    assert (first.tensor, first.axis, first.op, first.size) == expected[:4]
    assert equal(first.expected, expected[4])
    assert first.node == "y"
    assert str(first.size) in first.reason
    assert first.expected in first.reason


@pytest.mark.parametrize(("inputs", "body"), [(inputs, body) for inputs, body, _ in CONTRADICTIONS])
def test_a_contradiction_does_not_run_at_other_sizes(inputs: str, body: str) -> None:
    result = agreement(build(inputs, body, 17, "float[] y").ir)
    assert len(result.points) < 3


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # Two rows of a batch of two: S takes what N would have been.
        ("{2,-1,4,2}", (0, 2, "N")),
        ("{1,-1,8}", (0, 1, "N")),
        ("{-1,7,8}", (1, 7, "S")),
    ],
)
def test_constants_that_do_not_follow(target: str, expected: tuple[int, int, str]) -> None:
    count = target.count(",") + 1
    (finding,) = found(f"float[N,S,8] x | int64[{count}] m = {target}", "y = Reshape(x, m)")
    assert (finding.axis, finding.size, finding.expected) == expected
    assert (finding.tensor, finding.op) == ("y", "Reshape")
    assert "-1" in finding.reason


def test_an_axis_of_one_row_hides_no_frozen_length() -> None:
    # What the dynamo exporter of PyTorch 2.13 writes behind an LSTM: (T, 1, N, 6) to (5, -1, 6).
    (finding,) = found("float[T,1,N,6] x | int64[3] m = {5,-1,6}", "y = Reshape(x, m)")
    assert (finding.axis, finding.size, finding.expected) == (0, 5, "T")


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        # What follows the symbol, and what any size fits.
        ("float[N,S,8] x | int64[3] m = {0,0,-1}", "y = Reshape(x, m)"),
        ("float[N,S,8] x | int64[2] m = {-1,8}", "y = Reshape(x, m)"),
        ("float[N,S,8] x | int64[1] m = {-1}", "y = Reshape(x, m)"),
        ("float[N,S,8] x | int64[4] m = {0,-1,4,2}", "y = Reshape(x, m)"),
        ("float[N,S,8] x | int64[4] m = {0,0,2,4}", "y = Reshape(x, m)"),
        ("float[S,1] x | int64[2] m = {1,-1}", "y = Reshape(x, m)"),
        ("float[S,1,N] x | int64[2] m = {0,-1}", "y = Reshape(x, m)"),
        ("float[N,1,S] x | int64[3] m = {1,-1,1}", "y = Reshape(x, m)"),
        ("float[N,S,8] x, float[1,1,8] w_p", "y = Add(x, w_p)"),
        ("float[N,S,8] x, float[M,7,8] z", "y = Add(x, z)"),
        ("float[N,S,8] x, float[8,4] w_m", "y = MatMul(x, w_m)"),
        ("float[N,8,4] x, float[N,S,4] z", "y = Concat<axis = 1>(x, z)"),
        (
            "float[N,S,8] x, float[1,512,8] w_p | int64[1] i = {1}, int64[1] z = {0}",
            "s = Shape(x); n = Gather(s, i); p = Slice(w_p, z, n, i); y = Add(x, p)",
        ),
        ("float[2,7,8] x, float[1,7,8] w_p", "y = Add(x, w_p)"),
    ],
)
def test_no_false_alarm(inputs: str, body: str) -> None:
    assert found(inputs, body) == []


def test_only_where_the_constant_meets_the_expression() -> None:
    # The sum has the constant size, but it is data: what follows says nothing new.
    findings = found(
        "float[N,S,8] x, float[1,7,8] w_p, float[8,8] w_m",
        "a = Add(x, w_p); b = MatMul(a, w_m); c = Add(b, x); d = Relu(c); y = Add(d, a)",
    )
    assert [finding.node for finding in findings] == ["a"]


def test_sizes_that_values_decide_are_no_example() -> None:
    assert (
        found(
            "float[N] x, float[7,2] w_p",
            "n = NonZero(x); c = Cast<to = 1>(n);t = Transpose(c); y = Concat<axis = 1>(t, w_p)",
        )
        == []
    )
