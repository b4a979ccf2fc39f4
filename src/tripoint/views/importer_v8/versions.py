"""Importers of the versions from 8.0 to 10.1, as a table.

10.1 is written out; each older version is written as its differences from the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tripoint.graph.ops import LOGICAL, REDUCTIONS
from tripoint.views.importer.context import UNKNOWN, Version
from tripoint.views.importer.core import ACTIVATIONS, ARITHMETIC, UNARY
from tripoint.views.importer_v8 import (
    compute,
    constructors,
    control,
    gathering,
    reshaping,
    resizing,
    slicing,
    types,
)
from tripoint.views.importer_v8.context import Rules, factory, printing

Table = Mapping[str, Callable[[Any], Any]]

_MORE_UNARY = frozenset({"Celu", "IsInf", "IsNaN", "Mish", "Not", "Round", "Shrink", "Sign"})
_SUMS = frozenset({"ReduceLogSum", "ReduceSum"})
_MORE_ACTIVATIONS = frozenset({"Gelu", "HardSwish"})

_V10_1: Table = {
    **dict.fromkeys(UNARY | ACTIVATIONS | _MORE_UNARY | _MORE_ACTIVATIONS, compute.unary),
    **dict.fromkeys(ARITHMETIC | LOGICAL | {"Pow"}, compute.elementwise),
    **dict.fromkeys(REDUCTIONS, compute.reduce),
    "ArgMax": compute.arg,
    "ArgMin": compute.arg,
    "AveragePool": compute.pool,
    "BatchNormalization": compute.batch_normalization,
    "Cast": constructors.cast,
    "CastLike": constructors.cast_like,
    "Clip": compute.clip,
    "Concat": gathering.concat,
    "Constant": constructors.constant,
    "ConstantOfShape": constructors.constant_of_shape,
    "Conv": compute.conv,
    "ConvTranspose": compute.conv_transpose,
    "CumSum": compute.cum_sum,
    "DeformConv": compute.deform_conv,
    "DepthToSpace": reshaping.depth_to_space,
    "DequantizeLinear": compute.quantize,
    "Dropout": compute.dropout,
    "Einsum": compute.einsum,
    "Expand": reshaping.expand,
    "EyeLike": constructors.eye_like,
    "Flatten": reshaping.flatten,
    "GRU": compute.recurrent,
    "Gather": gathering.gather,
    "GatherElements": gathering.gather_elements,
    "GatherND": gathering.gather_nd,
    "Gemm": compute.gemm,
    "GlobalAveragePool": compute.global_pool,
    "GlobalLpPool": compute.global_pool,
    "GlobalMaxPool": compute.global_pool,
    "GreaterOrEqual": compute.compare,
    "GridSample": compute.grid_sample,
    "GroupNormalization": compute.same,
    "Hardmax": compute.same,
    "Identity": constructors.identity,
    "If": control.if_,
    "ImageScaler": compute.same,
    "InstanceNormalization": compute.instance_normalization,
    "LRN": compute.same,
    "LSTM": compute.recurrent,
    "LayerNormalization": compute.same,
    "LessOrEqual": compute.compare,
    "LogSoftmax": compute.softmax,
    "Loop": control.loop,
    "LpNormalization": compute.same,
    "LpPool": compute.pool,
    "MatMul": compute.mat_mul,
    "MaxPool": compute.pool,
    "MeanVarianceNormalization": compute.same,
    "Mod": compute.mod,
    "Neg": compute.neg,
    "NonMaxSuppression": compute.non_max_suppression,
    "NonZero": compute.non_zero,
    "OneHot": constructors.one_hot,
    "PRelu": compute.opaque_elementwise,
    "Pad": slicing.pad,
    "QuantizeLinear": compute.quantize,
    "RNN": compute.recurrent,
    "RandomNormal": constructors.random,
    "RandomNormalLike": constructors.random_like,
    "RandomUniform": constructors.random,
    "RandomUniformLike": constructors.random_like,
    "Range": constructors.range_,
    "ReduceLogSumExp": compute.reduce_ignoring_input,
    "Reshape": reshaping.reshape,
    "Resize": resizing.resize,
    "ReverseSequence": compute.same,
    "RoiAlign": compute.roi_align,
    "Scan": control.scan,
    "Scatter": gathering.scatter,
    "ScatterElements": gathering.scatter,
    "ScatterND": gathering.scatter,
    "Shape": constructors.shape_of,
    "Size": constructors.size,
    "Slice": slicing.slice_,
    "Softmax": compute.softmax,
    "SpaceToDepth": reshaping.space_to_depth,
    "Split": slicing.split,
    "Squeeze": reshaping.squeeze,
    "Tile": reshaping.tile,
    "TopK": compute.top_k,
    "Transpose": reshaping.transpose,
    "Trilu": compute.same,
    "Unsqueeze": reshaping.unsqueeze,
    "Upsample": resizing.upsample,
    "Where": compute.where,
}


def _older(newer: Table, *absent: str, **changed: Callable[[Any], Any]) -> Table:
    """The table of the version before: without some importers, and with others changed."""
    return {op: importer for op, importer in {**newer, **changed}.items() if op not in absent}


_V10_0 = _older(_V10_1, "DeformConv")
_V8_6 = _older(
    _V10_0,
    *("CastLike", "Gelu", "Hardmax", "Mish"),
    **dict.fromkeys(REDUCTIONS - _SUMS, compute.reduce_ignoring_input),
    **dict.fromkeys(_SUMS, compute.reduce_sum_86),
    ArgMax=compute.arg_86,
    ArgMin=compute.arg_86,
    Constant=constructors.constant_86,
    Einsum=compute.einsum_86,
    LpPool=compute.lp_pool_86,
    Pad=slicing.pad_86,
    Resize=resizing.resize_86,
    Shape=constructors.shape_of_86,
    Split=slicing.split_86,
)
_V8_5 = _older(
    _V8_6,
    *("GroupNormalization", "IsInf", "LayerNormalization"),
    OneHot=constructors.one_hot_85,
    Reshape=reshaping.reshape_85,
    ReverseSequence=compute.reverse_sequence_85,
    Round=compute.round_85,
    TopK=compute.top_k_85,
)
_V8_4 = _older(
    _V8_5,
    *("GridSample", "MeanVarianceNormalization", "Mod", "NonZero", "OneHot", "RandomNormal"),
    *("RandomNormalLike", "RoiAlign", "Trilu"),
    Flatten=reshaping.flatten_84,
    NonMaxSuppression=compute.non_max_suppression_84,
    Reshape=reshaping.reshape_84,
    Resize=resizing.resize_84,
    TopK=compute.top_k_84,
)
_V8_2 = _older(
    _V8_4,
    *("HardSwish", "Shrink", "Xor"),
    **{op: compute.same for op, importer in _V8_4.items() if importer is compute.unary},
    ArgMax=compute.arg_82,
    ArgMin=compute.arg_82,
    Gemm=compute.gemm_82,
    Range=constructors.range_82,
    Resize=resizing.resize_82,
    Slice=slicing.slice_82,
    Transpose=reshaping.transpose_82,
    Upsample=resizing.upsample_82,
)
_V8_0 = _older(
    _V8_2,
    *("Einsum", "GatherND", "IsNaN", "Round", "Scatter", "ScatterElements", "ScatterND", "Sign"),
    Clip=compute.clip_80,
    ConvTranspose=compute.conv_transpose_80,
    Gather=gathering.gather_80,
    GatherElements=gathering.gather_elements_80,
    If=control.if_80,
    InstanceNormalization=compute.instance_normalization_80,
    Pad=slicing.pad_80,
    Split=slicing.split_80,
)

_RULES_10_1 = Rules(int64=True, named_dims=True, ranks=8, floats=True)
_RULES_8_6 = replace(_RULES_10_1, int64=False)
_RULES_8_4 = replace(_RULES_8_6, ranks=1)
_RULES_8_2 = replace(_RULES_8_4, floats=False)
_RULES_8_0 = replace(_RULES_8_2, named_dims=False)


def _version(
    name: str, importers: Table, rules: Rules, kinds: types.Kinds, nameless_dim: int = UNKNOWN
) -> Version:
    return Version(
        name=name,
        importers={op: printing(importer) for op, importer in importers.items()},
        types=kinds.types,
        node=factory(rules),
        check=kinds.check,
        output_type=kinds.of_output,
        nameless_dim=nameless_dim,
        local_functions=kinds is types.V10,
    )


VERSIONS = (
    _version("8.0", _V8_0, _RULES_8_0, types.V8_0, nameless_dim=0),
    _version("8.2", _V8_2, _RULES_8_2, types.V8_2),
    _version("8.4", _V8_4, _RULES_8_4, types.V8_4),
    _version("8.5", _V8_5, _RULES_8_6, types.V8_5),
    _version("8.6", _V8_6, _RULES_8_6, types.V8_6),
    _version("10.0", _V10_0, _RULES_10_1, types.V10),
    _version("10.1", _V10_1, _RULES_10_1, types.V10),
)
"""Oldest first."""
