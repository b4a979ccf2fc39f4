"""Operators in a row that only reshape become one, or none."""

from __future__ import annotations

import pytest

from tests.helpers.graphs import build, fixed, operators

NAME = "merged-reshapes"
SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]
CONSTANTS = (
    "int64[1] one = {1}, int64[1] two = {2}, int64[2] both = {1,2}, int64[3] flat = {0,-1,4},"
    "int64[4] deep = {0,2,3,4}, int64[2] all = {-1,4}"
)

ACCEPTED = [
    ("u = Unsqueeze(a, one); r = Squeeze(u, one)", []),
    ("u = Unsqueeze(a, one); v = Unsqueeze(u, one); r = Squeeze(v, both)", []),
    ("u = Reshape(a, deep); r = Reshape(u, flat)", []),
    ("u = Unsqueeze(a, one); r = Unsqueeze(u, one)", [0, 1, 1, 6, 4]),
    ("u = Reshape(a, deep); r = Reshape(u, all)", [-1, 4]),
    ("u = Flatten<axis = 1>(a); r = Unsqueeze(u, one)", [0, 1, 24]),
]


@pytest.mark.parametrize(("body", "operand"), ACCEPTED, ids=lambda v: str(v)[:60])
def test_merged(body: str, operand: list[int]) -> None:
    model = build(
        f"float[N,6,4] x | {CONSTANTS}", f"a = Relu(x); {body}; y = Neg(r)", outputs="float[] y"
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Relu", *(["Reshape"] if operand else []), "Neg"]
    if operand:
        sizes = list(result.model.ir.graph)[1].inputs[1]
        assert sizes is not None
        assert sizes.const_value is not None
        assert list(sizes.const_value.numpy()) == operand


STAYS = [
    # something else reads the tensor in between
    ("u = Unsqueeze(a, one); z = Neg(u); r = Squeeze(u, one)", "y, z"),
    ("u = Unsqueeze(a, one); r = Squeeze(u, one)", "y, u"),
    # alone
    ("r = Unsqueeze(a, one)", "y"),
]


@pytest.mark.parametrize(("body", "outputs"), STAYS)
def test_stays(body: str, outputs: str) -> None:
    model = build(
        f"float[N,6,4] x | {CONSTANTS}", f"a = Relu(x); {body}; y = Neg(r)", outputs=outputs
    )
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_two_dims_that_sizes_decide_stay() -> None:
    model = build(
        f"float[N,S,6] x | {CONSTANTS}",
        "d = Shape(x); t = Transpose<perm = [1,0,2]>(x); e = Shape(t); u = Unsqueeze(x, one);"
        "r = Reshape(u, e); y = Neg(r)",
        outputs="float[] y",
    )
    assert fixed(model, SIZES, [NAME]).applied == ()
