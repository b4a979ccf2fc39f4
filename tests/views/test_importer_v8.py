"""What the models of TensorRT 8.0 to 10.1 print, and what they refuse."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

import tripoint
from tests.helpers.graphs import build
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.table import View, ViewShape
from tripoint.views.importer_v8.versions import VERSIONS
from tripoint.views.importers import view

NAMES = tuple(version.name for version in VERSIONS)


def see(inputs: str, body: str, version: str = "10.1", opset: int = 17) -> View:
    model = build(inputs, body, opset)
    return view(model, truth.infer(model.ir).shapes, version)


def seen(inputs: str, body: str, version: str = "10.1", opset: int = 17) -> ViewShape:
    """Shape of ``y``, of a model that is imported without a refusal."""
    found = see(inputs, body, version, opset)
    assert found.refusals == ()
    return found.shapes["y"]


# Each shape was also printed by TensorRT-RTX 1.6.1 (see test_importer_v8_parser.py).
FOLDED = [
    ("float[N,12] x | int64[2] s = {-1,6}", "y = Reshape(x, s)", (-1, 6)),
    ("float[N,12] x | int64[3] s = {0,-1,6}", "y = Reshape(x, s)", (-1, 2, 6)),
    (
        "float[N,12] x | int64[1] m = {-1}, int64[1] i = {0}, int64[1] six = {6}",
        "s = Shape(x); n = Gather(s, i); t = Concat<axis=0>(n, m, six); y = Reshape(x, t)",
        (-1, 2, 6),
    ),
    (
        "float[N,S,768] x | int64[1] i = {0}, int64[1] j = {1}, int64[2] k = {-1,64}",
        "s = Shape(x); n = Gather(s, j); m = Gather(s, i); t = Concat<axis=0>(n, m, k); "
        "y = Reshape(x, t)",
        (-1, -1, -1, 64),
    ),
    (
        "float[N,S,768] x | int64[1] i = {0}, int64[1] j = {1}, int64[2] k = {-1,64}",
        "s = Shape(x); n = Gather(s, j); m = Gather(s, i); t = Concat<axis=0>(n, m, k); "
        "y = Reshape<allowzero=1>(x, t)",
        (-1, -1, 12, 64),
    ),
    (
        "float[N,12] x | int64[1] i = {0}, int64[2] k = {12,2}",
        "s = Shape(x); n = Gather(s, i); m = Mul(n, k); d = Div(m, n); y = ConstantOfShape(d)",
        (-1, -1),
    ),
    (
        "float[N,12] x | int64[1] i = {0}, int64[1] k = {12}",
        "s = Shape(x); n = Gather(s, i); m = Mul(n, k); d = Div(m, k); e = Sub(d, n); "
        "y = ConstantOfShape(e)",
        (0,),
    ),
    ("float[1,M] x | int64[2] s = {4,12}", "y = Expand(x, s)", (4, -1)),
    ("float[2,3,4] x, int64[2] s", "y = Expand(x, s)", (2, -1, -1)),
    ("float[2,3,4] x, int64[2] s | int64[1] o = {1}", "t = Concat<axis=0>(s, o); y = Tile(x, t)",
     (-1, -1, 4)),
    ("float[2,3,4] x, int64[1] k | int64[1] z = {0}", "y = Slice(x, z, k, z)", (-1, 3, 4)),
    ("float[2,3,4] x, int64[6] p", "y = Pad(x, p)", (-1, -1, -1)),
    ("float[2,3,4] x, int64[2] s", "y, z = Split<axis=1>(x, s)", (2, -1, 4)),
    ("float[2,3,4] x, int64[1] k", "y, i = TopK(x, k)", (2, 3, -1)),
    ("float[2,3,4] x, int64[3] s", 'y = Resize<mode="nearest">(x, , , s)', (-1, -1, -1)),
    ("float[1,1,10,N] x | float[4] s = {1.0,1.0,0.7,0.7}", 'y = Resize<mode="nearest">(x, , s)',
     (1, 1, 7, -1)),
    ("int64 n | int64 z = {0}, int64 o = {1}", "y = Range(z, n, o)", (-1,)),
    ("float[N,3,7] x, float[5,3,3] w_k", "y = Conv(x, w_k)", (-1, 5, 5)),
    ("float[N,3,8] x", "y = MaxPool<kernel_shape=[2]>(x)", (-1, 3, 7)),
    ("float[N,3] x | int64[1] a = {0}", "y = Unsqueeze(x, a)", (1, -1, 3)),
    ("float[N,3] x, float[2,1,3] z", "y = Add(x, z)", (2, -1, 3)),
    ("float[N,3,4] x, float[4,5] w_m", "y = MatMul(x, w_m)", (-1, 3, 5)),
    ("float[N,0] x, float[3,M] z", "y = Add(x, z)", (3, 0)),
    ("float[N,3,4] x", "y = Flatten<axis=2>(x)", (-1, 4)),
    ("float[N,3] x", "y, z = Split<axis=0>(x)", (-1, 3)),
    (
        "float[3,4] a, float[2,4] b | int64 k = {2}, int64 z = {0}",
        "s = Shape(a); n = Gather(s, z); c = Equal(n, k); y = If(c)<"
        "then_branch = t () => (float[3,4] p) { p = Relu(a) }, "
        "else_branch = e () => (float[2,4] q) { q = Relu(b) }>",
        (2, 4),
    ),
    (
        "float[3,4] a, float[2,4] b, bool c",
        "y = If(c)<then_branch = t () => (float[3,4] p) { p = Relu(a) }, "
        "else_branch = e () => (float[2,4] q) { q = Relu(b) }>",
        (-1, 4),
    ),
    (
        "float[N] a | int64 t = {5}, bool c = {1}",
        "z, y = Loop(t, c, a)<body = b (int64 i, bool d, float[N] s) => "
        "(bool e, float[N] u, float[2] v) { e = Identity(d) u = Add(s, s) "
        "v = Constant<value_floats=[1.0,2.0]>() }>",
        (5, 2),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", FOLDED, ids=lambda case: case[1])
def test_101_computes_sizes_element_by_element(case: tuple[str, str, ViewShape]) -> None:
    inputs, body, expected = case
    assert seen(inputs, body) == expected


# Values that reach a size through each operator: the sizes (6, 2) are made from a dim.
THROUGH = [
    "v = Identity(a)", "b = Cast<to=6>(a); v = Cast<to=7>(b)", "v = Sub(a, zero)",
    "b = Add(a, one); v = Sub(b, one)", "b = Mul(a, two); v = Div(b, two)", "v = Max(a, one)",
    "v = Min(a, big)", "v = Mod(a, big)", "b = Neg(a); v = Neg(b)", "v = Abs(a)",
    "b = Greater(a, zero); v = Where(b, a, one)", "b = Not(no); v = Where(b, a, one)",
    "b = Unsqueeze(a, zero); v = Squeeze(b, zero)", "b = Reshape(a, square); v = Reshape(b, m)",
    "b = Reshape(a, square); c = Transpose(b); v = Reshape(c, m)",
    "b = Concat<axis=0>(one, a); v = Slice(b, one, big)",
    "b = Slice(a, m, far, zero, m); v = Slice(b, m, far, zero, m)",
    "b = Concat<axis=0>(a, one); v, w = Split<axis=0>(b, parts)", "v = Gather(a, order)",
    "v = GatherElements(a, order)", "v = GatherND(a, places)",
    "b = Expand(a, pair); v = Slice(b, zero, two)", "b = Tile(a, two); v = Slice(b, zero, two)",
    "b = Pad(a, pads); v = Slice(b, zero, two)",
    "b = Shape(x); c = Slice(b, zero, one); v = Concat<axis=0>(c, two)",
    "b = Slice(a, zero, one); c = ReduceMax(b); v = Concat<axis=0>(c, two)",
    "b = ReduceProd(a); c = Div(b, two); v = Concat<axis=0>(c, two)",
    "b = ReduceSum(a); c = Sub(b, two); v = Concat<axis=0>(c, two)",
    "b = Cast<to=1>(a); c = Mul(b, half); d = Add(c, c); v = Cast<to=7>(d)",
    "b = Cast<to=1>(a); c = Floor(b); v = Cast<to=7>(c)", "v, w = Dropout(a)",
    "b = Clip(a, low, high); v = Identity(b)", "b = GreaterOrEqual(a, one); v = Where(b, a, one)",
    "z = ConstantOfShape<value = int64[1] {0}>(two); v = Add(z, a)",
    "r = Range(zero0, two0, one0); b = Add(r, a); v = Sub(b, r)",
]  # fmt: skip


@pytest.mark.parametrize("steps", THROUGH)
def test_values_pass_through(steps: str) -> None:
    inputs = (
        "float[6,M] x | int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, "
        "int64[1] m = {-1}, int64[1] far = {-9}, int64[1] big = {99}, int64[2] square = {2,1}, "
        "int64[2] parts = {2,1}, int64[2] order = {0,1}, int64[2,1] places = {0,1}, "
        "int64[1] pair = {2}, int64[2] pads = {0,1}, float half = {0.5}, int64 low = {0}, "
        "int64 high = {9}, bool[1] no = {0}, int64 zero0 = {0}, int64 two0 = {2}, int64 one0 = {1}"
    )
    start = "s0 = Shape(x); n = Slice(s0, zero, one); a = Concat<axis=0>(n, two)"
    assert seen(inputs, f"{start}; {steps}; y = ConstantOfShape(v)") == (6, 2)


@pytest.mark.parametrize("version", ["8.0", "8.2"])
@pytest.mark.parametrize("steps", ["c = Cast<to=1>(n); d = Floor(c)", "d = Abs(n)"])
def test_older_cores_follow_no_unary_layer(version: str, steps: str) -> None:
    inputs = "float[6,M] x | int64[1] z = {0}, int64[1] o = {1}"
    body = f"s = Shape(x); n = Slice(s, z, o); {steps}; e = Cast<to=7>(d); y = ConstantOfShape(e)"
    assert seen(inputs, body, version) == (-1,)
    assert seen(inputs, body, "8.4") == (6,)


def test_older_cores_take_no_shape_tensor_of_rank_two() -> None:
    inputs = "float[6,M] x | int64[2] r = {1,-1}, int64[1] m = {-1}, int64[1] z = {0}"
    body = "s = Shape(x); t = Reshape(s, r); u = Reshape(t, m); y = Expand(x, u)"
    for version in ("8.0", "8.2", "8.4"):
        found = see(inputs, body, version, opset=13)
        (refusal,) = found.refusals
        assert refusal.op == "Expand"
        assert "no shape tensor of rank 2" in refusal.reason
    assert seen(inputs, body, "8.5", opset=13) == (6, -1)


def test_dims_of_one_name_are_equal_from_82_on() -> None:
    inputs = "float[N,6] x, int64[N,3] z | int64[1] i = {0}, int64[2] k = {-1,3}"
    body = (
        "s = Shape(z); n = Gather(s, i); t = Concat<axis=0>(n, k); y = Reshape<allowzero=0>(x, t)"
    )
    assert seen(inputs, body, "8.0") == (-1, -1, 3)
    for version in NAMES[1:]:
        assert seen(inputs, body, version) == (-1, 2, 3)


def test_nameless_dims_of_inputs() -> None:
    assert see("float[?,3] x", "y = Relu(x)", "8.0").shapes["y"] == (0, 3)
    assert see("float[?,3] x", "y = Relu(x)", "8.2").shapes["y"] == (-1, 3)


def test_large_vectors_are_not_followed() -> None:
    inputs = "float[65] x | int64[65] v = {" + ",".join(["1"] * 65) + "}"
    found = see(inputs, "y = Reshape(x, v)")
    assert "at most 64 elements" in found.refusals[0].reason


Differs = tuple[str, str, int, dict[str, ViewShape | str]]

# What versions do differently: from each named version on, a shape without refusal, or a part of
# the sentence that the refusal says.
DIFFERENCES: list[Differs] = [
    (
        "float[2,3,4] x | int64[1] a = {1}",
        *("y = ReduceMean(x, a)", 18),
        {"8.0": "silently ignores the axes input of ReduceMean", "10.0": (2, 1, 4)},
    ),
    ("float[2,3,4] x | int64[1] a = {1}", "y = ReduceSum(x, a)", 13, {"8.0": (2, 1, 4)}),
    (
        "float[2,3,4] x | int64[1] a = {1}",
        *("y = ReduceLogSumExp(x, a)", 18, {"8.0": "silently ignores the axes"}),
    ),
    (
        "float[4,6] x, int64[2] s",
        *("y, z = Split<axis=1>(x, s)", 13, {"8.0": "only as a constant", "8.2": (4, -1)}),
    ),
    ("float[4,6] x | int64[2] s = {2,4}", "z, y = Split<axis=1>(x, s)", 13, {"8.0": (4, 4)}),
    (
        "float[N,7] x",
        *("y, z = Split<axis=1, num_outputs=2>(x)", 18),
        {"8.0": "it is (N, 4)", "10.0": (-1, 4)},
    ),
    ("float[5] x", "y, z = Split<num_outputs=2>(x)", 18, {"8.0": "although it is", "10.0": (3,)}),
    ("float[2,3,4] x", "y = Softmax<axis=1>(x)", 13, {"8.0": (2, 3, 4)}),
    (
        "float[2,3] x",
        *("y = Flatten<axis=0>(x)", 13, {"8.0": "silently leaves (2, 3)", "8.5": (1, 6)}),
    ),
    ("float[N,1,3] x", "y = Squeeze(x)", 13, {"8.0": "cannot infer the axes of Squeeze"}),
    ("float[2,1,3] x", "y = Squeeze(x)", 13, {"8.0": (2, 3)}),
    (
        "float[2,3,4] x",
        *("y = Shape<start=1>(x)", 15, {"8.0": "silently ignores `start`", "10.0": (2,)}),
    ),
    (
        "float[9] x | int64[1] i = {-1}",
        *("y = Gather(x, i)", 13, {"8.0": "negative index of Gather", "8.2": (1,)}),
    ),
    (
        "float[2,3] x | int64[2] s = {3,2}",
        *("y = Reshape(x, s)", 14, {"8.0": "needs the attribute allowzero", "8.5": (3, 2)}),
    ),
    (
        "float[2,3] x | int64[2] s = {6,1}",
        *("y = Reshape<allowzero=0>(x, s)", 14, {"8.0": (6, 1)}),
    ),
    (
        "float[5] x | int64[1] a = {4}, int64[1] b = {2}, int64[1] z = {0}",
        *("y = Slice(x, a, b, z)", 13, {"8.0": "size of -2", "8.4": (0,)}),
    ),
    (
        "bool[4] x | int64[1] a = {0}, int64[1] b = {2}",
        *("y = Slice(x, a, b)", 13, {"8.0": (2,)}),
    ),
    ("bool[1,3] x | int64[2] s = {2,3}", "y = Expand(x, s)", 13, {"8.0": (2, 3)}),
    (
        "bool[3] c, bool[3] x, bool[3] z",
        *("y = Where(c, x, z)", 13, {"8.0": "no BOOL input for Where", "8.5": (3,)}),
    ),
    (
        "bool[3] x, bool[3] z",
        *("y = Equal(x, z)", 13, {"8.0": "no BOOL input for Equal", "8.5": (3,)}),
    ),
    (
        "float a, float b, float c",
        *("y = Range(a, b, c)", 13, {"8.0": "only as constants", "8.4": "shape"}),
    ),
    (
        "float[1,2,3,4] x | int64[8] p = {0,1,1,1,0,1,1,1}",
        *("y = Pad(x, p)", 13, {"8.0": "at most two axes", "8.2": (1, 4, 5, 6)}),
    ),
    (
        "float[1,2,3,4] x, int64[8] p",
        *("y = Pad(x, p)", 13, {"8.0": "only as a constant", "8.2": (-1, -1, -1, -1)}),
    ),
    (
        "float[2,3] x | int64[2] p = {1,1}, int64[1] a = {0}",
        *("y = Pad(x, p, , a)", 18, {"8.0": "does not read the axes of Pad", "10.0": (4, 3)}),
    ),
    (
        "float[1,1,2,2] x, float[4] s",
        *('y = Resize<mode="nearest">(x, , s)', 13),
        {"8.0": "takes the scales of Resize only as a constant", "8.4": (-1, -1, -1, -1)},
    ),
    (
        "float[1,1,2,2] x | float[4] s = {1.0,1.0,2.0,2.0}",
        *('y = Resize<mode="cubic">(x, , s)', 13, {"8.0": "no cubic Resize", "8.5": (1, 1, 4, 4)}),
    ),
    (
        "float[1,1,2,2] x | int64[2] s = {4,5}",
        *('y = Resize<axes=[2,3],mode="nearest">(x, , , s)', 18),
        {"8.0": "does not read the axes of Resize", "10.0": (1, 1, 4, 5)},
    ),
    (
        "float[3] x, int64[1] k",
        *("y, i = TopK(x, k)", 13, {"8.0": "takes the k of TopK only as a constant", "8.6": (-1,)}),
    ),
    (
        "float[3] x | int64[1] k = {2}",
        *("y, i = TopK<largest=0>(x, k)", 13, {"8.0": "silently gives the largest", "8.5": (2,)}),
    ),
    ("bool[2,3] x", "y = NonZero(x)", 13, {"8.0": "no importer for NonZero", "8.5": (2, -1)}),
    (
        "int64[3] i, int64 d | float[2] v = {0.0,1.0}",
        *("y = OneHot(i, d, v)", 13),
        {"8.0": "no importer for OneHot", "8.5": "only with a depth", "8.6": (3, -1)},
    ),
    (
        "float[N,2] x, int64[2,2] i",
        *("y = GatherElements(x, i)", 13, {"8.0": "only with known dims", "8.2": (2, 2)}),
    ),
    (
        "float[4,5] x, int64[2,1] i",
        *("y = GatherND(x, i)", 13, {"8.0": "no importer for GatherND", "8.2": (2, 5)}),
    ),
    (
        "float[2,3] x, float[3,4] z",
        'y = Einsum<equation="ij,jk->ik">(x, z)',
        *(13, {"8.0": "no importer for Einsum", "8.2": (2, 4)}),
    ),
    (
        "float[N,2,3] x, float[2] w_s, float[2] w_b",
        "y = InstanceNormalization(x, w_s, w_b)",
        *(13, {"8.0": "no InstanceNormalization for rank 3", "8.2": (-1, 2, 3)}),
    ),
    ("float[N,3] x", "y = EyeLike(x)", 13, {"8.0": "EyeLike only for known matrices"}),
    (
        "float[N,3] x, int64[3] l",
        *("y = ReverseSequence(x, l)", 13),
        {"8.0": "ReverseSequence only with known dims", "8.6": (-1, 3)},
    ),
    (
        "int32[N,3] x",
        *("y = ArgMax<axis=1>(x)", 13, {"8.0": "no INT32 input for ArgMax", "8.6": (-1, 1)}),
    ),
    (
        "float[N,3] x, float[3] w_s",
        *("y = LayerNormalization(x, w_s)", 17),
        {"8.0": "no importer for LayerNormalization", "8.6": (-1, 3)},
    ),
    (
        "float[N,3] x",
        *("y = Constant<value_ints=[1,2]>()", 13),
        {"8.0": "ignores `value_ints` of Constant: the constant has no elements", "10.0": (2,)},
    ),
    ("float[N,3] x", "y = Gelu(x)", 20, {"8.0": "no importer for Gelu", "10.0": (-1, 3)}),
    ("uint8[N,3] x", "y = Identity(x)", 13, {"8.0": "no type for the UINT8", "8.5": (-1, 3)}),
    ("bfloat16[N] x", "y = Identity(x)", 13, {"8.0": "no type for the BFLOAT16", "10.0": (-1,)}),
    ("int64[N,3] x", "y = MatMul(x, x)", 13, {"8.0": "no INT32 input", "10.0": "no INT64 input"}),
    ("int64[N,3] x", "y = Sqrt(x)", 13, {"8.0": "INT64 becomes INT32", "10.0": "no INT64 input"}),
    ("double[N,3] x", "y = Relu(x)", 14, {"8.0": (-1, 3)}),
    (
        "float[5,3] x, float[3,2] w_m",
        *("y = Gemm(x, w_m)", 13, {"8.0": (5, 2)}),
    ),
    (
        "float[2,3,4] x, float[4,2] w_m",
        *("y = Gemm(x, w_m)", 13, {"8.0": "cannot match a dim of 24", "8.4": "multiplies no"}),
    ),
    (
        "float[1,6,4] x, float[1,2,6] z | int64 k = {7}",
        *("y = NonMaxSuppression(x, z, k)", 13, {"8.0": (14, 3), "8.5": (-1, 3)}),
    ),
    ("float[1,1,4,4] x", "y, i = MaxPool<kernel_shape=[2,2]>(x)", 13, {"8.0": "indices output"}),
]  # fmt: skip


@pytest.mark.parametrize("version", NAMES)
@pytest.mark.parametrize("case", DIFFERENCES, ids=lambda case: case[1])
def test_differences_between_versions(case: Differs, version: str) -> None:
    inputs, body, opset, by_version = case
    since = [name for name in by_version if NAMES.index(name) <= NAMES.index(version)]
    expected = by_version[since[-1]]
    found = see(inputs, body, version, opset)
    if isinstance(expected, tuple):
        assert found.shapes["y"] == expected
        assert found.refusals == ()
    elif expected != "shape":
        assert any(expected in refusal.reason for refusal in found.refusals), found.refusals
        assert all(each.reason.startswith(f"TensorRT {version} ") for each in found.refusals)


def test_a_condition_joins_its_branches() -> None:
    inputs, body = FOLDED[-2][:2]
    assert see(inputs, body, "8.2").shapes["y"] == (-1, 4)
    assert "cannot broadcast" in see(inputs, body, "8.0").refusals[0].reason
    same = body.replace("float[2,4] b", "float[3,4] b").replace("[2,4]", "[3,4]")
    assert seen("float[3,4] a, float[3,4] b, bool c", same, "8.0") == (3, 4)


def test_a_scan_output_without_trip_count_has_a_made_up_length() -> None:
    body = (
        "z, y = Loop(, c, a)<body = b (int64 i, bool d, float[N] s) => "
        "(bool e, float[N] u, float[2] v) { e = Identity(d) u = Add(s, s) "
        "v = Constant<value = float[2] {1.0, 2.0}>() }>"
    )
    assert see("float[N] a, bool c", body).shapes["y"] == (1024, 2)


@pytest.mark.parametrize("version", NAMES)
def test_recurrent_operators(version: str) -> None:
    nodes = [
        helper.make_node("LSTM", ["x", "w4", "r4"], ["y", "h", "c"], hidden_size=4),
        helper.make_node("GRU", ["x", "w3", "r3"], ["g"], hidden_size=4, direction="bidirectional"),
    ]
    weights = {"w4": (1, 16, 6), "r4": (1, 16, 4), "w3": (2, 12, 6), "r3": (2, 12, 4)}
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["S", 3, 6])
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "yg"]
    initializers = [
        numpy_helper.from_array(np.zeros(dims, np.float32), name) for name, dims in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", [x], outputs, initializers)
    model = Model(
        ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    )
    shapes = view(model, truth.infer(model.ir).shapes, version).shapes
    assert [shapes[name] for name in "yhcg"] == [
        *((-1, 1, 3, 4), (1, 3, 4), (1, 3, 4), (-1, 2, 3, 4))
    ]


# Public logs of real parsers: version, inputs, body, opset, shapes that were printed.
LOGS = [
    # A vector of a constant and a computed element sizes a Reshape (8.0).
    (
        "8.0",
        "float[32,512,3] x | int64[1] m = {-1}, int64[1] two = {2}",
        "s = Shape(x); n = Gather(s, two); t = Concat<axis=0>(m, n); y = Reshape(x, t)",
        *(11, {"t": (2,), "y": (16384, 3)}),
    ),
    (
        "8.0",
        "float[524288,3] x, float[32,512,32,3] u",
        "s = Shape(u); y = Reshape(x, s)",
        *(13, {"s": (4,), "y": (32, 512, 32, 3)}),
    ),
    (
        "8.0",
        "float[32,512,3] x, int64 n | int64[1] a = {2}, int64[1] z = {0}",
        "y = Unsqueeze(x, a); v = Unsqueeze(n, z)",
        *(13, {"y": (32, 512, 1, 3), "v": (1,)}),
    ),
    (
        "8.0",
        "float[32,128,32,512] x, float[32,512,3] u",
        "m = ReduceMax<axes=[2], keepdims=0>(x); t = Transpose<perm=[0,2,1]>(m); s = Shape(u); "
        "c = Cast<to=1>(t); y = Concat<axis=2>(u, c)",
        *(13, {"m": (32, 128, 512), "t": (32, 512, 128), "s": (3,), "y": (32, 512, 131)}),
    ),
    # A dynamic batch through Gather and scalar sizes (8.2).
    (
        "8.2",
        "int64[N,1,10] i, float[10000,1] w_e | int64 z = {0}, int64[1] a = {0}, int64 o = {1}",
        "e = Gather(w_e, i); s = Shape(e); n = Gather(s, z); m = Gather(s, o); "
        "u = Unsqueeze(n, a); v = Unsqueeze(m, a); w = Unsqueeze(n, a); "
        "y = Concat<axis=0>(u, v, w)",
        *(13, {"e": (-1, 1, 10, 1), "s": (4,), "n": (), "u": (1,), "y": (3,)}),
    ),
    # The head of a detector with a dynamic batch and size (8.5 or 8.6).
    (
        "8.6",
        "float[N,144,H,W] x | int64[1] k = {144}, int64[1] m = {-1}, int64 z = {0}, "
        "int64[1] a = {0}",
        "s = Shape(x); n = Gather(s, z); u = Unsqueeze(n, a); t = Concat<axis=0>(u, k, m); "
        "y = Reshape(x, t)",
        *(17, {"u": (1,), "t": (3,), "y": (-1, 144, -1)}),
    ),
]


@pytest.mark.parametrize("case", LOGS, ids=lambda case: f"{case[0]} {case[2][:40]}")
def test_shapes_of_public_logs(
    case: tuple[str, str, str, int, dict[str, ViewShape]],
) -> None:
    version, inputs, body, opset, expected = case
    model = build(inputs, body, opset)
    found = view(model, truth.infer(model.ir).shapes, version)
    assert {name: found.shapes[name] for name in expected} == expected


ERRORS = [
    ("8.2", "float[25063500] x | int64[2] s = {1,500}", "y = Reshape(x, s)", 13, "cannot reshape"),
    ("8.6", "float[6,1000,8,32] x | int64[3] s = {6,334,-1}", "y = Reshape(x, s)", 13,
     "cannot reshape (6, 1000, 8, 32) to (6, 334, -1)"),
    ("8.6", "float[N,1,3] x", "y = Squeeze(x)", 13, "dynamic shape (-1, 1, 3)"),
    ("10.1", "float[N,1,3] x", "y = Squeeze(x)", 13, "dynamic shape (-1, 1, 3)"),
    ("8.2", "float[1,3,H,W] x, float[4] s", 'y = Resize<mode="nearest">(x, , s)', 11, "scales"),
]  # fmt: skip


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: f"{case[0]} {case[2]}")
def test_errors_of_public_logs(case: tuple[str, str, str, int, str]) -> None:
    version, inputs, body, opset, part = case
    (refusal,) = see(inputs, body, version, opset).refusals
    assert part in refusal.reason


def test_data_decide_an_output_of_a_static_model() -> None:
    """As a real 10.3 printed ``(1, -1, 6)`` for a detector whose file says ``(1, 1000, 6)``."""
    body = "i = NonZero(x); j = Transpose(i); u = Cast<to=1>(j); y = Unsqueeze(u, z)"
    assert seen("float[8,8,8,8,8,8] x | int64[1] z = {0}", body) == (1, -1, 6)


def test_says_why_a_loss_starts_and_takes_it_over() -> None:
    model = build(
        "float[N,S,768] x, float[N,S] w | int64[1] i = {0}, int64[1] j = {1}, int64[2] k = {-1,64}",
        "s = Shape(w); n = Gather(s, j); m = Gather(s, i); t = Concat<axis=0>(n, m, k); "
        "r = Reshape(x, t); y = Relu(r)",
        17,
    )
    table = tripoint.shapes(model, target="10.1")
    assert table.by_name["r"].tensorrt == (-1, -1, -1, 64)
    assert table.origins == ("r",)
    found = view(model, truth.infer(model.ir).shapes, "10.1")
    assert found.reasons["r"].via == ("t",)
    assert found.reasons["r"].text == (
        "TensorRT 10.1 solves the -1 of the size operand `t` by a division, in which 12*N*S over "
        "copy_or_size(S, N)*copy_or_size(N, S) does not cancel to 12, so dim 2 is -1"
    )
    assert found.reasons["y"].via == ("r",)


def test_names_a_size_that_is_decided_at_run_time() -> None:
    inputs = "float[S] x | int64[1] z = {0}, int64[1] o = {1}"
    found = see(inputs, "y = Slice(x, z, o, z)")
    assert found.shapes["y"] == (-1,)
    assert found.reasons.get("y") is None or "min(1, S)" in found.reasons["y"].text


MALFORMED = [
    ("float[2] x | int64[2] s = {-1,-1}", "y = Reshape(x, s)"),
    ("float[2] x | int64[1] s = {-5}", "y = Reshape(x, s)"),
    ("float[2] x | int64[3] s = {1,1,0}", "y = Reshape(x, s)"),
    ("float[2] x | float[1] s = {1.5}", "y = Reshape(x, s)"),
    ("float[2] x | int64[1,1] s = {1}", "y = Expand(x, s)"),
    ("float[2] x", "y = Expand(x)"),
    ("float[2] x", "y = Transpose<perm=[0,0]>(x)"),
    ("float[2] x", "y = Transpose<perm=[5]>(x)"),
    ("float[2] x", "y = Concat<axis=7>(x, x)"),
    ("float[2,3] x, float[4,5] z", "y = Concat<axis=0>(x, z)"),
    ("float[2] x | int64[1] z = {0}", "y = Slice(x, z, z, z, z)"),
    ("float[2] x | int64 z = {0}", "y = Range(z, z, z)"),
    ("float[1,1,3] x, float[1,1,9] w_k", "y = Conv<strides=[0]>(x, w_k)"),
    ("float[1,1,3] x, float[1,1,9] w_k", "y = Conv(x, w_k)"),
    ("float[1,1,3] x", "y = MaxPool(x)"),
    ("float[2] x", 'y = Einsum<equation="ij,jk">(x)'),
    ("float[2] x", 'y = Einsum<equation="i->z">(x)'),
    ("float[2] x | int64[1] a = {9}", "y = Unsqueeze(x, a)"),
    ("float[2] x | int64[2] a = {0,0}", "y = Unsqueeze(x, a)"),
    ("float[2] x | int64[1] r = {-3}", "y = Tile(x, r)"),
    ("float[2] x, int64[N] v", "y = ConstantOfShape(v)"),
    ("float[2] x", "y = LSTM(x, x, x)"),
    ("float[2] x", "y = If(x)"),
    ("float[2] x", "y = Loop(x, x)"),
    ("float[2] x", "y = Scan(x)"),
    ("float[2] x", "y = DepthToSpace<blocksize=0>(x)"),
    ("float[2] x, float[3] z", "y = Add(x, z)"),
    ("float[2,2] x, float[3,3] z", "y = MatMul(x, z)"),
    ("float x", "y = MatMul(x, x)"),
    ("float[2] x", "y = Split<axis=3>(x)"),
    ("float[2] x | int64[1] s = {7}", "y, z = Split(x, s)"),
]


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: f"{case[1]} {case[0]}")
def test_malformed_nodes_are_refused(case: tuple[str, str]) -> None:
    inputs, body = case
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs.partition("|")[0]}) => (float y) '
        f"<{inputs.partition('|')[2]}> {{ {body.replace(';', ' ')} }}"
    )
    model = Model(ir.from_proto(proto))
    for version in NAMES:
        assert view(model, {}, version).refusals, version


def test_a_long_chain_takes_linear_time() -> None:
    """Sizes grow with each step: products, sums and nested reshapes, 16 000 nodes in all."""
    steps = 2000
    nodes = ["s = Shape(x); v0 = Gather(s, i); w0 = Gather(s, j); t0 = Identity(x)"]
    nodes += [
        f"a{step} = Add(v{step}, w{step}); v{step + 1} = Mul(a{step}, v{step}); "
        f"w{step + 1} = Max(w{step}, a{step}); g{step} = Shape(t{step}); "
        f"h{step} = Gather(g{step}, p); r{step} = Reshape(t{step}, h{step}); "
        f"b{step} = Add(r{step}, x); t{step + 1} = Relu(b{step})"
        for step in range(steps)
    ]
    nodes.append(f"y = ConstantOfShape(v{steps})")
    inputs = "float[N,M] x | int64[1] i = {0}, int64[1] j = {1}, int64[2] p = {1,0}"
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13]> g ({inputs.partition("|")[0]}) => (float[Z] y) '
        f"<{inputs.partition('|')[2]}> {{ {' '.join(nodes).replace(';', ' ')} }}"
    )
    found = view(Model(ir.from_proto(proto)), {}, "10.1")
    assert found.shapes["y"] == (-1,)
    assert found.shapes[f"t{steps}"] == (-1, -1)
