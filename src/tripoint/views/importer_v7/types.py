"""TensorRT types: which inputs an operator refuses, and what type its outputs have."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.graph.ops import EXTREMES, READS_SIZES, SUBGRAPHS
from tripoint.views.importer.context import NodeContext
from tripoint.views.importer.core import ACTIVATIONS, ARITHMETIC, UNARY
from tripoint.views.importer_v7.context import TYPES

_BOOL = frozenset({"BOOL"})
_INT32 = frozenset({"INT32"})
_OTHERS = frozenset(TYPES.values()) - _BOOL

_REFUSED: Mapping[str, tuple[frozenset[str], tuple[int, ...] | None]] = {
    **dict.fromkeys(UNARY | ACTIVATIONS | {"Clip", "Resize", "Upsample"}, (_BOOL | _INT32, (0,))),
    **dict.fromkeys(ARITHMETIC | {"Concat"}, (_BOOL, None)),
    **dict.fromkeys(("And", "Or", "Not"), (_OTHERS, None)),
    **dict.fromkeys(
        ("DepthToSpace", "Expand", "Gather", "Slice", "SpaceToDepth", "Split", "Tile"),
        (_BOOL, (0,)),
    ),
    **dict.fromkeys(EXTREMES | {"TopK"}, (_INT32, (0,))),
    **dict.fromkeys(("Gemm", "MatMul", "PRelu"), (_INT32, (0, 1))),
    "Pow": (_BOOL | _INT32, None),
    "Where": (_BOOL, (1, 2)),
}
"""Refused types and the inputs that are looked at (None: all), by operator."""

_RESULTS: Mapping[str, str] = {
    **dict.fromkeys(("And", "Equal", "Greater", "Less", "Not", "Or"), "BOOL"),
    **dict.fromkeys(EXTREMES | READS_SIZES, "INT32"),
    "DequantizeLinear": "FLOAT",
    "QuantizeLinear": "INT8",
    "RandomUniform": "FLOAT",
}

_NESTED = SUBGRAPHS - {"SequenceMap"}  # no importer reads sequences


def check(node: NodeContext) -> None:
    """Note each input type that the operator does not take."""
    kinds, inputs = _REFUSED.get(node.op, (frozenset(), ()))
    types = {node.type(index) for index in (node.present if inputs is None else inputs)}
    for kind in sorted(kinds & types):
        note = " (and INT64 becomes INT32)" if kind == "INT32" else ""
        node.refuse(f"takes no {kind} input for {node.op}{note}, so it stops here")


def of_output(node: NodeContext, index: int) -> str | None:
    """TensorRT type of an output; None if it is not known."""
    declared = node.onnx.outputs[index].dtype
    if declared is not None:
        return TYPES.get(declared)
    if node.op == "Cast":
        return TYPES.get(ir.DataType(node.attribute_int("to", 0)))
    if node.kept is not None:
        return TYPES.get(node.kept.dtype)
    if node.op == "ConstantOfShape":
        filled = node.attribute_tensor("value")
        return TYPES.get(filled.dtype if filled is not None else ir.DataType.FLOAT)
    if node.op == "TopK" and index == 1:
        return "INT32"
    if node.op in _NESTED or node.op not in node.network.version.importers:
        return None
    return _RESULTS.get(node.op) or node.type(1 if node.op == "Where" else 0)
