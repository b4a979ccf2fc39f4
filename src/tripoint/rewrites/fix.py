"""Rewrites a model until nothing more fits, keeping only what is proven."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import onnx_ir as ir

from tripoint import rewrites, views
from tripoint.analysis.facts import Facts
from tripoint.errors import UsageError
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.numeric.feed import Feed
from tripoint.progress import Progress, silent
from tripoint.rewrites import largest, proof, transaction
from tripoint.rewrites.base import (
    Applied,
    FixResult,
    Proof,
    Refused,
    Remaining,
    Replacement,
    Rewrite,
    Site,
    When,
)
from tripoint.rewrites.largest import Attempt
from tripoint.rewrites.loss import Loss
from tripoint.rewrites.points import Points
from tripoint.rewrites.state import Place, State
from tripoint.shape_inference import dim_names, truth
from tripoint.table import TensorTable, View
from tripoint.words import number_of

_ROUNDS = 64
"""A rewrite may open the way for another; more rounds than this have not been seen to help."""

_RETRIES = 4
"""How often places are tried once more at which a rewrite made the view worse."""

_UNREADABLE = (
    *(OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError),
    RecursionError,
)
"""What reading a node raises that its operator's specification does not allow."""

_STAGES = get_args(When)

_CULPRITS = 8
"""Rewrites that are looked for in one pass that made the view worse."""


def fix(
    model: Model,
    *,
    separated: Sequence[str] = (),
    points: Points | None = None,
    feed: Feed | None = None,
    target: str | None = None,
    tensorrt: str | None = None,
    select: Sequence[str] | None = None,
    unsafe: bool = False,
    numeric: bool = True,
    on_progress: Progress | None = None,
) -> FixResult:
    """Rewrite a model into one that TensorRT understands, and prove that it is the same function.

    Nested graphs and local functions are left as they are, except that the live branch of an If
    whose condition is decided takes its place.

    Arguments and errors are those of :func:`tripoint.fix`, but for: ``separated``, inputs whose
    dims have names of their own in place of one that stood for several sizes, which the result
    lists as a rewrite; ``points``, where numbers are compared, None for sizes at which the model
    runs; and ``feed``, what is said of the inputs at those.
    """
    chosen = rewrites.select(tuple(select) if select is not None else None, unsafe=unsafe)
    if target is not None and views.is_log(target):
        raise UsageError(
            "a log shows one model only, so it cannot tell what a rewrite changes",
            hint="give the version that wrote it as the target",
        )
    pending = views.start(model, target, tensorrt=tensorrt)
    original = _copied(model.ir)
    true_shapes = truth.annotate(original)
    named, misnamed = _declared_anew(model, true_shapes.shapes, chosen, separated)
    declared = {value.name: value.shape for value in truth.values(named.ir)}

    def see(state: ir.Model) -> View:
        shapes = {name: truth.shape_of(value) for value, name in truth.names(state).items()}
        seen = views.start(Model(_as_declared(state, declared)), target, tensorrt=tensorrt)
        return seen(shapes)

    if points is None:
        points = replace(Points.fitting(model.ir, original), feed=feed or Feed())
    prover = proof.Prover(original.opset_imports, points, numeric=numeric)
    before = Facts(model, true_shapes, pending(true_shapes.shapes))
    progress = on_progress or silent

    def attempt(most: int | None, excluded: Mapping[Place, str]) -> Attempt:
        state = State.of(original.clone(deep_copy=True))
        ranges = points.ranges
        run = _Run(state, prover, see, before.view, progress, most, excluded, declared, ranges)
        for applied in misnamed:
            run.note(applied)
        run.until_nothing_fits(chosen)
        state = run.state
        if not state.applied:
            return Attempt(state)
        rewritten = truth.annotate(state.model)
        fixed = Model(_as_declared(state.model, declared))
        # The annotated copy is the same function as its file, so ONNX Runtime may read that.
        whole = proof.prove(
            proof.Side(Model(original, model.path), true_shapes),
            proof.Side(Model(state.model), rewritten),
            points.without_ones(state.not_one) if points.guessed else points,
            numeric=numeric,
            kept=_tensors(original) - state.names.gone,
            written=fixed,
        )
        return Attempt(state, Facts(fixed, rewritten, run.view), whole)

    with truth.tensor_names_kept(original):
        kept = largest.proven(attempt, progress)
    state, after = kept.state, kept.after or before
    there = {node_name(node) for node in state.model.graph}
    refused = tuple(each for each in state.refused.values() if each.node in there)
    return FixResult(
        model=after.model,
        applied=tuple(_with_proof(each, kept.whole) for each in state.applied),
        refused=refused,
        remaining=tuple(_remaining(after.model, after.table, refused)),
        facts_before=before,
        facts_after=after,
        renamed=state.renamed,
        proof=kept.whole,
    )


@dataclass
class _Run:
    state: State
    prover: proof.Prover
    see: Callable[[ir.Model], View]
    view: View
    on_progress: Progress
    most: int | None
    excluded: Mapping[Place, str]
    declared: Mapping[str | None, ir.Shape | None]
    ranges: Mapping[str, tuple[int, int]]
    banned: set[Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        for place, reason in self.excluded.items():
            self.state.refuse(place, reason)
        self.loss = Loss.of(self.state.model, self.view)
        self.unseen = self.loss.unseen

    def until_nothing_fits(self, chosen: Iterable[Rewrite]) -> None:
        """Try all rewrites in turn until none fits; those against losses come later."""
        chosen = tuple(chosen)
        stages = [[each for each in chosen if each.when == when] for when in _STAGES]
        for _ in range(_RETRIES):
            before = len(self.state.applied)
            for _ in range(_ROUNDS):
                if not any(self._round(stage) for stage in stages):
                    break
            if not self.banned or len(self.state.applied) == before:
                return
            # What made the view worse may be harmless behind the rewrites that came later.
            self.banned.clear()

    # What the target sees

    def _round(self, stage: Sequence[Rewrite]) -> bool:
        """One pass of each rewrite. The view is looked at once, and closely if it is worse."""
        start = self.state.copy()
        if not [place for rewrite in stage for place in self._pass(rewrite)]:
            return False
        if not self._worse(accept=True):
            return True
        self.state = start
        progress = [self._careful_pass(rewrite) for rewrite in stage]
        return any(progress)

    def _careful_pass(self, rewrite: Rewrite) -> bool:
        """One pass, without those of its places that make the view worse."""
        start = self.state
        for _ in range(_CULPRITS):
            self.state = start.copy()
            places = self._pass(rewrite)
            if not places:
                return False
            if not self._worse(accept=True):
                return True
            place, reason = self._culprit(rewrite, start, places)
            self.banned.add(place)
            start.refuse(place, reason)
        self.state = start
        return False

    def _culprit(
        self, rewrite: Rewrite, start: State, places: Sequence[Place]
    ) -> tuple[Place, str]:
        """The place at which a pass makes the view worse, and how."""
        good, bad = 0, len(places)
        reason = self._worse()
        while bad - good > 1:
            middle = (good + bad) // 2
            self.state = start.copy()
            self._pass(rewrite, middle)
            worse = self._worse()
            good, bad, reason = (good, middle, worse) if worse else (middle, bad, reason)
        return places[bad - 1], reason

    def _worse(self, *, accept: bool = False) -> str:
        """Return why the view is worse than before; if it is not, ``accept`` replaces the view."""
        view = self.see(self.state.model)
        loss = Loss.of(self.state.model, view)
        reason = loss.worse_than(self.loss, self.unseen)
        if accept and not reason:
            self.view, self.loss = view, loss
        return reason

    # One rewrite

    def _pass(self, rewrite: Rewrite, most: int | None = None) -> list[Place]:
        """Try a rewrite at each node.

        Args:
            rewrite: The rewrite.
            most: How often it may be made.

        Returns:
            Where it was made.
        """
        graph = self.state.model.graph
        site = Site(self.state.model, self.view.target, self.loss.axes, self.declared, self.ranges)
        places: list[Place] = []
        gone: list[str] = []
        for node in list(graph):
            if len(places) == most:
                break
            place = (rewrite.name, node_name(node))
            if node.graph is graph and self._may(place) and rewrite.may_match(node):
                replaced = self._try(rewrite, node, site)
                if replaced is not None:
                    places.append(place)
                    gone.extend(replaced)
        if rewrite.initializers and len(places) != most and self.most != 0:
            places.extend((rewrite.name, name) for name in self._swept(rewrite))
        if rewrite.clean_up and gone:
            self.note(Applied(rewrite.name, tuple(gone), "", proof.OF_THE_WHOLE))
        return places

    def _may(self, place: Place) -> bool:
        """Return whether a rewrite may be tried at a place, as far as others went before."""
        more = self.most is None or len(self.state.places) < self.most
        return more and place not in self.banned and place not in self.excluded

    def _try(self, rewrite: Rewrite, node: ir.Node, site: Site) -> tuple[str, ...] | None:
        """Make a rewrite at a node if it fits; the names of the removed nodes."""
        place = (rewrite.name, node_name(node))
        replacement = _find(rewrite, node, site)
        if replacement is None:
            self.state.refused.pop(place, None)
            return None
        if isinstance(replacement, str):
            self.state.refuse(place, replacement)
            return None
        if transaction.hindrance(replacement):
            transaction.forgo(replacement)
            return None
        outcome = proof.OF_THE_WHOLE if rewrite.clean_up else self.prover.prove(replacement)
        if not outcome.holds:
            self.state.refuse(place, f"the proof failed: {outcome.reason}")
            transaction.forgo(replacement)
            return None
        state = self.state
        names = [(other, node_name(other)) for other in replacement.nodes]
        tensor = replacement.outputs[0].name or "" if replacement.outputs else ""
        state.renamed.update(
            transaction.commit(
                state.model.graph, state.names, state.pool, replacement, rewrite.name
            )
        )
        transaction.let_initializers_be(state.model)
        state.refused.pop(place, None)
        state.places.append(place)
        gone = tuple(name for other, name in names if other.graph is None)
        if not rewrite.clean_up:
            self.note(Applied(rewrite.name, gone, tensor, outcome, replacement.assumes))
            state.not_one.update(dict.fromkeys(replacement.not_one if replacement.assumes else ()))
        return gone

    def _swept(self, rewrite: Rewrite) -> list[str]:
        """Remove the initializers that nothing reads; their names."""
        graph = self.state.model.graph
        values = list(graph.initializers.values())
        names = [
            value.name or ""
            for value in values
            if transaction.remove_initializer(graph, self.state.names, value)
        ]
        for name in names:
            self.note(Applied(rewrite.name, (), name, proof.OF_THE_WHOLE))
        return names

    def note(self, applied: Applied) -> None:
        self.state.applied.append(applied)
        self.on_progress(
            f"{applied.rewrite}: {applied.tensor or number_of(len(applied.nodes), 'node')}"
        )


def _find(rewrite: Rewrite, node: ir.Node, site: Site) -> Replacement | str | None:
    try:
        return rewrite.find(node, site) if rewrite.find is not None else None
    except _UNREADABLE as error:
        return f"the node, or a constant that it reads, cannot be read: {error!r}"


def _declared_anew(
    model: Model, shapes: Mapping[str, Any], chosen: Iterable[Rewrite], separated: Sequence[str]
) -> tuple[Model, list[Applied]]:
    """The model with the declared shapes that the fixed one gets, and the rewrites that did it."""
    applied = []
    for rewrite in chosen:
        if rewrite.declared is None:
            continue
        inputs = (*separated, *dim_names.clashes(model.ir.graph))
        if inputs:
            names = ", ".join(dict.fromkeys(inputs))
            applied.append(Applied(rewrite.name, (), names, proof.OF_THE_WHOLE))
        model = rewrite.declared(model, shapes)
    return model, applied


def _as_declared(annotated: ir.Model, declared: Mapping[str | None, ir.Shape | None]) -> ir.Model:
    """A copy whose values carry the shapes that the given model declared, and nothing more."""
    model = annotated.clone(deep_copy=True)
    truth.strip(model)
    for value in truth.values(model):
        value.shape = declared.get(value.name)
    return model


def _copied(model: ir.Model) -> ir.Model:
    """A copy that shares no tensor object: whoever writes a model names the tensors in it.

    Before version 4 of its file format ONNX lists every initializer as an input, too. ONNX Runtime
    and TensorRT take these for constants, and in the copy they are nothing else.
    """
    copied = model.clone(deep_copy=True)
    weights = copied.graph.initializers
    fed = [value for value in copied.graph.inputs if value.name not in weights]
    if copied.ir_version < transaction.FREE_INITIALIZERS and len(fed) < len(copied.graph.inputs):
        copied.graph.inputs[:] = fed
        copied.ir_version = transaction.FREE_INITIALIZERS
    for node in copied.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                node.attributes[name] = ir.AttrTensor(name, _own(attribute.as_tensor()))
    return copied


def _own(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if isinstance(tensor, ir.serde.TensorProtoTensor):
        return ir.serde.TensorProtoTensor(copy.deepcopy(tensor.raw))
    return copy.copy(tensor)


def _tensors(model: ir.Model) -> set[str]:
    """Names of the tensors of the main graph."""
    graph = model.graph
    computed = (value for node in graph for value in node.outputs)
    return {value.name or "" for value in (*graph.inputs, *graph.initializers.values(), *computed)}


def _with_proof(applied: Applied, whole: Proof | None) -> Applied:
    """A clean-up with the proof of the whole model, on which it rests."""
    if applied.proof is not proof.OF_THE_WHOLE or whole is None:
        return applied
    if not whole.holds:
        return dataclasses.replace(applied, proof=proof.COMPUTES_NOTHING)
    return dataclasses.replace(applied, proof=whole)


def _remaining(model: Model, table: TensorTable, refused: Sequence[Refused]) -> list[Remaining]:
    reasons = {entry.node: entry.reason for entry in refused}
    outer = {node_name(node) for node in model.ir.graph}
    origins = frozenset(table.origins)
    remaining = []
    for facts in table.tensors:
        if not facts.lost:
            continue
        if facts.node not in outer:
            other = "it is inside a nested graph, which no rewrite enters"
        elif facts.name in origins:
            other = "the loss starts here, and no rewrite that was tried fits"
        else:
            other = "it takes the loss over from its inputs"
        reason = reasons.get(facts.node or "", other)
        remaining.append(Remaining(facts.name, facts.node, facts.lost, reason))
    return remaining
