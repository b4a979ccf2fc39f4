"""Small models to break, as ONNX text with named nodes, and the same in PyTorch by hand.

Weights are drawn once, so that both hold the same; nodes carry names, so that a culprit has one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from tripoint.model import Model
from tripoint.sources.python import TorchModel

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'

DETECTOR = """detector (float[N,3,8,8] x)
=> (float[N,4,8,8] boxes, float[N,4,8,8] anchors, float[N,10] scores, float[N,4,4,4] grid,
    int64[N] best)
<float[6,3,3,3] w_stem, float[6] w_stem_bias, float[4,6,3,3] w_boxes, float[4,6,3,3] w_anchors,
 float[64,10] w_head, float[10] w_head_bias,
 int64[1] start = {1}, int64[1] stop = {5}, int64[1] channels = {1}> {
  [stem] stemmed = Conv <pads = [1, 1, 1, 1]> (x, w_stem, w_stem_bias)
  [relu] features = Relu (stemmed)
  [boxes_conv] boxes = Conv <pads = [1, 1, 1, 1]> (features, w_boxes)
  [anchors_conv] anchors = Conv <pads = [1, 1, 1, 1]> (features, w_anchors)
  [pool] pooled = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (features)
  [slice] sliced = Slice (pooled, start, stop, channels)
  [grid_transpose] grid = Transpose <perm = [0, 2, 3, 1]> (sliced)
  [flatten] flat = Flatten (sliced)
  [head] logits = Gemm (flat, w_head, w_head_bias)
  [softmax] scores = Softmax <axis = 1> (logits)
  [argmax] best = ArgMax <axis = 1, keepdims = 0> (logits)
}"""

ENCODER = """encoder (int64[N,L] ids, int64[N,L] mask)
=> (float[N,L,16] hidden, float[N,L,L] attention, float[N,L,11] logits)
<float[50,16] w_table, float[16] w_scale, float[16] w_bias, float[16,32] w_up, float[32,16] w_down,
 float[16,16] w_query, float[16,11] w_vocabulary, float quarter = {0.25}, float masked = {-30.0}> {
  [embedding] embedded = Gather (w_table, ids)
  [norm] normed = LayerNormalization <axis = -1, epsilon = 1e-5> (embedded, w_scale, w_bias)
  [up] wide = MatMul (normed, w_up)
  [gelu] active = Gelu (wide)
  [down] narrow = MatMul (active, w_down)
  [residual] hidden = Add (embedded, narrow)
  [query] queries = MatMul (hidden, w_query)
  [keys] turned = Transpose <perm = [0, 2, 1]> (hidden)
  [products] raw = MatMul (queries, turned)
  [scale] scaled = Mul (raw, quarter)
  [keep] kept = Cast <to = 9> (mask)
  [column] columns = Unsqueeze (kept, one)
  [masking] allowed = Where (columns, scaled, masked)
  [softmax] attention = Softmax <axis = 2> (allowed)
  [context] mixed = MatMul (attention, hidden)
  [vocabulary] logits = MatMul (mixed, w_vocabulary)
}""".replace("float masked", "int64[1] one = {1}, float masked")

BRANCHES = """branches (float[N,2,6,6] x, int64[N,5] steps)
=> (float[N,2,12,12] image, float[N,5] levels, float[N,2,6,6] energy, float[N,2,6,6] root,
    float[N,2,3,3] peaks, int64[N,5] halves)
<float[4] sizes = {1.0, 1.0, 2.0, 2.0}, float half = {0.5}, float large = {100.0},
 int64 three = {-3}, int64 two = {2}> {
  [resize] image = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
      (x, , sizes)
  [count] counted = Cast <to = 1> (steps)
  [halve] halved = Mul (counted, half)
  [round] levels = Round (halved)
  [enlarge] big = Mul (x, large)
  [square] squared = Mul (big, big)
  [energy_root] energy = Sqrt (squared)
  [absolute] positive = Abs (x)
  [root_of] root = Sqrt (positive)
  [peak] peaks = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
  [shift] shifted = Add (steps, three)
  [divide] halves = Div (shifted, two)
}"""


def model_of(text: str) -> Model:
    """A model whose ``w_*`` constants are drawn, each from its name."""
    proto = onnx.parser.parse_model(HEADER + text)
    declared = list(proto.graph.value_info)
    del proto.graph.value_info[:]
    for value in declared:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        random = np.random.default_rng(zlib.crc32(value.name.encode()))
        array = _scale(value.name, dims) * random.standard_normal(dims)
        tensor = numpy_helper.from_array(array.astype(np.float32), value.name)
        proto.graph.initializer.append(tensor)
    onnx.checker.check_model(proto)
    return Model(ir.from_proto(proto))


def _scale(name: str, dims: Sequence[int]) -> float:
    """Such that what a layer gives is as large as what it takes."""
    if len(dims) == 1 or name == "w_table":
        return 1.0
    return float(np.prod(dims[1:]) if len(dims) > 2 else dims[0]) ** -0.5


def detector() -> Model:
    """Convolutions, pooling, a head and an integer output."""
    return model_of(DETECTOR)


def encoder() -> Model:
    """Embedding, normalization, Gelu and masked attention."""
    return model_of(ENCODER)


def branches() -> Model:
    """Independent branches, each of one operator that has near twins."""
    return model_of(BRANCHES)


def weights(model: Model) -> dict[str, Tensor]:
    """The initializers as tensors."""
    return {
        name: torch.from_numpy(np.array(value.const_value.numpy()))
        for name, value in model.ir.graph.initializers.items()
        if value.const_value is not None
    }


class _Weighted(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        for name, tensor in weights(model).items():
            self.register_buffer(name, tensor)


class Detector(_Weighted):
    def forward(self, x: Tensor) -> Mapping[str, Tensor]:
        features = functional.conv2d(x, self.w_stem, self.w_stem_bias, padding=1).relu()
        sliced = functional.avg_pool2d(features, 2)[:, 1:5]
        logits = sliced.flatten(1) @ self.w_head + self.w_head_bias
        return {
            "boxes": functional.conv2d(features, self.w_boxes, padding=1),
            "anchors": functional.conv2d(features, self.w_anchors, padding=1),
            "scores": logits.softmax(1),
            "grid": sliced.permute(0, 2, 3, 1),
            "best": logits.argmax(1),
        }


class Encoder(_Weighted):
    def forward(self, ids: Tensor, mask: Tensor) -> Mapping[str, Tensor]:
        embedded = self.w_table[ids]
        normed = functional.layer_norm(embedded, (16,), self.w_scale, self.w_bias, 1e-5)
        hidden = embedded + functional.gelu(normed @ self.w_up) @ self.w_down
        scaled = hidden @ self.w_query @ hidden.transpose(1, 2) * 0.25
        attention = scaled.masked_fill(~mask.bool()[:, None], -30.0).softmax(2)
        return {
            "hidden": hidden,
            "attention": attention,
            "logits": attention @ hidden @ self.w_vocabulary,
        }


class Branches(nn.Module):
    def forward(self, x: Tensor, steps: Tensor) -> Mapping[str, Tensor]:
        return {
            "image": functional.interpolate(x, scale_factor=2, mode="bilinear"),
            "levels": torch.round(steps.to(x.dtype) * 0.5),
            "energy": ((x * 100) * (x * 100)).sqrt(),
            "root": x.abs().sqrt(),
            "peaks": functional.max_pool2d(x, 2),
            "halves": torch.div(steps - 3, 2, rounding_mode="trunc"),
        }


def torch_of(model: Model) -> TorchModel:
    """The module that computes what one of the models here computes."""
    name = model.ir.graph.name
    if name == "branches":
        return TorchModel.of(Branches())
    return TorchModel.of({"detector": Detector, "encoder": Encoder}[name or ""](model))
