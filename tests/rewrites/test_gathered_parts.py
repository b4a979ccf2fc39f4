"""Slices and Splits that lose dims gather known elements instead."""

from __future__ import annotations

import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, build, fixed, operators
from tripoint.model import Model

NAME = "gathered-parts"
SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]
CONSTANTS = (
    "int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1] i2 = {2}, int64[1] i3 = {3}, int64[1] i4 = {4},"
    "int64[1] minus = {-1}, int64[1] far = {9223372036854775807}, int64[2] parts = {1,5}"
)


def indices(model: Model) -> list[list[int]]:
    found = []
    for node in model.ir.graph:
        if node.op_type == "Gather":
            assert node.inputs[1] is not None
            assert node.inputs[1].const_value is not None
            found.append(list(node.inputs[1].const_value.numpy()))
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r = Slice(x, i1, i4, i1)", [1, 2, 3]),
        ("r = Slice(x, i2, far, i1)", [2, 3, 4, 5]),
        ("r = Slice(x, i0, far, i1, i3)", [0, 3]),
        ("r = Slice(x, minus, far, i1)", [5]),
    ],
)
def test_slice(body: str, expected: list[int]) -> None:
    model = build(f"float[N,6,S] x | {CONSTANTS}", f"{body}; y = Neg(r)", outputs="float[] y")
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Gather", "Neg"]
    assert indices(result.model) == [expected]
    assert (result.before.lost_dims, result.after.lost_dims) == (2, 0)


def test_split_with_sizes_that_71_does_not_read() -> None:
    model = build(
        f"float[N,6,S] x | {CONSTANTS}",
        "a, b = Split<axis = 1>(x, parts); y = Neg(a); z = Neg(b)",
        outputs="float[] y, float[] z",
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Gather", "Gather", "Neg", "Neg"]
    assert indices(result.model) == [[0], [1, 2, 3, 4, 5]]
    assert result.after.lost_dims == 0


def test_parts_that_nothing_reads_are_not_gathered() -> None:
    model = build(
        "float[N,6] x", "a, b, c = Split<axis = 1>(x); y = Neg(b)", outputs="float[] y", opset=11
    )
    result = fixed(model, SIZES, [NAME])
    assert indices(result.model) == [[2, 3]]


@pytest.mark.parametrize(
    ("inputs", "body", "reason"),
    [
        ("float[N,6,S] x", "r = Slice(x, minus, far, i2)", "counted from the end"),
        ("float[N,6,S] x", "r = Slice(x, i1, far, i2)", "decided at run time"),
        ("float[N,2000,S] x", "r = Slice(x, i1, far, i1)", "larger than 1024"),
        ("bool[N,6,S] x", "r = Slice(x, i1, i4, i1)", "boolean"),
    ],
)
def test_refused(inputs: str, body: str, reason: str) -> None:
    model = build(f"{inputs} | {CONSTANTS}", f"{body}; y = Identity(r)", outputs="float[] y")
    if inputs.startswith("bool"):
        model = build(f"{inputs} | {CONSTANTS}", f"{body}; y = Cast<to = 1>(r)")
    result = fixed(model, SIZES, [NAME])
    assert result.applied == ()
    assert reason in result.refused[0].reason


def test_an_element_from_the_end_where_negative_indices_are_read_right() -> None:
    model = build(
        f"float[N,S,6] x | {CONSTANTS}",
        "r = Slice(x, minus, far, i1); y = Neg(r)",
        outputs="float[] y",
    )
    result = tripoint.fix(model, target="8.6", select=[NAME])
    if result.before.lost_dims:
        assert indices(result.model) == [[-1]]
        assert result.after.lost_dims == 0
    assert_same_function(model, result.model, SIZES)


def test_nothing_is_gathered_where_nothing_is_lost() -> None:
    model = build(f"float[2,6,4] x | {CONSTANTS}", "y = Slice(x, i1, i4, i1)")
    assert fixed(model, select=[NAME]).applied == ()


SCALAR = "scalar-gather"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("g = Gather<axis = 1>(x, i2); r = Squeeze(g, i1)", ["Gather", "Neg"]),
        ("g = Gather<axis = -2>(x, i2); r = Squeeze(g, i1)", ["Gather", "Neg"]),
        ("g = Gather<axis = 1>(x, i2); r = Reshape(g, flat)", ["Gather", "Neg"]),
        ("g = Gather<axis = 1>(x, i2); r = Unsqueeze(g, i1)", None),
        ("g = Gather<axis = 1>(x, parts); r = Unsqueeze(g, i1)", None),
        ("g = Gather<axis = 1>(x, i2); h = Exp(g); r = Squeeze(g, i1)", None),
    ],
)
def test_a_gathered_axis_that_is_removed(body: str, expected: list[str] | None) -> None:
    constants = f"{CONSTANTS}, int64[2] flat = {{0,-1}}"
    model = build(f"float[N,6,S] x | {constants}", f"{body}; y = Neg(r)", outputs="float[] y")
    result = fixed(model, SIZES, [SCALAR])
    assert operators(result.model) == (expected or operators(model))
