"""Constant nodes, repeated computations, and what nothing reads."""

from __future__ import annotations

import pytest

import tripoint
from tests.helpers.graphs import build, fixed, operators

CONSTANTS, REPEATED, UNREAD = "constant-nodes", "common-subexpressions", "unread"
SIZES = [{"N": n} for n in (1, 2, 5)]


def test_constant_nodes_become_initializers() -> None:
    model = build(
        "float[N,3] x",
        "k = Constant<value = float[3] {1.,2.,3.}>(); m = Constant<value_float = 2.0>();"
        "a = Mul(x, k); y = Mul(a, m)",
    )
    for node in model.ir.graph:
        node.metadata_props["trace"] = f"{node.op_type}.py"
    result = fixed(model, SIZES, [CONSTANTS])
    assert operators(result.model) == ["Mul", "Mul"]
    held = result.model.ir.graph.initializers
    assert list(held) == ["k", "m"]
    assert held["k"].metadata_props["trace"] == "Constant.py"
    (applied,) = result.applied
    assert applied.nodes == ("k", "m")
    assert applied.proof == result.proof


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = Constant<value = float[3] {1.,2.,3.}>()", "y"),
        ('y = Neg(x); z = Constant<value_string = "a">()', "y, string z"),
    ],
)
def test_constant_nodes_that_stay(body: str, outputs: str) -> None:
    model = build("float[3] x", body, outputs=outputs)
    assert fixed(model, select=[CONSTANTS]).applied == ()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Exp(x); b = Exp(x); y = Add(a, b)", ["Exp", "Add"]),
        ("a = Add(x, k); b = Add(x, l); y = Mul(a, b)", ["Add", "Mul"]),
        (
            "a = Exp(x); b = Exp(x); c = Neg(a); d = Neg(b); y = Add(c, d)",
            ["Exp", "Neg", "Add"],
        ),
        ("a = Exp(x); b = Exp(k); y = Add(a, b)", None),
        ("a = Transpose<perm = [0,1]>(x); b = Transpose<perm = [1,0]>(x); y = MatMul(b, a)", None),
        ("a = Add(x, k); b = Add(x, m); y = Mul(a, b)", None),
    ],
)
def test_repeated_computations(body: str, expected: list[str] | None) -> None:
    constants = "float[1] k = {2.}, float[1] l = {2.}, float[1] m = {3.}"
    model = build(f"float[N,3] x | {constants}", body, outputs="float[] y")
    result = fixed(model, SIZES, [REPEATED])
    assert operators(result.model) == (expected or operators(model))


def test_random_numbers_and_graph_outputs_are_not_shared() -> None:
    model = build("float[3] x", "y = Exp(x); z = Exp(x)", outputs="y, z")
    assert fixed(model, select=[REPEATED]).applied == ()
    model = build("float[3] x", "a = RandomNormalLike(x); b = RandomNormalLike(x); y = Sub(a, b)")
    assert tripoint.fix(model, target="7.1", select=[REPEATED]).applied == ()


def test_what_nothing_reads_is_removed() -> None:
    model = build(
        "float[N,3] x, float[3] b | float[1] k = {2.}, float[1] l = {2.}",
        "a = Exp(x); c = Add(a, k); d = Neg(c); y = Neg(x)",
    )
    result = fixed(model, SIZES, [UNREAD])
    assert operators(result.model) == ["Neg"]
    assert list(result.model.ir.graph.initializers) == []
    assert [value.name for value in result.model.ir.graph.inputs] == ["x", "b"]
    assert {name for each in result.applied for name in each.nodes} == {"a", "c", "d"}


def test_what_a_nested_graph_reads_stays() -> None:
    model = build(
        "float[N,3] x, bool c | float[1] k = {2.}",
        "a = Exp(x); y = If (c) <then_branch = f () => (float[N,3] u) { u = Add(a, k) },"
        " else_branch = g () => (float[N,3] w) { w = Abs(x) }>",
        outputs="float[N,3] y",
    )
    assert fixed(model, SIZES, [UNREAD]).applied == ()
