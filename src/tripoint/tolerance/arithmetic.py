r"""Error of each operator of ONNX by itself: one table, for all of the newest opset.

What was measured, was measured on a CPU against float64: PyTorch 2.13 and ONNX Runtime 1.30, root
mean square of the error in eps of a typical element, for normal signals.

============== ===================================== ==========================================
kind           what it errs by                       measured
============== ===================================== ==========================================
moves, exact   nothing                               the specification: no arithmetic on floats
rounds         one rounding                          0.1 to 0.6 for each of these functions
Erf, Gelu      ``4`` eps²                            0.3 to 0.5, but at most 12.8 (PyTorch's
                                                     polynomial where 1 + erf cancels)
sums, products see :mod:`.derivation`          CumSum 37, LpNormalization 40 for 65536 terms
coordinates    ``n²/2`` eps² for each axis           0.3 n to 0.45 n for Resize and GridSample,
               of n elements that is sampled         linear and cubic, on two axes of n; 0.3 to 0.6
                                                     where the scale is exact in binary
transforms     ``9/4 n²`` eps² for n points,         1.0 n, at most 12 n (ONNX Runtime adds up
               ``log₂(n)²/4`` for a power of two     n terms); 0.4 log₂ n for powers of two
steep          one rounding, and one of its          its own is 0.2 for Sin of 10⁵; what is passed
               operand, which its slope enlarges     on is measured when the graph runs
============== ===================================== ==========================================

The error of a coordinate is a rounding of a number up to n, and the slope of a signal without
relation from element to element is √2 of a typical one: a smooth signal errs by less.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from fractions import Fraction

import onnx_ir as ir

from tripoint.graph.ops import (
    ACCUMULATING,
    BITWISE,
    COMPARISONS,
    CONTAINERS,
    EXTREMES,
    GLOBAL_POOLS,
    LOGICAL,
    MOVING,
    NORMALIZATIONS,
    POOLS,
    RANDOM,
    READS_SIZES,
    RECURRENT,
    REDUCTIONS,
    SUBGRAPHS,
)
from tripoint.shape_inference import truth
from tripoint.symbols import evaluate

_PER_COORDINATE = 0.5
_PER_POINT = 2.25
_PER_LEVEL = 0.25
_PER_POLYNOMIAL = 3.0
"""Besides one rounding."""
_UNKNOWN = 1 << 12
"""Size assumed where values decide it."""


class Kind(enum.Enum):
    """Kind of arithmetic of an operator."""

    MOVES = "passes numbers on as they are"
    EXACT = "gives integers, booleans, strings or counts"
    ROUNDS = "computes element by element"
    STEEP = "computes element by element, and its slope has no bound near 1"
    SUMS = "adds up terms"
    PRODUCTS = "multiplies and adds up terms"
    COORDINATES = "samples a signal at computed coordinates"
    TRANSFORMS = "adds up a signal times waves"
    GRID = "rounds to a grid"
    DRAWS = "draws random numbers"
    BODIES = "runs a graph of its own"


def _table() -> dict[str, Kind]:
    groups: dict[Kind, Iterable[str]] = {
        Kind.MOVES: (
            *(*MOVING, *READS_SIZES, *EXTREMES, "Identity", "Constant", "ConstantOfShape"),
            *("MaxPool", "GlobalMaxPool", "MaxRoiPool", "ReduceMax", "ReduceMin", "Max", "Min"),
            *("Relu", "ThresholdedRelu", "Neg", "Abs", "Sign", "Where", "Clip", "Dropout"),
            *("Cast", "CastLike", "BitCast", "Compress", "Unique", "EyeLike", "Range", "TopK"),
            *("OneHot", "Hardmax", "ImageDecoder"),
            *(CONTAINERS - {"OptionalHasElement", "SequenceLength"}),
        ),
        Kind.EXACT: (
            *(*COMPARISONS, *LOGICAL, *BITWISE, "Not", "BitwiseNot", "IsInf", "IsNaN"),
            *("ConvInteger", "MatMulInteger", "NonZero", "NonMaxSuppression"),
            *("OptionalHasElement", "SequenceLength", "RegexFullMatch"),
            *("StringConcat", "StringNormalizer", "StringSplit"),
        ),
        Kind.ROUNDS: (
            *("Add", "Sub", "Mul", "Div", "Sqrt", "Reciprocal", "Erf", "Gelu", "Tanh", "Sigmoid"),
            *("HardSigmoid", "HardSwish", "Elu", "Selu", "Celu", "LeakyRelu", "PRelu", "Softplus"),
            *("Softsign", "Mish", "Shrink", "Swish", "SwiGLU", "Atan", "Asinh", "RotaryEmbedding"),
            *("BatchNormalization", "BlackmanWindow", "HammingWindow", "HannWindow"),
            *("MelWeightMatrix", "DequantizeLinear", "TfIdfVectorizer"),
        ),
        Kind.STEEP: (
            *("Sin", "Cos", "Tan", "Sinh", "Cosh", "Exp", "Log", "Pow"),
            *("Asin", "Acos", "Acosh", "Atanh"),
        ),
        Kind.SUMS: (
            *(NORMALIZATIONS - {"BatchNormalization"}),  # at run time it scales and shifts
            *((POOLS | GLOBAL_POOLS) - {"MaxPool", "GlobalMaxPool"}),
            *(REDUCTIONS - {"ReduceMax", "ReduceMin"}),
            *(*ACCUMULATING, "Softmax", "LogSoftmax", "Sum", "Mean", "Det", "Col2Im"),
            *("AffineGrid", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"),
        ),
        Kind.PRODUCTS: (
            *("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "Attention", "DeformConv"),
            *("LinearAttention", "CausalConvWithState", *RECURRENT),
        ),
        Kind.COORDINATES: ("Resize", "Upsample", "GridSample", "RoiAlign"),
        Kind.TRANSFORMS: ("DFT", "STFT"),
        Kind.GRID: (
            *("Ceil", "Floor", "Round", "Mod", "QuantizeLinear", "DynamicQuantizeLinear"),
            *("QLinearConv", "QLinearMatMul"),
        ),
        Kind.DRAWS: RANDOM,
        Kind.BODIES: SUBGRAPHS,
    }
    return {operator: kind for kind, operators in groups.items() for operator in operators}


TABLE = _table()
"""Kind by operator; one that is not in it is taken to round once."""


def kind_of(node: ir.Node) -> Kind:
    """Return the kind of a node's arithmetic, by its operator and its mode."""
    if node.op_type in ("Resize", "Upsample", "GridSample") and _mode(node) == "nearest":
        return Kind.MOVES
    return TABLE.get(node.op_type, Kind.ROUNDS)


def own_variance(node: ir.Node, bindings: Mapping[str, int]) -> float:
    """Return the variance of the error that coordinates, a transform or a polynomial add, in eps².

    Args:
        node: Its values carry their true shapes.
        bindings: Size of each input symbol.
    """
    if kind_of(node) is Kind.COORDINATES or node.op_type == "DeformConv":
        return _PER_COORDINATE * sum(size**2 for size in _sampled(node, bindings))
    if kind_of(node) is Kind.TRANSFORMS:
        points = _points(node, bindings)
        if points & (points - 1):
            return _PER_POINT * float(points) ** 2
        return _PER_LEVEL * float(points.bit_length() - 1) ** 2
    return _PER_POLYNOMIAL if node.op_type in ("Erf", "Gelu") else 0.0


def steep_operands(node: ir.Node) -> tuple[int, ...]:
    """The inputs whose rounding a node may enlarge, whatever its own rounding is."""
    if node.op_type == "GridSample" and _mode(node) != "nearest":
        return (1,)
    if kind_of(node) is Kind.STEEP:
        return (0, 1) if node.op_type == "Pow" else (0,)
    return ()


def _mode(node: ir.Node) -> str:
    default = "linear" if node.op_type == "GridSample" else "nearest"
    return node.attributes.get_string("mode", default) or default


def _sampled(node: ir.Node, bindings: Mapping[str, int]) -> list[int]:
    """Sizes of the axes whose coordinates are rounded."""
    before = _sizes(node.inputs[0], bindings)
    if node.op_type not in ("Resize", "Upsample"):
        return before[2:]
    after = _sizes(node.outputs[0], bindings)
    if len(after) != len(before):
        return before
    how = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    steps = _given_steps(node, len(before))
    lengths = []
    for axis, (size, count) in enumerate(zip(before, after, strict=True)):
        if how == "align_corners":
            step = Fraction(size - 1, max(1, count - 1))
        else:
            step = steps[axis] if steps else Fraction(size, max(1, count))
        if how == "tf_crop_and_resize" or not _is_dyadic(step):
            lengths.append(size)
    return lengths


def _given_steps(node: ir.Node, rank: int) -> list[Fraction]:
    """Distance of samples by axis where the node has constant factors; none where it has sizes."""
    at = 1 if node.op_type == "Upsample" or len(node.inputs) == _FACTORS else _FACTORS
    value = node.inputs[at] if len(node.inputs) > at else None
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    factors = [float(each) for each in tensor.numpy().reshape(-1)] if tensor is not None else []
    if not factors or any(each <= 0 for each in factors):
        return []
    axes = node.attributes.get_ints("axes", list(range(rank))) or range(rank)
    steps = [Fraction(1)] * rank
    for axis, factor in zip(axes, factors, strict=False):
        steps[axis] = 1 / Fraction(factor)
    return steps


_FACTORS = 2
"""Input of Resize that holds the factors; with two inputs, as in opset 10, the one before."""


def _is_dyadic(step: Fraction) -> bool:
    """Return whether all products with small integers are exact in float32."""
    return step.denominator & (step.denominator - 1) == 0 and step.denominator < _UNKNOWN


def _points(node: ir.Node, bindings: Mapping[str, int]) -> int:
    """Points of a transform."""
    signal = _sizes(node.inputs[0], bindings)
    if node.op_type == "STFT":
        window = _sizes(node.inputs[2], bindings) if len(node.inputs) > 2 else []
        return window[0] if window else _integer(node, 3) or max(signal, default=_UNKNOWN)
    constant = _integer(node, 1)
    axis = _integer(node, 2)
    if axis is None:
        axis = node.attributes.get_int("axis", -2)
    if constant is not None:
        return constant
    return signal[axis] if -len(signal) <= axis < len(signal) else max(signal, default=_UNKNOWN)


def _integer(node: ir.Node, at: int) -> int | None:
    """A constant input of one integer."""
    value = node.inputs[at] if len(node.inputs) > at else None
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return int(tensor.numpy().reshape(-1)[0]) if tensor is not None else None


def _sizes(value: ir.Value | None, bindings: Mapping[str, int]) -> list[int]:
    shape = truth.shape_of(value) if value is not None else None
    return [evaluate(dim, bindings) or _UNKNOWN for dim in shape or ()]
