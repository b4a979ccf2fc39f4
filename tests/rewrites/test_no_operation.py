"""Operators that give their input back are removed, others are not."""

from __future__ import annotations

import pytest

from tests.helpers.graphs import build, fixed, interface, operators

NAME = "no-operation"
SIZES = [{"N": n} for n in (1, 2, 5)]
CONSTANTS = (
    "int64[2] whole = {-1,6}, int64[2] half = {-1,3}, int64[2] ones = {1,1}, int64[2] two = {1,2},"
    "int64[1] zero = {0}, int64[1] one = {1}, int64[1] end = {100}, int64[1] minus = {-1},"
    "int64[1] before = {-100}, int64[4] none = {0,0,0,0}, int64[4] some = {0,1,0,-1}"
)

GONE = [
    "r = Identity(a)",
    "r = Cast<to = 1>(a)",
    "r = Transpose<perm = [0,1]>(a)",
    "r = Reshape(a, whole)",
    "s = Shape(a); r = Reshape(a, s)",
    "r = Expand(a, ones)",
    "s = Shape(a); r = Expand(a, s)",
    "r = Tile(a, ones)",
    "r = Flatten<axis = 1>(a)",
    "r = Slice(a, zero, end, one)",
    "r = Slice(a, zero, end, one, one)",
    "r = Pad(a, none)",
    "r = Concat<axis = 1>(a)",
    "r = Max(a)",
    "r = Sum(a)",
    "r = Dropout(a)",
]
STAYS = [
    "r = Neg(a)",
    "r = Cast<to = 11>(a)",
    "r = Transpose<perm = [1,0]>(a)",
    "r = Reshape(a, half)",
    "r = Tile(a, two)",
    "r = Slice(a, one, end, one)",
    "r = Slice(a, minus, before, one, minus)",
    "r = Pad(a, some)",
    "r = Concat<axis = 1>(a, a)",
]


@pytest.mark.parametrize("body", GONE)
def test_gone(body: str) -> None:
    model = build(
        f"float[N,6] x | {CONSTANTS}", f"a = Relu(x); {body}; y = Neg(r)", outputs="float[N,6] y"
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Relu", "Neg"]


@pytest.mark.parametrize("body", STAYS)
def test_stays(body: str) -> None:
    model = build(f"float[N,6] x | {CONSTANTS}", f"a = Relu(x); {body}; y = Neg(r)")
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_the_name_of_a_graph_output_moves_on() -> None:
    model = build("float[N,6] x", "a = Relu(x); z = Neg(a); y = Identity(a)", outputs="y, z")
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Relu", "Neg"]
    assert interface(result.model) == interface(model)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = Identity(x)", "y"),
        ("a = Relu(x); y = Identity(a)", "y, a"),
        ("y = Identity(w_k); z = Relu(x)", "y, z"),
    ],
)
def test_an_output_needs_a_node_of_its_own(body: str, outputs: str) -> None:
    model = build("float[N,6] x, float[2] w_k", body, outputs=outputs)
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_a_dynamic_size_that_may_differ_keeps_the_operator() -> None:
    model = build("float[N,M] x, float[N,K] o", "s = Shape(o); r = Reshape(x, s); y = Neg(r)")
    assert fixed(model, [{"N": 2, "M": 3, "K": 3}] * 3, [NAME]).applied == ()


def test_a_mask_that_is_read_keeps_the_dropout() -> None:
    model = build("float[N,6] x", "r, m = Dropout(x); y = Neg(r)", outputs="y, m")
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_initializers_behind_an_identity_are_read_themselves() -> None:
    model = build("float[N,6] x, float[6] w_k", "w = Identity(w_k); y = Add(x, w)")
    result = fixed(model, SIZES, [NAME])
    (node,) = result.model.ir.graph
    assert [value.name for value in node.inputs if value] == ["x", "w_k"]
