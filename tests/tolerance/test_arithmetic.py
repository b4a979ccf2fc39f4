"""What operators with coordinates, transforms and long sums err by, against float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Budget, Products, Tolerance
from tripoint.tolerance.sensitivity import Sensitivity

Array = np.ndarray[Any, Any]
_SHARE = 1 / 60
"""A tolerance is as wide as so many times the typical error at most."""


def read(text: str, opset: int = 20) -> ir.Model:
    """A graph in text, with true shapes."""
    model = Model(
        ir.from_proto(
            onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
        )
    )
    truth.annotate(model.ir)
    return model.ir


def computed(graph: ir.Model, inputs: Arrays) -> Array:
    """The output in ONNX Runtime."""
    return np.asarray(Session(Model(graph)).run(inputs)[0])


def allowed(graph: ir.Model, reference: Array) -> Tolerance:
    """What is derived for the output."""
    return Budget(graph).allowed({"y": reference.astype(np.float32)}, {})["y"]


def along(array: Array, axis: int, count: int, how: str, factor: float | None = None) -> Array:
    """Linear interpolation along an axis, in float64."""
    size = array.shape[axis]
    at = np.arange(count, dtype=np.float64)
    step = 1 / factor if factor else size / count
    at = at * (size - 1) / (count - 1) if how == "align_corners" else (at + 0.5) * step - 0.5
    at = np.clip(at, 0, size - 1)
    low = np.minimum(np.floor(at).astype(int), size - 2)
    share = (at - low).reshape([-1 if each == axis else 1 for each in range(array.ndim)])
    found: Array = np.take(array, low, axis) * (1 - share) + np.take(array, low + 1, axis) * share
    return found


def signal(*shape: int, seed: int = 0) -> Array:
    """Normal numbers in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("how", "size", "count", "exact"),
    [
        ("align_corners", 100, 333, False),
        ("align_corners", 401, 801, True),
        ("half_pixel", 101, 301, False),
        ("half_pixel", 100, 800, True),
        ("pytorch_half_pixel", 400, 333, False),
        ("half_pixel", 13, 7, False),
    ],
)
def test_resize(how: str, size: int, count: int, exact: bool) -> None:
    graph = read(f"""
        g (float[1, 2, {size}, {size}] x) => (float[1, 2, {count}, {count}] y)
        <int64[4] sizes = {{1, 2, {count}, {count}}}> {{
            y = Resize<mode = "linear", coordinate_transformation_mode = "{how}">(x, , , sizes)
        }}""")
    x = signal(1, 2, size, size)
    reference = along(along(x.astype(np.float64), 2, count, how), 3, count, how)
    other = "half_pixel" if how == "align_corners" else "align_corners"
    moved = along(along(x.astype(np.float64), 2, count, other), 3, count, other)
    check(graph, {"x": x}, reference, moved)
    # An exact scale is charged no coordinates.
    assert (allowed(graph, reference).rtol < 1e-5) == exact


def test_resize_by_a_factor() -> None:
    graph = read("""
        g (float[1, 2, 60, 60] x) => (float[1, 2, 78, 60] y)
        <float[4] factors = {1, 1, 1.3, 1}> { y = Resize<mode = "linear">(x, , factors) }""")
    x = signal(1, 2, 60, 60)
    reference = along(x.astype(np.float64), 2, 78, "half_pixel", float(np.float32(1.3)))
    check(graph, {"x": x}, reference, along(x.astype(np.float64), 2, 78, "align_corners"))


def test_nearest_is_charged_nothing() -> None:
    graph = read("""
        g (float[1, 2, 60, 60] x) => (float[1, 2, 77, 77] y)
        <int64[4] sizes = {1, 2, 77, 77}> { y = Resize<mode = "nearest">(x, , , sizes) }""")
    assert allowed(graph, signal(1, 2, 77, 77)).rtol <= 8 * 2.0**-23


def test_grid_sample() -> None:
    graph = read("""
        g (float[1, 2, 64, 64] x, float[1, 50, 50, 2] at) => (float[1, 2, 50, 50] y)
        { y = GridSample<mode = "linear", align_corners = 1>(x, at) }""")
    x = signal(1, 2, 64, 64)
    at = np.random.default_rng(1).uniform(-1, 1, (1, 50, 50, 2)).astype(np.float32)
    place = (at[0].astype(np.float64) + 1) / 2 * 63
    low = np.minimum(np.floor(place).astype(int), 62)
    right, down = (place - low)[..., 0], (place - low)[..., 1]
    column, row = low[..., 0], low[..., 1]
    image = x[0].astype(np.float64)
    upper = image[:, row, column] * (1 - right) + image[:, row, column + 1] * right
    lower = image[:, row + 1, column] * (1 - right) + image[:, row + 1, column + 1] * right
    reference = (upper * (1 - down) + lower * down)[None]
    moved = image[:, row, column][None]
    check(graph, {"x": x, "at": at}, reference, moved)


@pytest.mark.parametrize("points", [64, 100, 400, 512, 1025])
def test_transforms(points: int) -> None:
    graph = read(f"""
        g (float[4, {points}, 1] x) => (float[4, {points}, 2] y) <int64 axis = {{1}}>
        {{ y = DFT(x, , axis) }}""")
    x = signal(4, points, 1)

    def transform(array: Array) -> Array:
        found = np.fft.fft(array[..., 0].astype(np.float64), axis=1)
        found[:, 0] = found[:, 0].real
        if points % 2 == 0:  # Of a real signal, where float64 leaves a rounding.
            found[:, points // 2] = found[:, points // 2].real
        return np.stack([found.real, found.imag], -1)

    check(graph, {"x": x}, transform(x), transform(np.roll(x, 1, 1)))


@pytest.mark.parametrize("frame", [64, 100])
def test_frames(frame: int) -> None:
    graph = read(f"""
        g (float[2, 400, 1] x) => (float[2, {(400 - frame) // 16 + 1}, {frame // 2 + 1}, 2] y)
        <int64 step = {{16}}, int64 length = {{{frame}}}> {{ y = STFT(x, step, , length) }}""")
    x = signal(2, 400, 1)

    def transform(array: Array) -> Array:
        starts = range(0, 400 - frame + 1, 16)
        frames = np.stack([array[:, at : at + frame, 0] for at in starts], 1)
        found = np.fft.rfft(frames.astype(np.float64))
        return np.stack([found.real, found.imag], -1)

    check(graph, {"x": x}, transform(x), transform(np.roll(x, 1, 1)))


SUMS: Mapping[str, tuple[str, Callable[[Array], Array]]] = {
    "cumulative sum of the first axis": (
        "<int64 axis = {0}> { y = CumSum(x, axis) }",
        lambda x: np.cumsum(x, 0),
    ),
    "L1": (
        "{ y = LpNormalization<axis = 0, p = 1>(x) }",
        lambda x: x / np.abs(x).sum(0, keepdims=True),
    ),
    "L2": (
        "{ y = LpNormalization<axis = 0, p = 2>(x) }",
        lambda x: x / np.linalg.norm(x, 2, 0, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_long_sums(name: str) -> None:
    body, right = SUMS[name]
    graph = read(f"g (float[8192, 3] x) => (float[8192, 3] y) {body}")
    x = np.abs(signal(8192, 3))
    reference = right(x.astype(np.float64))
    moved = right(np.concatenate([x[:1] * 2, x[1:]]).astype(np.float64))
    check(graph, {"x": x}, reference, moved if "sum" in name else reference * 1.001)


@pytest.mark.parametrize(
    ("body", "scale"), [("y = Sin(s)", 1e5), ("y = Cos(s)", 1e4), ("y = Pow(e, s)", 60.0)]
)
def test_a_rounding_that_a_steep_operator_enlarges(body: str, scale: float) -> None:
    before = "s = Mul(x, k)" if "e," not in body else "e = Abs(b) s = Mul(x, k)"
    graph = read(f"""
        g (float[200] x) => (float[200] y) <float k = {{{scale}}}, float b = {{1.25}}>
        {{ {before} {body} }}""")
    x = np.abs(signal(200))
    reference = computed(graph, {"x": x})
    # The same product with another rounding.
    near = computed(graph, {"x": np.nextafter(x, np.float32(9))})
    tolerance = allowed(graph, reference)
    assert not within(reference, near, tolerance)
    moved = Sensitivity(graph).at({"x": x}, {}, Products.ROUNDED)
    wide = Budget(graph).allowed({"y": reference}, {}, moved=moved)["y"]
    assert within(reference, near, wide)
    far = computed(graph, {"x": x * np.float32(1.001)})
    assert not within(reference, far, wide)


def check(graph: ir.Model, inputs: Arrays, reference: Array, moved: Array) -> None:
    """ONNX Runtime is within what is allowed, which is not much more than its error."""
    found = computed(graph, inputs)
    tolerance = allowed(graph, reference)
    assert within(reference, found, tolerance)
    assert not within(reference, moved, tolerance)
    typical = float(np.sqrt(np.square(reference).mean()))
    error = float(np.sqrt(np.square(found - reference).mean())) / typical
    assert error >= tolerance.rtol * _SHARE


def within(reference: Array, found: Array, tolerance: Tolerance) -> bool:
    """Whether all elements are within a tolerance."""
    limit = tolerance.absolute + tolerance.rtol * np.abs(reference)
    return bool((np.abs(found.astype(np.float64) - reference) <= limit).all())
