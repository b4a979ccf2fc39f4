"""Sizes without an expression in two graphs, and that a fixed model loads as it is written."""

from __future__ import annotations

import onnx
import pytest

import tripoint
from tests.helpers.graphs import (
    assert_same_function,
    build,
    execute,
    feed,
    fixed,
    operators,
    to_bytes,
)
from tripoint.model import Model
from tripoint.numeric.inputs import MINIMUM_POINTS
from tripoint.rewrites.base import Proof
from tripoint.rewrites.points import Points
from tripoint.rewrites.proof import Side, prove

POINTS = Points(({"N": 1}, {"N": 4}, {"N": 7})[:MINIMUM_POINTS])
INPUTS = "float[N,3] x, float[N,3] z"


def outcome(before: str, after: str, kept: tuple[str, ...] | None = None) -> Proof:
    old, new = (Side.of(build(INPUTS, body, outputs="int64[] y").ir) for body in (before, after))
    return prove(old, new, POINTS, kept=kept)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y = NonZero(x)", "a = NonZero(x); y = Identity(a)"),
        (
            "a = NonZero(x); b = NonZero(z); y = Concat<axis = 1>(a, b)",
            "b = NonZero(z); a = NonZero(x); y = Concat<axis = 1>(a, b)",
        ),
        (
            "n = Relu(x); a = NonZero(n); y = Transpose(a)",
            "b = NonZero(z); m = Relu(x); c = NonZero(m); y = Transpose(c)",
        ),
    ],
)
def test_the_same_node_on_the_same_tensors_gives_the_same_sizes(before: str, after: str) -> None:
    assert outcome(before, after).symbolic == "holds"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y = NonZero(x)", "y = NonZero(z)"),
        ("y = NonZero(x)", "a = Relu(x); y = NonZero(a)"),
        ("a = NonZero(x); b = NonZero(z); y = Identity(a)", "b = NonZero(z); y = Identity(b)"),
        (
            "a = RandomUniformLike(x); b = Floor(a); y = NonZero(b)",
            "a = RandomUniformLike(x); b = Floor(a); y = NonZero(b)",
        ),
    ],
)
def test_the_same_running_number_means_nothing(before: str, after: str) -> None:
    assert outcome(before, after).symbolic == "undecided"


def test_branches_in_another_order_are_other_branches() -> None:
    positive = "then_branch = f () => (float[N,3] u) { u = Relu(x) }"
    negative = "else_branch = g () => (float[N,3] w) { w = Neg(x) }"
    swapped = "else_branch = g () => (float[N,3] w) { w = Relu(x) }"
    other = "then_branch = f () => (float[N,3] u) { u = Neg(x) }"
    head, tail = "s = ReduceSum<keepdims = 0>(z); c = Cast<to = 9>(s); r = If (c)", "y = NonZero(r)"
    before = f"{head} <{positive}, {negative}>; {tail}"
    assert outcome(before, f"{head} <{negative}, {positive}>; {tail}").symbolic == "holds"
    assert outcome(before, f"{head} <{swapped}, {other}>; {tail}").symbolic == "undecided"


def test_a_decided_if_is_its_live_branch() -> None:
    then = "then_branch = f () => (int64[3,?] u) { u = NonZero(x) }"
    otherwise = "else_branch = g () => (int64[3,?] w) { w = NonZero(z) }"
    decided = f"c = Constant<value = bool {{1}}>(); y = If (c) <{then}, {otherwise}>"
    assert outcome(decided, "y = NonZero(x)").symbolic == "holds"
    assert outcome(decided, "y = NonZero(z)").symbolic != "holds"


def test_tensors_that_are_known_to_be_the_same() -> None:
    before = "a = Relu(x); n = NonZero(a); y = Transpose(n)"
    after = "b = Max(x); a = Relu(b); n = NonZero(a); y = Transpose(n)"
    assert outcome(before, after).symbolic == "undecided"
    assert outcome(before, after, ("a",)).symbolic == "holds"


def test_a_size_that_data_decides_is_left_and_the_others_are_written() -> None:
    model = build("float[3,1] x, int64[3] s", "y = Expand(x, s)", outputs="float[?,3,?] y")
    result = tripoint.fix(model, target="7.1", numeric=False)
    assert [each.rewrite for each in result.applied] == ["materialise"]
    assert result.proven
    assert "y" in {each.name for each in result.facts_before.table.tensors if each.lost}
    assert "y" not in {each.tensor for each in result.remaining}


def test_a_symbol_of_the_model_may_look_like_one_that_was_made_up() -> None:
    body = "a = NonZero(x); y = Transpose(a)"
    model = build("float[_d0,3] x", body, outputs="int64[] y")
    result = tripoint.fix(model, target="7.1")
    assert_same_function(model, result.model, [{"_d0": 2}, {"_d0": 3}])


# What is written must load


def test_an_old_ir_version_is_raised_for_an_initializer_that_is_no_input() -> None:
    model = build(
        "float[2,3] x", "s = Constant<value = int64[1] {6}>(); y = Reshape(x, s)", opset=8
    )
    model.ir.ir_version = 3
    result = tripoint.fix(model, target="7.1")
    assert model.ir.ir_version == 3
    assert result.applied
    assert result.model.ir.ir_version == 4
    onnx.checker.check_model(onnx.load_from_string(to_bytes(result.model)))


def test_an_old_ir_version_stays_without_one() -> None:
    model = build("float[2,3] x", "a = Identity(x); y = Relu(a)", opset=8)
    model.ir.ir_version = 3
    result = tripoint.fix(model, target="7.1")
    assert result.applied
    assert result.model.ir.ir_version == 3


@pytest.mark.parametrize("numeric", [True, False])
def test_a_model_that_does_not_load_any_more_is_not_proven(numeric: bool) -> None:
    model = build("float[2,3] x", "y = Relu(x)")
    side = Side.of(model.ir.clone())
    written = Model(model.ir.clone())
    written.ir.graph[0].op_type = "NoSuchOperator"
    points = Points(({},) * MINIMUM_POINTS)
    proof = prove(side, side, points, numeric=numeric, kept=(), written=written)
    assert not proof.holds
    assert "cannot load" in proof.reason
    assert prove(side, side, points, numeric=numeric, kept=(), written=model).holds


def test_a_dead_branch_does_not_hold_its_condition_back() -> None:
    branches = (
        "r = If (c) <then_branch = f () => (float[4,3] u) { u = Neg(a) },"
        " else_branch = g () => (float[4,3] w) { k = Shape(a) m = Cast<to = 1>(k)"
        " o = ReduceSum<keepdims = 0>(m) w = Mul(a, o) }>"
    )
    model = build(
        "float[4,3] x | int64 zero = {0}, int64 four = {4}",
        f"s = Shape(x); n = Gather(s, zero); c = Equal(n, four); a = Relu(x); {branches};"
        "y = Neg(r)",
    )
    assert operators(fixed(model).model) == ["Relu", "Neg", "Neg"]


RESIZE = 'mode = "nearest", coordinate_transformation_mode = "{}", nearest_mode = "floor"'


def resized(way: str) -> Model:
    return build(
        "float[1,2,5,4] x | float[0] none = {}, int64[4] z = {1,2,9,8}",
        f"r = Resize<{RESIZE.format(way)}>(x, none, none, z); y = Neg(r)",
    )


def test_a_scale_that_gives_the_size_however_it_is_multiplied() -> None:
    model = resized("asymmetric")
    result = fixed(model)
    scale = result.model.ir.graph[0].inputs[2]
    assert scale is not None
    assert scale.const_value is not None
    rows = float(scale.const_value.numpy()[2])
    assert 9 <= 5 * rows < 9.001
    assert execute(result.model, feed(model))[0].shape == (1, 2, 9, 8)


def test_a_scale_that_would_take_other_elements_is_refused() -> None:
    result = fixed(resized("half_pixel"))
    assert "constant-sizes" not in {each.rewrite for each in result.applied}
