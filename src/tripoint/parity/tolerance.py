r"""How far two correct results may lie apart, derived from the graph.

Every operator rounds. With independent roundings of relative size eps, variances add up, so
along a path of operators the relative error of the result is about

    e = sqrt( sum over the path of  c · eps(dtype)²  +  p · eps(TF32)² )

where, per operator,

* ``c`` is the number of terms it adds up (Conv: channels/group · kernel, MatMul and Gemm: K,
  Reduce, pooling and normalization: the reduced sizes), 1 if it only computes element by
  element, and 0 if it only moves data;
* eps(dtype) is the machine epsilon of what it produces, so a graph of mixed precision is charged
  each operator in its own precision;
* ``p`` is 1 for a float32 Conv, MatMul or Gemm where TF32 is on: the operands are rounded to
  eps(TF32) = 2⁻¹⁰, but summed in float32, so it does not grow with the terms.

The path with the largest sum counts. The allowance is ``rtol = 8 · max(e, eps)``: both sides
round (√2), and the largest of a million deviations lies five to six standard deviations out.
Errors are relative to the size of a typical element, since terms cancel in small ones; hence
``atol = rtol · rms(reference)`` and ``|difference| ≤ atol + rtol · |reference|``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.facts import truth
from tripoint.facts.symbols import evaluate
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.reductions import terms
from tripoint.parity.measure import chunks, is_exact

_FACTOR = 8.0
_MEASURED_FACTOR = 4.0
_TF32_EPS = 2.0**-10
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"})
_MOVES = frozenset(
    {
        *("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile"),
        *("Concat", "Split", "Slice", "Gather", "GatherElements", "GatherND", "Pad", "Shape"),
        *("Size", "Constant", "ConstantOfShape", "MaxPool", "Relu", "Max", "Min", "Neg", "Abs"),
        *("Where", "DepthToSpace", "SpaceToDepth", "ScatterND", "ScatterElements", "Range", "Clip"),
        *("ReduceMax", "ReduceMin", "TopK", "ArgMax", "ArgMin", "Dropout", "Trilu", "Cast"),
    }
)


_RECURRENT = frozenset({"RNN", "GRU", "LSTM"})

Given = float | Mapping[str, float] | None
"""A number for all outputs, or one by output name."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is allowed: ``|difference| <= atol + rtol * |reference|``.

    Args:
        atol: Absolute part.
        rtol: Relative part.
        reason: Where the numbers come from.
    """

    atol: float
    rtol: float
    reason: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The operators behind a tensor that round the most.

    Args:
        variance: Sum of ``c · eps²`` and ``p · eps(TF32)²``.
        terms: Terms added up in all reductions of the path.
        reductions: Number of these reductions.
        others: Number of operators that compute element by element.
        coarsest: The least precise dtype among what they produce.
    """

    variance: float = 0.0
    terms: int = 0
    reductions: int = 0
    others: int = 0
    coarsest: np.dtype[Any] | None = None


class Budget:
    """Tolerances for the outputs of one graph.

    Args:
        graph: Its values carry their true shapes (:func:`tripoint.facts.truth.annotate`).
        atol: Absolute tolerance in place of the derived one.
        rtol: Relative tolerance in place of the derived one.
    """

    def __init__(self, graph: ir.Model, *, atol: Given = None, rtol: Given = None) -> None:
        self._graph = graph
        self._atol = atol
        self._rtol = rtol
        self._chains: dict[tuple[frozenset[tuple[str, int]], bool], dict[str, Chain]] = {}

    def allowed(
        self,
        reference: Arrays,
        bindings: Mapping[str, int],
        *,
        tf32: bool,
        rounding: Mapping[str, float] | None = None,
    ) -> dict[str, Tolerance]:
        """What to allow for each output.

        Args:
            reference: Array by output name; one that the graph does not have gets the epsilon
                of its dtype.
            bindings: Size of each input symbol.
            tf32: Whether either side may round float32 products to TF32.
            rounding: Largest error by output that a lower precision of one side was measured to
                make; see :func:`widen`.
        """
        key = (frozenset(bindings.items()), tf32)
        if key not in self._chains:
            self._chains[key] = chains(self._graph, bindings, tf32=tf32)
        behind = self._chains[key]
        return {
            name: override(
                widen(
                    derive(behind.get(name, Chain()), array, tf32=tf32),
                    (rounding or {}).get(name, 0.0),
                ),
                atol=_for(self._atol, name),
                rtol=_for(self._rtol, name),
            )
            for name, array in reference.items()
        }


def chains(graph: ir.Model, bindings: Mapping[str, int], *, tf32: bool) -> dict[str, Chain]:
    """The chain behind each graph output.

    Args:
        graph: Its values carry their true shapes.
        bindings: Size of each input symbol.
        tf32: Whether float32 products may be rounded to TF32.
    """
    worst: dict[ir.Value, Chain] = {}
    for node in graph.graph:
        behind = max(
            (worst[value] for value in node.inputs if value is not None and value in worst),
            key=lambda chain: chain.variance,
            default=Chain(),
        )
        for output in node.outputs:
            worst[output] = _extend(behind, node, output, bindings, tf32)
    return {value.name or "": worst.get(value, Chain()) for value in graph.graph.outputs}


def derive(chain: Chain, reference: np.ndarray[Any, Any], *, tf32: bool) -> Tolerance:
    """The tolerance for one output.

    Args:
        chain: What lies behind it.
        reference: Its values; their dtype and typical size count.
        tf32: Whether ``chain`` was made for TF32, for the reason text.
    """
    eps = _eps(reference.dtype)
    if eps is None:
        return Tolerance(0.0, 0.0, "integers and booleans are exact")
    rtol = _FACTOR * max(math.sqrt(chain.variance), eps)
    scale = _rms(reference)
    coarser = chain.coarsest is not None and chain.coarsest != reference.dtype
    precision = f" with {chain.coarsest} behind it" if coarser else ""
    reason = (
        f"{reference.dtype.name}{precision}, TF32 {'on' if tf32 else 'off'}; "
        f"{chain.terms} terms in {chain.reductions} reductions and {chain.others} other operators "
        f"behind it; typical size {scale:.2g}"
    )
    return Tolerance(rtol * scale, rtol, reason)


def widen(tolerance: Tolerance, rounding: float) -> Tolerance:
    """Allow for a lower precision whose error was measured.

    An engine rounds the same results as the measurement, but in another order and at other points,
    so that its error is of that size, not that error.

    Args:
        tolerance: The derived one.
        rounding: The largest error measured, 0 if none was.
    """
    if not rounding:
        return tolerance
    return Tolerance(
        tolerance.atol + _MEASURED_FACTOR * rounding,
        tolerance.rtol,
        f"{tolerance.reason}; and {_MEASURED_FACTOR:g} times the {rounding:.2g} that the lower "
        "precision was measured to cost",
    )


def override(
    tolerance: Tolerance, *, atol: float | None = None, rtol: float | None = None
) -> Tolerance:
    """Put given numbers in the place of derived ones.

    Args:
        tolerance: The derived one; what is not given is kept from it.
        atol: Absolute part.
        rtol: Relative part.
    """
    if atol is None and rtol is None:
        return tolerance
    if atol is not None and rtol is not None:
        return Tolerance(atol, rtol, "given")
    name = "rtol" if atol is None else "atol"
    return Tolerance(
        tolerance.atol if atol is None else atol,
        tolerance.rtol if rtol is None else rtol,
        f"{name} given; the other from {tolerance.reason}",
    )


def only_moves(node: ir.Node) -> bool:
    """Whether a node passes on numbers as they are, so that it rounds nothing itself."""
    return node.op_type in _MOVES


def _for(given: Given, name: str) -> float | None:
    return given.get(name) if isinstance(given, Mapping) else given


def _extend(
    behind: Chain, node: ir.Node, output: ir.Value, bindings: Mapping[str, int], tf32: bool
) -> Chain:
    eps = _eps(output.dtype.numpy()) if output.dtype is not None else _eps(np.dtype(np.float32))
    if eps is None:
        return behind
    inner = [inner for graph in _subgraphs(node) for inner in graph]
    added = sum(_terms(each, bindings) for each in (node, *inner))
    narrows = node.op_type == "Cast" and _narrows(node)
    if not added and not inner and node.op_type in _MOVES and not narrows:
        return behind
    variance = max(added, 1) * eps**2
    if tf32 and node.op_type in _PRODUCTS and output.dtype == ir.DataType.FLOAT:
        variance += _TF32_EPS**2
    return Chain(
        variance=behind.variance + variance,
        terms=behind.terms + added,
        reductions=behind.reductions + bool(added),
        others=behind.others + (not added),
        coarsest=_coarser(behind.coarsest, output),
    )


def _coarser(known: np.dtype[Any] | None, output: ir.Value) -> np.dtype[Any] | None:
    found = output.dtype.numpy() if output.dtype is not None else known
    if known is None or found is None:
        return found
    return found if (_eps(found) or 0.0) > (_eps(known) or 0.0) else known


def _terms(node: ir.Node, bindings: Mapping[str, int]) -> int:
    if node.op_type not in _RECURRENT:
        return terms(node, bindings)
    # Each step multiplies the input by W and the state by R.
    length, *_ = _sizes(node.inputs[0], bindings) or [1]
    return length * sum(_sizes(weights, bindings)[-1] for weights in node.inputs[1:3])


def _sizes(value: ir.Value | None, bindings: Mapping[str, int]) -> list[int]:
    shape = truth.shape_of(value) if value is not None else None
    return [evaluate(dim, bindings) or 1 for dim in shape or ()]


def _subgraphs(node: ir.Node) -> list[ir.Graph]:
    kinds = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type in kinds:
            single = attribute.type == ir.AttributeType.GRAPH
            found.extend([attribute.value] if single else attribute.value)
    return found


def _narrows(node: ir.Node) -> bool:
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is None or target.dtype is None:
        return True
    before, after = _eps(source.dtype.numpy()), _eps(target.dtype.numpy())
    return before is not None and after is not None and after > before


def _eps(dtype: np.dtype[Any]) -> float | None:
    """Machine epsilon, None for a type that is not a floating-point number."""
    if dtype.kind in "OSU" or is_exact(dtype):
        return None
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def _rms(array: np.ndarray[Any, Any]) -> float:
    """Root mean square of the finite elements; 1 if they are all zero."""
    total, count = 0.0, 0
    for (chunk,) in chunks(array):
        square = float(chunk @ chunk)
        if math.isfinite(square):
            total, count = total + square, count + chunk.size
            continue
        finite = chunk[np.isfinite(chunk)]
        total += float(finite @ finite)
        count += finite.size
    return math.sqrt(total / count) if total else 1.0
