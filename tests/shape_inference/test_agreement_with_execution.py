"""True shapes agree with execution: models of the zoo, and operators that it lacks."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from tests.helpers.execution import (
    MODES,
    POINTS,
    agreement,
    node_agreement,
    node_cases,
    with_weights,
)
from tests.helpers.graphs import build
from tests.helpers.paths import ARCHIVE
from tripoint.model import Model
from tripoint.shape_inference import truth

ZOO = (
    "bert6.ts_dyn",
    "eca.ts_dyn",
    "ecaresnet26t.ts_dyn",
    "efficientvit.ts_dyn",
    "fasterrcnn_mobile.ts_dyn",
    "levit_128s.ts_dyn",
    "llama_tiny.dynamo_dyn",
    "segformer.ts_dyn",
    "t5_enc.ts_dyn",
)
"""Small ones, and among them those whose sizes are computed in the most ways."""

OPERATORS: dict[str, tuple[str, str]] = {
    "NonZero": ("float[N,4] x", "y = NonZero(x)"),
    "NonMaxSuppression": (
        "float[1,B,4] x, float[1,C,B] s | int64 m = {3}",
        "y = NonMaxSuppression(x, s, m)",
    ),
    "TopK of as many as there are": (
        "float[N,L] x | int64[1] i = {1}",
        "s = Shape(x); k = Gather(s, i); y, at = TopK(x, k)",
    ),
    "TopK of a fed number": ("float[N,9] x, int64[1] k", "y, at = TopK(x, k)"),
    "Unique": ("float[N,4] x", "y, a, b, c = Unique(x)"),
    "Unique along an axis": ("float[N,4] x", "y, a, b, c = Unique<axis = 0>(x)"),
    "Compress": ("float[N,4] x, bool[4] c", "y = Compress<axis = 1>(x, c)"),
    "Range": (
        "float[N,4] x | int64 two = {2}",
        "n = Size(x); y = Range(two, n, two)",
    ),
    "Range backwards": (
        "float[N] x | int64 zero = {0}, int64 step = {-3}",
        "n = Size(x); y = Range(n, zero, step)",
    ),
    "Tile": ("float[N,3] x", "s = Shape(x); y = Tile(x, s)"),
    "Pad": ("float[N,L] x | int64[4] p = {1,2,0,3}", "y = Pad(x, p)"),
    "Pad of some axes": (
        "float[N,L] x | int64[2] p = {1,2}, int64[1] a = {-1}, float v = {0}",
        "y = Pad(x, p, v, a)",
    ),
    "Resize by sizes": (
        "float[1,1,H,W] x | float[0] e = {}",
        "s = Shape(x); d = Add(s, s); u = Sub(d, s); y = Resize(x, e, e, u)",
    ),
    "Resize by scales": (
        "float[1,1,H,W] x | float[0] e = {}, float[4] k = {1.,1.,0.7,2.5}",
        'y = Resize<mode = "nearest">(x, e, k)',
    ),
    "ConstantOfShape": ("float[N,M] x", "s = Shape(x); y = ConstantOfShape(s)"),
    "OneHot": (
        "int64[N] x | int64 d = {5}, float[2] v = {0.,1.}",
        "y = OneHot<axis = 0>(x, d, v)",
    ),
    "GatherND": ("float[2,3,M] x | int64[2,2] i = {0,1,1,2}", "y = GatherND(x, i)"),
    "ScatterND": (
        "float[N,3] x, float[1,3] u | int64[1,1] i = {0}",
        "y = ScatterND(x, i, u)",
    ),
    "Einsum": ("float[B,I,J] x, float[B,J,K] z", 'y = Einsum<equation = "bij,bjk->bik">(x, z)'),
    "LSTM": (
        "float[T,B,3] x, float[2,16,3] w_w, float[2,16,4] w_r",
        'y, h, c = LSTM<hidden_size = 4, direction = "bidirectional">(x, w_w, w_r)',
    ),
    "GRU": (
        "float[T,B,3] x, float[1,12,3] w_w, float[1,12,4] w_r",
        "y = GRU<hidden_size = 4>(x, w_w, w_r)",
    ),
    "DepthToSpace": ("float[N,8,H,W] x", "y = DepthToSpace<blocksize = 2>(x)"),
    "Split that leaves less": ("float[L,4] x", "y, a, b = Split<num_outputs = 3>(x)"),
    "Squeeze without axes": ("float[N,1,3,1] x", "y = Squeeze(x)"),
    "Reshape that copies": ("float[N,M,6] x | int64[4] m = {0,0,2,-1}", "y = Reshape(x, m)"),
    "Reshape to nothing": (
        "float[N,0] x | int64[3] m = {0,2,3}",
        "y = Reshape<allowzero = 1>(x, m)",
    ),
    "Expand": (
        "float[N,1] x, float[M] z | int64[1] three = {3}",
        "s = Shape(z); t = Concat<axis = 0>(three, three, s);"
        "i = Shape<end = 1>(x);"
        "u = Concat<axis = 0>(three, i, s); y = Expand(x, u)",
    ),
    "MatMul of vectors": ("float[K] x, float[B,K,M] z", "y = MatMul(x, z)"),
    "ConvTranspose to a given shape": (
        "float[N,2,5,5] x, float[2,3,3,3] w_k",
        "y = ConvTranspose<strides = [2,2], output_shape = [10,10]>(x, w_k)",
    ),
    "ConvTranspose": (
        "float[N,2,H,W] x, float[2,3,3,3] w_k",
        "y = ConvTranspose<strides = [2,3], pads = [1,0,0,1], output_padding = [1,0],"
        "dilations = [1,2]>(x, w_k)",
    ),
    "MaxPool that rounds up": (
        "float[N,2,H,W] x",
        "y = MaxPool<kernel_shape = [3,2], strides = [2,3], pads = [1,1,1,1], ceil_mode = 1>(x)",
    ),
    "MaxPool with dilations": (
        "float[N,2,H,W] x",
        "y, i = MaxPool<kernel_shape = [3,2], dilations = [2,3], strides = [2,1]>(x)",
    ),
    "AveragePool that pads itself": (
        "float[N,2,H,W] x",
        'y = AveragePool<kernel_shape = [3,3], strides = [2,2], auto_pad = "SAME_LOWER">(x)',
    ),
    "Slice backwards": (
        "float[L,4] x | int64[1] b = {-2}, int64[1] e = {-9}, int64[1] a = {0}, int64[1] k = {-2}",
        "y = Slice(x, b, e, a, k)",
    ),
    "Slice from a computed place": (
        "float[L,4] x | int64[1] a = {0}, int64[1] two = {2}",
        "s = Shape<end = 1>(x); h = Div(s, two); t = Sub(h, two); y = Slice(x, t, h, a)",
    ),
    "Loop that grows": (
        "float[N] x | int64 n = {3}, bool go = {1}",
        "y = Loop(n, go, x)<body = b (int64 i, bool c, float[] v) => (bool d, float[] w)"
        " { d = Identity(c) w = Concat<axis = 0>(v, v) }>",
    ),
    "Loop with rows": (
        "float[N] x | int64 n = {3}, bool go = {1}",
        "y = Loop(n, go)<body = b (int64 i, bool c) => (bool d, float[] row)"
        " { m = ReduceMax<keepdims = 0>(x) d = Cast<to = 9>(m) row = Relu(x) }>",
    ),
    "Scan": (
        "float[B,3] x, float[B,T,3] z",
        "last, y = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],"
        " body = b (float[] state, float[] part) => (float[] next, float[] out)"
        " { next = Add(state, part) out = Relu(next) }>(x, z)",
    ),
    "If": (
        "bool c, float[N,4] x",
        "y = If(c)<then_branch = t () => (float[] a) { a = Concat<axis = 0>(x, x) },"
        " else_branch = e () => (float[] b) { b = Relu(x) }>",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    inputs, body = OPERATORS[name]
    model = build(inputs, body, 18, "y").ir
    result = agreement(model)
    assert result.disagreements == []
    assert result.without_rank == []
    assert len(result.points) == (POINTS if truth.infer(model).symbols else 1), result.failed
    assert result.kinds["undecided"] == 0
    assert result.agreeing == result.dims > 0


def test_local_functions() -> None:
    model = ir.from_proto(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17, "local" : 1]>'
            "g (float[N,4] x) => (float[] y) { a = local.Twice(x) y = local.Twice(a) }"
            '<domain: "local", opset_import: ["" : 17]>'
            "Twice (v) => (w) { t = Relu(v) w = Concat<axis = 0>(t, t) }"
        )
    )
    result = agreement(model)
    assert (result.disagreements, result.tensors, len(result.points)) == ([], 5, POINTS)


def test_a_wrong_shape_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from tripoint.shape_inference.operators import symbolic_values

    model = build("float[N,2,H,W] x", "y = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x)").ir
    assert agreement(model).disagreements == []
    monkeypatch.setattr(symbolic_values, "divide_down", symbolic_values.divide_up)
    (wrong,) = agreement(model).disagreements
    assert wrong.startswith("y: ")


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(2, id="half")]
)
def test_node_tests_of_onnx(every: int) -> None:
    chosen = {"Reshape", "Slice", "Pad", "Resize", "Split", "Squeeze", "Unsqueeze", "TopK", "Tile"}
    checked = 0
    for case in itertools.islice(node_cases(), 0, None, every):
        if case.model.graph.node[0].op_type not in chosen:
            continue
        for mode in MODES:
            counts, wrong = node_agreement(case, mode)
            assert wrong == [], (case.name, mode)
            checked += sum(counts.values())
    assert checked > 500 / every


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"no {ARCHIVE.name} beside the project")
@pytest.mark.parametrize("name", ZOO)
def test_zoo(zoo: Path, name: str) -> None:
    model = ir.load(zoo / f"{name}.onnx")
    with_weights(model)
    result = agreement(model)
    assert (result.disagreements, result.without_rank) == ([], [])
    assert len(result.points) == POINTS, result.failed
    assert result.kinds["undecided"] == 0
    assert result.agreeing == result.dims
    # What runs at three sizes has no size of the example in it.
    assert truth.infer(Model(model).ir).frozen == ()
