"""Rewrites a model until nothing more fits, keeping only what is proven."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchingTracer, MatchStatus

from tripoint import rewrites
from tripoint.facts import truth, views
from tripoint.facts.compute import Facts
from tripoint.facts.origins import node_name
from tripoint.facts.symbols import symbols_of
from tripoint.facts.table import TensorTable
from tripoint.model import Model
from tripoint.rewrites import proof, subgraph, transaction
from tripoint.rewrites.base import (
    Applied,
    FixResult,
    Proof,
    Refused,
    Remaining,
    Rewrite,
)

_ROUNDS = 8
"""A rewrite may open the way for another; more rounds than this have not been seen to help."""


def fix(
    model: Model,
    *,
    points: proof.Points | None = None,
    target: str | None = None,
    tensorrt: str | None = None,
    select: Sequence[str] | None = None,
    numeric: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> FixResult:
    """Rewrite a model into one that TensorRT understands, and prove that it is the same function.

    Args:
        model: The model; it is not changed.
        points: Where numbers are compared; None looks for sizes at which the model runs.
        target: Whose lost dims are counted before and after; see :func:`tripoint.shapes`.
        tensorrt: Name of the importable TensorRT that ``"installed"`` means.
        select: Names of the rewrites to try, None for all.
        numeric: False leaves the numeric proof out; the result says so.
        on_progress: Called with one line at each rewrite that is kept.

    Returns:
        The new model with proofs, refusals, and what remains lost.

    Raises:
        UsageError: If a rewrite or target is unknown.
        InputError: If shapes cannot be inferred.
    """
    chosen = rewrites.select(tuple(select) if select is not None else None)
    pending = views.start(model, target, tensorrt=tensorrt)
    original = model.ir.clone(deep_copy=True)
    declared = {value.name: value.shape for value in truth.values(original)}
    known = truth.annotate(original)
    working = original.clone(deep_copy=True)
    points = points or proof.Points.guess(_symbols(working))
    names = transaction.Names.of(working.graph)
    run = _Run(working, names, points, numeric, on_progress or (lambda _: None))
    with truth.tensor_names_kept(original):
        run.until_nothing_fits(chosen)
    before = Facts(model, known, pending(known.shapes))
    fixed, after, whole = model, before, None
    if run.applied:
        found = truth.annotate(working)
        fixed = Model(_as_declared(working, declared))
        pending = views.start(fixed, target, tensorrt=tensorrt)
        # The annotated copy is the same function as its file, so ONNX Runtime may read that.
        old = proof.Side(Model(original, model.path), known)
        whole = proof.prove(
            old, proof.Side(Model(working), found), points, numeric=numeric, composed=True
        )
        after = Facts(fixed, found, pending(found.shapes))
    return FixResult(
        model=fixed,
        applied=tuple(run.applied),
        refused=tuple(run.refused.values()),
        remaining=_remaining(after.table, tuple(run.refused.values())),
        facts_before=before,
        facts_after=after,
        renamed=run.renamed,
        proof=whole,
    )


@dataclass
class _Run:
    model: ir.Model
    names: transaction.Names
    points: proof.Points
    numeric: bool
    on_progress: Callable[[str], None]
    applied: list[Applied] = field(default_factory=list)
    refused: dict[tuple[str, str], Refused] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def until_nothing_fits(self, chosen: Iterable[Rewrite]) -> None:
        chosen = tuple(chosen)
        for _ in range(_ROUNDS):
            count = len(self.applied)
            for rewrite in chosen:
                for node in list(self.model.graph):
                    if node.graph is self.model.graph and rewrite.may_match(node):
                        self._try(rewrite, node)
            if len(self.applied) == count:
                return

    def _try(self, rewrite: Rewrite, root: ir.Node) -> None:
        for rule in rewrite.rules:
            tracer = _Reasons()
            delta = rule.try_rewrite(self.model, self.model.graph, root, tracer=tracer)
            name = node_name(root)
            if delta is None:
                if tracer.reason:
                    self._refuse(rewrite, name, tracer.reason)
                continue
            old = subgraph.with_sizes(delta.match.nodes)
            new = subgraph.with_sizes(delta.new_nodes, delta.match.nodes)
            if subgraph.has_nested_graph([*old, *new]):
                self._refuse(rewrite, name, "its sizes are computed in a nested graph")
                continue
            outcome, after = self._prove(old, new, delta)
            if not outcome.holds:
                self._refuse(rewrite, name, f"the proof failed: {outcome.reason}")
                continue
            after.give_back_shapes()
            matched = set(delta.match.nodes)
            replaced = [node for node in old if node in matched]
            tensor = delta.match.outputs[0].name or ""
            self.renamed.update(
                transaction.commit(
                    self.model.graph, self.names, root, replaced, delta, rewrite.name
                )
            )
            gone = tuple(node_name(node) for node in replaced if node.graph is None)
            self.applied.append(Applied(rewrite.name, gone, tensor, outcome))
            self.refused.pop((rewrite.name, name), None)
            self.on_progress(f"{rewrite.name}: {tensor}")
            return

    def _refuse(self, rewrite: Rewrite, node: str, reason: str) -> None:
        self.refused[rewrite.name, node] = Refused(rewrite.name, node, reason)

    def _prove(
        self, old: list[ir.Node], new: list[ir.Node], delta: Any
    ) -> tuple[Proof, subgraph.Cut]:
        inputs = subgraph.boundary([*old, *new])
        opsets = self.model.graph.opset_imports
        before = subgraph.cut(old, inputs, delta.match.outputs, opsets)
        after = subgraph.cut(new, inputs, delta.new_outputs, opsets)
        sides = proof.Side.of(before.model), proof.Side.of(after.model)
        return proof.prove(*sides, self.points, numeric=self.numeric), after


class _Reasons(MatchingTracer):  # type: ignore[misc]
    """Keeps the reason of a check that failed behind a pattern that fit."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = ""

    def log(self, rule: Any, container: Any, node: Any, match_result: Any, status: Any) -> None:  # noqa: ARG002
        if status is MatchStatus.CONDITION_FAILED:
            self.reason = str(match_result.reason)


def _as_declared(annotated: ir.Model, declared: Mapping[str | None, ir.Shape | None]) -> ir.Model:
    """A copy whose values carry the shapes that the given model declared, and nothing more."""
    model = annotated.clone(deep_copy=True)
    truth.strip(model)
    for value in truth.values(model):
        value.shape = declared.get(value.name)
    return model


def _symbols(model: ir.Model) -> list[str]:
    shapes = [truth.shape_of(value) or () for value in model.graph.inputs]
    return list(dict.fromkeys(s for shape in shapes for dim in shape for s in symbols_of(dim)))


def _remaining(table: TensorTable, refused: Sequence[Refused]) -> tuple[Remaining, ...]:
    reasons = {entry.node: entry.reason for entry in refused}
    return tuple(
        Remaining(
            facts.name,
            facts.node,
            facts.lost,
            reasons.get(facts.node or "", "no rewrite of this version covers it"),
        )
        for facts in table.tensors
        if facts.lost
    )
