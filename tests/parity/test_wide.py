"""What float64 says of a reference, and the faults that are seen by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tests.helpers.graphs import onnx_text
from tripoint.model import Model
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.parity.results import Verification
from tripoint.parity.wide import Wide
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Products

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
PRODUCT = "g (float[N,64] x, float[64,32] w) => (float[N,32] y) { y = MatMul(x, w) }"
LOOP = """g (float[N,8] x) => (float[N,8] y) <int64 count = {4}, bool go = {1}> {
    y = Loop (count, go, x) <body = b (int64 i, bool c, float[N,8] s) => (bool d, float[N,8] r) {
        d = Identity(c)  h = Tanh(s)  r = Add(h, x) }> }"""


def measured(text: str, products: Products, sizes: Mapping[str, int]) -> dict[str, Any]:
    model = onnx_text(text)
    graph = model.ir.clone()
    truth.annotate(graph)
    inputs = generate(inputs_of(model), sizes, 0, model=model)
    own = OnnxRuntimeLeg(model).run(inputs)
    return {
        "errors": Wide(graph).errors(own, inputs, sizes, products),
        "inputs": inputs,
        "own": own,
    }


def test_what_a_product_errs_by() -> None:
    found = measured(PRODUCT, Products.ROUNDED, {"N": 5})
    x, w = (found["inputs"][name].astype(np.float64) for name in "xw")
    expected = np.abs(found["own"]["y"] - x @ w)
    assert expected.max() > 0
    np.testing.assert_allclose(found["errors"]["y"], expected, rtol=1e-6, atol=1e-12)


def test_operands_of_tf32_are_rounded_and_cut_off() -> None:
    found = measured(PRODUCT, Products.TF32, {"N": 5})
    x, w = found["inputs"]["x"], found["inputs"]["w"]
    cut = [
        (array.view(np.int32) >> 13 << 13).view(np.float32).astype(np.float64) for array in (x, w)
    ]
    exact = x.astype(np.float64) @ w.astype(np.float64)
    off = np.abs(cut[0] @ cut[1] - exact)
    assert (found["errors"]["y"] >= off * (1 - 1e-9)).all()
    assert off.max() < found["errors"]["y"].max() * 1.5
    assert found["errors"]["y"].max() > 100 * np.abs(found["own"]["y"] - exact).max()


@pytest.mark.parametrize(
    ("text", "products", "sizes"),
    [
        (PRODUCT, Products.TENSOR_CORES, {"N": 5}),
        (PRODUCT.replace("float", "float16"), Products.ROUNDED, {"N": 5}),
        (
            "g (float[N,4] x) => (float[N,4] y) { d = RandomNormalLike(x)  y = Add(x, d) }",
            Products.ROUNDED,
            {"N": 5},
        ),
        (PRODUCT, Products.ROUNDED, {"N": 1 << 15}),
        (LOOP.replace("{4}", "{1000}"), Products.ROUNDED, {"N": 1}),
    ],
    ids=["tensor cores", "float16", "random", "many products", "many steps"],
)
def test_nothing_is_said(text: str, products: Products, sizes: Mapping[str, int]) -> None:
    assert measured(text, products, sizes)["errors"] == {}


class Off:
    """A graph of which one element is off."""

    name, version, device, tf32 = "TensorRT", "1", "cpu", False

    def __init__(self, model: Model, by: float) -> None:
        self._leg, self._by = OnnxRuntimeLeg(model), by

    def run_many(self, points: Any) -> Iterator[Arrays]:
        for point in points:
            outputs = {name: array.copy() for name, array in self._leg.run(point).items()}
            outputs["y"].flat[3] += self._by
            yield outputs


def compared(model: Model, by: float) -> Verification:
    specs = inputs_of(model)
    points = [Point({"N": 4}, generate(specs, {"N": 4}, 0, model=model), 0)]
    return compare_legs(model, specs, [OnnxRuntimeLeg(model), Off(model, by)], points)


def test_a_fault_is_seen_that_a_bound_would_allow() -> None:
    found = measured(LOOP, Products.ROUNDED, {"N": 4})
    error = float(found["errors"]["y"].max())
    assert error > 0
    model = onnx_text(LOOP)
    (wrong,) = compared(model, 8 * error).points[0].outputs
    (right,) = compared(model, 2 * error).points[0].outputs
    assert wrong.status == "different"
    assert right.status == "equal"
    assert wrong.tolerance is not None
    assert "what the reference is off by from float64" in wrong.tolerance.reason


def test_a_reference_that_computes_something_else_sharpens_nothing() -> None:
    """A PyTorch leg in the place of the reference, off from the graph by a small fault."""
    model = onnx_text(LOOP)
    errors = measured(LOOP, Products.ROUNDED, {"N": 4})["errors"]["y"]

    class Torch(Off):
        name = "PyTorch"

    specs = inputs_of(model)
    points = [Point({"N": 4}, generate(specs, {"N": 4}, 0, model=model), 0)]
    legs = [Torch(model, 8 * float(errors.max())), OnnxRuntimeLeg(model)]
    (entry,) = compare_legs(model, specs, legs, points).points[0].outputs
    assert entry.status == "different"


def test_constants_and_casts_of_a_double_graph() -> None:
    from tripoint.numeric.in_float32 import exactly

    model = onnx_text(
        "g (float[N] x) => (float[N] y) <float[1] c = {0.1}> "
        "{ d = Cast <to = 1> (x)  y = Mul(d, c) }"
    )
    wide = exactly(model.ir, ir.DataType.DOUBLE)
    assert wide.graph.outputs[0].dtype == ir.DataType.DOUBLE
    assert wide.graph.node(0).attributes.get_int("to") == ir.DataType.DOUBLE
    assert wide.graph.initializers["c"].const_value.numpy().dtype == np.float64
    assert model.ir.graph.initializers["c"].dtype == ir.DataType.FLOAT
