"""What is allowed where a graph enlarges errors, and what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Budget, Products
from tripoint.tolerance.sensitivity import Sensitivity

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
STEEP, FLAT = 60.0, 1.0


def classifier(*, steepness: float, error: float = 0.0) -> Model:
    """Softmax of large or small numbers, from weights with a relative error of either sign."""
    model = onnx_text(
        f"""g (float[N,64] x, float[64,8] w) => (float[N,8] y) <float[1] steep = {{{steepness}}}> {{
        z = MatMul(x, w)  s = Mul(z, steep)  y = Softmax <axis = -1> (s) }}"""
    )
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((64, 8)) * (1 + error * rng.choice([-1.0, 1.0], (64, 8)))
    graph = model.ir.graph
    value = graph.inputs.pop()
    value.const_value = ir.tensor(weights.astype(np.float32), name="w")
    graph.register_initializer(value)
    return model


@dataclass
class Engine:
    """Another graph in the place of an engine on a GPU."""

    model: Model
    tf32: bool = True
    name = "TensorRT"
    version = "1"
    device = "a GPU"

    def run(self, inputs: Arrays) -> Arrays:
        return OnnxRuntimeLeg(self.model).run(inputs)

    def run_many(self, points: Any) -> Iterator[Arrays]:
        return map(self.run, points)


def compared(steepness: float, error: float, **limits: Any) -> Verification:
    model = classifier(steepness=steepness)
    specs = inputs_of(model)
    points = [Point({"N": 5}, generate(specs, {"N": 5}, 0, model=model), 0)]
    legs = [OnnxRuntimeLeg(model), Engine(classifier(steepness=steepness, error=error))]
    return compare_legs(model, specs, legs, points, **limits)


def test_what_a_graph_enlarges_is_allowed() -> None:
    result = compared(STEEP, 2.0**-12)
    (entry,) = result.points[0].outputs
    assert entry.equal
    assert entry.tolerance is not None
    assert "noise as large as roundings was measured to move" in entry.tolerance.reason
    assert {check.status for check in result.metamorphic} == {"equal"}
    model = classifier(steepness=STEEP)
    graph = model.ir.clone()
    truth.annotate(graph)
    outputs = OnnxRuntimeLeg(model).run(generate(inputs_of(model), {"N": 5}, 0, model=model))
    derived = Budget(graph).allowed(outputs, {"N": 5}, products=Products.TF32)["y"]
    assert entry.max_abs is not None
    assert entry.max_abs > derived.atol


def test_the_same_error_is_a_difference_where_no_graph_enlarges_it() -> None:
    (entry,) = compared(FLAT, 2.0**-4).points[0].outputs
    assert entry.status == "different"
    (entry,) = compared(STEEP, 2.0**-4).points[0].outputs
    assert entry.status == "different"


def chain(*, shrink: float) -> Model:
    """Twenty products and rectifiers without a normalization, each product too small."""
    rng = np.random.default_rng(0)
    names = [f"w{index}" for index in range(20)]
    steps = "".join(
        f"p{i} = MatMul({f'r{i - 1}' if i else 'x'}, {w})  r{i} = Relu(p{i})  "
        for i, w in enumerate(names)
    )
    weights = ", ".join(f"float[64,64] {name}" for name in names)
    model = onnx_text(
        f"g (float[N,64] x, {weights}) => (float[N,64] y) {{ {steps} y = Identity(r19) }}"
    )
    graph = model.ir.graph
    for value in list(graph.inputs)[1:]:
        graph.inputs.remove(value)
        array = rng.standard_normal((64, 64)) * (2 / 64) ** 0.5 * (1 - shrink)
        value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
        graph.register_initializer(value)
    return model


@pytest.mark.parametrize(
    ("products", "allowed"), [(Products.TF32, True), (Products.TENSOR_CORES, False)]
)
def test_products_that_are_cut_off_add_up(products: Products, allowed: bool) -> None:
    model, sizes = chain(shrink=0.0), {"N": 4}
    feed = generate(inputs_of(model), sizes, 0, model=model)
    reference, found = (
        OnnxRuntimeLeg(each).run(feed)["y"].astype(np.float64)
        for each in (model, chain(shrink=2.0**-11))
    )
    graph = model.ir.clone()
    truth.annotate(graph)
    moved = Sensitivity(graph).at(feed, sizes, products)["y"]
    assert bool(np.abs(found - reference).max() <= moved.max()) is allowed


def test_given_tolerances_stand() -> None:
    (entry,) = compared(STEEP, 2.0**-12, atol=1e-6, rtol=0.0).points[0].outputs
    assert entry.status == "different"
    assert entry.tolerance is not None
    assert entry.tolerance.atol == 1e-6


def sensitivity_of(text: str, inputs: Arrays, **sizes: int) -> dict[str, np.ndarray]:
    graph = onnx_text(text).ir
    truth.annotate(graph)
    return Sensitivity(graph).at(inputs, sizes, Products.TF32)


def test_only_sums_are_disturbed() -> None:
    x = np.full((2, 3), 1 / 3, np.float32)
    still = "g (float[N,3] x) => (float[N,3] y) { a = Exp(x)  y = Mul(a, x) }"
    assert sensitivity_of(still, {"x": x}, N=2)["y"].max() == 0.0
    summed = "g (float[N,3] x) => (float[N,1] y) { a = ReduceSum(x)  y = Exp(a) }"
    assert sensitivity_of(summed, {"x": x}, N=2)["y"] > 0


def test_infinities_integers_and_random_numbers() -> None:
    x = np.full((2, 3), -np.inf, np.float32)
    text = """g (float[N,3] x) => (float[N,1] y, int64[N,1] k, float[N,1] z) {
      y = ReduceLogSumExp(x)  k = ArgMax <axis = 1> (x)  z = Exp(y) }"""
    # -inf is not measured, and passes through without becoming NaN behind it.
    assert sensitivity_of(text, {"x": x}, N=2) == {"z": 0.0}
    text = """g (float[N,3] x) => (float[N,1] y) {
      r = RandomNormalLike(x)  s = Add(x, r)  y = ReduceSum(s) }"""
    assert sensitivity_of(text, {"x": np.ones((2, 3), np.float32)}, N=2) == {}


@pytest.mark.parametrize("kind", ["double", "float16"])
def test_other_floating_point_types(kind: str) -> None:
    text = f"g ({kind}[N,9] x, {kind}[9,4] w) => ({kind}[N,4] y) {{ y = MatMul(x, w) }}"
    model = onnx_text(text)
    feed = generate(inputs_of(model), {"N": 3}, 0, model=model)
    moved = sensitivity_of(text, feed, N=3)["y"]
    graph = model.ir
    truth.annotate(graph)
    allowed = Budget(graph).allowed(OnnxRuntimeLeg(model).run(feed), {"N": 3})["y"]
    assert 0 < moved.max() < 2 * allowed.atol


def test_a_graph_that_does_not_run_measures_nothing() -> None:
    text = "g (float[N,3] x, float[3,2] w) => (float[N,2] y) { y = MatMul(x, w) }"
    x = np.ones((2, 4), np.float32)
    assert sensitivity_of(text, {"x": x, "w": np.ones((3, 2), np.float32)}, N=2) == {}
