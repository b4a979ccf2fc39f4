"""Adding 0 and multiplying by 1 is removed, where nothing else changes."""

from __future__ import annotations

import pytest

from tests.helpers.graphs import build, fixed, operators

NAME = "neutral-operand"
SIZES = [{"N": n} for n in (1, 2, 5)]
CONSTANTS = (
    "float[3] zeros = {0.,0.,0.}, float[3] ones = {1.,1.,1.}, float[3] mixed = {0.,1.,0.},"
    "float[1,1,3] deep = {0.,0.,0.}, float zero = {0.}"
)


@pytest.mark.parametrize(
    "body",
    [
        "Add(a, zeros)",
        "Add(zeros, a)",
        "Sub(a, zeros)",
        "Mul(a, ones)",
        "Mul(ones, a)",
        "Div(a, ones)",
        "Add(a, zero)",
    ],
)
def test_gone(body: str) -> None:
    model = build(f"float[N,3] x | {CONSTANTS}", f"a = Relu(x); r = {body}; y = Neg(r)")
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Relu", "Neg"]
    (applied,) = result.applied
    assert (applied.proof.numeric.max_abs_error, applied.proof.numeric.tolerance) == (0.0, 0.0)


@pytest.mark.parametrize(
    "body",
    [
        "Sub(zeros, a)",
        "Div(ones, a)",
        "Add(a, ones)",
        "Mul(a, zeros)",
        "Add(a, mixed)",
        "Add(a, deep)",
        "Add(a, x)",
    ],
)
def test_stays(body: str) -> None:
    model = build(f"float[N,3] x | {CONSTANTS}", f"a = Relu(x); r = {body}; y = Neg(r)")
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_a_constant_that_broadcasts_the_other_operand_stays() -> None:
    model = build(f"float[N,1] x | {CONSTANTS}", "a = Relu(x); y = Add(a, zeros)")
    assert fixed(model, SIZES, [NAME]).applied == ()


@pytest.mark.parametrize(
    "body",
    [
        "r = Add(x, zeros); n = Neg(r); y = Reciprocal(n)",
        "r = Add(zeros, x); t = Transpose(r); y = Div(t, t)",
        "r = Sub(x, negative); y = Pow(r, x)",
    ],
)
def test_zero_stays_where_the_sign_of_a_zero_decides(body: str) -> None:
    constants = f"{CONSTANTS}, float[3] negative = {{-0.,-0.,-0.}}"
    result = fixed(build(f"float[3,3] x | {constants}", body), [{}] * 3, [NAME])
    assert result.applied == ()
    assert "divides by what comes of it" in result.refused[0].reason


@pytest.mark.parametrize(
    "body",
    [
        "r = Add(x, negative); y = Reciprocal(r)",
        "r = Sub(x, zeros); y = Reciprocal(r)",
        "r = Add(x, zeros); s = MatMul(r, r); y = Reciprocal(s)",
        "r = Add(x, zeros); y = Div(r, x)",
        "r = Add(x, zeros); y = Pow(r, ones)",
    ],
)
def test_zero_goes_where_the_sign_of_a_zero_stays_or_does_not_matter(body: str) -> None:
    constants = f"{CONSTANTS}, float[3] negative = {{-0.,-0.,-0.}}"
    result = fixed(build(f"float[3,3] x | {constants}", body), [{}] * 3, [NAME])
    assert [each.rewrite for each in result.applied] == [NAME]
