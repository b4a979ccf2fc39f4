"""Transposes in a row, and Transposes between Reshapes, become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tripoint
from tests.helpers.graphs import assert_same_function, build, fixed, operators

ROW, BETWEEN = "merged-transposes", "permuting-reshapes"
SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("<perm = [1,2,0]>", "<perm = [1,2,0]>", [2, 0, 1]),
        ("<perm = [1,2,0]>", "<perm = [2,0,1]>", None),
        ("", "", None),
        ("", "<perm = [0,2,1]>", [2, 0, 1]),
    ],
)
def test_transposes_in_a_row(first: str, second: str, expected: list[int] | None) -> None:
    model = build(
        "float[N,S,4] x",
        f"a = Relu(x); t = Transpose{first}(a); u = Transpose{second}(t);y = Neg(u)",
        outputs="float[] y",
    )
    result = fixed(model, SIZES, [ROW])
    assert operators(result.model) == ["Relu", *(["Transpose"] if expected else []), "Neg"]
    if expected:
        assert list(list(result.model.ir.graph)[1].attributes["perm"].value) == expected


@pytest.mark.parametrize("outputs", ["y, t", "y, z"])
def test_a_tensor_between_them_that_is_read_stays(outputs: str) -> None:
    model = build(
        "float[N,S,4] x", "t = Transpose(x); z = Neg(t); y = Transpose(t)", outputs=outputs
    )
    assert fixed(model, SIZES, [ROW]).applied == ()


SHAPES = "s = Shape(x); n = Gather<axis = 0>(s, i0); t = Gather<axis = 0>(s, i2); "
BETWEEN_RESHAPES = [
    # heads merged into the batch and split off again
    (
        "float[N,12,S,64] x",
        "c = Concat<axis = 0>(open, t, last); r = Reshape(x, c); p = Transpose<perm = [0,2,1]>(r);"
        "d = Concat<axis = 0>(n, k12, last, t); u = Reshape(p, d)",
        [0, 1, 3, 2],
    ),
    # spatial axes merged, moved and split
    (
        "float[N,8,S,5] x",
        "f = Concat<axis = 0>(n, k8, open); r = Reshape(x, f); p = Transpose<perm = [0,2,1]>(r);"
        "d = Concat<axis = 0>(n, t, k5, k8); u = Reshape(p, d)",
        [0, 2, 3, 1],
    ),
    # an axis split, its parts together again
    (
        "float[N,12,S,7] x",
        "d = Concat<axis = 0>(n, k3, k4, t, k7); r = Reshape(x, d);"
        "p = Transpose<perm = [0,3,1,2,4]>(r); e = Concat<axis = 0>(n, t, k12, k7);"
        "u = Reshape(p, e)",
        [0, 2, 1, 3],
    ),
    # an axis of size 1
    (
        "float[N,1,S,7] x",
        "f = Concat<axis = 0>(n, t, k7); r = Reshape(x, f); p = Transpose<perm = [0,2,1]>(r);"
        "d = Concat<axis = 0>(n, k7, t, k1); u = Reshape(p, d)",
        [0, 3, 2, 1],
    ),
]
STAYS = [
    # the parts of an axis come apart
    (
        "float[N,12,S,7] x",
        "d = Concat<axis = 0>(n, k3, k4, t, k7); r = Reshape(x, d);"
        "p = Transpose<perm = [0,2,3,1,4]>(r); e = Concat<axis = 0>(n, k4, t, k3, k7);"
        "u = Reshape(p, e)",
    ),
    # an axis of the result is a product
    (
        "float[N,12,S,7] x",
        "d = Concat<axis = 0>(n, k12, open); r = Reshape(x, d); p = Transpose<perm = [0,2,1]>(r);"
        "e = Concat<axis = 0>(n, open, k12, k1); u = Reshape(p, e)",
    ),
]
CONSTANTS = ", ".join(
    [
        *("int64[1] i0 = {0}", "int64[1] i2 = {2}", "int64[1] open = {-1}", "int64[1] last = {64}"),
        *(f"int64[1] k{size} = {{{size}}}" for size in (1, 3, 4, 5, 7, 8, 12)),
    ]
)


@pytest.mark.parametrize(("inputs", "body", "perm"), BETWEEN_RESHAPES, ids=lambda v: str(v)[:40])
def test_between_reshapes(inputs: str, body: str, perm: list[int]) -> None:
    model = build(f"{inputs} | {CONSTANTS}", f"{SHAPES}{body}; y = Neg(u)", outputs="float[] y")
    result = fixed(model, SIZES, [BETWEEN])
    assert [each.rewrite for each in result.applied] == [BETWEEN]
    (transpose,) = (node for node in result.model.ir.graph if node.op_type == "Transpose")
    assert list(transpose.attributes["perm"].value) == perm
    assert "Reshape" not in operators(result.model)


@pytest.mark.parametrize(("inputs", "body"), STAYS, ids=lambda v: str(v)[:40])
def test_other_reshapes_stay(inputs: str, body: str) -> None:
    model = build(f"{inputs} | {CONSTANTS}", f"{SHAPES}{body}; y = Neg(u)", outputs="float[] y")
    assert fixed(model, SIZES, [BETWEEN]).applied == ()


@st.composite
def merged_and_moved(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[int]]:
    """Sizes of x, of x with axes merged, how those move, and what they are split into."""
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=5))
    cuts = sorted(draw(st.sets(st.integers(1, len(sizes) - 1), max_size=3)))
    groups = [sizes[a:b] for a, b in zip([0, *cuts], [*cuts, len(sizes)], strict=True)]
    perm = draw(st.permutations(range(len(groups))))
    return sizes, [int(np.prod(g)) for g in groups], perm, [d for i in perm for d in groups[i]]


@settings(max_examples=60, deadline=None)
@given(merged_and_moved(), st.booleans())
def test_any_axes_that_are_merged_moved_and_split(
    case: tuple[list[int], list[int], list[int], list[int]], split_differently: bool
) -> None:
    sizes, merged, perm, split = case
    if split_differently:
        split = split[::-1]

    def constant(name: str, values: list[int]) -> str:
        return f"int64[{len(values)}] {name} = {{{','.join(map(str, values))}}}"

    model = build(
        f"float[{','.join(map(str, sizes))}] x | {constant('m', merged)}, {constant('w', split)}",
        f"r = Reshape(x, m); p = Transpose<perm = {list(perm)}>(r); u = Reshape(p, w); y = Neg(u)",
    )
    result: Any = tripoint.fix(model, target="7.1", select=[BETWEEN], numeric=False)
    if not split_differently:
        assert [each.rewrite for each in result.applied] == [BETWEEN]
    assert_same_function(model, result.model)


# A Gather in between

ACROSS = "transposes-across-gather"
INDICES = "float[N,4,S] x | int64[2] i = {2,0}, int64 scalar = {1}"


@pytest.mark.parametrize(
    ("body", "axis"),
    [
        ("g = Gather<axis = 2>(t, i); y = Transpose<perm = [0,2,1]>(g)", 1),
        ("g = Gather<axis = -1>(t, i); r = Relu(g); y = Transpose<perm = [0,2,1]>(r)", 1),
        ("r = Neg(t); g = Gather<axis = 2>(r, i); y = Transpose<perm = [0,2,1]>(g)", 1),
    ],
)
def test_transposes_around_a_gather(body: str, axis: int) -> None:
    model = build(INDICES, f"t = Transpose<perm = [0,2,1]>(x); {body}", outputs="float[] y")
    result = fixed(model, SIZES, [ACROSS])
    assert "Transpose" not in operators(result.model)
    gather = next(node for node in result.model.ir.graph if node.op_type == "Gather")
    assert gather.attributes.get_int("axis") == axis


def test_a_transpose_that_others_read_stays_in_front_of_a_gather() -> None:
    model = build(
        INDICES,
        "t = Transpose<perm = [0,2,1]>(x); g = Gather<axis = 2>(t, i);"
        "y = Transpose<perm = [0,2,1]>(g); z = Relu(t)",
        outputs="float[] y, float[] z",
    )
    result = fixed(model, SIZES, [ACROSS])
    assert sorted(operators(result.model)) == ["Gather", "Relu", "Transpose"]


@pytest.mark.parametrize(
    "body",
    [
        "g = Gather<axis = 2>(t, i); y = Transpose<perm = [1,2,0]>(g)",
        "g = Gather<axis = 2>(t, scalar); y = Transpose<perm = [1,0]>(g)",
        "g = Gather<axis = 2>(t, i); r = Softmax(g); y = Transpose<perm = [0,2,1]>(r)",
        "g = Gather<axis = 2>(t, i); h = Gather<axis = 2>(g, i); y = Transpose<perm = [0,2,1]>(h)",
    ],
)
def test_transposes_that_do_not_cancel_stay(body: str) -> None:
    model = build(INDICES, f"t = Transpose<perm = [0,2,1]>(x); {body}", outputs="float[] y")
    assert fixed(model, SIZES, [ACROSS]).applied == ()


def test_what_lies_between_and_is_read_stays() -> None:
    model = build(
        INDICES,
        "t = Transpose<perm = [0,2,1]>(x); g = Gather<axis = 2>(t, i);"
        "y = Transpose<perm = [0,2,1]>(g)",
        outputs="float[] y, float[] g",
    )
    assert fixed(model, SIZES, [ACROSS]).applied == ()
