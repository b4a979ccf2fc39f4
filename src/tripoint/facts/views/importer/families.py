"""Operators that importers treat alike, by ONNX name."""

from __future__ import annotations

UNARY = frozenset(
    (
        *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf"),
        *("Exp", "Floor", "Log", "Neg", "Reciprocal", "Sin", "Sinh", "Sqrt", "Tan"),
    )
)
ACTIVATIONS = frozenset(
    (
        *("Elu", "HardSigmoid", "LeakyRelu", "ParametricSoftplus", "Relu", "ScaledTanh", "Selu"),
        *("Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"),
    )
)
ARITHMETIC = frozenset(
    ("Add", "Div", "Equal", "Greater", "Less", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
)
REDUCTIONS = frozenset(
    (
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    )
)
