"""TensorRT types: which inputs an operator refuses, and what type its outputs have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.graph.ops import COMPARISONS, EXTREMES, LOGICAL, READS_SIZES, REDUCTIONS, SUBGRAPHS
from tripoint.views.importer.context import NodeContext
from tripoint.views.importer.core import ACTIVATIONS, ARITHMETIC, UNARY

_TYPES_84: Mapping[ir.DataType, str] = {
    ir.DataType.BOOL: "BOOL",
    ir.DataType.DOUBLE: "FLOAT",
    ir.DataType.FLOAT: "FLOAT",
    ir.DataType.FLOAT16: "HALF",
    ir.DataType.INT8: "INT8",
    ir.DataType.INT32: "INT32",
    ir.DataType.INT64: "INT32",
}
_TYPES_86: Mapping[ir.DataType, str] = {**_TYPES_84, ir.DataType.UINT8: "UINT8"}
_TYPES_10: Mapping[ir.DataType, str] = {
    **_TYPES_86,
    ir.DataType.BFLOAT16: "BF16",
    ir.DataType.FLOAT8E4M3FN: "FP8",
    ir.DataType.INT4: "INT4",
    ir.DataType.INT64: "INT64",
}

Positions = tuple[int, ...] | None
"""Inputs that are looked at; None for all."""

Refused = Mapping[str, tuple[frozenset[str], Positions]]

_BOOL = frozenset({"BOOL"})
_INTEGERS = frozenset({"INT32", "INT64"})
_UINT8 = frozenset({"UINT8"})
_SIGNED = frozenset({"Abs", "Neg"})
_COMPARISONS = frozenset({"GreaterOrEqual", "LessOrEqual"})

_REFUSED_84: Refused = {
    **dict.fromkeys(UNARY - _SIGNED | {"Round", "Sign"}, (_BOOL | _INTEGERS, (0,))),
    **dict.fromkeys(ACTIVATIONS | {"Resize", "Upsample"}, (_BOOL | _INTEGERS, (0,))),
    **dict.fromkeys(ARITHMETIC | _COMPARISONS, (_BOOL, None)),
    **dict.fromkeys(LOGICAL | {"Not"}, (frozenset(_TYPES_10.values()) - _BOOL, None)),
    **dict.fromkeys(
        ("DepthToSpace", "Gather", "GatherElements", "GatherND", "SpaceToDepth"), (_BOOL, (0,))
    ),
    **dict.fromkeys(EXTREMES | {"TopK"}, (_INTEGERS, (0,))),
    **dict.fromkeys(("Gemm", "MatMul", "PRelu"), (_INTEGERS, (0, 1))),
    **dict.fromkeys(("HardSwish", "Shrink"), (_BOOL, (0,))),
    "Pow": (_BOOL | _INTEGERS, None),
    "Where": (_BOOL, (1, 2)),
}
_REFUSED_80: Refused = {**_REFUSED_84, "Clip": (_BOOL | _INTEGERS, (0,))}

_NO_UINT8 = (
    *("Clip", "Concat", "Einsum", "Expand", "EyeLike", "Gather", "GatherElements", "GatherND"),
    *("Mod", "OneHot", "Pad", "ReverseSequence", "Slice", "Split", "Tile", "Trilu"),
)

_REFUSED_85: Refused = {
    **{op: (kinds | _UINT8, inputs) for op, (kinds, inputs) in _REFUSED_84.items()},
    **dict.fromkeys(_NO_UINT8, (_UINT8, (0,))),
    **dict.fromkeys(REDUCTIONS, (_BOOL | _UINT8, (0,))),
    **dict.fromkeys(("DepthToSpace", "GridSample", "SpaceToDepth"), (_BOOL | _UINT8, (0,))),
    **dict.fromkeys(("Resize", "Upsample"), (_BOOL | _UINT8, (0,))),
    **dict.fromkeys(_SIGNED, (_BOOL | _UINT8, (0,))),
    "Equal": (_UINT8, None),
    "Where": (_UINT8, (1, 2)),
}

_REFUSED_86: Refused = {
    **_REFUSED_85,
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK"), (_UINT8, (0,))),
}

_INT32 = frozenset({"INT32"})

_REFUSED_10: Refused = {
    **_REFUSED_86,
    **dict.fromkeys(ACTIVATIONS, (_BOOL | _INT32 | _UINT8, (0,))),
    **dict.fromkeys(("Gemm", "MatMul"), (_INTEGERS | _UINT8, (0,))),
    "Sign": (_BOOL | _UINT8, (0,)),
}

_RESULTS: Mapping[str, str] = {
    **dict.fromkeys((COMPARISONS | LOGICAL) | {"IsInf", "IsNaN", "Not"}, "BOOL"),
    **dict.fromkeys((EXTREMES | READS_SIZES) | {"NonMaxSuppression", "NonZero"}, "INT64"),
    **dict.fromkeys(("RandomNormal", "RandomUniform"), "FLOAT"),
    "QuantizeLinear": "INT8",
}

_NESTED = SUBGRAPHS - {"SequenceMap"}  # no importer reads sequences
_BY_OTHER_INPUT = {"CastLike": 1, "DequantizeLinear": 1, "OneHot": 2, "Where": 1}


@dataclass(frozen=True, slots=True)
class Kinds:
    """The types of one version.

    Args:
        types: TensorRT type by ONNX element type.
        refused: Refused types and the inputs that are looked at, by operator.
    """

    types: Mapping[ir.DataType, str]
    refused: Refused

    def check(self, node: NodeContext) -> None:
        """Note each input type that the operator does not take."""
        kinds, inputs = self.refused.get(node.op, (frozenset(), ()))
        types = {node.type(index) for index in (node.present if inputs is None else inputs)}
        narrowed = self.types[ir.DataType.INT64] == "INT32"
        for kind in sorted(kinds & types):
            note = " (and INT64 becomes INT32)" if kind == "INT32" and narrowed else ""
            node.refuse(f"takes no {kind} input for {node.op}{note}, so it stops here")

    def of_output(self, node: NodeContext, index: int) -> str | None:
        """TensorRT type of an output; None if it is not known."""
        declared = node.onnx.outputs[index].dtype
        if declared is not None:
            return self.types.get(declared)
        if node.op == "Cast":
            return self.types.get(ir.DataType(node.attribute_int("to", 0)))
        if node.kept is not None:
            return self.types.get(node.kept.dtype)
        if node.op == "ConstantOfShape":
            filled = node.attribute_tensor("value")
            return self.types.get(filled.dtype if filled is not None else ir.DataType.FLOAT)
        if node.op == "TopK" and index == 1:
            return self.types[ir.DataType.INT64]
        if node.op in _NESTED or node.op not in node.network.version.importers:
            return None
        result = _RESULTS.get(node.op)
        if result is not None:
            return self.types[ir.DataType.INT64] if result == "INT64" else result
        return node.type(_BY_OTHER_INPUT.get(node.op, 0))


V8_0 = Kinds(_TYPES_84, _REFUSED_80)
V8_2 = Kinds(_TYPES_84, _REFUSED_84)
V8_4 = V8_2
V8_5 = Kinds(_TYPES_86, _REFUSED_85)
V8_6 = Kinds(_TYPES_86, _REFUSED_86)
V10 = Kinds(_TYPES_10, _REFUSED_10)
