"""The node that a 7.x importer sees: what makes a shape unknown there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from tripoint.table import Reason, ViewShape
from tripoint.views.importer.context import UNKNOWN, NodeContext

TYPES: Mapping[ir.DataType, str] = {
    ir.DataType.BOOL: "BOOL",
    ir.DataType.INT8: "INT8",
    ir.DataType.INT32: "INT32",
    ir.DataType.INT64: "INT32",
    ir.DataType.FLOAT: "FLOAT",
    ir.DataType.FLOAT16: "HALF",
}
"""TensorRT 7.x type by ONNX element type; it has no others."""


class Node(NodeContext):
    """The node that is being imported."""

    def contaminated(self, index: int, rank: int) -> ViewShape:
        """All -1, since the parser computes sizes as one vector that an unknown dim spoils."""
        self.blame([self.name(index)])
        return (UNKNOWN,) * rank

    def blame(self, names: Sequence[str]) -> None:
        """Note inputs of which one unknown dim made others unknown."""
        listed = " or ".join(f"`{name}`" for name in names)
        self.reason = Reason(
            f"one unknown dim of {listed} makes the whole shape of {self.op} unknown "
            f"in {self.network.version}",
            tuple(names),
        )

    def unsolved(self, index: int) -> None:
        """Note an input whose unknown dims leave the -1 of a ``Reshape`` unsolved."""
        name = self.name(index)
        self.reason = Reason(
            f"{self.network.version} cannot solve the -1 in the size operand "
            f"while a dim of `{name}` is unknown",
            (name,),
        )

    def opaque(self, operands: Sequence[int], rank: int) -> ViewShape:
        """All -1, since a size operand is a tensor, which the 7.x core does not evaluate."""
        names = tuple(self.name(index) for index in operands)
        version = self.network.version
        self.reason = Reason(
            f"{self._describe(operands)}, and {version} evaluates no size operand "
            f"while the network is built, so every dim is -1",
            names,
        )
        return (UNKNOWN,) * rank

    def _describe(self, operands: Sequence[int]) -> str:
        names = [self.name(index) for index in operands]
        if len(names) > 1:
            listed = ", ".join(f"`{name}`" for name in names)
            return f"the size operands {listed} are computed at run time"
        (name,) = names
        if name in self.network.weights:
            return f"the size operand `{name}` of {self.op} becomes a layer though it is constant"
        value = self.onnx.inputs[operands[0]]
        producer = value.producer() if value is not None else None
        if producer is None:
            return f"the size operand `{name}` is a network input"
        return f"the size operand `{name}` is computed at run time by {producer.op_type}"
