"""Which inputs of an operator are sizes, and which operators read sizes, draw numbers or count."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

_ANY = range(1 << 16)
SIZE_OPERANDS: Mapping[str, range | tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Range": _ANY,
    "Slice": range(1, 5),
    "Resize": (2, 3),
    "Upsample": (1,),
    "Pad": (1, 3),
    "TopK": (1,),
    "OneHot": (1,),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "EyeLike": (),
    **{
        f"Reduce{kind}": (1,)
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")
    },
    "ReduceSumSquare": (1,),
    "Loop": (0,),
    "If": (0,),
    **dict.fromkeys(("AffineGrid", "CenterCropPad"), (1,)),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (0,)),
    "Col2Im": (1, 2),
    "DFT": (1, 2),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1),
    "STFT": (1, 3),
}
"""Inputs that decide the shape of the output (ONNX operator specification)."""

READS_SIZES = frozenset({"Shape", "Size"})
"""Operators whose output depends on the sizes of the input, not on its values."""

RANDOM = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial"),
    }
)
"""Operators that draw random numbers whenever they run (ONNX operator specification)."""

COUNTING = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"})
"""Operators whose output size is a count over values (ONNX operator specification)."""


def size_operands(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that decide the shape of its output."""
    positions = SIZE_OPERANDS.get(node.op_type, ())
    return [
        value
        for position, value in enumerate(node.inputs)
        if value is not None and position in positions
    ]
