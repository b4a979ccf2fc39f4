"""Words for sizes that tensor values decide, in place of symbols that were made up."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.shape_inference.operators.context import Context
from tripoint.symbols import Dim

_MADE_UP = re.compile(r"\b_d\d+\b")
_REDUCING = {
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceSum": "sum",
    "ReduceProd": "prod",
    "ReduceMean": "mean",
}
_KEEPING = RESHAPING | {"Cast", "Identity"}
_DEEPEST = 16


class DataNames:
    """Words for the symbols that inference made up.

    Args:
        known: What was inferred.
        names: Name by tensor, in graph order.
    """

    def __init__(self, context: Context, names: Mapping[ir.Value, str]) -> None:
        self._names = names
        self._words = {
            symbol: self._number(value, index) for symbol, (value, index) in context.numbers.items()
        }
        for value, name in names.items():
            for axis, dim in enumerate(value.shape or ()):
                text = "" if isinstance(dim, int) else str(dim.value)
                if _MADE_UP.fullmatch(text):
                    self._words.setdefault(text, f"axis {axis} of `{name}`")

    def told(self, side: Dim | None) -> Dim:
        """A side of an equation, or a sentence, with words for what was made up."""
        if side is None:
            return "a size that is not worked out"
        if isinstance(side, int):
            return side
        return _MADE_UP.sub(lambda match: self._words.get(match[0], match[0]), side)

    def _number(self, value: ir.Value, index: int) -> str:
        node, depth = value.producer(), 0
        while node is not None and node.op_type in _KEEPING and depth < _DEEPEST:
            before = node.inputs[0]
            node, depth = before.producer() if before is not None else None, depth + 1
        one = value.shape is None or all(dim == 1 for dim in value.shape)
        if node is not None and node.op_type in _REDUCING and one and node.inputs[0] is not None:
            whole = self._source(node.inputs[0])
            return f"{_REDUCING[node.op_type]}({self._names.get(whole, whole.name or '?')})"
        name = self._names.get(value, value.name or "?")
        return f"`{name}`" if one else f"`{name}`[{index}]"

    def _source(self, value: ir.Value) -> ir.Value:
        """The tensor whose elements another one holds."""
        for _ in range(_DEEPEST):
            node = value.producer()
            if node is None or node.op_type not in _KEEPING or node.inputs[0] is None:
                break
            value = node.inputs[0]
        return value
