"""A model in float16 or bfloat16.

The casts are written by ``onnxruntime.transformers.float16``, which is part of ONNX Runtime and so
of tripoint's own dependencies. It works on a copy of the graph whose weights are left out, and what
it does not do is done before and after it, on onnx-ir: bfloat16, weights of any size (converted one
by one when they are written), constants that nodes of both types read, tensors that the bodies of
If, Loop and Scan read from outside, and casts there and back between two nodes in float32.

NVIDIA's ModelOpt AutoCast (0.47) needs torch and pins onnx and onnxruntime to versions of its own;
onnxconverter-common (1.16) holds an older form of ONNX Runtime's converter.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from tripoint.errors import ExternalStepError
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.packages import version
from tripoint.precision import choice, converter, weights
from tripoint.precision.choice import Kept
from tripoint.precision.converter import free_name
from tripoint.precision.weights import Clamped
from tripoint.shape_inference import truth
from tripoint.words import number_of

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
Io = Literal["keep", "match"]

LOW = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
"""ONNX type by precision, of those that change the graph."""

_BFLOAT16_OPSET = 22
"""Defines Conv, pooling and others for bfloat16, which 21 and before do not (ONNX changelog)."""


@dataclass(frozen=True)
class Lowered:
    """A model in a lower precision.

    Args:
        model: The converted model, in memory; its weights are converted as they are read.
        source: The flat model that it was made from, in float32, with the same tensor names.
        low: The type.
        io: Whether inputs and outputs keep their types or match ``low``.
        keep: What was asked to stay in float32.
        lowered: Number of nodes with a float result that are in the lower type now.
        kept: Nodes that are in float32, with the reason.
        casts: Number of Cast nodes that were added.
        clamped: Constants with numbers beyond the range.
        converter: Name and version of what wrote the casts.
    """

    model: ir.Model
    source: ir.Model
    low: ir.DataType
    io: Io
    keep: tuple[str, ...]
    lowered: int
    kept: tuple[Kept, ...]
    casts: int
    clamped: tuple[Clamped, ...]
    converter: str = field(default_factory=lambda: f"{converter.NAME} {version('onnxruntime')}")


def lower(
    model: Model,
    precision: Precision,
    *,
    keep: Sequence[str] = (),
    io: Io = "keep",
) -> Lowered:
    """Convert a model to float16 or bfloat16.

    Args:
        model: It is not changed.
        precision: ``"fp16"`` or ``"bf16"``.
        keep: Nodes that stay in float32: names, or patterns with ``*``, ``?`` and ``[...]``.
        io: ``"keep"`` leaves the types of inputs and outputs as they are; ``"match"`` gives those
            of float32 the lower type.

    Raises:
        UsageError: If one of ``keep`` fits no node.
        ExternalStepError: If no node can be of that type, or the converter fails.
    """
    low = LOW[precision]
    source = _prepared(model, low)
    kept = choice.kept(source, low, keep)
    able = [node for node in source.graph if node not in kept and _computes(node)]
    if not able:
        raise ExternalStepError(
            f"no node of the model can compute in {precision}: "
            + (_commonest(kept) or "it holds no float32"),
            hint="leave --precision out, or keep fewer nodes in float32",
        )
    _separate(source, kept)
    result, casts = converter.convert(source, set(kept), low, keep_io=io == "keep")
    constants = [
        value
        for name, value in source.graph.initializers.items()
        if choice.is_float(value) and result.graph.initializers[name].dtype == low
    ]
    return Lowered(
        model=result,
        source=source,
        low=low,
        io=io,
        keep=tuple(keep),
        lowered=len([node for node in source.graph if node not in kept and _has_result(node)]),
        kept=tuple(Kept(node_name(node), node.op_type, why) for node, why in kept.items()),
        casts=casts,
        clamped=tuple(filter(None, (weights.clamped(value, low) for value in constants))),
    )


def _computes(node: ir.Node) -> bool:
    return choice.touches_float(node) and node.op_type not in ("Cast", "Shape", "Size", "Constant")


def _has_result(node: ir.Node) -> bool:
    return any(map(choice.is_float, node.outputs))


def _commonest(kept: dict[ir.Node, str]) -> str:
    return "; ".join(
        f"{why} ({number_of(n, 'node')})" for why, n in Counter(kept.values()).most_common(3)
    )


# Before the converter


def _prepared(model: Model, low: ir.DataType) -> ir.Model:
    """A flat copy with types on its values, and all constants of the main graph as initializers."""
    from onnx_ir.passes.common import (
        LiftConstantsToInitializersPass,
        RemoveInitializersFromInputsPass,
    )

    flat = truth.inlined(model.ir)
    flat = flat.clone() if flat is model.ir else flat
    with truth.tensor_names_kept(flat):
        RemoveInitializersFromInputsPass()(flat)
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(flat)
    if low == ir.DataType.BFLOAT16:
        _raise_opset(flat)
    truth.annotate(flat)
    truth.strip(flat)
    _part_ends(flat)
    for node in flat.graph:
        if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
            zero = ir.tensor([0.0], dtype=ir.DataType.FLOAT)
            node.attributes.add(ir.AttrTensor("value", zero))
    return flat


def _raise_opset(flat: ir.Model) -> None:
    """Use an opset that defines bfloat16 for all operators that ever got it."""
    from onnxscript.version_converter import ConvertVersionPass

    if flat.opset_imports.get("", _BFLOAT16_OPSET) >= _BFLOAT16_OPSET:
        return
    log = logging.getLogger("onnxscript.version_converter")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        # Where it fails the opset stays, and what it lacks is named as the reason for float32.
        with contextlib.suppress(Exception):
            ConvertVersionPass(target_version=_BFLOAT16_OPSET, fallback=True)(flat)
    finally:
        log.setLevel(level)


def _part_ends(flat: ir.Model) -> None:
    """Put an Identity between an input or a constant and an output that is the same value."""
    graph = flat.graph
    for position, value in enumerate(graph.outputs):
        if value.producer() is None and choice.is_float(value):
            name = value.name or f"output_{position}"
            value.name = free_name(graph, f"{name}_source")
            node = ir.node("Identity", [value], name=f"{name}_identity")
            output = node.outputs[0]
            output.name, output.type, output.shape = name, value.type, value.shape
            graph.append(node)
            graph.outputs[position] = output


def _separate(flat: ir.Model, kept: dict[ir.Node, str]) -> None:
    """Give kept nodes constants of their own where others read the same."""
    graph = flat.graph
    for name, value in list(graph.initializers.items()):
        if not choice.is_float(value):
            continue
        uses = list(value.uses())
        high = [(node, at) for node, at in uses if node in kept or node.graph is not graph]
        if high and len(high) < len(uses):
            copy = ir.Value(
                name=free_name(graph, f"{name}_float32"),
                shape=value.shape,
                type=value.type,
                const_value=value.const_value,
            )
            graph.register_initializer(copy)
            for node, at in high:
                node.replace_input_with(at, copy)
