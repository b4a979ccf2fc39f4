"""An Expand in front of an operator that broadcasts anyway.

    Op(Expand(x, shape), y) = Op(x, y)        Op(y, Expand(x, shape)) = Op(y, x)

Holds when every dim that Expand gives the result is 1, already in ``x``, or also in ``y``, as the
same integer or the same expression of the input symbols, and when Expand adds no axis that neither
``x`` nor ``y`` has. Attributes of the operator carry over. The Expand and the operators that
computed its size operand go when nothing else reads them.

Why: TensorRT 7.x evaluates no size operand, so every dim behind an Expand with a computed shape is
unknown; later versions print -1 as soon as one step of the computation cannot be folded.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from tripoint.rewrites.axes import maker
from tripoint.rewrites.base import Rewrite
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim, Shape, equal

_OPERATORS = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "BitShift"),
    *("And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
)
"""Operators of two inputs with multidirectional broadcasting (ONNX operator specification).

PRelu broadcasts its slope only; the obligation rules out the other direction.
"""


class _RedundantExpand(RewriteRuleClassBase):  # type: ignore[misc]
    def __init__(self, operator: str, *, first: bool) -> None:
        # The Expand stays as long as something else reads it.
        super().__init__("redundant-expand", remove_nodes=False)
        self._operator = operator
        self._first = first

    def pattern(self, op: Any, x: Any, shape: Any, y: Any) -> Any:
        expanded = op.Expand(x, shape, _outputs=["expanded"])
        operands = (expanded, y) if self._first else (y, expanded)
        return getattr(op, self._operator)(*operands, _outputs=["result"])

    def check(
        self,
        context: Any,  # noqa: ARG002
        x: ir.Value,
        y: ir.Value,
        expanded: ir.Value,
        **_: Any,
    ) -> MatchResult:
        match = MatchResult()
        narrow, other, wide = shape_of(x), shape_of(y), shape_of(expanded)
        if narrow is None or other is None or wide is None:
            return match.fail(f"not all ranks around `{expanded.name}` are known", [expanded])
        if len(wide) > max(len(narrow), len(other)):
            return match.fail(f"`{expanded.name}` has an axis that only Expand adds", [expanded])
        for axis in range(-len(wide), 0):
            size = wide[axis]
            if not any(_same(size, known) for known in (1, _at(narrow, axis), _at(other, axis))):
                return match.fail(
                    f"axis {axis} of `{expanded.name}` becomes {size} only through Expand",
                    [expanded],
                )
        return match

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, result: ir.Value, **_: Any) -> Any:
        operands = (x, y) if self._first else (y, x)
        attributes = maker(result).attributes
        return getattr(op, self._operator)(*operands, **attributes)


def _at(shape: Shape, axis: int) -> Dim:
    return shape[axis] if -axis <= len(shape) else 1


def _same(a: Dim, b: Dim) -> bool:
    return equal(a, b) is True


def _reads_an_expand(node: ir.Node) -> bool:
    producers = (value.producer() for value in node.inputs if value is not None)
    return any(producer is not None and producer.op_type == "Expand" for producer in producers)


REWRITE = Rewrite(
    name="redundant-expand",
    title="Let the operator broadcast instead of expanding its operand first",
    rules=tuple(
        _RedundantExpand.rule(operator, first=first)
        for operator in _OPERATORS
        for first in (True, False)
    ),
    may_match=_reads_an_expand,
)
