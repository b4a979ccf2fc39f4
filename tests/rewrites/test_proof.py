from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tripoint
from tests.helpers.graphs import build
from tripoint import symbols
from tripoint.model import Model
from tripoint.numeric.inputs import MINIMUM_POINTS
from tripoint.rewrites import numbers
from tripoint.rewrites.base import Proof
from tripoint.rewrites.points import Points
from tripoint.rewrites.proof import Side, prove

STATIC = Points(({},) * MINIMUM_POINTS)
CONV = "float[1,2,6,6] x, float[2,2,3,3] w_k"


def outcome(
    inputs: str,
    before: str,
    after: str,
    points: Points = STATIC,
    outputs: str = "y",
    **options: bool,
) -> Proof:
    old, new = (Side.of(build(inputs, body, outputs=outputs).ir) for body in (before, after))
    return prove(old, new, points, **options)


def sizes(*values: int, guessed: bool = False) -> Points:
    return Points(tuple({"N": value} for value in values), guessed)


HOLDS = [
    # (inputs, before, after, whether the numbers must be identical)
    ("float[2,3] x", "y = Relu(x)", "y = Relu(x)", True),
    ("float[2,3] x", "y = Transpose(x)", "a = Neg(x); b = Transpose(a); y = Neg(b)", True),
    ("int64[2,3] x, int64[3] z", "y = Add(x, z)", "y = Add(z, x)", True),
    (
        "float[2,3] x",
        "a = Neg(x); b = Mul(x, a); y = Log(b)",
        "a = Mul(x, x); b = Neg(a); y = Log(b)",
        True,
    ),
    (
        "float[2,3] x, float[3] z | float zero = {0.0}",
        "a = Div(x, zero); y = Add(a, z)",
        "a = Div(x, zero); y = Add(z, a)",
        True,
    ),
    ("float[40,300] x", "y = ReduceSum(x)", "a = Transpose(x); y = ReduceSum(a)", False),
    (
        "float[4,300] x, float[300,5] z",
        "y = MatMul(x, z)",
        "a = Transpose(x); b = Transpose(z); c = MatMul(b, a); y = Transpose(c)",
        False,
    ),
]


@pytest.mark.parametrize(("inputs", "before", "after", "identical"), HOLDS, ids=lambda v: str(v))
def test_holds(inputs: str, before: str, after: str, identical: bool) -> None:
    proof = outcome(inputs, before, after)
    assert proof.holds
    assert (proof.symbolic, proof.numeric.status, proof.reason) == ("holds", "holds", "")
    assert proof.numeric.points == ({}, {}, {})
    assert proof.numeric.max_abs_error is not None
    assert proof.numeric.tolerance is not None
    assert proof.numeric.max_abs_error <= proof.numeric.tolerance
    assert (proof.numeric.tolerance == 0.0) == identical
    assert ("identical" in proof.numeric.reason) == identical


WRONG_SHAPES = [
    ("float[2,3] x", "y = Relu(x)", "y = Transpose(x)"),
    ("float[2,3] x", "y = Relu(x)", "y = Flatten<axis = 0>(x)"),
    ("float[N,3] x", "y = Relu(x)", "y = Concat<axis = 0>(x, x)"),
    ("float[N,3] x", "y = Relu(x)", "y = Transpose(x)"),
    ("float[2,3] x | int64[1] a = {0}", "y = Relu(x)", "y = Unsqueeze(x, a)"),
    (CONV, "y = Conv(x, w_k)", "y = Conv<pads = [1,1,1,1]>(x, w_k)"),
    (CONV, "y = Conv(x, w_k)", "y = Conv<strides = [2,2]>(x, w_k)"),
]


@pytest.mark.parametrize(("inputs", "before", "after"), WRONG_SHAPES, ids=lambda v: str(v)[:40])
def test_wrong_shapes_are_found_without_numbers(inputs: str, before: str, after: str) -> None:
    for numeric in (True, False):
        proof = outcome(inputs, before, after, sizes(1, 2, 3), numeric=numeric)
        assert not proof.holds
        assert proof.symbolic == "fails"
        assert proof.numeric.status == "skipped"
        assert "a shape" in proof.reason


WRONG_NUMBERS = [
    ("float[2,3] x", "y = Relu(x)", "y = Identity(x)"),
    ("float[3,3] x", "y = Identity(x)", "y = Transpose(x)"),
    ("float[2,3] x, float[2,3] z", "y = Sub(x, z)", "y = Sub(z, x)"),
    ("float[2,3] x", "y = Softmax<axis = 0>(x)", "y = Softmax<axis = 1>(x)"),
    ("float[2,3] x | float c = {1.00001}", "y = Neg(x)", "a = Neg(x); y = Mul(a, c)"),
    ("float[9,9] x | float c = {1.0001}", "y = ReduceSum(x)", "a = ReduceSum(x); y = Mul(a, c)"),
    ("int64[2,3] x | int64 c = {1}", "y = Neg(x)", "a = Neg(x); y = Sub(a, c)"),
    ("bool[2,3] x", "y = Not(x)", "y = Identity(x)"),
    ("float[2,3] x", "y = Identity(x)", "y = Sqrt(x)"),  # NaN on one side only
    ("float[2,3] x", "y = Sqrt(x)", "a = Abs(x); y = Sqrt(a)"),
    ("float[2,3] x | float zero = {0.0}", "y = Div(x, zero)", "a = Neg(x); y = Div(a, zero)"),
    ("float[2,3] x | float zero = {0.0}", "y = Identity(x)", "y = Div(x, zero)"),
    ("float[2,3] x", "y = Identity(x)", "y = Cast<to = 11>(x)"),  # another dtype
    (CONV, "y = Conv<pads = [1,1,1,1]>(x, w_k)", "y = Conv<pads = [0,2,2,0]>(x, w_k)"),
    (
        CONV,
        "y = Conv<pads = [1,1,1,1]>(x, w_k)",
        "y = Conv<pads = [2,2,2,2], dilations = [2,2]>(x, w_k)",
    ),
    (
        "float[1,4,6] x, float[4,2,1] w_k",
        "y = Conv<group = 2>(x, w_k)",
        "a = Conv<group = 2>(x, w_k); i, j = Split<axis = 1>(a); y = Concat<axis = 1>(j, i)",
    ),
]


@pytest.mark.parametrize(("inputs", "before", "after"), WRONG_NUMBERS, ids=lambda v: str(v)[:50])
def test_wrong_numbers_are_found(inputs: str, before: str, after: str) -> None:
    proof = outcome(inputs, before, after)
    assert not proof.holds
    assert (proof.symbolic, proof.numeric.status) == ("holds", "fails")
    assert "differs by" in proof.reason


@pytest.mark.parametrize(
    ("after", "symbolic", "numeric"),
    [
        ("y = Neg(x); z = Identity(x)", "holds", "fails"),
        ("y = Neg(x); z = Transpose(x)", "fails", "skipped"),
    ],
)
def test_every_output_is_compared(after: str, symbolic: str, numeric: str) -> None:
    proof = outcome("float[2,3] x", "y = Neg(x); z = Relu(x)", after, outputs="y, z")
    assert (proof.symbolic, proof.numeric.status) == (symbolic, numeric)


@pytest.mark.parametrize(
    ("inputs", "before", "after", "status", "verb"),
    [
        # Two symbols are the same at some sizes only.
        (
            *("float[N] x, float[M] z", "y = Neg(x); u = Neg(z)", "y = Neg(z); u = Neg(x)"),
            *("fails", "changes"),
        ),
        # Not even the rank is known.
        (
            *("float[2,3] x, int64[K] s", "y = Reshape(x, s)", "y = Reshape(x, s)"),
            *("undecided", "the rank of an output is not known"),
        ),
        # Values decide both sizes, and not the same values.
        (
            *("float[3] x, float[3] z", "y = NonZero(x)", "y = NonZero(z)"),
            *("undecided", "may change"),
        ),
    ],
)
def test_shapes_that_are_not_always_the_same_do_not_hold(
    inputs: str, before: str, after: str, status: str, verb: str
) -> None:
    proof = outcome(inputs, before, after, Points(({"N": 2, "M": 2, "K": 1},) * 3))
    assert not proof.holds
    assert (proof.symbolic, proof.numeric.status) == (status, "skipped")
    assert verb in proof.reason


# Points

DYNAMIC = ("float[N,3] x", "y = Relu(x)", "a = Neg(x); b = Neg(a); y = Relu(b)")
AT_LEAST_FIVE = (
    "float[1,1,N] x, float[1,1,5] w_k",
    "y = Conv(x, w_k)",
    "a = Conv(x, w_k); b = Neg(a); y = Neg(b)",
)


@pytest.mark.parametrize(
    ("case", "points", "used"),
    [
        (DYNAMIC, sizes(1, 2, 3), [1, 2, 3]),
        (DYNAMIC, sizes(2, 2, 2), [2, 2, 2]),
        # without numbers there is less to compare, so that these do not count
        (DYNAMIC, sizes(0, 1, 2, 0, 3), [1, 2, 3, 0, 0]),
        (DYNAMIC, sizes(1, 2, 3, 4, 5), [1, 2, 3, 4, 5]),
        (DYNAMIC, sizes(1, 2, 3, 4, 5, guessed=True), [1, 2, 3]),
        (DYNAMIC, Points.guess(["N"]), [1, 2, 5]),
        (AT_LEAST_FIVE, sizes(1, 5, 2, 6, 7), [5, 6, 7]),
        (AT_LEAST_FIVE, Points.guess(["N"]), [5, 8, 16]),
        # fewer than three are taken again with other inputs
        (DYNAMIC, sizes(1, 2), [1, 2, 1]),
        (DYNAMIC, sizes(0, 0, 0, 1, 2), [1, 2, 1, 0, 0, 0]),
        (AT_LEAST_FIVE, sizes(1, 2, 3, 4, 5), [5, 5, 5]),
        (DYNAMIC, sizes(), None),
        (AT_LEAST_FIVE, sizes(1, 2, 3, 4), None),
    ],
)
def test_points(case: tuple[str, str, str], points: Points, used: list[int] | None) -> None:
    proof = outcome(*case, points)
    assert proof.symbolic == "holds"
    if used is None:
        assert (proof.numeric.status, proof.holds) == ("undecided", False)
        assert "at none of the" in proof.reason
        assert proof.numeric.max_abs_error is None
    else:
        assert (proof.numeric.status, proof.holds) == ("holds", True)
        assert [point["N"] for point in proof.numeric.points] == used


def test_few_points_are_told() -> None:
    few = outcome(*DYNAMIC, sizes(0, 4)).numeric
    assert few.reason.endswith("runs at 1 of the 2 points tried, taken again with other inputs")
    assert "taken again" not in outcome(*DYNAMIC, sizes(1, 4, 7)).numeric.reason


def test_difference_at_a_single_size_is_found() -> None:
    # Both sum all elements, but the second drops the fifth row and those behind it.
    proof = outcome(
        "float[N,3] x | int64[1] a = {0}, int64[1] b = {4}",
        "y = ReduceSum<keepdims = 0>(x)",
        "c = Slice(x, a, b, a); y = ReduceSum<keepdims = 0>(c)",
        sizes(1, 4, 5, 6),
    )
    assert proof.numeric.status == "fails"
    assert [point["N"] for point in proof.numeric.points] == [1, 4, 5]


def test_what_cannot_be_executed_is_undecided() -> None:
    # ONNX Runtime has no kernel for a double.
    pool = "y = GlobalAveragePool(x)"
    proof = outcome("double[1,2,3,3] x", pool, pool)
    assert (proof.symbolic, proof.numeric.status, proof.holds) == ("holds", "undecided", False)
    assert "cannot load" in proof.reason


def test_replacement_that_does_not_run_fails() -> None:
    proof = outcome(
        "float[1,1,N] x, float[1,1,5] w_k",
        "y = Relu(x)",
        "a = Conv(x, w_k); b = ReduceSum<keepdims = 0>(a); c = Sub(b, b); d = Relu(x);"
        "y = Add(d, c)",
        sizes(5, 6, 2),
    )
    assert (proof.symbolic, proof.numeric.status) == ("holds", "fails")
    assert "does not run" in proof.reason


def test_numbers_left_out_are_said_to_be() -> None:
    proof = outcome("float[2,3] x", "y = Relu(x)", "y = Identity(x)", numeric=False)
    assert (proof.symbolic, proof.numeric.status) == ("holds", "skipped")
    assert proof.numeric.points == ()
    assert proof.holds


def test_integers_that_serve_as_sizes_are_drawn_until_the_original_runs() -> None:
    proof = outcome(
        "float[1,3] x, int64[2] s",
        "e = Expand(x, s); y = Neg(e)",
        "e = Expand(x, s); a = Neg(e); b = Neg(a); y = Neg(b)",
    )
    assert (proof.symbolic, proof.numeric.status) == ("holds", "holds")


def test_sizes_that_values_decide_in_the_model_are_given_to_a_part() -> None:
    proof = outcome(
        "float[_d3,3] x, float[N,_d3] z",
        "y = MatMul(z, x)",
        "a = Neg(x); b = Neg(z); y = MatMul(b, a)",
        sizes(1, 2, 5),
        outputs="float[] y",
    )
    assert proof.holds
    assert proof.numeric.tolerance > 0.0


@pytest.mark.parametrize(
    ("after", "status"),
    [
        ("a = Neg(x); y = SequenceConstruct(a, z)", "holds"),
        ("a = Relu(x); y = SequenceConstruct(a, z)", "fails"),
        ("a = Neg(x); y = SequenceConstruct(z, a)", "fails"),
        ("a = Neg(x); y = SequenceConstruct(a)", "fails"),
    ],
)
def test_sequences_are_compared_element_by_element(after: str, status: str) -> None:
    inputs, before = "float[2,3] x, float[4] z", "a = Neg(x); y = SequenceConstruct(a, z)"
    old, new = (build(inputs, body, outputs="seq(float[]) y") for body in (before, after))
    terms = numbers.terms_of(new.ir)
    assert numbers.compare(old, new, STATIC, terms, is_part=True).status == status


def test_a_model_that_declares_sizes_without_a_name_is_proven() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,S,8] x) => (float[N,S,8] y)'
        "{ a = Transpose<perm = [0,2,1]>(x) b = Transpose<perm = [0,2,1]>(a) y = Softmax(b) }"
    )
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, None, None])
    proto.graph.output[0].CopyFrom(value)
    result = tripoint.fix(Model(ir.from_proto(proto)), target="8.6")
    assert result.after.nodes == 1
    assert result.proof is not None
    assert (result.proof.numeric.status, result.proof.numeric.tolerance > 0.0) == ("holds", True)


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ({}, "undecided"),
        ({"N": (1, 40)}, "undecided"),
        ({"N": (1, 40), "M": (2, 8)}, "holds"),
        ({"N": (1, 5000), "M": (2, 8)}, "undecided"),
    ],
)
def test_what_algebra_leaves_open_is_tried_over_declared_ranges(
    ranges: dict[str, tuple[int, int]], status: str
) -> None:
    one, other = "floor(N/(2*M))", "floor(floor(N/2)/M)"
    assert symbols.equal(one, other) is None
    points = Points(({"N": 4, "M": 2},) * 3, ranges=ranges)
    old, new = (Side.of(build("float[N,M] x", "y = Relu(x)").ir) for _ in range(2))
    for side, dim in ((old, one), (new, other)):
        side.truth.shapes["y"] = ("M", dim)
    assert prove(old, new, points, numeric=False).symbolic == status


def test_guessed_points() -> None:
    assert Points.guess([]) == STATIC
    several = Points.guess(["N", "H"])
    assert several.guessed
    assert all(point.keys() == {"N", "H"} for point in several.candidates)
    assert any(point["N"] != point["H"] for point in several.candidates[:1])
    assert any(point["N"] == point["H"] for point in several.candidates)


@settings(max_examples=25, deadline=None)
@given(
    st.permutations(range(3)),
    st.permutations(range(3)),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
)
def test_a_permutation_is_proven_only_against_itself(
    first: list[int], second: list[int], dims: list[int]
) -> None:
    proof = outcome(
        f"float[{','.join(map(str, dims))}] x",
        f"y = Transpose<perm = {first}>(x)",
        f"y = Transpose<perm = {second}>(x)",
    )
    # Axes of size 1 may be swapped with impunity.
    wide = [[axis for axis in perm if dims[axis] > 1] for perm in (first, second)]
    same_shape = [dims[axis] for axis in first] == [dims[axis] for axis in second]
    assert proof.holds == (same_shape and wide[0] == wide[1])
