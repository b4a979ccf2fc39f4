"""Constants that nodes make: small ones are written, large ones of one number stay small."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import tripoint
from tests.helpers.graphs import build, fixed, operators, to_bytes
from tripoint import model as models

NAME = "repeated-number"
SIZES = [{"N": n} for n in (1, 2, 5)]
CONSTANTS = (
    "int64[2] large = {512,300}, int64[2] small = {4,3}, int64[1] one = {1}, int64 i1 = {1},"
    "int64[2] ones = {1,1}, float[2] two = {0.5,0.25}, int64 i0 = {0}, int64 i4 = {4}"
)
ONE = "ConstantOfShape<value = float[1] {0.3}>"


@pytest.mark.parametrize(
    "made",
    [
        f"c = {ONE}(large)",
        "c = ConstantOfShape(large)",
        f"s = Mul(large, i1); c = {ONE}(s)",
        f"a = {ONE}(large); c = Transpose<perm = [0,1]>(a)",
        f"s = Shape(w_like); c = {ONE}(s)",
        f"a = {ONE}(two_sizes); s = Shape(a); c = {ONE}(s)",
    ],
)
def test_a_large_tensor_of_one_number_is_expanded(made: str) -> None:
    constants = f"{CONSTANTS}, int64[2] two_sizes = {{512,300}}"
    model = build(
        f"float[N,512] x, float[512,300] w_like | {constants}",
        f"{made}; y = MatMul(x, c)",
        13,
        "float[a,b] y",
    )
    result = fixed(model, SIZES)
    assert result.before.lost_dims > 0
    assert result.after.lost_dims == 0
    assert operators(result.model) == ["Expand", "MatMul"]
    assert len(to_bytes(result.model)) < 4_000


@pytest.mark.parametrize("dtype", ["int64", "int32", "double", "bool"])
def test_of_any_type(dtype: str) -> None:
    model = build(
        f"{dtype}[N,1,300] x | {CONSTANTS}",
        f"c = ConstantOfShape<value = {dtype}[1] {{1}}>(large);y = Equal(x, c)",
        13,
        "bool[a,b,d] y",
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Expand", "Equal"]
    assert result.after.lost_dims == 0


@pytest.mark.parametrize("target", ["8.6", "10.1"])
def test_it_stays_where_its_sizes_are_read(target: str) -> None:
    model = build(f"float[N,512] x | {CONSTANTS}", f"c = {ONE}(large); y = MatMul(x, c)", 13)
    assert tripoint.fix(model, target=target, select=[NAME]).applied == ()


def test_sizes_of_an_input_stay() -> None:
    model = build(f"float[N,512] x | {CONSTANTS}", f"s = Shape(x); c = {ONE}(s); y = Mul(x, c)", 13)
    assert tripoint.fix(model, target="7.1", select=[NAME]).applied == ()


def test_a_graph_output_stays() -> None:
    model = build(f"float[N] x | {CONSTANTS}", f"c = {ONE}(large); y = Neg(x)", 13, "y, c")
    assert tripoint.fix(model, target="7.1", select=[NAME]).applied == ()


@pytest.mark.parametrize(
    "made",
    [
        f"c = {ONE}(small)",
        "c = EyeLike(m)",
        "r = Range(i0, i4, i1); f = Cast<to = 1>(r); u = Unsqueeze(f, one); c = Expand(u, small)",
        f"k = {ONE}(one); e = Expand(k, small); c = Neg(e)",
        "k = Reshape(two, flat); t = Tile(k, across); c = Transpose(t)",
        f"a = {ONE}(large); b = ReduceSum<keepdims = 0>(a); c = Expand(b, small)",
    ],
)
@pytest.mark.parametrize("target", ["7.1", "8.6", "installed"])
def test_small_constants_are_written(made: str, target: str) -> None:
    constants = (
        f"{CONSTANTS}, float[4,3] m = {{0,0,0,0,0,0,0,0,0,0,0,0}}, int64[2] flat = {{1,2}},"
        "int64[2] across = {3,2}"
    )
    model = build(f"float[N,4,3] x | {constants}", f"{made}; y = Mul(x, c)", 13, "float[a,b,c] y")
    result = tripoint.fix(model, target=target)
    assert result.proven
    assert operators(result.model) == ["Mul"]
    assert result.after.lost_dims == 0


@pytest.mark.parametrize(("target", "constant"), [("7.1", False), ("7.2", True), ("8.6", False)])
def test_a_large_kernel_is_written_where_it_must_be_a_constant(target: str, constant: bool) -> None:
    model = build(
        "float[N,128,8,8] x | int64[4] k = {128,128,3,3}",
        f"w = {ONE}(k); y = Conv<pads = [1,1,1,1]>(x, w)",
        13,
        "float[] y",
    )
    result = tripoint.fix(model, target=target)
    assert result.proven
    assert (operators(result.model) == ["Conv"]) is constant
    assert result.after.lost_dims == 0
    assert not result.facts_after.table.refusals


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def test_weights_that_an_old_file_lists_as_inputs_are_constants() -> None:
    model = models.load(LIGHT / "light_squeezenet.onnx")
    assert len(model.ir.graph.inputs) > 1
    result = tripoint.fix(model, target="7.1", numeric=False)
    assert result.before.lost_dims > 0
    assert result.after.lost_dims == 0
    assert "ConstantOfShape" not in operators(result.model)
    assert [value.name for value in result.model.ir.graph.inputs] == ["data_0"]
    assert [value.name for value in model.ir.graph.outputs] == [
        value.name for value in result.model.ir.graph.outputs
    ]


def test_an_initializer_that_may_be_given_stays_an_input() -> None:
    model = build(
        "float[N,4] x, int64[2] size | int64[2] size = {4,3}",
        f"c = {ONE}(size); y = MatMul(x, c)",
        13,
        "float[a,b] y",
    )
    result = tripoint.fix(model, target="7.1")
    assert [value.name for value in result.model.ir.graph.inputs] == ["x", "size"]
    assert "ConstantOfShape" in operators(result.model)
