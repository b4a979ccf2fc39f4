"""Interface of a rewrite, and the report of its outcome.

Every rewrite is a function ``find`` that looks at a node and its surroundings. There is no pattern
language: most conditions are about shapes, ranges and what TensorRT lost, not about operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx_ir as ir

from tripoint.analysis.facts import Facts
from tripoint.graph.ops import RANDOM
from tripoint.model import Model
from tripoint.symbols import Dim
from tripoint.table import Target

Status = Literal["holds", "fails", "undecided", "skipped"]
Safety = Literal["safe", "unsafe"]

When = Literal["always", "lost", "last"]

NOT_REPEATABLE = RANDOM | {"Dropout"}
"""Operators that may give another result each time.

Dropout does so only while training, so its values count as known where shapes are inferred; but a
rewrite must not depend on ``training_mode``, which may be an input.
"""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Some nodes of a graph, and what is to stand in their place.

    Args:
        nodes: The nodes that are replaced, the last one last. One that something else reads
            stays beside the new ones.
        outputs: What the rest of the graph reads of them.
        new_nodes: The nodes that come in, in topological order.
        new_outputs: The value in place of each of ``outputs``: made by a new node, a new
            initializer, or a value that the graph has already.
        initializers: The new constants.
        support: Nodes of the graph that make some of ``new_outputs`` and stay.
        whole: Whether the proof has to compute ``outputs`` from the sizes or constants that they
            come from, because the replacement depends on their values.
        named: Whether the new nodes come with names and metadata of their own.
        assumes: What is assumed, a sentence without a full stop; empty if nothing is.
        not_one: Dims that are not 1 then: points at which one is are left out of the proof.
    """

    nodes: Sequence[ir.Node]
    outputs: Sequence[ir.Value]
    new_nodes: Sequence[ir.Node]
    new_outputs: Sequence[ir.Value]
    initializers: Sequence[ir.Value] = ()
    support: Sequence[ir.Node] = ()
    whole: bool = False
    named: bool = False
    assumes: str = ""
    not_one: tuple[Dim, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """Surroundings of a node that a rewrite may read.

    Args:
        model: The model; its values carry their true shapes, and the elements of integer tensors
            that are the same for all sizes.
        target: Whose view it is.
        axes: Axes that the target lost, by tensor name; tensors without a loss are absent.
        declared: Shapes that the model declares, by tensor name.
        ranges: Smallest and largest size by symbol, where somebody gave them.
        notes: Whatever a rewrite wants to remember until the pass is over.
    """

    model: ir.Model
    target: Target
    axes: Mapping[str, tuple[int, ...]]
    declared: Mapping[str | None, ir.Shape | None] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def lost(self, value: ir.Value) -> tuple[int, ...]:
        """Axes of a value that the target lost."""
        return self.axes.get(value.name or "", ())

    @property
    def reads_negative_indices(self) -> bool:
        """Return whether Gather counts negative indices from the end: from TensorRT 8.2 on."""
        return self._is_since(8, 2)

    @property
    def reads_ellipses(self) -> bool:
        """Return whether Einsum takes an ellipsis: from TensorRT 10.0 on."""
        return self._is_since(10, 0)

    def _is_since(self, *version: int) -> bool:
        if self.target.kind != "importer":
            return True
        return tuple(map(int, self.target.version.split(".")[:2])) >= version

    @property
    def takes_constant_kernels(self) -> bool:
        """Return whether the kernel of a convolution must be a constant: for TensorRT 7.2."""
        return self.target.kind == "importer" and self.target.version.startswith("7.2")

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.model.graph.opset_imports.get("", 0)


Find = Callable[[ir.Node, Site], Replacement | str | None]
"""Looks at one node: what is to stand in its place, why it nearly fits and does not, or None."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A pattern, the conditions under which it may be replaced, and the replacement.

    Args:
        name: Stable name in the output, for instance ``"redundant-expand"``.
        title: What it does, in the imperative.
        may_match: A cheap test of the last node of the pattern that rules out most nodes.
        find: Looks at one node, and at its surroundings; None for a rewrite that acts on no node.
        clean_up: Whether it only drops or moves what computes nothing. It is reported once for
            all its nodes, and its proof is that of the whole model.
        initializers: Whether it goes over the initializers as well, and removes those that nothing
            reads.
        declared: In place of ``find``: the model with other
            declared shapes, given its true shapes by name; the model itself if it does not fit.
        when: ``"always"``, or where TensorRT loses dims although no rewrite of that kind fits
            any more: ``"lost"``, and behind these ``"last"``.
        safety: ``"unsafe"`` if results change in a corner case.
        corner_case: Which one; empty for a safe rewrite.
    """

    name: str
    title: str
    may_match: Callable[[ir.Node], bool] = lambda _: True
    find: Find | None = None
    clean_up: bool = False
    initializers: bool = False
    declared: Callable[[Model, Mapping[str, Any]], Model] | None = None
    when: When = "always"
    safety: Safety = "safe"
    corner_case: str = ""


@dataclass(frozen=True, slots=True)
class Numeric:
    """Numbers of both graphs, side by side in ONNX Runtime.

    Args:
        status: Whether all points agreed.
        points: Size of each symbol at each point; one empty mapping for each seed of a static
            graph.
        max_abs_error: Largest absolute difference over all points and outputs.
        tolerance: The absolute difference that was allowed; 0.0 where no arithmetic is
            reordered.
        reason: How the tolerance came about, or why nothing could be compared.
    """

    status: Status
    points: tuple[Mapping[str, int], ...]
    max_abs_error: float | None
    tolerance: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The two obligations of a rewrite.

    Args:
        symbolic: Whether every output has the same shape for all sizes of the symbols.
        numeric: Whether ONNX Runtime computes the same numbers.
        reason: Why an obligation does not hold; empty if both do.
    """

    symbolic: Status
    numeric: Numeric
    reason: str = ""

    @property
    def holds(self) -> bool:
        """True if the rewrite may be kept: proven, or proven in part because that was asked."""
        return self.symbolic == "holds" and self.numeric.status in ("holds", "skipped")

    @property
    def refuted(self) -> bool:
        """Return whether a difference was found."""
        return "fails" in (self.symbolic, self.numeric.status)


@dataclass(frozen=True, slots=True)
class Applied:
    """A rewrite that was kept: the nodes it replaced, its proof, and what it assumes."""

    rewrite: str
    nodes: tuple[str, ...]
    tensor: str
    proof: Proof
    assumes: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A place that a rewrite nearly fits, and the condition that does not hold there."""

    rewrite: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remaining:
    """A tensor that still has lost dims after all rewrites, and why."""

    tensor: str
    node: str | None
    lost: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Size of a graph and of its loss."""

    nodes: int
    lost_dims: int


@dataclass(frozen=True, slots=True)
class FixResult:
    """A rewritten model with everything that is known of how it came about.

    Args:
        model: The new model; the given one is unchanged.
        applied: Rewrites that were kept, in order.
        refused: Rewrites that nearly fit, or whose proof failed.
        remaining: Tensors that still have lost dims.
        facts_before: Facts of the given model.
        facts_after: Facts of the new one.
        renamed: New node name by the name of each node that was replaced.
        proof: The same obligations for the whole model; None if nothing was applied.
    """

    model: Model
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    remaining: tuple[Remaining, ...]
    facts_before: Facts
    facts_after: Facts
    renamed: Mapping[str, str]
    proof: Proof | None

    @property
    def proven(self) -> bool:
        """Return whether the new model may take the place of the given one.

        Each rewrite that was kept is proven by itself. The whole has to be proven, too, as far as
        it can be compared; see :attr:`undecided`.
        """
        return self.proof is None or not self.proof.refuted

    @property
    def undecided(self) -> bool:
        """Return whether only the rewrites are proven, since the whole could not be compared."""
        return self.proof is not None and not self.proof.holds and not self.proof.refuted

    @property
    def before(self) -> Counts:
        """Size and loss of the given model."""
        return _count(self.facts_before)

    @property
    def after(self) -> Counts:
        """Size and loss of the new model."""
        return _count(self.facts_after)


def _count(facts: Facts) -> Counts:
    return Counts(facts.model.nodes, facts.table.summary.lost_dims)
