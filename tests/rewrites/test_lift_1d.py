"""1-D operators between a tensor of rank 4 and one of rank 4, and on tensors of rank 3."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tripoint
from tests.helpers.graphs import assert_same_function, build, fixed, operators
from tests.helpers.marks import installed
from tripoint.errors import InputError
from tripoint.model import Model

CONV, DECONV = "conv1d-between-squeezes", "conv-transpose1d-between-squeezes"
POOL, NORM = "pool1d-between-squeezes", "norm1d-between-squeezes"
OTHER, BARE = "elementwise-between-squeezes", "lifted-1d-operator"
BETWEEN = (CONV, DECONV, POOL, NORM, OTHER)

Sizes = Sequence[Mapping[str, int]]
SIZES: Sizes = ({"N": 1, "L": 9}, {"N": 2, "L": 12}, {"N": 3, "L": 17})

X = "float[N,4,L,1] x"
CONV_AND_POOL = "float[6,4,3] w_k"


def between(body: str) -> str:
    """The body on ``t``, which is ``x`` squeezed, and ``r`` of it unsqueezed again."""
    return f"t = Squeeze<axes = [3]>(x); {body}; y = Unsqueeze<axes = [3]>(r)"


def rewritten(model: Model, name: str, sizes: Sizes = SIZES) -> Model:
    """The model after one rewrite of this name and no other, in which no dim is lost."""
    result = fixed(model, sizes, select=BETWEEN)
    assert [each.rewrite for each in result.applied] == [name]
    assert result.refused == ()
    assert result.after.lost_dims == 0
    assert not {"Squeeze", "Unsqueeze", "Reshape"} & set(operators(result.model))
    return result.model


def refused(model: Model, name: str) -> str:
    """The reason for which nothing was rewritten."""
    result = tripoint.fix(model, target="7.1", select=BETWEEN)
    assert result.applied == ()
    (only,) = result.refused
    assert (only.rewrite, only.node) == (name, "y")
    return only.reason


# One operator


@pytest.mark.parametrize(
    ("inputs", "call"),
    [
        ("float[4,6,3] w_k", "(t, w_k)"),
        ("float[4,6,3] w_k, float[6] w_b", "(t, w_k, w_b)"),
        ("float[4,3,3] w_k", "<group = 2, strides = [2]>(t, w_k)"),
        ("float[4,6,2] w_k", "<dilations = [3], pads = [1,2]>(t, w_k)"),
        ("float[4,6,3] w_k", "<strides = [3], output_padding = [2]>(t, w_k)"),
        ("float[4,6,3] w_k", "<strides = [2], pads = [1,0], kernel_shape = [3]>(t, w_k)"),
        *(
            ("float[4,6,4] w_k", f'<strides = [2], auto_pad = "{mode}">(t, w_k)')
            for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        ),
    ],
)
def test_transposed_convolution(inputs: str, call: str) -> None:
    model = build(f"{X}, {inputs}", between(f"r = ConvTranspose{call}"), 11)
    assert operators(rewritten(model, DECONV)) == ["ConvTranspose"]


def test_transposed_convolution_to_a_given_length() -> None:
    body = between("r = ConvTranspose<strides = [2], output_shape = [20]>(t, w_k)")
    model = build("float[N,4,9,1] x, float[4,6,3] w_k", body, 11)
    (node,) = rewritten(model, DECONV).ir.graph
    assert list(node.attributes.get_ints("output_shape", [])) == [20, 1]


@pytest.mark.parametrize(
    ("call", "opset"),
    [
        ("AveragePool<kernel_shape = [3]>(t)", 11),
        ("AveragePool<kernel_shape = [3], strides = [2], pads = [1,1]>(t)", 11),
        ("AveragePool<kernel_shape = [3], pads = [1,2], count_include_pad = 1>(t)", 11),
        ("AveragePool<kernel_shape = [2], strides = [2], ceil_mode = 1>(t)", 11),
        ("AveragePool<kernel_shape = [3], dilations = [2]>(t)", 19),
        ('AveragePool<kernel_shape = [3], strides = [2], auto_pad = "SAME_LOWER">(t)', 11),
        ("MaxPool<kernel_shape = [3]>(t)", 11),
        ("MaxPool<kernel_shape = [3], strides = [2], pads = [1,0], ceil_mode = 1>(t)", 11),
        ("MaxPool<kernel_shape = [3], dilations = [2], storage_order = 1>(t)", 11),
        ('MaxPool<kernel_shape = [3], strides = [3], auto_pad = "SAME_UPPER">(t)', 11),
        ("LpPool<kernel_shape = [3]>(t)", 11),
        ("LpPool<kernel_shape = [2], strides = [2], p = 1, pads = [1,0]>(t)", 11),
        ("LpPool<kernel_shape = [3], strides = [2], ceil_mode = 1>(t)", 18),
        ("GlobalAveragePool(t)", 11),
        ("GlobalMaxPool(t)", 11),
        ("GlobalLpPool<p = 3>(t)", 11),
    ],
)
def test_pool(call: str, opset: int) -> None:
    body, inputs = between(f"r = {call}"), X
    if opset >= 13:
        inputs, body = f"{X} | int64[1] three = {{3}}", with_axes_inputs(body)
    assert operators(rewritten(build(inputs, body, opset), POOL)) == [
        call.split("<")[0].split("(")[0]
    ]


@pytest.mark.parametrize(
    "call",
    [
        "BatchNormalization<epsilon = 0.01>(t, w_s, w_b, w_m, v)",
        "InstanceNormalization<epsilon = 0.1>(t, w_s, w_b)",
    ],
)
def test_normalization(call: str) -> None:
    weights = "float[4] w_s, float[4] w_b, float[4] w_m | float[4] v = {1.,2.,3.,0.5}"
    model = build(f"{X}, {weights}", between(f"r = {call}"), 11)
    assert operators(rewritten(model, NORM)) == [call.split("<")[0]]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r = Relu(t)", ["Relu"]),
        ("r = Clip(t, two, two)", ["Clip"]),
        ("r = LeakyRelu<alpha = 0.3>(t)", ["LeakyRelu"]),
        ("r = Mul(t, two)", ["Mul"]),
        ("r = Div(two, t)", ["Div"]),
        ("r = Add(t, channels)", ["Add"]),
        ("r = Sub(channels, t)", ["Sub"]),
        ("r = PRelu(t, channels)", ["PRelu"]),
        ("a = Sigmoid(t); r = Mul(t, a)", ["Sigmoid", "Mul"]),
        ("r = Mul(t, t)", ["Mul"]),
        ("r = Concat<axis = 1>(t, t)", ["Concat"]),
        ("r = Concat<axis = -2>(t, t)", ["Concat"]),
        ("r = Softmax<axis = 1>(t)", ["Softmax"]),
        ("r = LogSoftmax<axis = -1>(t)", ["LogSoftmax"]),
        ("r = Softmax(t)", ["Softmax"]),
        ("r = ReduceMean<axes = [-1]>(t)", ["ReduceMean"]),
        ("r = ReduceMax(t)", ["ReduceMax"]),
        ("r = Slice(t, one, most, last)", ["Slice"]),
        ("r = Pad(t, pads)", ["Pad"]),
        ('r = Pad<mode = "reflect">(t, pads)', ["Pad"]),
        ("a = Transpose<perm = [0,2,1]>(t); r = Tanh(a)", ["Tanh", "Transpose"]),
        ("a = Transpose(t); b = Tanh(a); r = Transpose(b)", ["Tanh"]),
        (
            "a = Transpose<perm = [0,2,1]>(t); b = Softmax<axis = 2>(a);"
            "r = Transpose<perm = [0,2,1]>(b)",
            ["Transpose", "Softmax", "Transpose"],
        ),
        (
            "a = Transpose<perm = [0,2,1]>(t); b = Tanh(a); c = Add(b, row); d = Neg(a);"
            "r = Mul(c, d)",
            ["Tanh", "Transpose", "Add", "Neg", "Transpose", "Mul"],
        ),
    ],
)
def test_between_without_a_window(body: str, expected: list[str]) -> None:
    constants = (
        "float two = {2.0}, float[4,1] channels = {1.,2.,3.,4.}, float[4] row = {5.,6.,7.,8.},"
        "int64[1] one = {1}, int64[1] most = {9223372036854775807}, int64[1] last = {-1},"
        "int64[6] pads = {0,0,2,0,0,1}"
    )
    model = build(f"{X} | {constants}", between(body), 11)
    result = fixed(model, SIZES, select=BETWEEN)
    assert [each.rewrite for each in result.applied] == [OTHER]
    assert sorted(operators(result.model)) == sorted(expected)
    assert result.refused == ()
    assert result.after.lost_dims < result.before.lost_dims


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("r = ReduceMean<keepdims = 1>(t, last)", 18),
        ("a, b = Split<axis = 1>(t, halves); r = Add(a, b)", 13),
        ("r = Pad(t, ends, , last)", 18),
        ("r = Softmax(t)", 13),
        ('r = Gelu<approximate = "tanh">(t)', 20),
    ],
)
def test_axes_that_are_inputs(body: str, opset: int) -> None:
    constants = (
        "int64[1] three = {3}, int64[1] last = {-1}, int64[2] halves = {2,2}, int64[2] ends = {1,2}"
    )
    nodes = f"t = Squeeze(x, three); {body}; y = Unsqueeze(r, three)"
    result = fixed(build(f"{X} | {constants}", nodes, opset), SIZES, select=BETWEEN)
    assert [each.rewrite for each in result.applied] == [OTHER]
    assert "Unsqueeze" not in operators(result.model)


# Which form the squeeze and the unsqueeze have

ECA = "float[1,1,3] w_k"


@pytest.mark.parametrize(
    ("inputs", "body", "expected"),
    [
        # Reshape to constant sizes, Reshape to computed sizes
        (
            f"float[2,5,1,1] x, {ECA} | int64[3] s = {{2,1,5}}, int64[4] u = {{2,5,1,1}}",
            "t = Reshape(x, s); r = Conv<pads = [1,1]>(t, w_k); y = Reshape(r, u)",
            ["Transpose", "Conv", "Transpose"],
        ),
        (
            f"float[N,5,1,1] x, {ECA} | int64[3] s = {{0,1,5}}, int64[4] u = {{0,-1,1,1}}",
            "t = Reshape(x, s); r = Conv<pads = [1,1]>(t, w_k); f = Sigmoid(r); y = Reshape(f, u)",
            ["Transpose", "Conv", "Sigmoid", "Transpose"],
        ),
        (
            f"float[N,5,1,1] x, {ECA} | int64[1] z = {{0}}, int64[2] s = {{1,5}},"
            "int64[3] u = {5,1,1}",
            "a = Shape(x); n = Gather(a, z); p = Concat<axis = 0>(n, s);"
            "q = Concat<axis = 0>(n, u);"
            "t = Reshape(x, p); r = Conv<pads = [1,1]>(t, w_k); y = Reshape(r, q)",
            ["Transpose", "Conv", "Transpose"],
        ),
        # the size of the second comes from a tensor in between
        (
            "float[N,5,L,1] x, float[7,5,1] w_k | int64[3] s = {0,5,-1}, int64[1] o = {1}",
            "t = Reshape(x, s); r = Conv(t, w_k); a = Shape(r); b = Concat<axis = 0>(a, o);"
            "y = Reshape(r, b)",
            ["Conv"],
        ),
        # two operators in a row
        (
            f"float[N,5,1,1] x, {ECA}",
            "a = Squeeze<axes = [2,3]>(x); t = Unsqueeze<axes = [1]>(a);"
            "r = Conv<pads = [1,1]>(t, w_k);"
            "b = Squeeze<axes = [1]>(r); c = Unsqueeze<axes = [2]>(b);"
            "y = Unsqueeze<axes = [3]>(c)",
            ["Transpose", "Conv", "Transpose"],
        ),
        (
            f"float[N,5,1,1] x, {ECA} | int64[3] s = {{0,1,5}}, int64[4] u = {{0,5,1,1}}",
            "a = Flatten(x); t = Reshape(a, s); r = Conv<pads = [1,1]>(t, w_k); y = Reshape(r, u)",
            ["Transpose", "Conv", "Transpose"],
        ),
        # a Reduce operator that drops what it reduces
        (
            f"float[N,5,7,L] x, {ECA} | int64[3] s = {{0,1,5}}, int64[4] u = {{0,5,1,1}}",
            "a = ReduceMean<axes = [2,3], keepdims = 0>(x); t = Reshape(a, s);"
            "r = Conv<pads = [1,1]>(t, w_k); y = Reshape(r, u)",
            ["ReduceMean", "Transpose", "Conv", "Transpose"],
        ),
        (
            "float[N,5,L,7] x, float[6,5,3] w_k",
            "t = ReduceMax<axes = [-1], keepdims = 0>(x); r = Conv(t, w_k);"
            "y = Unsqueeze<axes = [-1]>(r)",
            ["ReduceMax", "Conv"],
        ),
        # transposed before it is squeezed, and after it is unsqueezed
        (
            f"float[N,5,1,1] x, {ECA}",
            "p = Transpose<perm = [0,2,1,3]>(x); t = Squeeze<axes = [3]>(p);"
            "r = Conv<pads = [1,1]>(t, w_k); u = Unsqueeze<axes = [3]>(r);"
            "y = Transpose<perm = [0,2,1,3]>(u)",
            ["Transpose", "Conv", "Transpose"],
        ),
        # the axis of size 1 is in front
        (
            "float[1,N,4,L] x, float[6,4,3] w_k",
            "t = Squeeze<axes = [0]>(x); r = Conv(t, w_k); y = Unsqueeze<axes = [0]>(r)",
            ["Transpose", "Conv", "Transpose"],
        ),
    ],
)
def test_forms_of_the_squeeze(inputs: str, body: str, expected: list[str]) -> None:
    model = build(inputs, body, 11, outputs="float[] y" if "Shape(r)" in body else "y")
    result = fixed(model, SIZES, select=BETWEEN)
    assert [each.rewrite for each in result.applied] == [CONV]
    assert operators(result.model) == expected
    assert result.after.lost_dims == 0
    assert result.refused == ()


# Chains


CHAINS = [
    (
        "c = Conv<pads = [1,1]>(t, w_k, w_b); n = BatchNormalization(c, w_s, w_b, w_m, v);"
        "a = Relu(n); r = MaxPool<kernel_shape = [2], strides = [2]>(a)",
        CONV,
        ["Conv", "BatchNormalization", "Relu", "MaxPool"],
    ),
    (
        "c = Conv<pads = [1,1]>(t, w_k); g = Sigmoid(c); r = Mul(c, g)",
        CONV,
        ["Conv", "Sigmoid", "Mul"],
    ),
    (
        "c = Conv<pads = [1,1], group = 4>(t, w_d); a = Add(t, c); r = Relu(a)",
        CONV,
        ["Conv", "Add", "Relu"],
    ),
    (
        "p = AveragePool<kernel_shape = [3], pads = [1,1]>(t);"
        "r = ConvTranspose<strides = [2]>(p, w_t)",
        DECONV,
        ["AveragePool", "ConvTranspose"],
    ),
    (
        "n = InstanceNormalization(t, w_4, w_4); r = GlobalMaxPool(n)",
        POOL,
        ["InstanceNormalization", "GlobalMaxPool"],
    ),
    (
        "c = Conv(t, w_k); d = Conv(t, w_k); r = Concat<axis = 1>(c, d)",
        CONV,
        ["Conv", "Conv", "Concat"],
    ),
]
CHAIN_WEIGHTS = (
    "float[8,4,3] w_k, float[4,1,3] w_d, float[4,4,2] w_t, float[8] w_b, float[8] w_s,"
    "float[8] w_m, float[4] w_4 | float[8] v = {1.,2.,3.,4.,5.,6.,7.,8.}"
)


@pytest.mark.parametrize(("body", "name", "expected"), CHAINS)
def test_chain(body: str, name: str, expected: list[str]) -> None:
    model = build(f"{X}, {CHAIN_WEIGHTS}", between(body), 11)
    assert sorted(operators(rewritten(model, name))) == sorted(expected)


@pytest.mark.parametrize("target", ["7.0", "7.2", "8.0", "8.6", "10.1", installed])
@pytest.mark.parametrize("length", ["L", "12"])
def test_a_chain_is_never_worse(length: str, target: str) -> None:
    for body, name, _ in CHAINS:
        x = f"float[2,4,{length},1] x, {CHAIN_WEIGHTS}"
        model = build(x.replace("|", "| int64[1] three = {3},"), with_axes_inputs(between(body)))
        result = tripoint.fix(model, target=target, select=BETWEEN, numeric=False)
        assert [each.rewrite for each in result.applied] == [name]
        assert result.after.lost_dims == 0
        new = {each.op for each in result.facts_after.table.refusals}
        assert new <= {each.op for each in result.facts_before.table.refusals}


def with_axes_inputs(body: str) -> str:
    """As since opset 13, where the axes of Squeeze and Unsqueeze are an input."""
    return body.replace("<axes = [3]>(x)", "(x, three)").replace("<axes = [3]>(r)", "(r, three)")


def test_two_squeezed_tensors_that_meet() -> None:
    body = (
        "t = Squeeze<axes = [3]>(x); s = Squeeze<axes = [2]>(z); p = Conv<pads = [1,1]>(t, w_k);"
        "r = Add(p, s); y = Unsqueeze<axes = [3]>(r)"
    )
    model = build(f"{X}, float[N,6,1,L] z, float[6,4,3] w_k", body, 11)
    assert operators(rewritten(model, CONV)) == ["Conv", "Transpose", "Add"]


def test_regions_one_after_another() -> None:
    body = (
        "t = Squeeze<axes = [3]>(x); c = Conv(t, w_k); u = Unsqueeze<axes = [3]>(c); v = Relu(u);"
        "s = Squeeze<axes = [3]>(v); d = MaxPool<kernel_shape = [2]>(s);"
        "y = Unsqueeze<axes = [3]>(d)"
    )
    result = fixed(build(f"{X}, float[6,4,3] w_k", body, 11), SIZES, select=BETWEEN)
    assert [each.rewrite for each in result.applied] == [CONV, POOL]
    assert operators(result.model) == ["Conv", "Relu", "MaxPool"]
    assert result.after.lost_dims == 0


# Weights


def test_a_weight_of_two_convolutions_is_reshaped_once() -> None:
    body = between("c = Conv<pads = [1,1]>(t, w_k); r = Conv<pads = [1,1]>(c, w_k)")
    again = (
        "s = Squeeze<axes = [3]>(y); d = Conv<pads = [1,1]>(s, w_k); z = Unsqueeze<axes = [3]>(d)"
    )
    model = build(f"{X}, float[4,4,3] w_k", f"{body}; {again}", 11, outputs="y, z")
    result = fixed(model, SIZES, select=BETWEEN)
    assert [each.rewrite for each in result.applied] == [CONV, CONV]
    (weight,) = result.model.ir.graph.initializers.values()
    assert weight.const_value is not None
    old = model.ir.graph.initializers["w_k"].const_value
    assert old is not None
    np.testing.assert_array_equal(weight.const_value.numpy(), old.numpy()[..., None])


def test_external_weights_stay_in_their_file(tmp_path: Path) -> None:
    model = build(f"{X}, float[512,4,3] w_k", between("r = Conv(t, w_k)"), 11)
    path = tmp_path / "model.onnx"
    ir.save(model.ir, path, external_data="weights.bin")
    before = tripoint.load(path)
    result = tripoint.fix(before, target="7.1")
    (weight,) = result.model.ir.graph.initializers.values()
    old = before.ir.graph.initializers["w_k"].const_value
    assert isinstance(weight.const_value, ir.ExternalTensor)
    assert isinstance(old, ir.ExternalTensor)
    assert weight.const_value.path == old.path
    assert (weight.const_value.offset, weight.const_value.length) == (old.offset, old.length)
    assert result.proven


def test_what_71_spoils_at_any_rank_is_not_made_wider() -> None:
    """A Split of a tensor with an unknown dim: at rank 4 there is one dim more to lose."""
    body = between("a, b = Split<axis = -2>(t); c = Tanh(b); r = Mul(a, c)")
    assert "would lose 8 dims instead of 7" in refused(build(X, body, 11), OTHER)
    known = fixed(build("float[2,4,9,1] x", body, 11), select=BETWEEN)
    assert operators(known.model) == ["Split", "Tanh", "Mul"]


# Refusals


@pytest.mark.parametrize(
    ("inputs", "body", "name", "reason"),
    [
        ("float[4,6,3] k", "r = ConvTranspose(t, k)", DECONV, "weight `k` is computed at run time"),
        ("float[6,4,3] k", "r = Conv(t, k)", CONV, "weight `k` is computed at run time"),
        (
            "float[6,4,3] w_k",
            'r = Conv<auto_pad = "OTHER">(t, w_k)',
            CONV,
            "`r` has an unknown auto_pad",
        ),
        (
            "float[6,4,3] w_k",
            "r = Conv<pads = [1,1,1,1]>(t, w_k)",
            CONV,
            "`pads` of `r` is not that of a 1-D operator",
        ),
        (
            "float[6,4,3] w_k",
            "r = Conv<strides = 2>(t, w_k)",
            CONV,
            "`strides` of `r` is not of the type that ONNX gives it",
        ),
        ("int64 o", "r = MaxPool(t)", POOL, "`r` has no kernel_shape"),
        (
            "int64 o",
            "r, i = MaxPool<kernel_shape = [3]>(t)",
            POOL,
            "`r` has 2 outputs",
        ),
        (
            "int64[6] p",
            "a = Pad(t, p); r = GlobalMaxPool(a)",
            POOL,
            "the pads of `a` are computed at run time",
        ),
        (
            "int64[1] p, int64[1] q, int64[1] a",
            "r = Slice(t, p, q, a)",
            OTHER,
            "the axes of `r` are computed at run time",
        ),
        (
            "float[6,4,3] w_k, float[N,6,M] z",
            "c = Conv(t, w_k); r = Add(c, z)",
            CONV,
            "`z` comes from no tensor of rank 4",
        ),
    ],
)
def test_what_cannot_be_lifted(inputs: str, body: str, name: str, reason: str) -> None:
    model = build(f"{X}, {inputs}", between(body), 11, outputs="float[] y")
    assert reason in refused(model, name)


@pytest.mark.parametrize(
    ("squeeze", "operator", "unsqueeze"),
    [
        ("Squeeze<axes = 3>(x)", "Relu(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Relu(t)", "Unsqueeze<axes = 3.5>(r)"),
        ("Squeeze<axes = [9]>(x)", "Relu(t)", "Unsqueeze<axes = [-9]>(r)"),
        ("ReduceMean<axes = [3], keepdims = 0.5>(x)", "Relu(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Transpose<perm = [0,0,7]>(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Concat<axis = 40>(t, t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Softmax<axis = [1]>(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Pad<pads = [1]>(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Slice(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Where(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "GlobalMaxPool()", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "MatMul(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze()", "Conv(t)", "Unsqueeze<axes = [3]>(r)"),
        ("Squeeze<axes = [3]>(x)", "Relu(t)", "Unsqueeze()"),
    ],
)
def test_nodes_that_break_the_specification_are_left(
    squeeze: str, operator: str, unsqueeze: str
) -> None:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 11]> g ({X}) => (float[] y)'
        f"{{ t = {squeeze} r = {operator} y = {unsqueeze} }}"
    )
    with contextlib.suppress(InputError):
        result = tripoint.fix(Model(ir.from_proto(proto)), target="7.1", select=[*BETWEEN, BARE])
        assert result.applied == ()


@pytest.mark.parametrize(
    ("inputs", "body", "reason"),
    [
        (
            "float[N,L] x, float[6,1,3] w_k",
            "t = Unsqueeze<axes = [1]>(x); r = Conv(t, w_k); y = Unsqueeze<axes = [3]>(r)",
            "`x` does not have rank 4",
        ),
        # the elements are cut in another way
        (
            "float[2,4,6,1] x, float[6,8,3] w_k | int64[3] s = {2,8,3}",
            "t = Reshape(x, s); r = Conv(t, w_k); y = Unsqueeze<axes = [3]>(r)",
            "`t` is not `x` without an axis of size 1",
        ),
        (
            "float[2,4,8,1] x, float[6,4,3] w_k | int64[4] s = {2,6,2,3}",
            "t = Squeeze<axes = [3]>(x); r = Conv(t, w_k); y = Reshape(r, s)",
            "`r` is not `y` without an axis of size 1",
        ),
        # two sizes that are equal only by chance
        (
            "float[N,4,M,1] x, float[6,4,1] w_k, int64[3] s",
            "t = Reshape(x, s); r = Conv(t, w_k); y = Unsqueeze<axes = [3]>(r)",
            "`t` is not `x` without an axis of size 1",
        ),
        # a size that is squeezed without being known
        (
            "float[N,4,9,M] x, float[6,4,3] w_k",
            "t = Squeeze<axes = [3]>(x); r = Conv(t, w_k); y = Unsqueeze<axes = [3]>(r)",
            "`t` is not `x` without an axis of size 1",
        ),
    ],
)
def test_what_is_more_than_a_squeeze(inputs: str, body: str, reason: str) -> None:
    assert reason in refused(build(inputs, body, 11, outputs="float[] y"), CONV)


@pytest.mark.parametrize(
    "body",
    [
        between("c = Conv(t, w_k); r = Relu(c); z = Neg(c)"),
        between("c = Conv(t, w_k); z = Neg(t); r = Relu(c)"),
        # no tensor of rank 4 goes in, or comes out
        "t = Squeeze<axes = [3]>(x); y = Conv(t, w_k); z = Neg(x)",
        # another operator in between
        between("c = Conv(t, w_k); r = LRN<size = 3>(c); z = Neg(x)"),
        # only transposed
        between("r = Transpose<perm = [0,2,1]>(t); z = Conv<kernel_shape = [3]>(t, w_k)"),
    ],
)
def test_what_is_no_region_is_left_alone(body: str) -> None:
    model = build(f"{X}, float[6,4,3] w_k", body, 11, outputs="y, z")
    result = tripoint.fix(model, target="7.1", select=BETWEEN)
    assert (result.applied, result.refused) == ((), ())


def test_a_long_chain_is_one_region() -> None:
    nodes = [f"v{i + 1} = Relu(v{i})" for i in range(400)]
    body = f"v0 = Squeeze<axes = [3]>(x); {'; '.join(nodes)}; y = Unsqueeze<axes = [3]>(v400)"
    result = tripoint.fix(build(X, body, 11), target="7.1", select=BETWEEN, numeric=False)
    assert operators(result.model) == ["Relu"] * 400


# Random models


def per_axis(values: Sequence[int]) -> str:
    return f"[{','.join(map(str, values))}]"


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, str]:
    """A convolution, transposed convolution or pool on ``t``, and its weights."""
    op = draw(st.sampled_from(["Conv", "ConvTranspose", "AveragePool", "MaxPool", "LpPool"]))
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    attributes = {"kernel_shape": per_axis([kernel]), "strides": per_axis([stride])}
    if op not in ("AveragePool", "LpPool"):
        attributes["dilations"] = per_axis([draw(st.integers(1, 2))])
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if op == "LpPool" or kernel < stride:
        # ONNX Runtime would pad by a negative number.
        auto_pad = "NOTSET"
    if auto_pad == "NOTSET":
        # Padding must be smaller than the kernel for pools.
        attributes["pads"] = per_axis([draw(st.integers(0, kernel - 1)) for _ in range(2)])
    else:
        attributes["auto_pad"] = f'"{auto_pad}"'
        attributes.pop("dilations", None)
    weights, operands = "", "t"
    if "Conv" in op:
        group = draw(st.sampled_from([1, 2, 4]))
        out = draw(st.integers(1, 2)) * group
        first, second = (out, 4 // group) if op == "Conv" else (4, out // group)
        weights, operands = f", float[{first},{second},{kernel}] w_k", "t, w_k"
        attributes["group"] = str(group)
        if draw(st.booleans()):
            weights, operands = f"{weights}, float[{out}] w_b", "t, w_k, w_b"
    elif op != "LpPool":
        attributes["ceil_mode"] = str(draw(st.integers(0, 1)))
    if op == "AveragePool":
        attributes["count_include_pad"] = str(draw(st.integers(0, 1)))
    written = ", ".join(f"{name} = {value}" for name, value in attributes.items())
    return weights, f"{op}<{written}>({operands})"


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from(["L", "13"]), st.sampled_from(["Relu(w)", "Mul(w, w)", "Neg(w)"]))
def test_any_window_keeps_its_numbers(
    window: tuple[str, str], length: str, activation: str
) -> None:
    weights, call = window
    model = build(f"float[N,4,{length},1] x{weights}", between(f"w = {call}; r = {activation}"), 11)
    result = tripoint.fix(model, target="7.1", select=BETWEEN, numeric=False)
    assert len(result.applied) == 1
    assert not {"Squeeze", "Unsqueeze"} & set(operators(result.model))
    assert_same_function(model, result.model, [{"N": 1, "L": 10}, {"N": 3, "L": 13}])


STEPS = (
    "Conv<pads = [1,1]>({0}, w_k)",
    "Conv<pads = [2,2], dilations = [2], group = 4>({0}, w_d)",
    "ConvTranspose<pads = [1,1]>({0}, w_t)",
    "AveragePool<kernel_shape = [3], pads = [1,1]>({0})",
    "MaxPool<kernel_shape = [3], pads = [1,1]>({0})",
    "BatchNormalization({0}, w_s, w_b, w_m, v)",
    "InstanceNormalization({0}, w_s, w_b)",
    "Sigmoid({0})",
    "Add({0}, c)",
    "Mul({0}, {1})",
    "Sub({1}, {0})",
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    st.permutations(range(4)),
    st.data(),
)
def test_any_region_keeps_its_numbers(
    steps: list[str], order: list[int], data: st.DataObject
) -> None:
    """A random graph on tensors of one shape, of which each tensor is read at least once."""
    squeezed, added = order.index(3), data.draw(st.integers(0, 3))
    dims = [("N", "4", "L", "1")[axis] for axis in order]
    perm = [[axis for axis in order if axis != 3].index(axis) for axis in range(3)]
    made, nodes = ["t"], [f"s = Squeeze<axes = [{squeezed}]>(x); t = Transpose<perm = {perm}>(s)"]
    for step in steps:
        other = data.draw(st.sampled_from(made))
        nodes.append(f"v{len(made)} = {step.format(made[-1], other)}")
        made.append(f"v{len(made)}")
    nodes.append(f"y = Unsqueeze<axes = [{added}]>({made[-1]})")
    weights = (
        "float[4,4,3] w_k, float[4,1,3] w_d, float[4,4,3] w_t, float[4] w_s, float[4] w_b,"
        "float[4] w_m | float[4] v = {1.,2.,3.,4.}, float[4,1] c = {1.,2.,3.,4.}"
    )
    model = build(f"float[{','.join(dims)}] x, {weights}", "; ".join(nodes), 13 - 2)
    result = tripoint.fix(model, target="7.1", select=BETWEEN, numeric=False)
    assert len(result.applied) == 1
    assert not {"Squeeze", "Unsqueeze"} & set(operators(result.model))
    assert_same_function(model, result.model, [{"N": 1, "L": 8}, {"N": 2, "L": 5}])


# Tensors of rank 3 without a squeeze

BARE_BODY = (
    "c = Conv<pads = [1,1]>(x, w_k, w_b); n = BatchNormalization(c, w_s, w_b, w_m, v); a = Relu(n);"
    "p = MaxPool<kernel_shape = [2], strides = [2]>(a); d = Conv(p, w_l); e = Div(d, two);"
    "f = Erf(e); g = Mul(d, f); u = ConvTranspose<strides = [2]>(g, w_u);"
    "y = Transpose<perm = [0,2,1]>(u)"
)
BARE_INPUTS = (
    "float[N,3,L] x, float[8,3,3] w_k, float[8] w_b, float[8] w_s, float[8] w_m, float[4,8,5] w_l,"
    "float[4,5,2] w_u | float[8] v = {1.,2.,3.,4.,5.,6.,7.,8.}, float two = {2.}"
)
BARE_SIZES: Sizes = [{"N": 1, "L": 12}, {"N": 2, "L": 19}, {"N": 3, "L": 30}]


def test_1d_network_of_dynamic_batch() -> None:
    model = build(BARE_INPUTS.replace("[N,3,L]", "[N,3,16]"), BARE_BODY)
    result = fixed(model, BARE_SIZES, select=[*BETWEEN, BARE])
    assert result.after.lost_dims == 0 < result.before.lost_dims


@pytest.mark.parametrize("target", ["7.0", "7.1", "7.2"])
def test_1d_network_of_dynamic_length(target: str) -> None:
    model = build(BARE_INPUTS, BARE_BODY)
    result = tripoint.fix(model, target=target, select=[*BETWEEN, BARE])
    assert result.before.lost_dims == 10
    assert result.after.lost_dims == 0
    assert result.proven
    assert result.refused == ()
    assert {each.rewrite for each in result.applied} == {BARE, OTHER}
    assert operators(result.model).count("Reshape") == 2
    assert_same_function(model, result.model, BARE_SIZES)
    assert fixed(model, BARE_SIZES).after.lost_dims == 0


@pytest.mark.parametrize(
    ("inputs", "target"),
    [(BARE_INPUTS.replace("[N,3,L]", "[2,3,16]"), "7.1"), (BARE_INPUTS, "8.6")],
)
def test_1d_network_that_loses_nothing_stays(inputs: str, target: str) -> None:
    model = build(inputs, BARE_BODY)
    result = tripoint.fix(model, target=target, select=[*BETWEEN, BARE])
    assert result.before.lost_dims == 0
    assert (result.applied, result.refused) == ((), ())


def test_1d_operator_that_cannot_be_lifted() -> None:
    model = build("float[N,3,L] x, float[8,3,3] k", "y = Conv(x, k)")
    result = tripoint.fix(model, target="7.1", select=[BARE])
    assert result.applied == ()
    (only,) = result.refused
    assert (only.rewrite, only.node) == (BARE, "y")
    assert "weight `k` is computed at run time" in only.reason
