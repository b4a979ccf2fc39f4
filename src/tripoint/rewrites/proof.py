"""The obligations of a rewrite: the same shapes for all sizes, the same numbers at some.

*Symbolic*: each output has the same rank, and each dim is the same expression of the input
symbols for all sizes ≥ 1. Where algebra does not decide that, and ranges of at most 4096 sizes
were declared, each of these is tried. "Could not decide" is not equal.

*Numeric*: ONNX Runtime computes the same numbers, see :mod:`tripoint.rewrites.numbers`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tripoint import symbols
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.rewrites import numbers, shared, subgraph
from tripoint.rewrites.base import Numeric, Proof, Replacement, Status
from tripoint.rewrites.points import Points
from tripoint.shape_inference import truth
from tripoint.shape_inference.truth import Truth
from tripoint.symbols import Dim, Shape

_NAME = re.compile(r"\b[A-Za-z_]\w*")

_Content = tuple[bytes, bytes, tuple[Dim, ...]]
"""The two parts that are compared, and the dims that are not 1 in the proof."""

SKIPPED = Numeric("skipped", (), None, None, "not asked for")


OF_THE_WHOLE = Proof(
    "holds", Numeric("skipped", (), None, None, "rests on the proof of the whole model")
)
"""Of a clean-up, until the whole model is proven."""

COMPUTES_NOTHING = Proof(
    "holds", Numeric("skipped", (), None, None, "it drops or moves what computes nothing")
)
"""Of a clean-up where the whole model cannot be compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two graphs that are compared.

    Args:
        model: The graph; its values carry their true shapes.
        truth: The same shapes by tensor name, and the symbols of the inputs.
    """

    model: Model
    truth: Truth

    @classmethod
    def of(cls, part: ir.Model) -> Side:
        """Infer the shapes of a part of an annotated graph, and write them on its values."""
        return cls(Model(part), truth.annotate(part, named=True))


class Prover:
    """Proves replacements, each on the smallest part of the graph that contains it.

    Parts with the same operators, attributes, constants and input shapes are proven once.

    Args:
        opsets: Opset version by domain.
        points: Where numbers are compared.
        numeric: False leaves the numbers out, and the proofs say so.
    """

    def __init__(self, opsets: Mapping[str, int], points: Points, *, numeric: bool = True) -> None:
        self._opsets = opsets
        self._points = points
        self._numeric = numeric
        self._outcomes: dict[
            tuple[bytes, bytes, tuple[Dim, ...]], tuple[Proof, Sequence[subgraph.Typed]]
        ] = {}

    def prove(self, replacement: Replacement) -> Proof:
        """Discharge both obligations, and write the inferred shapes on the new values."""
        try:
            return self._prove(replacement)
        except (OSError, TripointError) as error:
            # The file of a weight may be missing.
            return Proof("undecided", SKIPPED, f"the part cannot be cut out: {error}")

    def _prove(self, replacement: Replacement) -> Proof:
        nodes, new_outputs = replacement.nodes, replacement.new_outputs
        new_nodes = [*replacement.support, *replacement.new_nodes]
        part = subgraph.around([*nodes, *new_nodes], whole=replacement.whole)
        old, new = subgraph.behind(nodes, part), subgraph.behind(_makers(new_outputs), part)
        inputs = subgraph.boundary(old, new, new_outputs)
        before = subgraph.cut(old, inputs, replacement.outputs, self._opsets)
        after = subgraph.cut(new, inputs, new_outputs, self._opsets)
        content = before.content, after.content, replacement.not_one
        if content not in self._outcomes:
            sides = Side.of(before.model), Side.of(after.model)
            points = self._points.without_ones(replacement.not_one)
            outcome = prove(*sides, points, numeric=self._numeric)
            self._outcomes[content] = outcome, after.typed
        outcome, typed = self._outcomes[content]
        after.give_back(typed)
        return outcome


def _makers(values: Iterable[ir.Value]) -> list[ir.Node]:
    return [node for value in values if (node := value.producer()) is not None]


def prove(
    before: Side,
    after: Side,
    points: Points,
    *,
    numeric: bool = True,
    kept: Collection[str] | None = None,
    written: Model | None = None,
) -> Proof:
    """Discharge both obligations for two models with the same inputs and outputs.

    Args:
        before: The graph as it was.
        after: The graph as it would be.
        points: Where numbers are compared; see :func:`tripoint.rewrites.numbers.compare`.
        numeric: False leaves the numbers out, and the proof says so.
        kept: Of a model that came from another by steps that are proven already, the names of
            the tensors that are the same in both; None for parts.
        written: ``after`` as its file will say it, None if no file will be written. It must load
            in ONNX Runtime wherever the original does, even without a numeric proof.
    """
    symbolic, reason = _symbolic(before, after, kept or (), points.ranges)
    if symbolic == "fails" or (symbolic == "undecided" and kept is None):
        return Proof(symbolic, Numeric("skipped", (), None, None, "shapes differ"), reason)
    candidate = written or after.model
    if numeric:
        terms = numbers.terms_of(before.model.ir, after.model.ir)
        result = numbers.compare(before.model, candidate, points, terms, is_part=kept is None)
    else:
        result = (numbers.unloadable(before.model, written) if written else None) or SKIPPED
    if result.status not in ("holds", "skipped"):
        reason = f"{reason}; {result.reason}" if reason else result.reason
    return Proof(symbolic, result, reason)


_Ranges = Mapping[str, tuple[int, int]]


def _symbolic(
    before: Side, after: Side, kept: Collection[str], ranges: _Ranges
) -> tuple[Status, str]:
    inputs = before.truth.symbols
    pairs = [
        (before.truth.shapes.get(a.name or ""), after.truth.shapes.get(b.name or ""))
        for a, b in zip(before.model.ir.graph.outputs, after.model.ir.graph.outputs, strict=True)
    ]
    same: Mapping[str, Dim] = {}
    if any(not symbols.symbols_of(dim) <= inputs for _, other in pairs for dim in other or ()):
        same = shared.sizes(before.model.ir.graph, after.model.ir.graph, inputs, kept)
    for shape, other in pairs:
        status = _same_shape(shape, other, inputs, same, ranges)
        if shape is None or other is None:
            return status, "the rank of an output is not known"
        if status != "holds":
            verb = "changes" if status == "fails" else "may change"
            return status, f"a shape {verb} from {shape} to {other}"
    return "holds", ""


def _same_shape(
    shape: Shape | None,
    other: Shape | None,
    inputs: frozenset[str],
    same: Mapping[str, Dim],
    ranges: _Ranges,
) -> Status:
    if shape is None or other is None:
        return "undecided"
    if len(shape) != len(other):
        return "fails"
    equal = [_same_dim(a, b, inputs, same, ranges) for a, b in zip(shape, other, strict=True)]
    if False in equal:
        return "fails"
    return "undecided" if None in equal else "holds"


def _same_dim(
    a: Dim, b: Dim, inputs: frozenset[str], same: Mapping[str, Dim], ranges: _Ranges
) -> bool | None:
    """Return whether a dim of the first graph is one of the second.

    Args:
        a: The one.
        b: The other.
        inputs: Symbols that mean the same in both graphs.
        same: Dim of the first graph by symbol that was made up in the second; one that is
            absent may be any size.
        ranges: Sizes to try where algebra does not decide.
    """
    made_up = symbols.symbols_of(b) - inputs
    if not made_up <= same.keys():
        return None
    if isinstance(b, str) and made_up:
        names = {**same, **{name: name for name in inputs}}
        b = (
            names[b]
            if b in names
            else _NAME.sub(lambda word: f"({names.get(word[0], word[0])})", b)
        )
    equal = symbols.equal(a, b)
    if equal is None:
        equal = symbols.equal_within(a, b, ranges)
    # Sizes without an expression need not be free to differ.
    free = symbols.symbols_of(a) | symbols.symbols_of(b) <= inputs
    return equal if equal or free else None
