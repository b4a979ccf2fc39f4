"""Names of dims in a file: what they mean, and what TensorRT is given in their place."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.marks import needs_tensorrt
from tripoint.cli import app
from tripoint.errors import ExternalStepError, UsageError
from tripoint.shape_inference.dim_names import clashes, file_for_tensorrt
from tripoint.spec import Range, Spec

TWO = """float[p,3,q,r] x, float[s,4] z) => (float[p,3,q,r] y, float[s,4] w) {
    y = Relu(x)
    w = Relu(z)
}"""


def model(folder, graph, names, opset=13):
    """A file whose dims are called as ``names`` says, which ONNX text cannot."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({graph}'
    proto = onnx.parser.parse_model(text)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return path


def input_names(path):
    return [
        dim.dim_param
        for value in onnx.load(path).graph.input
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    ]


def symbols(path):
    table = tripoint.shapes(path, target="10.1")
    return [dim for name in ("x", "z") for dim in table.by_name[name].shape if isinstance(dim, str)]


@pytest.mark.parametrize("text", ["?", " ", "??", "-1", "None", "nan", "*", "."])
def test_a_text_that_is_no_name_gives_a_symbol_to_each_dim(tmp_path, text):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", text))
    expected = ["x_dim0", "x_dim2", "x_dim3", "z_dim0"]
    assert symbols(path) == expected
    assert clashes(tripoint.load(path).ir.graph) == ("x", "z")
    with file_for_tensorrt(tripoint.load(path)) as given:
        assert input_names(given) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"p": "a.b", "q": "a/b", "r": "a:b", "s": "a_b"}, ["a_b_2", "a_b_3", "a_b_4", "a_b"]),
        (
            {"p": "?", "q": "x dim0", "r": "x_dim0", "s": "3"},
            ["x_dim0_3", "x_dim0_2", "x_dim0", "_3"],
        ),
        ({"p": "_d0", "q": "d0", "r": "floor", "s": "2*d0"}, ["d0_2", "d0", "_floor", "2*d0"]),
        (
            {"p": "N", "q": "batch size", "r": "batch size", "s": "N"},
            ["N", "batch_size", "batch_size", "N"],
        ),
    ],
)
def test_different_texts_are_different_symbols_and_equal_ones_equal(tmp_path, names, expected):
    path = model(tmp_path, TWO, names)
    assert symbols(path) == expected


def test_a_file_whose_names_are_distinct_is_handed_over_as_it_is(tmp_path):
    for names in (
        {"p": "N", "q": "H", "r": "W", "s": "N"},
        {"p": "?", "q": "H", "r": "W", "s": "N"},
    ):
        path = model(tmp_path, TWO, names)
        with file_for_tensorrt(tripoint.load(path)) as given:
            assert given == path


def test_fix_writes_names_of_their_own_and_proves_it(tmp_path):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", "?"))
    result = tripoint.fix(path, target="10.1")
    assert [(each.rewrite, each.tensor) for each in result.applied] == [("distinct-dims", "x, z")]
    assert result.proof.holds
    assert len(result.proof.numeric.points) == 3
    tripoint.model.save(result.model, tmp_path / "fixed.onnx")
    fixed = onnx.load(tmp_path / "fixed.onnx")
    assert input_names(tmp_path / "fixed.onnx") == ["x_dim0", "x_dim2", "x_dim3", "z_dim0"]
    declared = [dim.dim_param for dim in fixed.graph.output[0].type.tensor_type.shape.dim]
    assert declared == ["x_dim0", "", "x_dim2", "x_dim3"]
    assert tripoint.fix(tmp_path / "fixed.onnx", target="10.1").applied == ()


def test_a_rewrite_that_was_not_selected_writes_no_names(tmp_path):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", "?"))
    assert tripoint.fix(path, target="10.1", select=["no-operation"]).applied == ()


GIVEN = Spec.parse(["x:1..2..4x3x8..16..32x8..24..32", "z:1..3..8x4"])


def test_one_name_with_two_ranges_is_two_symbols_where_nothing_ties_them(tmp_path):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", "N"))
    result = tripoint.profile(path, specs=[GIVEN])
    assert dict(result.proposals[0].ranges) == {
        "N": Range(1, 2, 4),
        "x_dim2": Range(8, 16, 32),
        "x_dim3": Range(8, 24, 32),
        "z_dim0": Range(1, 3, 8),
    }
    fixed = tripoint.fix(path, spec=GIVEN, target="10.1")
    assert [each.rewrite for each in fixed.applied] == ["distinct-dims"]
    assert fixed.proven
    sizes = [dict(point) for point in fixed.proof.numeric.points]
    assert any(point["N"] != point["z_dim0"] for point in sizes)
    verified = tripoint.verify(path, fixed=fixed.model, spec=GIVEN)
    assert all(o.status == "equal" for point in verified.points for o in point.outputs)


@pytest.mark.parametrize(
    "graph",
    [
        "float[N,3] x, float[N,3] z) => (float[a,6] y) { y = Concat<axis=1>(x, z) }",
        "float[N,3] x, float[N,3] z) => (float[a,3] y) { y = Add(x, z) }",
        "float[3,N] x, float[N,3] z) => (float[3,b] y) { y = MatMul(x, z) }",
        "float[N,3] x, float[N,3] z) => (float[a,3] y) { u = Relu(x) v = Neg(z) y = Sub(u, v) }",
        "float[N,3] x, float[N,3] z) => (float[a,3] y) { c = Greater(x, z) y = Where(c, x, z) }",
    ],
)
def test_a_name_that_the_graph_ties_stays_one(tmp_path, graph):
    path = model(tmp_path, graph, {})
    first, second = ("1..2..4", "2..3..4")
    transposed = "float[3,N]" in graph
    inputs = [f"x:3x{first}" if transposed else f"x:{first}x3", f"z:{second}x3"]
    with pytest.raises(
        UsageError, match=r"dimension N is bound to .* and node '\w+' \(\w+\) needs them"
    ):
        tripoint.fix(path, spec=Spec.parse(inputs), target="10.1")


def test_what_is_tied_stays_together_and_the_rest_goes(tmp_path):
    graph = """float[N,3] x, float[N,3] z, float[N,2] u) => (float[a,3] y, float[b,2] v) {
        y = Add(x, z)
        v = Relu(u)
    }"""
    path = model(tmp_path, graph, {})
    spec = Spec.parse(["x:1..2..4x3", "z:1..2..4x3", "u:2..3..9x2"])
    result = tripoint.profile(path, specs=[spec])
    assert dict(result.proposals[0].ranges) == {"N": Range(1, 2, 4), "u_dim0": Range(2, 3, 9)}


def test_onnx_runtime_computes_the_same_from_the_file_that_is_handed_over(tmp_path):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", "?"))
    feed = {
        "x": np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7) - 9,
        "z": -np.ones((6, 4), np.float32),
    }
    with file_for_tensorrt(tripoint.load(path)) as given:
        legs = [onnxruntime.InferenceSession(str(file)).run(None, feed) for file in (path, given)]
    for one, other in zip(*legs, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_tensorrt
@pytest.mark.parametrize("text", ["?", "-1", "None", "N"])
def test_an_engine_is_built_where_one_name_stands_for_sizes_that_differ(tmp_path, text):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", text))
    built = tripoint.build(path, tmp_path / "model.plan", spec=GIVEN)
    given = {each.name: (each.min, each.max) for each in built.profiles[0].inputs}
    assert given == {"x": ((1, 3, 8, 8), (4, 3, 32, 32)), "z": ((1, 4), (8, 4))}
    assert built.manifest["model"]["path"] == "model.onnx"


@needs_tensorrt
def test_the_message_of_tensorrt_explains_itself(tmp_path, monkeypatch):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", "?"))
    monkeypatch.setattr("tripoint.shape_inference.dim_names.distinct", lambda model: model)
    with pytest.raises(ExternalStepError, match="one name in the file") as caught:
        tripoint.build(path, tmp_path / "model.plan", spec=GIVEN)
    assert "--input" in caught.value.hint


def test_triton_gets_distinct_names(tmp_path):
    path = model(tmp_path, TWO, dict.fromkeys("pqrs", "?"))
    words = ["triton", "export", str(path), "-o", str(tmp_path / "models")]
    assert CliRunner().invoke(app, words).exit_code == 0
    (written,) = (tmp_path / "models").rglob("*.onnx")
    assert input_names(written) == ["x_dim0", "x_dim2", "x_dim3", "z_dim0"]
