"""Explicit quantization stays through every rewrite, and moves to where TensorRT reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, fixed, operators
from tripoint.model import Model

TARGETS = ("7.1", "8.6", "10.1")
POINTS = [{"N": n} for n in (1, 2, 5)]

T = ir.DataType
PAIR = ["QuantizeLinear", "DequantizeLinear"]


def quantized(body: str, opset: int = 21, **constants: tuple[Any, ir.DataType]) -> Model:
    """A model from the text of ``x: float[N,16,8,8]`` to ``y``, with constants by name."""
    inputs = ", ".join(["float[N,16,8,8] x", *(f"{kind.name.lower()}[1] {name}" for name, (_, kind)
                                             in constants.items())])  # fmt: skip
    header = f'<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
    text = f"{header} g ({inputs}) => (float[N,a,b,c] y) {{ {body} }}"
    model = Model(ir.from_proto(onnx.parser.parse_model(text)))
    graph = model.ir.graph
    for value in list(graph.inputs[1:]):
        elements, kind = constants[value.name or ""]
        array = np.asarray(elements).astype(np.float32).astype(kind.numpy())
        value.const_value = ir.Tensor(array, dtype=kind, name=value.name)
        value.shape = value.const_value.shape
        graph.inputs.remove(value)
        graph.register_initializer(value)
    return model


def weights(low: int, high: int, shape: tuple[int, ...] = (4, 16, 3, 3)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(low, high, shape)


def sixteenth(kind: ir.DataType, zero: Any = None, **more: Any) -> dict[str, Any]:
    """Scale, and zero point if there is one."""
    found = {"s": (more.get("scale", 0.0625), T.FLOAT)}
    return found if zero is None else {**found, "z": (zero, kind)}


CONV = "y = Conv<pads = [1, 1, 1, 1]>(x, w)"
ON_WEIGHTS = {
    "int8": ("", "q, s, z", T.INT8, weights(-128, 128), 0, 0.0625),
    "int8 without zero point": ("", "q, s", T.INT8, weights(-128, 128), None, 0.0625),
    "int8 by channel": (
        "<axis = 0>",
        "q, s, z",
        T.INT8,
        weights(-128, 128),
        [0] * 4,
        [0.5, 0.25, 0.125, 1.0],
    ),
    "int4 by block": (
        "<axis = 1, block_size = 4>",
        "q, s",
        T.INT4,
        weights(-8, 8),
        None,
        np.full((4, 4, 3, 3), 0.25),
    ),
    "float8": ("", "q, s, z", T.FLOAT8E4M3FN, weights(-4, 5), 0, 0.25),
    "float8e5m2": ("", "q, s", T.FLOAT8E5M2, weights(-4, 5), None, 0.25),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ON_WEIGHTS)
def test_the_dequantization_of_a_weight_stays(name: str, target: str) -> None:
    attributes, operands, kind, array, zero, scale = ON_WEIGHTS[name]
    model = quantized(
        f"w = DequantizeLinear{attributes}({operands}) {CONV}",
        q=(array, kind),
        **sixteenth(kind, zero, scale=scale),
    )
    assert operators(tripoint.fix(model, target=target).model) == ["DequantizeLinear", "Conv"]


@pytest.mark.parametrize("kind", [T.INT8, T.FLOAT8E4M3FN], ids=lambda kind: kind.name)
def test_a_float_weight_with_a_pair_keeps_it(kind: ir.DataType) -> None:
    model = quantized(
        f"q = QuantizeLinear(f, s, z) w = DequantizeLinear(q, s, z) {CONV}",
        f=(weights(-4, 5), T.FLOAT),
        **sixteenth(kind, 0),
    )
    assert operators(tripoint.fix(model, target="8.6").model) == [*PAIR, "Conv"]


def test_pairs_on_both_sides_of_an_addition_are_not_shared() -> None:
    body = """
        q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z) b = DequantizeLinear(q, s, z)
        p = QuantizeLinear(x, s, z) c = DequantizeLinear(p, s, z)
        d = Add(a, b) y = Add(d, c)"""
    model = quantized(body, **sixteenth(T.INT8, 0))
    result = fixed(model, POINTS)
    assert operators(result.model) == operators(model)


def test_what_stands_between_a_pair_and_its_layer_goes() -> None:
    """The pair itself is all that is left."""
    body = f"""
        i = Identity(x) q = QuantizeLinear(i, s, z) j = Identity(q) d = DequantizeLinear(j, s, z)
        t = Mul(d, one) w = DequantizeLinear(k, s, z) {CONV.replace("(x", "(t")}"""
    model = quantized(
        body, k=(weights(-128, 128), T.INT8), one=([1.0], T.FLOAT), **sixteenth(T.INT8, 0)
    )
    result = fixed(model, POINTS)
    assert operators(result.model) == [*PAIR, "DequantizeLinear", "Conv"]


def test_scales_that_are_computed_become_constants() -> None:
    """TensorRT wants them as such."""
    body = f"s = Div(one, sixteen) w = DequantizeLinear(q, s) {CONV}"
    model = quantized(
        body, q=(weights(-128, 128), T.INT8), one=(1.0, T.FLOAT), sixteen=(16.0, T.FLOAT)
    )
    result = fixed(model, POINTS)
    assert operators(result.model) == ["DequantizeLinear", "Conv"]


def test_small_integers_that_are_quantized_are_no_sizes() -> None:
    body = "q = QuantizeLinear(f, s, z) w = DequantizeLinear(q, s, z) y = Mul(x, w)"
    model = quantized(body, f=([1.0, 2.0] * 4, T.FLOAT), **sixteenth(T.INT8, 0))
    for select in (None, ["known-values"], ["folded-constants"], ["common-subexpressions"]):
        assert operators(tripoint.fix(model, target="7.1", select=select).model)[:2] == PAIR


def test_a_bias_of_int32_is_computed() -> None:
    """No TensorRT dequantizes it; ONNX Runtime's quantizer writes it."""
    body = "b = DequantizeLinear(k, s) w = DequantizeLinear(q, s) y = Conv(x, w, b)"
    model = quantized(
        body, k=([100, -200, 3, 0], T.INT32), q=(weights(-128, 128), T.INT8), **sixteenth(T.INT8)
    )
    result = fixed(model, POINTS)
    assert operators(result.model) == ["DequantizeLinear", "Conv"]
    bias = result.model.ir.graph[-1].inputs[2]
    assert bias is not None
    assert bias.const_value is not None
    assert bias.const_value.numpy().tolist() == [6.25, -12.5, 0.1875, 0.0]


# Around 0


MOVED = {
    "uint8 around 128": ("", T.UINT8, weights(0, 256), 128, 0.0625),
    "uint8 around 0 that fits": ("", T.UINT8, weights(0, 128), 0, 0.0625),
    "uint8 around 100 that fits": ("", T.UINT8, weights(20, 220), 100, 0.0625),
    "int8 around 5 that fits": ("", T.INT8, weights(-100, 100), 5, 0.0625),
    "uint8 by channel": (
        "<axis = 0>",
        T.UINT8,
        weights(90, 160),
        [128, 100, 120, 130],
        [0.5, 0.25, 0.125, 1.0],
    ),
    "uint4 by block": (
        "<axis = 1, block_size = 4>",
        T.UINT4,
        weights(0, 16),
        np.full((4, 4, 3, 3), 8),
        np.full((4, 4, 3, 3), 0.25),
    ),
}


@pytest.mark.parametrize("name", MOVED)
def test_a_weight_is_moved_around_zero(name: str) -> None:
    attributes, kind, array, zero, scale = MOVED[name]
    model = quantized(
        f"w = DequantizeLinear{attributes}(q, s, z) {CONV}",
        q=(array, kind),
        **sixteenth(kind, zero, scale=scale),
    )
    result = fixed(model, POINTS)
    assert operators(result.model) == ["DequantizeLinear", "Conv"]
    assert [each.rewrite for each in result.applied if each.rewrite != "unread"] == [
        "symmetric-zero-point"
    ]
    _, _, zeros = result.model.ir.graph[0].inputs
    held = result.model.ir.graph[0].inputs[0]
    assert held is not None
    assert held.dtype == (T.INT4 if kind == T.UINT4 else T.INT8)
    assert zeros is not None
    assert zeros.const_value is not None
    assert not zeros.const_value.numpy().astype(int).any()
    assert_same_function(model, result.model, POINTS)


def test_without_a_zero_point_there_is_none_behind_it() -> None:
    model = quantized(
        f"w = DequantizeLinear(q, s) {CONV}", q=(weights(0, 100), T.UINT8), **sixteenth(T.UINT8)
    )
    result = fixed(model, POINTS)
    assert [len(node.inputs) for node in result.model.ir.graph] == [2, 2]


def test_a_weight_that_does_not_fit_is_computed() -> None:
    """No TensorRT reads it as it is, and int8 does not hold -200."""
    model = quantized(
        f"w = DequantizeLinear(q, s, z) {CONV}", q=(weights(0, 256), T.UINT8),
        **sixteenth(T.UINT8, 200),
    )  # fmt: skip
    alone = tripoint.fix(model, target="8.6", select=["symmetric-zero-point"])
    assert alone.applied == ()
    assert [each.reason for each in alone.refused] == [
        "its elements minus the zero point run from -200 to 55, which is no int8"
    ]
    assert operators(fixed(model, POINTS).model) == ["Conv"]


def test_a_pair_of_uint8_around_its_middle_becomes_int8() -> None:
    body = """
        q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z) b = DequantizeLinear(q, s, z)
        r = Relu(b) y = Add(a, r)"""
    model = quantized(body, **sixteenth(T.UINT8, 128, scale=0.01))
    result = fixed(model, POINTS)
    assert operators(result.model) == operators(model)
    assert result.model.ir.graph[0].outputs[0].dtype == T.INT8
    assert_same_function(model, result.model, POINTS)


@pytest.mark.parametrize(
    ("body", "zero"),
    [
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", 0),
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", 127),
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s)", 128),
        ("q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) c = Cast<to = 1>(q) "
         "y = Add(d, c)", 128),
    ],
)  # fmt: skip
def test_other_pairs_are_left(body: str, zero: int) -> None:
    """uint8 holds numbers that int8 does not, or something reads the integers themselves."""
    model = quantized(body, **sixteenth(T.UINT8, zero))
    result = fixed(model, POINTS, ["symmetric-zero-point"])
    assert result.applied == ()


@pytest.mark.parametrize(("zero", "least", "most"), [(128, 0, 256), (100, 20, 200)])
def test_the_table_of_an_embedding_is_moved_around_zero(zero: int, least: int, most: int) -> None:
    body = """
        i = Cast<to = 7>(x) g = Gather(e, i) d = DequantizeLinear(g, s, z)
        y = ReduceSum<keepdims = 0>(d, a)"""
    table = weights(least, most, (9, 4))
    model = quantized(body, e=(table, T.UINT8), a=([4], T.INT64), **sixteenth(T.UINT8, zero))
    result = fixed(model, POINTS, ["symmetric-zero-point"])
    assert operators(result.model) == operators(model)
    held = result.model.ir.graph[1].inputs[0]
    assert held is not None
    assert held.const_value is not None
    assert held.const_value.numpy().tolist() == (table - zero).tolist()


def test_a_table_that_does_not_fit_stays() -> None:
    body = """
        i = Cast<to = 7>(x) g = Gather(e, i) d = DequantizeLinear(g, s, z)
        y = ReduceSum<keepdims = 0>(d, a)"""
    table = weights(0, 256, (9, 4))
    model = quantized(body, e=(table, T.UINT8), a=([4], T.INT64), **sixteenth(T.UINT8, 0))
    assert fixed(model, POINTS, ["symmetric-zero-point"]).applied == ()
