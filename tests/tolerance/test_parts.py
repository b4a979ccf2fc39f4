"""Numbers of other sizes in one output do not set each other's scale."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.graphs import onnx_text
from tripoint.parity.compare import compare_outputs
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Budget, Chain, Tolerance, derive
from tripoint.tolerance.parts import seams, split

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("fill", [-1e9, float(np.finfo(np.float32).min), 1e4, -np.inf])
def test_the_fill_of_a_mask_sets_no_scale(fill: float) -> None:
    x = RNG.standard_normal((4, 12)).astype(np.float32)
    x[RNG.random((4, 12)) > 0.3] = fill
    assert 0.5 < split(x).scales[0] < 2


def test_a_single_sentinel_in_many_numbers_is_found() -> None:
    x = RNG.standard_normal(1_000_003).astype(np.float32)
    x[777_777] = 3e38
    assert split(x).scales == pytest.approx((1.0, 3e38), rel=0.01)


@pytest.mark.parametrize("make", [RNG.standard_normal, RNG.random, RNG.standard_cauchy])
def test_numbers_of_one_density_are_one_part(make: object) -> None:
    assert callable(make)
    assert all(len(split(make(300)).scales) == 1 for _ in range(200))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_types_and_shapes(dtype: type[np.generic]) -> None:
    for shape in ((), (0, 3), (1,), (5, 4)):
        assert split(np.full(shape, 2, dtype)).scales == ((2.0,) if np.prod(shape) else (1.0,))
    assert split(np.zeros((2, 3), dtype)).scales == (1.0,)


HEAD = """g (float[N,4,A] box, float[N,6,A] score) => (float[N,A,10] y)
{ s = Sigmoid(score)  both = Concat <axis = 1> (box, s)
  y = Transpose <perm = [0, 2, 1]> (both) }"""
LEVELS = """g (float[N,2,A] a, float[N,3,A] b, float[N,2,B] c, float[N,3,B] d) => (float[N,5,C] y)
{ one = Concat <axis = 1> (a, b)  two = Concat <axis = 1> (c, d)
  y = Concat <axis = -1> (one, two) }"""
LATER = """g (float[N,2] a, float[N,3] b) => (float[N,5] y) <float[5] k = {1, 1, 8, 8, 8}>
{ both = Concat <axis = -1> (a, b)  scaled = Mul(both, k)  y = Relu(scaled) }"""
MIXED = """g (float[N,2] a, float[N,3] b, float[5,5] w) => (float[N,5] y)
{ both = Concat <axis = -1> (a, b)  y = MatMul(both, w) }"""

FLAT = """g (float[2,4,7,3] box, float[2,6,7,3] score) => (float[2,10,21] y)
<int64[3] size = {0, 10, -1}>
{ both = Concat <axis = 1> (box, score)  y = Reshape (both, size) }"""
BOXED = """g (float[2,4,7] box, float[2,6,7] score) => (float[1,2,10,7] y) <int64[1] first = {0}>
{ both = Concat <axis = 1> (box, score)  y = Unsqueeze (both, first) }"""
SPLIT = """g (float[2,4,7] box, float[2,6,7] score) => (float[2,5,2,7] y)
<int64[4] size = {2, 5, 2, 7}>
{ both = Concat <axis = 1> (box, score)  y = Reshape (both, size) }"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HEAD, {2: (4,)}),
        (FLAT, {1: (4,)}),
        (BOXED, {2: (4,)}),
        (SPLIT, {}),
        (LEVELS, {1: (2,), 2: (7,)}),
        (LATER, {1: (2,)}),
        (MIXED, {}),
    ],
)
def test_the_graph_tells_where_parts_begin(text: str, found: dict[int, tuple[int, ...]]) -> None:
    graph = onnx_text(text).ir.clone()
    truth.annotate(graph)
    sizes = {"N": 2, "A": 7, "B": 5, "C": 12}
    assert seams(graph, sizes).get("y", {}) == found


def test_probabilities_beside_pixels_are_compared() -> None:
    model = onnx_text(HEAD).ir.clone()
    truth.annotate(model)
    y = np.concatenate([RNG.random((2, 7, 4)) * 640, RNG.random((2, 7, 6))], 2).astype(np.float32)
    (allowed,) = Budget(model).allowed({"y": y}, {"N": 2, "A": 7}).values()
    assert min(allowed.each) < 1e-5 < max(allowed.each)
    nearly, other = y.copy(), y.copy()
    nearly[..., :4] *= 1 + 2e-7
    other[1, 3, 6] += 1e-4

    def status(array: np.ndarray) -> str:
        return compare_outputs({"y": y}, {"y": array}, {"y": allowed})[0].status

    assert [status(array) for array in (y, nearly, other)] == ["equal", "equal", "different"]


def test_a_tolerance_as_large_as_the_numbers_proves_nothing() -> None:
    y = RNG.standard_normal((3, 50)).astype(np.float32)
    wide = derive(Chain(variance=0.5**2), y)
    near = y + np.float32(0.1) * np.abs(y)
    for array, status in ((y, "equal"), (near, "equal"), (y + 1, "covered"), (y + 90, "different")):
        (entry,) = compare_outputs({"y": y}, {"y": array}, {"y": wide})
        assert (entry.status, entry.wrong) == (status, status == "different")
    given = {"y": Tolerance(5.0, 0.0, "given")}
    assert compare_outputs({"y": y}, {"y": y + 1}, given)[0].status == "equal"


def test_what_is_rounded_to_zero_is_no_part_of_its_own() -> None:
    spectrum = RNG.standard_normal((3, 65, 2)).astype(np.float32)
    spectrum[:, (0, 64), 1] = RNG.standard_normal((3, 2)) * 1e-7
    assert len(split(spectrum).scales) == 1
    spectrum[..., 1] *= 1e-6
    assert len(split(spectrum).scales) == 2
    assert len(split(spectrum, noise=1e-5).scales) == 1
    masked = np.where(RNG.random((3, 40)) > 0.5, -1e9, RNG.standard_normal((3, 40)))
    assert len(split(masked.astype(np.float32), noise=1e-5).scales) == 2
