"""Equations are exact: sizes that satisfy all of them run in ONNX Runtime, and no others do."""

from __future__ import annotations

import itertools

import onnxruntime
import pytest

from tests.helpers.graphs import build, feed, to_bytes
from tripoint.model import Model
from tripoint.shape_inference import constraints, truth
from tripoint.shape_inference.constraints.evaluate import holds
from tripoint.symbols import evaluate

SMALL = (1, 2, 3, 4, 5, 6, 7, 8, 9)

GRAPHS: dict[str, tuple[str, str, int, dict[str, tuple[int, ...]]]] = {
    "add": ("float[N,3] x, float[M,3] z", "y = Add (x, z)", 17, {}),
    "add-constant": ("float[N,3] x | float[4,1] w = {1,2,3,4}", "y = Add (x, w)", 17, {}),
    "where": (
        "bool[A,1] c, float[B,4] x, float[1,C] z",
        "y = Where (c, x, z)",
        17,
        dict.fromkeys("ABC", (1, 2, 4)),
    ),
    "concat": ("float[N,3] x, float[M,3] z", "y = Concat <axis = 1> (x, z)", 17, {}),
    "matmul": (
        "float[N,K] x, float[L,2] z",
        "y = MatMul (x, z)",
        17,
        dict.fromkeys("NKL", (1, 2, 3)),
    ),
    "matmul-batch": (
        "float[N,2,K] x, float[M,L,2] z",
        "y = MatMul (x, z)",
        17,
        dict.fromkeys("NMKL", (1, 2, 3)),
    ),
    "gemm": (
        "float[N,K] x, float[3,L] z, float[B,C] c",
        "y = Gemm <transB = 1> (x, z, c)",
        17,
        {**dict.fromkeys("NKL", (1, 2)), **dict.fromkeys("BC", (1, 2, 3))},
    ),
    "conv": (
        "float[1,C,H,W] x, float[2,3,5,3] w_1",
        "y = Conv <strides = [2, 2], pads = [1, 0, 1, 0], dilations = [2, 1]> (x, w_1)",
        17,
        {"C": (2, 3), "H": tuple(range(4, 12)), "W": (1, 2, 3, 4)},
    ),
    "down-and-up": (
        "float[1,1,H] x, float[1,1,5] w_1, float[1,1,8] w_2",
        "p = Conv <strides = [4], pads = [2, 2]> (x, w_1);"
        "u = ConvTranspose <strides = [4], pads = [2, 2]> (p, w_2);"
        "y = Concat <axis = 1> (u, x)",
        17,
        {"H": tuple(range(1, 18))},
    ),
    "two-convs": (
        "float[1,1,H,W] x, float[1,1,3,3] w_1",
        "a = Conv <strides = [2, 2]> (x, w_1); y = Conv <strides = [2, 2]> (a, w_1)",
        17,
        {"H": tuple(range(1, 12)), "W": (6, 7, 8)},
    ),
    "conv-transpose": (
        "float[1,1,H,4] x, float[1,1,3,3] w_1",
        "y = ConvTranspose <pads = [2, 1, 2, 1]> (x, w_1)",
        17,
        {},
    ),
    "pool": (
        "float[1,1,H,8] x",
        "y = MaxPool <kernel_shape = [4, 4], strides = [3, 3]> (x)",
        17,
        {"H": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)},
    ),
    "reshape-split": (
        "float[N,S,6] x | int64[4] s = {0, -1, 2, 6}",
        "y = Reshape (x, s)",
        17,
        {},
    ),
    "reshape-constant": ("float[N,H] x | int64[2] s = {3, 8}", "y = Reshape (x, s)", 17, {}),
    "reshape-minus-one": ("float[N,H] x | int64[2] s = {-1, 6}", "y = Reshape (x, s)", 17, {}),
    "windows": (
        "float[1,H,W,2] x | int64[1] w = {3}, int64[1] c = {2}, int64[1] one = {1},"
        " int64[1] two = {2}, int64[1] three = {3}",
        "s = Shape (x); h = Slice (s, one, two); v = Slice (s, two, three); hn = Div (h, w);"
        " vn = Div (v, w); t = Concat <axis = 0> (one, hn, w, vn, w, c); y = Reshape (x, t)",
        17,
        {"H": (3, 4, 6, 7, 9), "W": (3, 5, 6, 8)},
    ),
    "pixel-unshuffle": (
        "float[N,1,H,W] x",
        "y = SpaceToDepth <blocksize = 3> (x)",
        17,
        {"N": (1, 2), "H": (3, 4, 6), "W": (3, 5, 6)},
    ),
    "pixel-shuffle": ("float[1,C,2,2] x", "y = DepthToSpace <blocksize = 2> (x)", 17, {}),
    "skip": (
        "float[1,1,H,8] x",
        "a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x);"
        " sc = Constant <value = float[4] {1, 1, 2, 2}> (); b = Resize (a, , sc);"
        " y = Concat <axis = 1> (x, b)",
        17,
        {"H": (2, 3, 4, 5, 6)},
    ),
    "split-sizes": (
        "float[N] x | int64[2] s = {2, 3}",
        "y, z = Split <axis = 0> (x, s)",
        13,
        {},
    ),
    "split-equal": ("float[N] x", "y, b, c = Split <axis = 0> (x)", 13, {}),
    "split-since-18": ("float[N] x", "y, b, c, d = Split <axis = 0, num_outputs = 4> (x)", 18, {}),
    "squeeze": ("float[N,2] x | int64[1] a = {0}", "y = Squeeze (x, a)", 17, {}),
    "expand": ("float[N,1] x | int64[2] s = {4, 3}", "y = Expand (x, s)", 17, {}),
    "reflect": (
        "float[1,H] x | int64[4] p = {0, 3, 0, 2}",
        'y = Pad <mode = "reflect"> (x, p)',
        17,
        {},
    ),
    "topk": ("float[1,H] x | int64[1] k = {5}", "y, i = TopK (x, k)", 17, {}),
    "stft": (
        "float[1,N,1] x, float[4] w_1 | int64 step = {2}",
        "y = STFT (x, step, w_1)",
        17,
        {},
    ),
    "stft-frame": (
        "float[1,N,1] x | int64 step = {3}, int64 frame = {5}",
        "a = Neg (x); y = STFT (a, step, , frame)",
        17,
        {},
    ),
    "scan": (
        "float[N,2] x | float[2] s = {0., 0.}, int64[1] three = {3}, int64[1] end = {9}, "
        "int64[1] zero = {0}",
        "a = Slice (x, three, end, zero); z, y = Scan <num_scan_inputs = 1, body = "
        "b (float[2] t, float[2] i) => (float[2] u, float[2] o) { u = Add (t, i) o = Neg (u) }> "
        "(s, a)",
        17,
        {},
    ),
    "einsum": (
        "float[N,K] x, float[L,M] z",
        'y = Einsum <equation = "ij,jk->ik"> (x, z)',
        17,
        {"N": (2,), "M": (2,), "K": (1, 2, 3), "L": (1, 2, 3)},
    ),
    "positions": (
        "float[1,S] x, float[5,2] w_table | int64 zero = {0}, int64 one = {1}",
        "s = Shape (x); n = Gather (s, one); r = Range (zero, n, one); y = Gather (w_table, r)",
        17,
        {},
    ),
    "positions-from-2": (
        "float[1,S] x, float[8,2] w_table | int64 zero = {0}, int64 one = {1}, int64 two = {2}",
        "s = Shape (x); n = Gather (s, one); r = Range (zero, n, one); p = Add (r, two);"
        " y = Gather (w_table, p)",
        17,
        {},
    ),
    "position-ids": (
        "float[1,S,2] x, float[6,2] w_table | int64[1,6] ids = {0, 1, 2, 3, 4, 5},"
        " int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}",
        "s = Shape (x); n = Slice (s, one, two); p = Slice (ids, zero, n, one);"
        " e = Gather (w_table, p); y = Add (x, e)",
        17,
        {},
    ),
    "last-token": ("float[1,S] x | int64[1] i = {3}", "y = Gather <axis = 1> (x, i)", 17, {}),
    "from-the-end": ("float[1,S] x | int64[1] i = {-3}", "y = Gather <axis = 1> (x, i)", 17, {}),
    "layer-norm": (
        "float[N,C] x | float[4] w = {1, 1, 1, 1}",
        "y = LayerNormalization (x, w)",
        17,
        {"N": (1, 2)},
    ),
    "dead": ("float[N] x", "y = Relu (x)", 17, {}),
}


def runs(model: Model, session: onnxruntime.InferenceSession, sizes: dict[str, int]) -> bool:
    """Whether ONNX Runtime gives the tensors that the true shapes promise, none empty."""
    try:
        outputs = session.run(None, dict(feed(model, **sizes)))
    except Exception:  # noqa: BLE001 - whatever it raises
        return False
    known = truth.infer(model.ir)
    for value, output in zip(model.ir.graph.outputs, outputs, strict=True):
        shape = known.shapes[value.name or ""]
        assert shape is not None
        promised = tuple(evaluate(dim, sizes) for dim in shape)
        if output.shape != promised or 0 in output.shape:
            return False
    return True


def session_of(model: Model) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        to_bytes(model), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_exactly_the_sizes_that_satisfy_all_equations_run(name: str) -> None:
    inputs, body, opset, tried = GRAPHS[name]
    model = build(inputs, body, opset, outputs="y")
    found = constraints.collect(model.ir)
    assert all(equation.decided for equation in found)
    symbols = sorted(truth.infer(model.ir).symbols)
    session = session_of(model)
    outcomes = set()
    for sizes in itertools.product(*(tried.get(symbol, SMALL) for symbol in symbols)):
        at = dict(zip(symbols, sizes, strict=True))
        expected = all(bool(holds(equation, at)) for equation in found)
        assert runs(model, session, at) == expected, (at, [each.text for each in found])
        outcomes.add(expected)
    # A graph without equations takes all sizes; any other takes some and refuses some.
    assert outcomes == ({True, False} if found else {True})
