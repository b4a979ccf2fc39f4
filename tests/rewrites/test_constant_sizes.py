"""Size operands become constants wherever the shapes decide them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, build, fixed, operators
from tripoint.model import Model

NAME = "constant-sizes"
SIZES = [{"N": n, "S": n + 2, "H": 2 * n + 4} for n in (1, 2, 5)]


def operand(model: Model, op: str, position: int) -> list[float]:
    """A constant operand of the only node of an operator."""
    (node,) = (node for node in model.ir.graph if node.op_type == op)
    value = node.inputs[position]
    assert value is not None
    assert value.const_value is not None
    return list(value.const_value.numpy())


def computed(inputs: str, dims: list[str], op: str = "Reshape") -> Model:
    """A model whose size operand is concatenated from sizes of ``x`` (``x0``) and integers."""
    pieces = []
    body = "s = Shape(x); "
    constants = ["int64[1] zero = {0}"]
    for index, dim in enumerate(dims):
        if dim.startswith("x"):
            constants.append(f"int64[1] at{index} = {{{dim[1:]}}}")
            body += f"p{index} = Gather<axis = 0>(s, at{index}); "
        else:
            constants.append(f"int64[1] p{index} = {{{dim}}}")
        pieces.append(f"p{index}")
    body += f"c = Concat<axis = 0>({', '.join(pieces)}); r = {op}(x, c); y = Neg(r)"
    return build(f"{inputs} | {', '.join(constants)}", body, outputs="float[] y")


RESHAPES = [
    # (input, operand as it is computed, operand that says the same)
    ("float[N,S,768] x", ["x0", "x1", "12", "64"], [0, 0, 12, 64]),
    ("float[N,12,S,64] x", ["x0", "12", "x2", "-1"], [0, 12, 0, 64]),
    ("float[N,6,S] x", ["x0", "-1"], [0, -1]),
    ("float[N,6,S] x", ["-1", "x2"], None),
    ("float[N,6,7] x", ["x0", "-1"], [0, 42]),
    ("float[N,6,7] x", ["-1", "x2"], [-1, 7]),
    ("float[N,6,S] x", ["x2", "x1", "x0"], None),
    ("float[2,6,S] x", ["x1", "x0", "x2"], [6, 2, 0]),
    ("float[2,6,S] x", ["x2", "12"], [-1, 12]),
]


@pytest.mark.parametrize(("inputs", "dims", "expected"), RESHAPES, ids=lambda v: str(v)[:40])
def test_reshape(inputs: str, dims: list[str], expected: list[int] | None) -> None:
    if expected is None:
        # Neither dynamic dim is on an axis of the input that has it.
        result = fixed(computed(inputs, dims), SIZES, [NAME])
        assert result.applied == ()
        assert all("both decided at run time" in each.reason for each in result.refused)
        assert bool(result.refused) is bool(result.remaining)
        return
    result = fixed(computed(inputs, dims), SIZES, [NAME])
    assert operators(result.model) == ["Reshape", "Neg"]
    assert operand(result.model, "Reshape", 1) == expected
    assert result.after.lost_dims == 0


def test_allowzero_is_not_needed_any_more() -> None:
    model = build(
        "float[N,S,6] x | int64[1] i = {0}, int64[1] j = {1}, int64[2] k = {2,3}",
        "s = Shape(x); n = Gather<axis = 0>(s, i); t = Gather<axis = 0>(s, j);"
        "c = Concat<axis = 0>(n, t, k); r = Reshape<allowzero = 1>(x, c); y = Neg(r)",
        opset=14,
    )
    result = fixed(model, SIZES, [NAME])
    (reshape, _) = result.model.ir.graph
    assert reshape.attributes.get_int("allowzero", 0) == 0
    assert operand(result.model, "Reshape", 1) == [0, 0, 2, 3]


def test_a_size_of_zero_is_refused() -> None:
    result = fixed(computed("float[0,6,7] x", ["x0", "42"]), select=[NAME])
    assert result.applied == ()
    assert [refused.reason for refused in result.refused] == [
        "a size of 0 cannot be told from a copied one"
    ]


def test_the_last_dim_of_the_result_is_written_out_where_it_was_lost() -> None:
    model = build("float[N,S,768] x | int64[4] c = {0,0,12,-1}", "r = Reshape(x, c); y = Neg(r)")
    result = fixed(model, SIZES, [NAME])
    assert operand(result.model, "Reshape", 1) == [0, 0, 12, 64]


def test_a_constant_operand_that_loses_nothing_stays() -> None:
    model = build("float[N,S] x | int64[2] c = {-1,1}", "y = Reshape(x, c)")
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_equal_operands_are_one_initializer() -> None:
    model = build(
        "float[N,S,6] x, float[N,S,6] z | int64[1] i = {0}, int64[1] j = {1}, int64[2] k = {2,3}",
        "s = Shape(x); n = Gather<axis = 0>(s, i); t = Gather<axis = 0>(s, j);"
        "c = Concat<axis = 0>(n, t, k); p = Reshape(x, c); q = Reshape(z, c); y = Add(p, q)",
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Reshape", "Reshape", "Add"]
    assert list(result.model.ir.graph.initializers) == ["sizes_0_0_2_3"]


def test_elements_that_are_known_become_constant_where_others_do_not() -> None:
    model = build(
        "float[N,6,H,S] f | int64[1] i = {0}, int64[1] j = {2}, int64[1] k = {3},"
        "int64[1] open = {-1}, int64[3] flat = {0,6,-1}",
        "g = Reshape(f, flat); x = Transpose<perm = [0,2,1]>(g); s = Shape(f);"
        "n = Gather<axis = 0>(s, i); h = Gather<axis = 0>(s, j);"
        "w = Gather<axis = 0>(s, k); c = Concat<axis = 0>(n, h, w, open); r = Reshape(x, c);"
        "y = Neg(r)",
        outputs="float[] y",
    )
    # TensorRT folds operands element by element since 8.0.
    result = tripoint.fix(model, target="8.6", select=[NAME])
    assert [each.rewrite for each in result.applied] == [NAME]
    assert result.proven
    assert (result.before.lost_dims, result.after.lost_dims) == (2, 0)
    concat = next(node for node in result.model.ir.graph if node.op_type == "Concat")
    last = concat.inputs[-1]
    assert last is not None
    assert last.const_value is not None
    assert list(last.const_value.numpy()) == [6]
    assert tripoint.fix(result.model, target="8.6", select=[NAME]).applied == ()
    assert_same_function(model, result.model, SIZES)


EXPANDS = [
    ("float[N,1,H] x", ["x0", "3", "x2"], [1, 3, 1]),
    ("float[1,1,H] x", ["2", "3", "x2"], [2, 3, 1]),
    ("float[H] x", ["2", "3", "x0"], [2, 3, 1]),
]


@pytest.mark.parametrize(("inputs", "dims", "expected"), EXPANDS, ids=lambda v: str(v)[:40])
def test_expand(inputs: str, dims: list[str], expected: list[int]) -> None:
    result = fixed(computed(inputs, dims, "Expand"), SIZES, [NAME])
    assert operators(result.model) == ["Expand", "Neg"]
    assert operand(result.model, "Expand", 1) == expected


def test_expand_to_a_dynamic_size_is_refused() -> None:
    model = build("float[1,3] x, float[N,3] o", "s = Shape(o); e = Expand(x, s); y = Neg(e)")
    result = fixed(model, SIZES, [NAME])
    assert result.applied == ()
    (refused,) = result.refused
    assert (refused.node, refused.reason) == ("e", "axis 0 becomes N only at run time")


def test_tile() -> None:
    model = build(
        "float[N,3] x, float[2,1] o",
        "s = Shape(o); t = Tile(x, s); y = Neg(t)",
        outputs="float[] y",
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Tile", "Neg"]
    assert operand(result.model, "Tile", 1) == [2, 1]


SLICES = [
    # (begin, axis, begin in the result, None if nothing is to be rewritten)
    ("one", 0, [1]),
    ("minus", 1, [-1]),
    ("zero", 1, None),
]


@pytest.mark.parametrize(("begin", "axis", "expected"), SLICES)
def test_slice_to_the_end(begin: str, axis: int, expected: list[int] | None) -> None:
    model = build(
        f"float[N,S] x | int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] minus = {{-1}},"
        f"int64[1] a = {{{axis}}}",
        f"d = Shape(x); e = Gather<axis = 0>(d, a); c = Slice(x, {begin}, e, a); y = Neg(c)",
        outputs="float[] y",
    )
    result = fixed(model, SIZES[1:], [NAME])
    if expected is None:
        # That is the whole axis, which another rewrite removes.
        assert result.applied == ()
        return
    assert operators(result.model) == ["Slice", "Neg"]
    assert operand(result.model, "Slice", 1) == expected
    assert operand(result.model, "Slice", 2) == [np.iinfo(np.int64).max]


def test_slice_from_a_computed_begin() -> None:
    model = build(
        "float[N,S] x, float[N,3] o | int64[1] far = {1000000000000}, int64[1] one = {1},"
        "int64[1] l = {-2}",
        "u = Slice(x, l, far, one); s = Shape(u); b = Gather<axis = 0>(s, one);"
        "c = Slice(o, b, far, one); y = Neg(c)",
        outputs="float[] y",
    )
    # 2 elements are left where there are at least 2: that is not decided for all sizes.
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_slice_whose_bounds_are_sizes_of_another_tensor_is_refused() -> None:
    model = build(
        "float[2,S] x, float[M] o | int64[1] zero = {0}, int64[1] one = {1}",
        "e = Shape(o); c = Slice(x, zero, e, one); y = Neg(c)",
        outputs="float[] y",
    )
    result = fixed(model, SIZES, [NAME])
    assert result.applied == ()
    assert [each.reason for each in result.refused] == [
        "the bounds on axis 1 are decided at run time"
    ]


def resize(sizes: str, attributes: str = 'mode = "nearest"') -> Model:
    return build(
        "float[N,3,H,S] x | int64[1] i = {0}, int64[1] j = {1}, int64[1] k = {2}, int64[1] l = {3},"
        "int64[1] two = {2}, int64[1] nine = {9}, float[0] none = {}",
        "d = Shape(x); n = Gather<axis = 0>(d, i); c = Gather<axis = 0>(d, j);"
        "h = Gather<axis = 0>(d, k); w = Gather<axis = 0>(d, l); h2 = Mul(h, two);"
        "w2 = Mul(w, two);"
        f"z = Concat<axis = 0>({sizes}); r = Resize<{attributes}>(x, none, none, z); y = Neg(r)",
        outputs="float[] y",
    )


def test_resize_in_proportion_takes_scales() -> None:
    result = fixed(resize("n, c, h2, w2"), SIZES, [NAME])
    assert operators(result.model) == ["Resize", "Neg"]
    assert operand(result.model, "Resize", 2) == [1, 1, 2, 2]
    assert result.before.lost_dims > result.after.lost_dims == 0


def test_resize_out_of_proportion_is_refused() -> None:
    result = fixed(resize("n, c, nine, nine"), SIZES, [NAME])
    assert result.applied == ()
    assert any("not in proportion" in refused.reason for refused in result.refused)


def test_sizes_that_another_operand_has_stay_dynamic() -> None:
    model = build("float[N,S] x, float[M,H] o", "s = Shape(o); r = Reshape(x, s); y = Neg(r)")
    assert fixed(model, [{"N": 2, "S": 3, "M": 3, "H": 2}], [NAME]).applied == ()
