"""What the importer of each 7.x version does, as a table: a version is its operators.

A further version is written as the differences from one that is here.
"""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.facts.views.importer.context import Importer, Version
from tripoint.facts.views.importer.families import ACTIVATIONS, ARITHMETIC, REDUCTIONS, UNARY
from tripoint.facts.views.importer_v7 import compute, shaping, types
from tripoint.facts.views.importer_v7.context import TYPES, Node

_V7_1: Mapping[str, Importer] = {
    **dict.fromkeys(UNARY | ACTIVATIONS, compute.same),
    **dict.fromkeys(ARITHMETIC | {"And", "Or", "Pow", "PRelu"}, compute.elementwise),
    **dict.fromkeys(REDUCTIONS, compute.reduce),
    "ArgMax": compute.arg,
    "ArgMin": compute.arg,
    "AveragePool": compute.pool,
    "BatchNormalization": compute.batch_normalization,
    "Cast": compute.cast,
    "Clip": compute.clip,
    "Concat": shaping.concat,
    "Constant": shaping.constant,
    "ConstantOfShape": shaping.constant_of_shape,
    "Conv": compute.conv,
    "ConvTranspose": compute.conv_transpose,
    "DepthToSpace": shaping.depth_to_space,
    "DequantizeLinear": compute.quantize,
    "Dropout": compute.dropout,
    "Expand": shaping.expand,
    "Flatten": shaping.flatten,
    "GRU": compute.recurrent,
    "Gather": shaping.gather,
    "Gemm": compute.gemm,
    "GlobalAveragePool": compute.global_pool,
    "GlobalLpPool": compute.global_pool,
    "GlobalMaxPool": compute.global_pool,
    "Identity": compute.same,
    "If": compute.if_,
    "ImageScaler": compute.same,
    "InstanceNormalization": compute.instance_normalization,
    "LRN": compute.same,
    "LSTM": compute.recurrent,
    "LogSoftmax": compute.softmax,
    "Loop": compute.loop,
    "MatMul": compute.mat_mul,
    "MaxPool": compute.pool,
    "Not": compute.same,
    "Pad": shaping.pad,
    "QuantizeLinear": compute.quantize,
    "RNN": compute.recurrent,
    "RandomUniform": shaping.random_uniform,
    "RandomUniformLike": shaping.random_uniform_like,
    "Range": shaping.range_,
    "Reshape": shaping.reshape,
    "Resize": shaping.resize,
    "Scan": compute.loop,
    "Shape": shaping.shape_of,
    "Size": shaping.size,
    "Slice": shaping.slice_,
    "Softmax": compute.softmax,
    "SpaceToDepth": shaping.space_to_depth,
    "Split": shaping.split,
    "Squeeze": shaping.squeeze,
    "Tile": shaping.tile,
    "TopK": compute.top_k,
    "Transpose": shaping.transpose,
    "Unsqueeze": shaping.unsqueeze,
    "Upsample": shaping.upsample,
    "Where": compute.where,
}


def _version(name: str, importers: Mapping[str, Importer]) -> Version:
    return Version(
        name=name,
        importers=importers,
        types=TYPES,
        node=Node,
        check=types.check,
        output_type=types.of_output,
        nameless_dim=0,
    )


VERSIONS = (_version("7.1", _V7_1),)
"""Oldest first."""
