"""An Expand in front of an operator that broadcasts anyway.

    Op(Expand(x, shape), y) = Op(x, y)        Op(y, Expand(x, shape)) = Op(y, x)

Holds when every dim that Expand adds to ``x`` is also in ``y``, as integers or as the same
expression of the input symbols, and the rank is that of ``y`` or ``x``. The pattern and the check
of the dims are onnxscript's; the rank is part of the obligation. The Expand and the operators
that computed its size operand go when nothing else reads them.

Why: TensorRT 7.x evaluates no size operand, so every dim behind an Expand with a computed shape is
unknown; later versions print -1 as soon as one step of the computation cannot be folded.
"""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.rewriter.rules.common import expand_before_binary_op_rules

from tripoint.rewrites.base import Rewrite


def _reads_an_expand(node: ir.Node) -> bool:
    producers = (value.producer() for value in node.inputs if value is not None)
    return any(producer is not None and producer.op_type == "Expand" for producer in producers)


REWRITE = Rewrite(
    name="redundant-expand",
    title="Let the operator broadcast instead of expanding its operand first",
    rules=tuple(expand_before_binary_op_rules),
    may_match=_reads_an_expand,
)
