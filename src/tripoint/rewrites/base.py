"""What a rewrite is, and what is reported about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import onnx_ir as ir

from tripoint.facts.compute import Facts
from tripoint.model import Model

Status = Literal["holds", "fails", "undecided", "skipped"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A pattern, the conditions under which it may be replaced, and the replacement.

    Args:
        name: Stable name in the output, for instance ``"redundant-expand"``.
        title: What it does, in the imperative.
        rules: onnxscript rewrite rules; each carries pattern, check and replacement.
        may_match: A cheap test of the last node of the pattern that rules out most nodes.
    """

    name: str
    title: str
    rules: tuple[Any, ...]
    may_match: Callable[[ir.Node], bool]


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
        """Whether the rewrite may be kept: proven, or proven in part because that was asked."""
        return self.symbolic == "holds" and self.numeric.status in ("holds", "skipped")


@dataclass(frozen=True, slots=True)
class Applied:
    """A rewrite that was kept: the nodes it replaced, and its proof."""

    rewrite: str
    nodes: tuple[str, ...]
    tensor: str
    proof: Proof


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
        """Whether the new model may take the place of the given one."""
        return self.proof is None or self.proof.holds

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
