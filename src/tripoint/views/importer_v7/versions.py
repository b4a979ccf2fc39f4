"""Importers of the 7.x versions, as a table: a version is its operators.

The other versions are written as their differences from 7.1.
"""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.graph.ops import REDUCTIONS
from tripoint.views.importer.context import Importer, Version
from tripoint.views.importer.core import ACTIVATIONS, ARITHMETIC, UNARY
from tripoint.views.importer_v7 import compute, control, recurrent, shaping, types
from tripoint.views.importer_v7.context import TYPES, Node

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
    "Expand": shaping.expand_71,
    "Flatten": shaping.flatten,
    "GRU": recurrent.gru,
    "Gather": shaping.gather,
    "Gemm": compute.gemm,
    "GlobalAveragePool": compute.global_pool,
    "GlobalLpPool": compute.global_pool,
    "GlobalMaxPool": compute.global_pool,
    "Identity": compute.same,
    "If": control.if_,
    "ImageScaler": compute.same,
    "InstanceNormalization": compute.instance_normalization,
    "LRN": compute.same,
    "LSTM": recurrent.lstm,
    "LogSoftmax": compute.softmax,
    "Loop": control.loop_71,
    "MatMul": compute.mat_mul_71,
    "MaxPool": compute.pool,
    "Not": compute.same,
    "Pad": shaping.pad,
    "QuantizeLinear": compute.quantize,
    "RNN": recurrent.rnn,
    "RandomUniform": shaping.random_uniform,
    "RandomUniformLike": shaping.random_uniform_like,
    "Range": shaping.range_,
    "Reshape": shaping.reshape,
    "Resize": shaping.resize_71,
    "Scan": control.scan_71,
    "Shape": shaping.shape_of,
    "Size": shaping.size,
    "Slice": shaping.slice_71,
    "Softmax": compute.softmax,
    "SpaceToDepth": shaping.space_to_depth,
    "Split": shaping.split,
    "Squeeze": shaping.squeeze_71,
    "Tile": shaping.tile,
    "TopK": compute.top_k,
    "Transpose": shaping.transpose,
    "Unsqueeze": shaping.unsqueeze,
    "Upsample": shaping.upsample,
    "Where": compute.where,
}


_V7_0: Mapping[str, Importer] = {
    **{op: importer for op, importer in _V7_1.items() if op != "If"},
    "ArgMax": compute.arg_70,
    "ArgMin": compute.arg_70,
    "ConvTranspose": compute.conv_transpose_70,
    "DepthToSpace": shaping.depth_to_space_70,
    "Expand": shaping.expand_70,
    "Loop": control.loop_70,
    "MatMul": compute.mat_mul_70,
    "Pad": shaping.pad_70,
    "Resize": shaping.resize_70,
    "Scan": control.scan_70,
    "Squeeze": shaping.squeeze_70,
    "TopK": compute.top_k_70,
}
"""Release/7.1 evaluates the elements of a shape one by one; 7.0 knows all of them or none."""

_V7_2: Mapping[str, Importer] = {
    **_V7_1,
    "Conv": compute.conv_72,
    "Gemm": compute.gemm_72,
    "InstanceNormalization": compute.instance_normalization_72,
    "Loop": control.loop_72,
    "Resize": shaping.resize_72,
    "Slice": shaping.slice_,
}


def _version(
    name: str, importers: Mapping[str, Importer], *, plugins: bool, constant_outputs: bool
) -> Version:
    return Version(
        name=name,
        importers=importers,
        types=TYPES,
        node=Node,
        check=types.check,
        output_type=types.of_output,
        nameless_dim=0,
        plugins=plugins,
        constant_outputs=constant_outputs,
    )


VERSIONS = (
    _version("7.0", _V7_0, plugins=False, constant_outputs=False),
    _version("7.1", _V7_1, plugins=True, constant_outputs=False),
    _version("7.2", _V7_2, plugins=True, constant_outputs=True),
)
"""Oldest first."""
