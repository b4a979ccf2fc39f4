"""The models of ``bench/verdicts.py``: small ones of every kind."""

# ruff: noqa: D103, the names of the functions are those of the models.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from verdict_net import INT64, Net

SIZE = 16
Make = Callable[[Net], Net]


@dataclass(frozen=True)
class Kind:
    """A model.

    Args:
        name: Its name.
        group: What kind of model it is.
        make: Fills an empty graph.
        types: Element types that it is tried in.
        kinds: By output the places along an axis at which numbers of another kind begin.
        masked: Size from which on elements are those of a mask, and a kind of their own.
        opset: Of the graph.
    """

    name: str
    group: str
    make: Make
    types: tuple[str, ...] = ("float32",)
    kinds: tuple[tuple[int, tuple[int, ...]], ...] = ()
    masked: float | None = None
    opset: int = 20


KINDS: list[Kind] = []
ALL = ("float32", "float16", "bfloat16")
HALF = ("float32", "float16")


def kind(group: str, **more: Any) -> Callable[[Make], Make]:
    """Add a model to the list."""

    def add(make: Make) -> Make:
        KINDS.append(Kind(make.__name__, group, make, **more))
        return make

    return add


# Convolutions


@kind("convolutions", types=ALL)
def plain(n: Net) -> Net:
    x = n.x("N", 3, 12, 12)
    for before, after in ((3, 8), (8, 16), (16, 16)):
        x = n.op("Relu", n.conv(x, before, after))
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.out(n.op("Gemm", x, n.w(16, 10), n.w(10)), rank=2)


@kind("convolutions", types=HALF)
def residual(n: Net) -> Net:
    x = n.op("Relu", n.batch_norm(n.conv(n.x("N", 3, 10, 10), 3, 8), 8))
    for _ in range(3):
        y = n.op("Relu", n.batch_norm(n.conv(x, 8, 8), 8))
        x = n.op("Relu", n.op("Add", x, n.batch_norm(n.conv(y, 8, 8), 8)))
    return n.out(n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), rank=4)


@kind("convolutions")
def mobile(n: Net) -> Net:
    x = n.op("HardSwish", n.conv(n.x("N", 3, 12, 12), 3, 8, strides=[2, 2]))
    for _ in range(2):
        wide = n.op("HardSwish", n.conv(x, 8, 24, 1))
        deep = n.op("HardSwish", n.conv(wide, 24, 24, 3, group=24))
        squeezed = n.op("Relu", n.conv(n.op("GlobalAveragePool", deep), 24, 6, 1))
        gate = n.op("HardSigmoid", n.conv(squeezed, 6, 24, 1), alpha=1 / 6)
        x = n.op("Add", x, n.conv(n.op("Mul", deep, gate), 24, 8, 1))
    return n.out(x, rank=4)


@kind("convolutions")
def dilated(n: Net) -> Net:
    x = n.op("Relu", n.conv(n.x("N", 4, 14, 14), 4, 8, pads=[2] * 4, dilations=[2, 2]))
    x = n.op("LeakyRelu", n.conv(x, 8, 8, group=4), alpha=0.1)
    return n.out(n.conv(x, 8, 4, pads=[3] * 4, dilations=[3, 3]), rank=4)


@kind("convolutions")
def waves(n: Net) -> Net:
    x = n.op("Conv", n.x("N", 1, 200), n.w(8, 1, 16), n.w(8), strides=[4])
    x = n.op("Conv", n.op("Elu", x), n.w(16, 8, 5), n.w(16), strides=[2])
    return n.out(n.op("Tanh", x), rank=3)


@kind("convolutions")
def volumes(n: Net) -> Net:
    x = n.op("Conv", n.x("N", 2, 5, 6, 6), n.w(4, 2, 3, 3, 3), n.w(4), pads=[1] * 6)
    x = n.op("MaxPool", n.op("Relu", x), kernel_shape=[1, 2, 2], strides=[1, 2, 2])
    return n.out(n.op("Conv", x, n.w(3, 4, 3, 3, 3), n.w(3)), rank=5)


@kind("convolutions", types=HALF)
def unet(n: Net) -> Net:
    x = n.op("Relu", n.conv(n.x("N", 3, 12, 12), 3, 8))
    small = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    deep = n.op("Relu", n.conv(small, 8, 16))
    up = n.op("ConvTranspose", deep, n.w(16, 8, 2, 2), n.w(8), strides=[2, 2])
    return n.out(n.conv(n.op("Concat", up, x, axis=1), 16, 4, 1), rank=4)


@kind("convolutions")
def dense(n: Net) -> Net:
    x, channels = n.x("N", 4, 8, 8), 4
    for _ in range(4):
        y = n.conv(n.op("Relu", n.batch_norm(x, channels)), channels, 4)
        x, channels = n.op("Concat", x, y, axis=1), channels + 4
    return n.out(n.op("GlobalAveragePool", x), rank=4)


@kind("convolutions")
def pooled(n: Net) -> Net:
    x = n.x("N", 3, 9, 9)
    a = n.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)
    b = n.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)
    c = n.op("Pad", x, n.c([0, 0, 1, 1, 0, 0, 1, 1]), n.c(np.float32(0.0)))
    c = n.conv(c, 3, 3, pads=[0] * 4)
    return n.out(n.conv(n.op("Concat", a, b, c, axis=1), 9, 5, 1), rank=4)


@kind("convolutions")
def responses(n: Net) -> Net:
    x = n.op("Relu", n.conv(n.x("N", 3, 10, 10), 3, 16))
    x = n.op("LRN", x, size=5, alpha=0.1, beta=0.75, bias=1.0)
    return n.out(n.conv(x, 16, 8), rank=4)


@kind("convolutions")
def padded(n: Net) -> Net:
    x = n.op("Pad", n.x("N", 3, 8, 8), n.c([0, 0, 2, 2, 0, 0, 2, 2]), mode="reflect")
    x = n.op("Relu", n.conv(x, 3, 8, pads=[0] * 4))
    x = n.op("Pad", x, n.c([0, 0, 1, 1, 0, 0, 1, 1]), n.c(np.float32(-1.0)))
    return n.out(n.conv(x, 8, 4, pads=[0] * 4), rank=4)


@kind("convolutions")
def shuffled(n: Net) -> Net:
    x = n.conv(n.x("N", 3, 8, 8), 3, 16)
    x = n.op("DepthToSpace", n.op("PRelu", x, n.w(16, 1, 1)), blocksize=2)
    return n.out(n.op("Clip", n.conv(x, 4, 3), n.c(np.float32(-1)), n.c(np.float32(1))), rank=4)


# Normalizations


@kind("normalizations")
def instance(n: Net) -> Net:
    x = n.x("N", 3, 10, 10)
    for before in (3, 8):
        x = n.conv(x, before, 8)
        x = n.op("InstanceNormalization", x, n.w(8, shift=1.0), n.w(8), epsilon=1e-5)
        x = n.op("Relu", x)
    return n.out(x, rank=4)


@kind("normalizations")
def groups(n: Net) -> Net:
    x = n.conv(n.x("N", 3, 8, 8), 3, 8)
    flat = n.op("Reshape", x, n.c([0, 4, -1]))
    ones, zeros = n.c(np.ones(4)), n.c(np.zeros(4))
    made = n.op("InstanceNormalization", flat, ones, zeros, epsilon=1e-5)
    x = n.op("Reshape", made, n.c([0, 8, 8, 8]))
    x = n.op("Add", n.op("Mul", x, n.w(8, 1, 1, scale=0.1, shift=1)), n.w(8, 1, 1, scale=0.1))
    return n.out(n.op("Mul", x, n.op("Sigmoid", x)), rank=4)


@kind("normalizations", types=ALL)
def layers(n: Net) -> Net:
    x = n.x("N", 6, 32)
    for _ in range(4):
        x = n.op("Tanh", n.linear(n.norm(x, 32), 32, 32))
    return n.out(n.norm(x, 32), rank=3)


@kind("normalizations")
def small_epsilon(n: Net) -> Net:
    return n.out(n.norm(n.linear(n.x("N", 5, 24), 24, 24), 24, 1e-12), rank=3)


@kind("normalizations")
def root_mean_square(n: Net) -> Net:
    x = n.x("N", 5, 24)
    for _ in range(3):
        x = n.op("Add", x, n.linear(n.rms(x, 24), 24, 24, bias=False))
    return n.out(n.rms(x, 24), rank=3)


@kind("normalizations")
def unit_vectors(n: Net) -> Net:
    x = n.linear(n.x("N", 4, 20), 20, 12)
    a = n.op("LpNormalization", x, axis=-1, p=2)
    length = n.op("ReduceL2", x, n.c([-1]), keepdims=1)
    b = n.op("Div", x, n.op("Max", length, n.c(np.float32(1e-12))))
    return n.out(n.op("MatMul", a, n.op("Transpose", b, perm=[0, 2, 1])), rank=3)


@kind("normalizations")
def statistics(n: Net) -> Net:
    x = n.op("Add", n.x("N", 8, 64), n.c(np.float32(30.0)))
    mean = n.op("ReduceMean", x, n.c([-1]), keepdims=1)
    square = n.op("ReduceMean", n.op("Mul", x, x), n.c([-1]), keepdims=1)
    variance = n.op("Sub", square, n.op("Mul", mean, mean))
    return n.out(n.op("Div", n.op("Sub", x, mean), n.op("Sqrt", variance)), rank=3)


@kind("normalizations")
def batch(n: Net) -> Net:
    x = n.batch_norm(n.x("N", 6, 7, 7), 6)
    return n.out(n.batch_norm(n.op("Relu", x), 6), rank=4)


# Transformers


@kind("transformers", types=ALL)
def encoder(n: Net) -> Net:
    x = n.x("N", 7, SIZE)
    for _ in range(2):
        x = n.block(x, SIZE)
    return n.out(n.norm(x, SIZE), rank=3)


@kind("transformers", types=ALL)
def deep_encoder(n: Net) -> Net:
    x = n.x("N", 6, SIZE)
    for _ in range(8):
        x = n.block(x, SIZE)
    return n.out(n.linear(n.norm(x, SIZE), SIZE, 11), rank=3)


@kind("transformers")
def scaled_by_division(n: Net) -> Net:
    x = n.block(n.x("N", 7, 24), 24, count=3, inverse=True)
    return n.out(x, rank=3)


@kind("transformers", types=HALF)
def decoder(n: Net) -> Net:
    x = n.x("N", 6, SIZE)
    angles = np.arange(6)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    mask = n.c(np.triu(np.full((6, 6), -1e4), 1))
    for _ in range(2):
        y = n.rms(x, SIZE)
        a, b = n.ops(2, "Split", y, axis=-1, num_outputs=2)
        cos, sin = n.c(np.cos(angles)), n.c(np.sin(angles))
        turned = n.op(
            "Concat",
            n.op("Sub", n.op("Mul", a, cos), n.op("Mul", b, sin)),
            n.op("Add", n.op("Mul", a, sin), n.op("Mul", b, cos)),
            axis=-1,
        )
        x = n.op("Add", x, n.attention(turned, SIZE, mask=mask))
        y = n.rms(x, SIZE)
        gate = n.linear(y, SIZE, 32, bias=False)
        gate = n.op("Mul", gate, n.op("Sigmoid", gate))
        wide = n.op("Mul", gate, n.linear(y, SIZE, 32, bias=False))
        x = n.op("Add", x, n.linear(wide, 32, SIZE, bias=False))
    return n.out(n.linear(n.rms(x, SIZE), SIZE, 20, bias=False), rank=3)


@kind("transformers")
def unscaled(n: Net) -> Net:
    x = n.x("N", 7, SIZE)
    bias = n.w(1, 2, 7, 7, scale=1.0)
    for _ in range(2):
        x = n.op("Add", x, n.attention(n.rms(x, SIZE), SIZE, mask=bias, scale=1.0))
        x = n.op("Add", x, n.feed_forward(n.rms(x, SIZE), SIZE, "Relu"))
    return n.out(x, rank=3)


@kind("transformers")
def crossed(n: Net) -> Net:
    x, memory = n.x("N", 5, SIZE), n.x("N", 9, SIZE, name="memory")
    x = n.op("Add", x, n.attention(n.norm(x, SIZE), SIZE, other=memory))
    return n.out(n.op("Add", x, n.feed_forward(n.norm(x, SIZE), SIZE)), rank=3)


@kind("transformers")
def patches(n: Net) -> Net:
    x = n.conv(n.x("N", 3, 16, 16), 3, SIZE, 4, strides=[4, 4], pads=[0] * 4)
    x = n.op("Transpose", n.op("Reshape", x, n.c([0, SIZE, -1])), perm=[0, 2, 1])
    x = n.block(n.op("Add", x, n.w(1, 16, SIZE, scale=0.5)), SIZE)
    first = n.op("Gather", n.norm(x, SIZE), n.c(0), axis=1)
    return n.out(n.op("Gemm", first, n.w(10, SIZE, scale=0.25), n.w(10), transB=1), rank=2)


@kind("transformers")
def equations(n: Net) -> Net:
    x = n.x("N", 6, 2, 8)
    scores = n.op("Einsum", x, n.op("Mul", x, n.w(2, 8, scale=0.5)), equation="bqhd,bkhd->bhqk")
    weights = n.op("Softmax", scores, axis=-1)
    return n.out(n.op("Einsum", weights, x, equation="bhqk,bkhd->bqhd"), rank=4)


@kind("transformers")
def mixer(n: Net) -> Net:
    x = n.x("N", 12, SIZE)
    y = n.op("Transpose", n.norm(x, SIZE), perm=[0, 2, 1])
    y = n.linear(n.op("Gelu", n.linear(y, 12, 24)), 24, 12)
    x = n.op("Add", x, n.op("Transpose", y, perm=[0, 2, 1]))
    return n.out(n.op("Add", x, n.feed_forward(n.norm(x, SIZE), SIZE)), rank=3)


@kind("transformers")
def perceptron(n: Net) -> Net:
    x = n.x("N", 64)
    for _ in range(6):
        x = n.op("Relu", n.op("Gemm", x, n.w(64, 64, scale=0.17), n.w(64)))
    return n.out(n.op("Gemm", x, n.w(64, 10), n.w(10)), rank=2)


@kind("transformers")
def wide(n: Net) -> Net:
    x = n.op("Gemm", n.x("N", 1024), n.w(1024, 64), n.w(64))
    return n.out(n.op("Softmax", x, axis=-1), rank=2)


# Masks


@kind("masks", masked=1e6)
def masked_logits(n: Net) -> Net:
    x = n.linear(n.x("N", 8, SIZE), SIZE, 30)
    legal = n.op("Greater", x, n.c(np.float32(-0.5)))
    return n.out(n.op("Where", legal, x, n.c(np.float32(-1e9))), rank=3)


@kind("masks", masked=1e6)
def lowest_float(n: Net) -> Net:
    x = n.x("N", 7, SIZE)
    scores = n.op("MatMul", n.linear(x, SIZE, SIZE), n.op("Transpose", x, perm=[0, 2, 1]))
    causal = n.c(np.triu(np.ones((7, 7), bool), 1))
    low = n.c(np.finfo(np.float32).min)
    scores = n.op("Where", causal, low, scores)
    return n.out(scores, n.op("MatMul", n.op("Softmax", scores, axis=-1), x), rank=3)


@kind("masks", masked=100, types=("float16",))
def mask_of_half(n: Net) -> Net:
    x = n.x("N", 7, SIZE)
    scores = n.op("MatMul", n.linear(x, SIZE, SIZE), n.op("Transpose", x, perm=[0, 2, 1]))
    scores = n.op("Add", scores, n.c(np.triu(np.full((7, 7), -65000.0), 1)))
    return n.out(scores, n.op("MatMul", n.op("Softmax", scores, axis=-1), x), rank=3)


@kind("masks")
def padding_mask(n: Net) -> Net:
    x, mask = n.x("N", 8, SIZE), n.x("N", 8, name="mask", dtype=INT64)
    kept = n.op("Cast", mask, to=1)
    away = n.op("Mul", n.op("Sub", n.c(np.float32(1)), kept), n.c(np.float32(-1e9)))
    away = n.op("Unsqueeze", away, n.c([1, 2]))
    return n.out(n.norm(n.op("Add", x, n.attention(x, SIZE, mask=away)), SIZE), rank=3)


@kind("masks", masked=1e3)
def sentinel(n: Net) -> Net:
    x = n.linear(n.x("N", 9, SIZE), SIZE, 4)
    row = np.zeros((9, 4), bool)
    row[6:] = True
    return n.out(n.op("Where", n.c(row), n.c(np.float32(-9999.0)), n.op("Sigmoid", x)), rank=3)


# Heads


def _boxes(n: Net, x: str, size: float) -> str:
    """Corners in pixels."""
    made = n.op("Mul", n.op("Sigmoid", n.linear(x, SIZE, 4)), n.c(np.float32(size)))
    centre, extent = n.ops(2, "Split", made, axis=-1, num_outputs=2)
    half = n.op("Mul", extent, n.c(np.float32(0.5)))
    return n.op("Concat", n.op("Sub", centre, half), n.op("Add", centre, half), axis=-1)


@kind("heads", kinds=((2, (4,)),), types=ALL)
def pixels_and_scores(n: Net) -> Net:
    x = n.op("Relu", n.linear(n.x("N", 20, 12), 12, SIZE))
    scores = n.op("Sigmoid", n.linear(x, SIZE, 6))
    return n.out(n.op("Concat", _boxes(n, x, 640.0), scores, axis=-1), rank=3)


@kind("heads", kinds=((1, (4, 5)),))
def channels_first(n: Net) -> Net:
    x = n.op("Relu", n.conv(n.x("N", 3, 8, 8), 3, 8))
    boxes = n.op("Mul", n.op("Softplus", n.conv(x, 8, 4, 1)), n.c(np.float32(200.0)))
    certain = n.op("Sigmoid", n.conv(x, 8, 1, 1))
    classes = n.op("Softmax", n.conv(x, 8, 10, 1), axis=1)
    return n.out(n.op("Concat", boxes, certain, classes, axis=1), rank=4)


@kind("heads")
def distances(n: Net) -> Net:
    x = n.conv(n.x("N", 8, 6, 6), 8, 32, 1)
    x = n.op("Transpose", n.op("Reshape", x, n.c([0, 4, 8, 36])), perm=[0, 3, 1, 2])
    x = n.op("MatMul", n.op("Softmax", x, axis=-1), n.c(np.arange(8.0)[:, None]))
    return n.out(n.op("Mul", x, n.c(np.float32(8.0))), rank=4)


@kind("heads", kinds=((2, (2, 3)),))
def key_points(n: Net) -> Net:
    x = n.linear(n.x("N", 17, SIZE), SIZE, 3)
    at, score = n.ops(2, "Split", x, n.c([2, 1]), axis=-1)
    at = n.op("Add", n.op("Mul", at, n.c(np.float32(50.0))), n.c(np.float32(320.0)))
    return n.out(n.op("Concat", at, n.op("Sigmoid", score), axis=-1), rank=3)


@kind("heads")
def classifier(n: Net) -> Net:
    logits = n.op("Gemm", n.op("Relu", n.linear(n.x("N", 24), 24, 32)), n.w(32, 10), n.w(10))
    n.out(logits, n.op("Softmax", logits, axis=-1), n.op("LogSoftmax", logits, axis=-1), rank=2)
    return n.out(n.op("ArgMax", logits, axis=-1, keepdims=0), dtype=INT64, rank=1)


@kind("heads", kinds=((2, (4, 5)),))
def turned_boxes(n: Net) -> Net:
    x = n.op("Relu", n.linear(n.x("N", 12, 12), 12, SIZE))
    angle = n.op("Mul", n.op("Tanh", n.linear(x, SIZE, 1)), n.c(np.float32(np.pi / 2)))
    sides = n.op("Concat", n.op("Cos", angle), n.op("Sin", angle), axis=-1)
    return n.out(n.op("Concat", _boxes(n, x, 800.0), angle, sides, axis=-1), rank=3)


# Detectors


@kind("detectors")
def best_of(n: Net) -> Net:
    x = n.op("Relu", n.linear(n.x("N", 40, 12), 12, SIZE))
    scores = n.op("Sigmoid", n.linear(x, SIZE, 1))
    scores = n.op("Squeeze", scores, n.c([2]))
    values, at = n.ops(2, "TopK", scores, n.c([5]), axis=1)
    chosen = n.op("GatherND", _boxes(n, x, 640.0), n.op("Unsqueeze", at, n.c([2])), batch_dims=1)
    return n.out(values, rank=2).out(chosen, rank=3).out(at, dtype=INT64, rank=2)


@kind("detectors")
def suppressed(n: Net) -> Net:
    x = n.op("Relu", n.linear(n.x(1, 30, 12), 12, SIZE))
    boxes = _boxes(n, x, 100.0)
    scores = n.op("Transpose", n.op("Sigmoid", n.linear(x, SIZE, 2)), perm=[0, 2, 1])
    limits = (n.c([10]), n.c(np.array([0.5], np.float32)), n.c(np.array([0.3], np.float32)))
    kept = n.op("NonMaxSuppression", boxes, scores, *limits)
    return n.out(boxes, scores, rank=3).out(kept, dtype=INT64, rank=2)


@kind("detectors")
def regions(n: Net) -> Net:
    x = n.conv(n.x(1, 3, 12, 12), 3, 8)
    rois = n.c(np.array([[0.3, 1.2, 7.7, 9.1], [2.0, 2.5, 11.3, 10.9]], np.float32))
    at = n.c(np.zeros(2, np.int64))
    y = n.op(
        "RoiAlign",
        *(x, rois, at),
        output_height=4,
        output_width=4,
        sampling_ratio=2,
        coordinate_transformation_mode="half_pixel",
    )
    return n.out(n.op("Gemm", n.op("Flatten", y), n.w(128, 6), n.w(6)), rank=2)


@kind("detectors")
def pyramid(n: Net) -> Net:
    fine = n.op("Relu", n.conv(n.x("N", 3, 16, 16), 3, 8, strides=[2, 2]))
    coarse = n.op("Relu", n.conv(fine, 8, 8, strides=[2, 2]))
    up = n.op("Resize", n.conv(coarse, 8, 8, 1), "", n.c(np.array([1, 1, 2, 2], np.float32)))
    joined = n.conv(n.op("Add", n.conv(fine, 8, 8, 1), up), 8, 8)
    return n.out(n.conv(joined, 8, 4), n.conv(coarse, 8, 4), rank=4)
