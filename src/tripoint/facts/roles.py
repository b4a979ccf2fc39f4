"""Which tensors hold data and which hold sizes, decided by who consumes them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.facts import truth
from tripoint.facts.table import Role

ANY = range(1 << 16)
SIZE_OPERANDS: Mapping[str, range | tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Range": ANY,
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
}
"""Inputs that decide the shape of the output (ONNX operator specification)."""

READS_SIZES = frozenset({"Shape", "Size"})
"""Operators whose output depends on the sizes of the input, not on its values."""


def size_operands(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that decide the shape of its output."""
    positions = SIZE_OPERANDS.get(node.op_type, ())
    return [
        value
        for position, value in enumerate(node.inputs)
        if value is not None and position in positions
    ]


def infer(model: ir.Model) -> dict[str, Role]:
    """Role of every tensor by name.

    A tensor is a shape tensor if a size operand needs it, directly or through integer
    arithmetic; it is both if something else consumes it as well, or if it is a graph output.
    """
    shape: set[ir.Value] = set()
    execution: set[ir.Value] = set(model.graph.outputs)
    for node in reversed(list(model.graph.all_nodes())):
        computes_size = any(output in shape for output in node.outputs)
        computes_data = any(output in execution for output in node.outputs)
        if not computes_size and not computes_data:
            computes_data = True  # nothing consumes it
        operands = size_operands(node)
        for value in node.inputs:
            if value is None:
                continue
            if value in operands:
                shape.add(value)
            elif node.op_type in READS_SIZES:
                execution.add(value)
            else:
                if computes_size:
                    shape.add(value)
                if computes_data:
                    execution.add(value)
    names: dict[str, Role] = {}
    for value in truth.values(model):
        if value in shape:
            names[value.name or ""] = "both" if value in execution else "shape"
        else:
            names[value.name or ""] = "execution"
    return names
