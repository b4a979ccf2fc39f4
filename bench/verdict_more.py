"""More models of ``bench/verdicts.py``: signals, images, tables, steps, integers and holes."""

# ruff: noqa: D103, the names of the functions are those of the models.

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from verdict_models import HALF, SIZE, kind
from verdict_net import BOOL, INT64, Net

# Spectrograms


def _waves(points: int) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * np.outer(np.arange(points), np.arange(points // 2 + 1)) / points
    window = np.hanning(points)[:, None]
    return np.cos(angle) * window, np.sin(angle) * window


@kind("spectrograms")
def power(n: Net) -> Net:
    window = n.c(np.hanning(32).astype(np.float32))
    x = n.op("STFT", n.x("N", 160, 1), n.c(16), window, n.c(32), onesided=1)
    return n.out(n.op("ReduceSum", n.op("Mul", x, x), n.c([-1]), keepdims=0), rank=3)


@kind("spectrograms")
def odd_transform(n: Net) -> Net:
    x = n.op("DFT", n.x("N", 60, 1), "", n.c(1))
    return n.out(x, n.op("ReduceL2", x, n.c([-1]), keepdims=1), rank=3)


@kind("spectrograms")
def mel(n: Net) -> Net:
    x = n.op("Unsqueeze", n.x("N", 160), n.c([1]))
    cos, sin = (np.transpose(each)[:, None].astype(np.float32) for each in _waves(32))
    a, b = (n.op("Conv", x, n.c(each), strides=[16]) for each in (cos, sin))
    energy = n.op("Add", n.op("Mul", a, a), n.op("Mul", b, b))
    banks = n.c(np.maximum(0, 1 - np.abs(np.arange(17) / 16 * 9 - np.arange(1, 9)[:, None])))
    x = n.op("MatMul", banks, energy)
    return n.out(n.op("Log", n.op("Add", x, n.c(np.float32(1e-3)))), rank=3)


@kind("spectrograms")
def cepstrum(n: Net) -> Net:
    cos, sin = _waves(40)
    x = n.x("N", 6, 40)
    a, b = n.op("MatMul", x, n.c(cos)), n.op("MatMul", x, n.c(sin))
    size = n.op("Sqrt", n.op("Add", n.op("Mul", a, a), n.op("Mul", b, b)))
    x = n.op("Log", n.op("Max", size, n.c(np.float32(1e-5))))
    basis = np.cos(np.pi / 21 * np.outer(np.arange(21) + 0.5, np.arange(13)))
    return n.out(n.op("MatMul", x, n.c(basis)), rank=3)


@kind("spectrograms")
def inverse(n: Net) -> Net:
    x = n.op("DFT", n.x("N", 64, 1), "", n.c(1))
    x = n.op("Mul", x, n.w(64, 1, shift=1.0))
    return n.out(n.op("DFT", x, "", n.c(1), inverse=1), rank=3)


# Images


def _resize(n: Net, x: str, size: tuple[int, ...], mode: str, how: str, **more: Any) -> str:
    sizes = n.c(np.array(size))
    return n.op(
        *("Resize", x, "", "", sizes),
        **{"mode": mode, "coordinate_transformation_mode": how, **more},
    )


@kind("resizes")
def bilinear(n: Net) -> Net:
    x = n.op("Relu", n.conv(n.x(2, 3, 9, 9), 3, 4))
    return n.out(_resize(n, x, (2, 4, 21, 21), "linear", "half_pixel"), rank=4)


@kind("resizes")
def corners(n: Net) -> Net:
    x = _resize(n, n.x(2, 3, 7, 7), (2, 3, 17, 17), "linear", "align_corners")
    return n.out(n.conv(x, 3, 4), rank=4)


@kind("resizes")
def cubic(n: Net) -> Net:
    x = _resize(n, n.x(1, 3, 8, 8), (1, 3, 19, 19), "cubic", "half_pixel", cubic_coeff_a=-0.75)
    return n.out(x, rank=4)


@kind("resizes")
def nearest(n: Net) -> Net:
    x = n.conv(n.x(2, 3, 6, 6), 3, 4)
    x = _resize(n, x, (2, 4, 15, 15), "nearest", "half_pixel", nearest_mode="round_prefer_floor")
    return n.out(n.conv(x, 4, 4), rank=4)


@kind("resizes")
def twice(n: Net) -> Net:
    x = n.conv(n.x("N", 3, 8, 8), 3, 4)
    scales = n.c(np.array([1, 1, 2, 2], np.float32))
    x = n.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    return n.out(n.op("Sigmoid", x), rank=4)


@kind("resizes")
def sampled(n: Net) -> Net:
    x = n.x("N", 3, 10, 10)
    moved = n.conv(x, 3, 2)
    grid = n.op("Transpose", n.op("Tanh", moved), perm=[0, 2, 3, 1])
    x = n.op("GridSample", x, grid, mode="linear", align_corners=0, padding_mode="zeros")
    return n.out(n.conv(x, 3, 4), rank=4)


# Tables


@kind("embeddings", types=HALF)
def words(n: Net) -> Net:
    ids = n.x("N", 7, name="ids", dtype=INT64)
    x = n.op("Gather", n.w(50, SIZE, scale=1.0), ids)
    x = n.op("Add", x, n.op("Gather", n.w(12, SIZE, scale=0.5), n.c(np.arange(2, 9))))
    return n.out(n.block(x, SIZE), rank=3)


@kind("embeddings")
def bag(n: Net) -> Net:
    ids = n.x("N", 9, name="ids", dtype=INT64)
    x = n.op("ReduceMean", n.op("Gather", n.w(40, 24, scale=1.0), ids), n.c([1]), keepdims=0)
    return n.out(n.op("Gemm", x, n.w(24, 5), n.w(5)), rank=2)


@kind("embeddings")
def relative(n: Net) -> Net:
    x = n.x("N", 6, SIZE)
    at = np.clip(np.arange(6)[:, None] - np.arange(6), -4, 4) + 4
    bias = n.op("Transpose", n.op("Gather", n.w(9, 2, scale=1.0), n.c(at)), perm=[2, 0, 1])
    x = n.op("Add", x, n.attention(x, SIZE, mask=bias))
    return n.out(n.norm(x, SIZE), rank=3)


@kind("embeddings")
def time_steps(n: Net) -> Net:
    steps = n.op("Cast", n.x("N", name="steps", dtype=INT64), to=1)
    rates = n.c(10000.0 ** (-np.arange(8) / 8))
    angle = n.op("Mul", n.op("Unsqueeze", steps, n.c([1])), rates)
    x = n.op("Concat", n.op("Sin", angle), n.op("Cos", angle), axis=-1)
    x = n.linear(x, SIZE, 32)
    return n.out(n.linear(n.op("Mul", x, n.op("Sigmoid", x)), 32, SIZE), rank=2)


@kind("embeddings")
def chosen(n: Net) -> Net:
    x = n.linear(n.x("N", 10, SIZE), SIZE, SIZE)
    x = n.op("Gather", x, n.c([7, 2, 2, 5]), axis=1)
    x = n.op("Slice", x, n.c([3]), n.c([14]), n.c([2]))
    return n.out(n.op("Mul", x, x), rank=3)


# Recurrent


@kind("recurrent")
def lstm(n: Net) -> Net:
    x, hidden = n.x(9, "N", 8), 12
    w, r = n.w(1, 4 * hidden, 8, scale=0.3), n.w(1, 4 * hidden, hidden, scale=0.3)
    y = n.op("LSTM", x, w, r, n.w(1, 8 * hidden), hidden_size=hidden)
    return n.out(n.linear(n.op("Squeeze", y, n.c([1])), hidden, 5), rank=3)


@kind("recurrent")
def gru(n: Net) -> Net:
    x, hidden = n.x(7, "N", 8), 12
    w, r = n.w(1, 3 * hidden, 8, scale=0.3), n.w(1, 3 * hidden, hidden, scale=0.3)
    more = {"hidden_size": hidden, "linear_before_reset": 1}
    return n.out(n.op("GRU", x, w, r, n.w(1, 6 * hidden), **more), rank=4)


@kind("recurrent")
def rnn(n: Net) -> Net:
    w, r = n.w(1, 12, 8, scale=0.3), n.w(1, 12, 12, scale=0.3)
    return n.out(n.op("RNN", n.x(7, "N", 8), w, r, n.w(1, 24), hidden_size=12), rank=4)


@kind("recurrent")
def running_sums(n: Net) -> Net:
    x = n.op("CumSum", n.x("N", 100, 4), n.c(1))
    return n.out(n.op("Mul", x, n.c(np.float32(0.1))), rank=3)


@kind("recurrent")
def unrolled(n: Net) -> Net:
    x = n.x("N", 5, 8)
    w, r, b = n.w(8, 12), n.w(12, 12, scale=0.25), n.w(12)
    state = n.c(np.zeros((1, 12)))
    for step in range(5):
        at = n.op("Gather", x, n.c(step), axis=1)
        both = n.op("Add", n.op("MatMul", at, w), n.op("MatMul", state, r))
        state = n.op("Tanh", n.op("Add", both, b))
    return n.out(state, rank=2)


@kind("recurrent")
def looped(n: Net) -> Net:
    x, weight = n.x("N", 8), n.w(8, 8, scale=0.3)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", weight], ["turned"]),
            helper.make_node("Tanh", ["turned"], ["bounded"]),
            helper.make_node("Add", ["bounded", x], ["after"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("state", onnx.TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", BOOL, []),
            helper.make_tensor_value_info("after", onnx.TensorProto.FLOAT, None),
        ],
    )
    return n.out(n.op("Loop", n.c(4), n.c(np.array(True)), x, body=body), rank=2)


# Large slopes


@kind("slopes")
def powers(n: Net) -> Net:
    x = n.op("Abs", n.linear(n.x("N", 12), 12, 12))
    y = n.op("Pow", n.op("Add", x, n.c(np.float32(0.1))), n.c(np.float32(2.2)))
    return n.out(y, n.op("Exp", n.op("Mul", x, n.c(np.float32(4.0)))), rank=2)


@kind("slopes")
def far_angles(n: Net) -> Net:
    x = n.op("Mul", n.linear(n.x("N", 12), 12, 12), n.c(np.float32(1e4)))
    return n.out(n.op("Sin", x), rank=2)


@kind("slopes")
def near_equal(n: Net) -> Net:
    x = n.linear(n.x("N", SIZE), SIZE, SIZE)
    y = n.op("Add", x, n.c(np.float32(1000.0)))
    return n.out(n.op("Sub", y, n.op("ReduceMean", y, n.c([-1]), keepdims=1)), rank=2)


@kind("slopes")
def sharp_softmax(n: Net) -> Net:
    x = n.op("Mul", n.linear(n.x("N", SIZE), SIZE, SIZE), n.c(np.float32(30.0)))
    return n.out(n.op("Softmax", x, axis=-1), rank=2)


@kind("slopes")
def rendered(n: Net) -> Net:
    x = n.x("N", 3)
    angle = n.op("MatMul", x, n.c(np.kron(2.0 ** np.arange(6), np.eye(3))))
    x = n.op("Concat", x, n.op("Sin", angle), n.op("Cos", angle), axis=-1)
    for before, after in ((39, 32), (32, 32), (32, 4)):
        x = n.linear(n.op("Relu", x) if before == 32 else x, before, after)
    return n.out(n.op("Sigmoid", x), rank=2)


# Integers and booleans


@kind("integers")
def divided(n: Net) -> Net:
    x = n.x("N", 12, name="steps", dtype=INT64)
    moved = n.op("Sub", n.op("Mul", x, n.c(7)), n.c(11))
    a = n.op("Div", moved, n.c(4))
    return n.out(a, n.op("Mod", moved, n.c(5)), dtype=INT64, rank=2)


@kind("integers")
def thresholds(n: Net) -> Net:
    x = n.linear(n.x("N", SIZE), SIZE, 8)
    n.out(n.op("Greater", x, n.c(np.float32(0.3))), dtype=BOOL, rank=2)
    return n.out(n.op("Sigmoid", x), rank=2)


@kind("integers")
def pixels(n: Net) -> Net:
    x = n.op("Sigmoid", n.conv(n.x("N", 3, 8, 8), 3, 3))
    x = n.op("Mul", x, n.c(np.float32(300.0)))
    x = n.op("Clip", n.op("Floor", x), n.c(np.float32(0)), n.c(np.float32(255)))
    return n.out(n.op("Cast", x, to=2), dtype=2, rank=4)


@kind("integers")
def rounded(n: Net) -> Net:
    x = n.op("Mul", n.op("Cast", n.x("N", 10, name="n", dtype=INT64), to=1), n.c(np.float32(0.5)))
    return n.out(n.op("Round", x), rank=2)


@kind("integers")
def quantized(n: Net) -> Net:
    x = n.op("Relu", n.conv(n.x("N", 3, 8, 8), 3, 8))
    scale, zero = n.c(np.float32(0.02)), n.c(np.array(0, np.int8))
    x = n.op("DequantizeLinear", n.op("QuantizeLinear", x, scale, zero), scale, zero)
    return n.out(n.conv(x, 8, 4), rank=4)


# Constants and holes


@kind("constants and holes")
def constant(n: Net) -> Net:
    x = n.x("N", 8)
    level = n.op("Mul", n.op("Relu", n.op("Neg", n.op("Abs", x))), n.c(np.float32(2)))
    return n.out(n.linear(x, 8, 4), n.op("Add", level, n.c(np.float32(3))), rank=2)


@kind("constants and holes")
def anchors(n: Net) -> Net:
    x = n.linear(n.x("N", 6, SIZE), SIZE, 4)
    level = n.op("Add", n.c(np.arange(24.0).reshape(6, 4)), n.c(np.float32(0.5)))
    return n.out(x, rank=3).out(level, rank=2)


@kind("constants and holes")
def logarithm(n: Net) -> Net:
    return n.out(n.op("Log", n.op("Relu", n.linear(n.x("N", 12), 12, 12))), rank=2)


@kind("constants and holes")
def forbidden(n: Net) -> Net:
    x = n.x("N", 6, SIZE)
    scores = n.op("MatMul", n.linear(x, SIZE, SIZE), n.op("Transpose", x, perm=[0, 2, 1]))
    scores = n.op("Add", scores, n.c(np.triu(np.full((6, 6), -np.inf), 1)))
    return n.out(scores, n.op("MatMul", n.op("Softmax", scores, axis=-1), x), rank=3)


@kind("constants and holes")
def roots(n: Net) -> Net:
    x = n.linear(n.x("N", 12), 12, 12)
    return n.out(n.linear(x, 12, 4), n.op("Sqrt", x), rank=2)
