"""Squeeze, Unsqueeze and Flatten that lose dims become Reshape; Squeeze without axes names them."""

from __future__ import annotations

import pytest

from graphs import build, fixed, operators

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
