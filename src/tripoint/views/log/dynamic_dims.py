"""Sizes that may change from run to run: those that follow a dynamic input or tensor values."""

from __future__ import annotations

import functools

import onnx_ir as ir

from tripoint.graph.ops import COUNTING, RANDOM, READS_SIZES, SUBGRAPHS, size_operands

_SIZED_BY_VALUES = (COUNTING | SUBGRAPHS) | {
    *("CenterCropPad", "AffineGrid", "Col2Im", "MaxUnpool"),
    *("BlackmanWindow", "HannWindow", "HammingWindow", "MelWeightMatrix", "DFT", "STFT"),
    *("SplitToSequence", "SequenceAt", "SequenceErase", "SequenceInsert", "SequenceConstruct"),
    *("ConcatFromSequence", "OptionalGetElement", "ImageDecoder"),
}
"""Operators whose output sizes may depend on values other than those of a size operand."""


class Dependence:
    """Follows what varies through the graph, node by node in graph order."""

    def __init__(self) -> None:
        self._sizes: set[ir.Value] = set()
        self._values: set[ir.Value] = set()

    def enter(self, value: ir.Value, *, static: bool) -> None:
        """An input of the graph: its values vary; its sizes do unless it is static."""
        self._values.add(value)
        if not static:
            self._sizes.add(value)

    def follow(self, node: ir.Node) -> None:
        """Record what varies of the outputs of a node whose inputs were followed."""
        inputs = [value for value in node.inputs if value is not None]
        sizes = any(value in self._sizes for value in inputs)
        values = sizes or any(value in self._values for value in inputs)
        if node.op_type in READS_SIZES:
            values, sizes = sizes, False
        elif node.op_type in _SIZED_BY_VALUES or not is_standard(node.op_type):
            sizes = values = True
        elif any(value in self._values for value in size_operands(node)):
            sizes = True
        if sizes:
            self._sizes.update(node.outputs)
        if values or node.op_type in RANDOM:
            self._values.update(node.outputs)

    def varies(self, value: ir.Value) -> bool:
        """Return whether some size of a tensor may change from run to run."""
        return value in self._sizes


@functools.cache
def is_standard(op: str) -> bool:
    """Return whether an operator is one of the default ONNX operator set."""
    import onnx

    return bool(onnx.defs.has(op))
