"""Shape functions that onnx-shape-inference 0.4 lacks, or has only for constant operands.

They are put in place through its registry. What they add to the library's:

- the elements of small tensors of any rank, through integer and float arithmetic, comparisons and
  everything that only moves elements (:mod:`~tripoint.shape_inference.operators.values`);
- sizes that hold for every value of a symbol: slices that may be shorter, broadcasting of two
  symbols, parts of a Split, the last window of a pool with ``ceil_mode``;
- bounds of sizes that values decide;
- loops whose carried tensors change their shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
from onnx_shape_inference import registry

from tripoint.graph.ops import BROADCASTING, POOLS, REDUCTIONS
from tripoint.shape_inference.operators import (
    broadcast,
    data_dependent,
    flow,
    layout,
    sizes,
    windows,
)

Infer = Callable[[Any, ir.Node], None]

_SHAPES: dict[str, Infer] = {
    **dict.fromkeys(BROADCASTING, broadcast.elementwise),
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), broadcast.matmul),
    **dict.fromkeys(REDUCTIONS, sizes.reduce),
    **dict.fromkeys(POOLS, windows.pool),
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "DeformConv"), windows.conv),
    "ConvTranspose": windows.conv_transpose,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), layout.depth_to_space),
    **dict.fromkeys(("Resize", "Upsample"), sizes.resize),
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), sizes.roi),
    "AffineGrid": sizes.affine_grid,
    "CenterCropPad": sizes.center_crop_pad,
    "Col2Im": sizes.col2im,
    "Compress": data_dependent.compress,
    "Concat": layout.concat,
    "ConstantOfShape": sizes.constant_of_shape,
    "Expand": layout.expand,
    "If": flow.if_,
    "Loop": flow.loop,
    "MaxUnpool": sizes.max_unpool,
    "MelWeightMatrix": sizes.mel_weight_matrix,
    "NonMaxSuppression": data_dependent.non_max_suppression,
    "NonZero": data_dependent.nonzero,
    "OneHot": sizes.one_hot,
    "Pad": layout.pad,
    "Range": sizes.range_,
    "Reshape": layout.reshape,
    "Scan": flow.scan,
    "STFT": windows.stft,
    "Slice": layout.slice_,
    "Split": layout.split,
    "Squeeze": layout.squeeze,
    "Tile": layout.tile,
    "TopK": sizes.topk,
    "Unique": data_dependent.unique,
    "Unsqueeze": layout.unsqueeze,
}


def register() -> None:
    """Put the functions in place, for every version of their operators."""
    for op, infer in _SHAPES.items():
        for version in {1, *registry.version_boundaries("", op)}:
            registry.register("", op, since_version=version)(infer)
