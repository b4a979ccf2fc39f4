"""The live branch of a decided If, and the guard against NaN downstream of a Softmax."""

from __future__ import annotations

import numpy as np
import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, build, execute, fixed, operators
from tripoint.errors import UsageError
from tripoint.rewrites.fix import fix

IF, GUARD = "decided-if", "nan-guard"
BRANCHES = (
    "r = If (c) <then_branch = f () => (float[N,3] u) { v = Neg(a) u = Exp(v) },"
    " else_branch = g () => (float[N,3] w) { w = Abs(a) }>"
)


@pytest.mark.parametrize(("value", "expected"), [(1, ["Neg", "Exp"]), (0, ["Abs"])])
def test_the_live_branch_takes_the_place_of_the_if(value: int, expected: list[str]) -> None:
    model = build(f"float[N,3] x | bool c = {{{value}}}", f"a = Relu(x); {BRANCHES}; y = Neg(r)")
    result = fixed(model, [{"N": n} for n in (1, 2, 3)], [IF])
    assert operators(result.model) == ["Relu", *expected, "Neg"]
    assert [node.name or node.outputs[0].name for node in result.model.ir.graph][-1] == "y"
    names = [value.name for node in result.model.ir.graph for value in node.outputs]
    assert len(set(names)) == len(names)


def test_a_branch_whose_result_is_the_graph_output() -> None:
    body = BRANCHES.replace("r =", "y =")
    model = build("float[N,3] x | bool c = {1}", f"a = Relu(x); {body}", outputs="float[N,3] y")
    result = fixed(model, [{"N": 2}], [IF])
    assert operators(result.model) == ["Relu", "Neg", "Exp"]


def test_a_condition_that_the_caller_gives_stays() -> None:
    model = build("float[N,3] x, bool c", f"a = Relu(x); {BRANCHES}; y = Neg(r)")
    assert fixed(model, [{"N": 2}], [IF]).applied == ()


def test_shapes_decide_a_condition() -> None:
    model = build(
        "float[N,3] x | int64 one = {1}, int64 three = {3}",
        f"s = Shape(x); n = Gather(s, one); c = Equal(n, three); a = Relu(x); {BRANCHES};"
        "y = Neg(r)",
    )
    result = fixed(model, [{"N": n} for n in (1, 2, 3)])
    assert operators(result.model) == ["Relu", "Neg", "Exp", "Neg"]


GUARDED = "p = Softmax(x); n = IsNaN(p); w = Where(n, zero, p); y = Neg(w)"


def test_the_guard_is_only_removed_where_that_was_asked_for() -> None:
    model = build("float[2,3] x | float zero = {0.}", GUARDED)
    assert tripoint.fix(model, target="7.1").applied == ()
    with pytest.raises(UsageError, match="unsafe: where a whole row is masked out"):
        tripoint.fix(model, target="7.1", select=[GUARD])


def test_the_guard_is_removed_and_the_corner_case_is_what_is_written() -> None:
    model = build("float[2,3] x | float zero = {0.}", GUARDED)
    result = fix(model, target="7.1", unsafe=True)
    assert operators(result.model) == ["Softmax", "Neg"]
    assert result.proven
    assert_same_function(model, result.model)
    masked = {"x": np.full((2, 3), -np.inf, np.float32)}
    assert not execute(model, masked)[0].any()
    assert np.isnan(execute(result.model, masked)[0]).all()


@pytest.mark.parametrize(
    "body",
    [
        GUARDED.replace("Where(n, zero, p)", "Where(n, p, zero)"),
        GUARDED.replace("zero, p)", "one, p)"),
        GUARDED.replace("Softmax(x)", "Log(x)"),
        GUARDED.replace("IsNaN(p)", "IsNaN(x)"),
    ],
)
def test_what_is_no_guard_stays(body: str) -> None:
    model = build("float[N,3] x | float zero = {0.}, float one = {1.}", body)
    assert fix(model, target="7.1", unsafe=True, select=[GUARD]).applied == ()
