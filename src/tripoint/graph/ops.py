"""Families of the operators of ONNX, and which inputs of an operator are sizes.

Source of all of it is the ONNX operator specification up to opset 28.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
"""Operators that compare two tensors, with multidirectional broadcasting."""

LOGICAL = frozenset({"And", "Or", "Xor"})
"""Operators of two tensors of booleans, with multidirectional broadcasting."""

BITWISE = frozenset({"BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"})
"""Operators of the bits of two tensors, with multidirectional broadcasting."""

BROADCASTING = (COMPARISONS | LOGICAL | BITWISE) | {
    *("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Mean", "Min", "Sum", "Where"),
}
"""Operators that compute each element from one of each input, with multidirectional broadcasting.

StringConcat is with the strings, which no engine has.
"""

ELEMENTWISE = BROADCASTING | {"PRelu"}
"""Those, and PRelu, which broadcasts its slope to the data but never the other way round."""

POINTWISE = frozenset(
    {
        *("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Exp", "Log"),
        *("Erf", "Not", "BitwiseNot", "IsNaN", "IsInf", "BitCast", "Cast", "CastLike", "Clip"),
        *("Identity", "Dropout", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh", "Asin", "Acos"),
        *("Atan", "Asinh", "Acosh", "Atanh", "Sigmoid", "HardSigmoid", "HardSwish", "Relu"),
        *("LeakyRelu", "ThresholdedRelu", "Elu", "Celu", "Selu", "Gelu", "Mish", "Softplus"),
        *("Softsign", "Swish", "Shrink"),
    }
)
"""Operators that compute each element from one of the first input; the other inputs are scalars."""

REDUCTIONS = frozenset(
    {
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    }
)
"""Operators that reduce over axes, an attribute or, later, their second input."""

EXTREMES = frozenset({"ArgMax", "ArgMin"})
"""Operators that give the index of a largest or smallest element along one axis."""

SOFTMAX = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
"""Operators that normalize along one axis."""

NORMALIZATIONS = frozenset(
    {
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN"),
        *("GroupNormalization", "RMSNormalization", "LpNormalization"),
        "MeanVarianceNormalization",
    }
)
"""Operators that normalize over several elements, and give the shape of the first input."""

POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
"""Operators that reduce over windows."""

GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"})
"""Operators that reduce over all spatial axes."""

CONVOLUTIONS = frozenset(
    {"Conv", "ConvInteger", "ConvTranspose", "DeformConv", "QLinearConv", "CausalConvWithState"}
)
"""Operators that sum products over windows."""

PRODUCTS = frozenset(
    {
        *("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "Einsum", "Det"),
        *("Attention", "LinearAttention"),
    }
)
"""Operators that sum products over axes."""

RECURRENT = frozenset({"RNN", "GRU", "LSTM"})
"""Operators that go along a sequence with a state."""

RESHAPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that keep the order of the elements and change the shape."""

SCATTERING = frozenset({"Scatter", "ScatterElements", "ScatterND", "TensorScatter"})
"""Operators that put elements into a copy of the first input."""

MOVING = frozenset(
    {
        *("Concat", "Split", "Slice", "Gather", "GatherElements", "GatherND", "Expand", "Tile"),
        *("Transpose", "Pad", "CenterCropPad", "DepthToSpace", "SpaceToDepth", "Trilu"),
        *("ReverseSequence", "MaxUnpool", *RESHAPING, *SCATTERING),
    }
)
"""Operators that only move elements, or put constants beside them."""

ACCUMULATING = frozenset({"CumProd", "CumSum"})
"""Operators whose elements are totals up to there, along one axis."""

QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
"""Operators between numbers and their steps on a grid."""

SUBGRAPHS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Operators that run graphs of their own."""

READS_SIZES = frozenset({"Shape", "Size"})
"""Operators whose output depends on the sizes of the input, not on its values."""

RANDOM = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial"),
    }
)
"""Operators that draw random numbers whenever they run."""

COUNTING = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"})
"""Operators whose output size is a count over values."""

CONSTANTS = frozenset(
    {
        *("Constant", "ConstantOfShape", "EyeLike", "Range", "MelWeightMatrix"),
        *("BlackmanWindow", "HammingWindow", "HannWindow"),
    }
)
"""Operators whose elements follow from sizes and a few numbers."""

SAMPLING = frozenset(
    {"Resize", "Upsample", "GridSample", "AffineGrid", "RoiAlign", "MaxRoiPool", "Col2Im"}
)
"""Operators of images that read or write at computed positions."""

CONTAINERS = frozenset(
    {
        *("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
        *("SequenceLength", "ConcatFromSequence", "SplitToSequence"),
        *("Optional", "OptionalGetElement", "OptionalHasElement"),
    }
)
"""Operators of sequences and optionals, which no engine has."""

STRINGS = frozenset(
    {"StringConcat", "StringNormalizer", "RegexFullMatch", "TfIdfVectorizer", "ImageDecoder"}
)
"""Operators of strings and encoded files, which no engine has."""

OTHERS = frozenset(
    {
        *("TopK", "OneHot", "DFT", "STFT", "RotaryEmbedding", "SwiGLU"),
        *("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
    }
)
"""Operators that are of no family."""

FAMILIES = (
    *(ELEMENTWISE, POINTWISE, REDUCTIONS, EXTREMES, SOFTMAX, NORMALIZATIONS, POOLS, GLOBAL_POOLS),
    *(CONVOLUTIONS, PRODUCTS, RECURRENT, MOVING, ACCUMULATING, QUANTIZING, SUBGRAPHS, READS_SIZES),
    *(RANDOM, COUNTING, CONSTANTS, SAMPLING, CONTAINERS, STRINGS, OTHERS),
)
"""Every operator of the default domain is in exactly one of these."""

SAME_SHAPE = (
    POINTWISE | {"PRelu"} | SOFTMAX | NORMALIZATIONS | ACCUMULATING | QUANTIZING | SCATTERING
) | {"ReverseSequence", "Trilu", "EyeLike", "Bernoulli", "RandomNormalLike", "RandomUniformLike"}
"""Operators whose first output has the shape of the first input."""

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
    **dict.fromkeys(REDUCTIONS, (1,)),
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
"""Inputs that decide the shape of the output."""


def size_operands(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that decide the shape of its output."""
    positions = SIZE_OPERANDS.get(node.op_type, ())
    return [
        value
        for position, value in enumerate(node.inputs)
        if value is not None and position in positions
    ]
