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

import onnx_ir as ir

from tripoint.graph.ops import ELEMENTWISE
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim, Shape, equal

_OPERATORS = ELEMENTWISE - {"Max", "Mean", "Min", "Sum", "Where"}  # which may have other counts
"""Operators of two inputs. The shapes rule out the direction that PRelu does not broadcast."""


def _find(node: ir.Node, site: Site) -> Replacement | str | None:  # noqa: ARG001
    reason = None
    for position in range(len(node.inputs)):
        operands = list(node.inputs)
        expanded = operands[position]
        expand = expanded.producer() if expanded is not None else None
        if expand is None or expand.op_type != "Expand" or expand.domain:
            continue
        operands[position] = x = expand.inputs[0]
        other = operands[1 - position]
        if expanded is None or x is None or other is None:
            continue
        reason = _needed(x, other, expanded)
        if not reason:
            new = new_node(node.op_type, operands, **node.attributes)
            return Replacement([expand, node], node.outputs, [new], new.outputs)
    return reason


def _needed(x: ir.Value, other: ir.Value, expanded: ir.Value) -> str:
    """Return why an operator needs its expanded operand; empty if it does not."""
    narrow, against, wide = shape_of(x), shape_of(other), shape_of(expanded)
    if narrow is None or against is None or wide is None:
        return f"not all ranks around `{expanded.name}` are known"
    if len(wide) > max(len(narrow), len(against)):
        return f"`{expanded.name}` has an axis that only Expand adds"
    for axis in range(-len(wide), 0):
        size = wide[axis]
        if not any(_same(size, dim) for dim in (1, _at(narrow, axis), _at(against, axis))):
            return f"axis {axis} of `{expanded.name}` becomes {size} only through Expand"
    return ""


def _at(shape: Shape, axis: int) -> Dim:
    return shape[axis] if -axis <= len(shape) else 1


def _same(a: Dim, b: Dim) -> bool:
    return equal(a, b) is True


def _reads_an_expand(node: ir.Node) -> bool:
    if node.op_type not in _OPERATORS or node.domain or len(node.inputs) != 2:
        return False
    producers = (value.producer() for value in node.inputs if value is not None)
    return any(producer is not None and producer.op_type == "Expand" for producer in producers)


REWRITE = Rewrite(
    name="redundant-expand",
    title="Let the operator broadcast instead of expanding its operand first",
    find=_find,
    may_match=_reads_an_expand,
)
