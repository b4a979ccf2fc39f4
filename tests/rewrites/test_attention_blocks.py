"""Attention blocks of image networks, exported by both exporters, static and dynamic."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, build, operators
from tests.helpers.paths import TESTS
from tripoint.model import Model
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

Export = Callable[[str, str, str], Model]

MODULE = TESTS / "helpers" / "attention.py"
STATIC = "x:1x3x9x8"
DYNAMIC = "x:1..2..8x3x5..9..32x5..8..32"
SIZES = [{"x_dim0": n, "x_dim2": h, "x_dim3": w} for n, h, w in ((1, 5, 8), (2, 9, 7), (4, 6, 11))]

ECA = ("eca_squeeze", "eca_view", "eca_permuted", "eca_flattened")
CLEAN = (
    *(*ECA, "strip", "se_linear", "se_conv", "gather_excite_global"),
    *("cbam_channel", "cbam_spatial"),
)
"""Blocks in which nothing is lost after a fix, whatever is dynamic."""
RUN_TIME = ("gather_excite", "coordinate")
"""Blocks that cut or resize to a size of the image, which 7.1 never knows if it is dynamic."""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exports a block; the same one only once."""

    @functools.cache
    def run(name: str, exporter: str, shape: str) -> Model:
        path = tmp_path_factory.mktemp("export") / "model.onnx"
        spec = Spec.parse([shape])
        return tripoint.export(f"{MODULE}:{name}", path, spec=spec, exporter=exporter).model

    return run


def check(model: Model, target: str = "7.1") -> list[str]:
    """Fix a model; the operators that still lose a dim."""
    result = tripoint.fix(model, target=target)
    assert result.proven
    assert all(each.proof.holds for each in result.applied)
    assert result.after.lost_dims <= result.before.lost_dims
    assert all(each.reason for each in result.remaining)
    dynamic = any(not isinstance(dim, int) for dim in model.ir.graph.inputs[0].shape or ())
    assert_same_function(model, result.model, SIZES if dynamic else ({}, {}, {}))
    table = result.facts_after.table
    return [table.by_name[each.tensor].op or "" for each in result.remaining]


@pytest.mark.parametrize("shape", [STATIC, DYNAMIC], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", CLEAN)
def test_traced_block_loses_nothing(name: str, shape: str, export: Export) -> None:
    assert check(export(name, "torchscript", shape)) == []


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, DYNAMIC) for name in (*ECA, "strip", "se_conv", "cbam_channel")),
        ("cbam_channel", STATIC),
        # These differ from the others in what the other exporter writes alike.
        *(
            pytest.param(name, DYNAMIC, marks=pytest.mark.slow)
            for name in ("se_linear", "gather_excite_global", "cbam_spatial")
        ),
        pytest.param("eca_view", STATIC, marks=pytest.mark.slow),
    ],
)
def test_captured_block_loses_nothing(name: str, shape: str, export: Export) -> None:
    assert check(export(name, "dynamo", shape)) == []


@pytest.mark.parametrize("name", RUN_TIME)
def test_block_with_a_size_of_the_image(name: str, export: Export) -> None:
    assert check(export(name, "torchscript", STATIC)) == []
    lost = check(export(name, "torchscript", DYNAMIC))
    assert set(lost) <= {"Resize", "Slice", "Split"}


@pytest.mark.parametrize("target", ["7.0", "7.2"])
@pytest.mark.parametrize("name", ["se_linear", "cbam_channel", "eca_view", "strip"])
def test_block_for_other_versions(name: str, target: str, export: Export) -> None:
    assert check(export(name, "torchscript", DYNAMIC), target) == []


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", ECA)
def test_every_form_of_eca_becomes_the_same_graph(name: str, exporter: str, export: Export) -> None:
    result = tripoint.fix(export(name, exporter, DYNAMIC), target="7.1", numeric=False)
    middle = ["Conv", "Relu", "Conv"] if name == "eca_flattened" else ["Conv"]
    gate = ["Sigmoid", "Transpose"] if name == "eca_view" else ["Transpose", "Sigmoid"]
    assert operators(result.model) == [
        *("Conv", "GlobalAveragePool", "Transpose"),
        *middle,
        *gate,
        *("Mul", "Conv"),
    ]


# What these blocks need besides the rewrites of 1-D operators

MATRIX = "float[N,6] x, float[6,4] w_m"
TWO_LAYERS = "a = Gemm(x, w_m, w_c); y = Gemm<transB = 1>(a, w_n, w_b)"


@pytest.mark.parametrize("target", ["7.1", "7.2"])
@pytest.mark.parametrize(
    ("inputs", "body", "expected"),
    [
        (MATRIX, "y = MatMul(x, w_m)", ["Reshape", "MatMul", "Reshape"]),
        (
            f"{MATRIX}, float[4] w_b, float[4,3] w_n",
            "a = MatMul(x, w_m); b = Add(a, w_b); c = Relu(b); y = MatMul(c, w_n)",
            ["Reshape", "MatMul", "Reshape", "Add", "Relu", "Reshape", "MatMul", "Reshape"],
        ),
    ],
)
def test_matrix_product_of_dynamic_rows(
    inputs: str, body: str, expected: list[str], target: str
) -> None:
    model = build(inputs, body)
    result = tripoint.fix(model, target=target, select=["no-fully-connected"])
    assert operators(result.model) == expected
    assert result.after.lost_dims == 0 < result.before.lost_dims
    assert result.proven
    assert_same_function(model, result.model, [{"N": n} for n in (1, 3, 8)])


def test_matrix_product_with_bias_of_dynamic_rows() -> None:
    model = build(f"{MATRIX}, float[3,4] w_n, float[3] w_b, float[4] w_c", TWO_LAYERS)
    result = tripoint.fix(model, target="7.2", select=["no-fully-connected"])
    assert operators(result.model) == ["Gemm", "Gemm"]
    assert result.after.lost_dims == 0 < result.before.lost_dims
    for node in result.model.ir.graph:
        bias = node.inputs[2]
        assert bias is not None
        assert bias.shape is not None
        assert bias.shape.rank() == 2
    assert_same_function(model, result.model, [{"N": n} for n in (1, 3, 8)])


@pytest.mark.parametrize(
    ("inputs", "body", "target"),
    [
        ("float[2,6] x, float[6,4] w_m", "y = MatMul(x, w_m)", "7.1"),
        (MATRIX, "y = MatMul(x, w_m)", "7.0"),
        (MATRIX, "y = MatMul(x, w_m)", "8.6"),
        ("float[N,3,6] x, float[6,4] w_m", "y = MatMul(x, w_m)", "7.1"),
        ("float[N,6] x, float[6,4] m", "y = MatMul(x, m)", "7.1"),
        (f"{MATRIX}, float[4] w_b", "y = Gemm(x, w_m, w_b)", "7.1"),
        (f"{MATRIX}, float[1,4] w_b", "y = Gemm(x, w_m, w_b)", "7.2"),
    ],
)
def test_matrix_product_that_loses_nothing_stays(inputs: str, body: str, target: str) -> None:
    result = tripoint.fix(build(inputs, body), target=target, select=["no-fully-connected"])
    assert (result.applied, result.refused) == ((), ())


def test_rows_of_unknown_length_are_not_multiplied_at_rank_3() -> None:
    model = build("float[N,K] x, float[6,4] w_m", "y = MatMul(x, w_m)", outputs="float[N,4] y")
    result = tripoint.fix(model, target="7.1", select=["no-fully-connected"])
    assert result.applied == ()
    assert [each.reason for each in result.refused] == [
        "the columns of what `y` multiplies are not fixed"
    ]


LATE = ("late-expand", "redundant-expand")
GATE = "float[N,4,H,W] x, float[N,4,1,1] g"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("e = Expand(g, s); a = Sigmoid(e); y = Mul(x, a)", ["Sigmoid", "Mul"]),
        (
            "e = Expand(g, s); a = Sigmoid(e); b = Clip(a, low); y = Mul(b, x)",
            ["Sigmoid", "Clip", "Mul"],
        ),
    ],
)
def test_expand_behind_an_activation(body: str, expected: list[str]) -> None:
    model = build(f"{GATE} | float low = {{0.5}}", f"s = Shape(x); {body}")
    result = tripoint.fix(model, target="7.1", select=LATE)
    assert operators(result.model) == expected
    assert result.proven
    assert result.refused == ()
    assert_same_function(model, result.model, [{"N": 2, "H": 3, "W": 5}, {"N": 1, "H": 4, "W": 1}])


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("e = Expand(g, s); a = Sigmoid(e); y = Mul(e, a)", "7.1"),
        ("e = Expand(g, s); a = Sigmoid(e); y = Mul(x, a)", "8.6"),
        ("e = Expand(g, s); y = Softmax(e)", "7.1"),
        ("e = Expand(g, s); y = Sigmoid(e)", "7.1"),
        ("e = Expand(g, s); a = Sigmoid(e); y = Concat<axis = 1>(a, x)", "7.1"),
    ],
)
def test_expand_that_stays_in_front(body: str, target: str) -> None:
    model = build(GATE, f"s = Shape(x); {body}")
    result = tripoint.fix(model, target=target, select=["late-expand"])
    assert (result.applied, result.refused) == ((), ())
