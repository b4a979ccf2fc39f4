"""A recurrent operator with the batch first is one with time first between Transposes.

    LSTM, GRU, RNN<layout=1>(x, …, h, c) = Transpose(LSTM, GRU, RNN<layout=0>(Transpose(x), …))

Holds always: that is what :mod:`tripoint.numeric.batch_first` says of ``layout``.

Why: no TensorRT reads ``layout``; it takes the batch for the sequence, and recurs over it. ONNX
Runtime has no kernel for it either, so that what it computes for the proof is the definition.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.numeric import batch_first
from tripoint.rewrites.base import Replacement, Rewrite, Site


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    nodes, old, new = batch_first.expanded(node)
    return Replacement([node], old, nodes, new) if old else None


REWRITE = Rewrite(
    name="time-first",
    title="Put Transposes around a recurrent operator whose layout TensorRT does not read",
    find=_find,
    may_match=batch_first.is_batch_first,
)
