"""Finding the first node that parts two legs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import ExternalStepError, InputError, MissingDependencyError, TripointError
from tripoint.numeric.inputs import Arrays, InputSpecs, bindings_of
from tripoint.parity.assignment import find_permutation
from tripoint.parity.locate import draws, findings, repro, subgraphs, tied
from tripoint.parity.locate.bisect import narrow
from tripoint.parity.locate.changes import Changes
from tripoint.parity.locate.compare_tensors import scan
from tripoint.parity.locate.deviation import Deviation, measure
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.instead import Instead
from tripoint.parity.locate.legs import Fusion, Reference, Suspect
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.search import Found, Replayed, search
from tripoint.parity.locate.tolerances import Allowed
from tripoint.parity.locate.torch import PyTorch
from tripoint.parity.results import TENSORRT, LegReport
from tripoint.progress import Progress, silent
from tripoint.sources.pairing import moved
from tripoint.tolerance.derivation import Given, products_of
from tripoint.words import number_of


@dataclass(frozen=True)
class Pair:
    """Two legs to compare.

    Args:
        reference: The one that is taken to be right.
        suspect: The one whose nodes are suspected.
        graph: The graph of the reference; None if it has none.
        reproduce: The options of ``tripoint locate`` that compare such a pair.
    """

    reference: Reference
    suspect: Suspect
    graph: Graph | None
    reproduce: repro.Options

    @property
    def title(self) -> str:
        """As reports call it."""
        return f"{self.reference.name} / {self.suspect.name}"


@dataclass(frozen=True)
class Point:
    """Inputs to compare at.

    Args:
        inputs: Array by input name.
        seed: Seed that they were made with, None where they were given.
    """

    inputs: Arrays
    seed: int | None = None


@dataclass(frozen=True)
class Limits:
    """Limits of the search.

    Args:
        tensors: Intermediate tensors to have in memory at a time.
        atol: Absolute tolerance of outputs in place of the derived one.
        rtol: Relative tolerance, likewise.
    """

    tensors: int = 64
    atol: Given = None
    rtol: Given = None


def locate(
    pairs: Sequence[Pair],
    specs: InputSpecs,
    points: Sequence[Point],
    *,
    absent: Sequence[LegReport] = (),
    limits: Limits | None = None,
    folder: repro.Target | None = None,
    notes: Sequence[str] = (),
    progress: Progress = silent,
) -> Location:
    """Compare pair by pair and point by point, and search where the first one differs.

    Args:
        pairs: What to compare. The first pair that differs is searched, and the rest left alone.
        specs: Element type and shape by input name.
        points: Where to compare.
        absent: Legs that were asked for and cannot run.
        limits: What the search may use.
        folder: Where a minimal model goes.
        notes: What was assumed already.
        progress: Told what goes on.
    """
    limits = limits or Limits()
    legs: dict[str, LegReport] = {report.name: report for report in absent}
    assumed = list(notes)
    holes: dict[str, None] = {}
    unfit = False
    for index, pair in enumerate(pairs):
        comparison = _Comparison(pair, specs, limits, progress)
        try:
            for number, point in enumerate(points):
                progress(f"compare {pair.title} at point {number + 1} of {len(points)}")
                outputs = comparison.outputs(point)
                if outputs.differ:
                    findings_of_point = comparison.investigate(point, outputs, folder)
                    legs |= comparison.reports()
                    left = {leg.name for each in pairs[index + 1 :] for leg in _legs(each)}
                    for name in left - legs.keys():
                        why = f"{pair.title} differ already"
                        legs[name] = LegReport(name, "not run", reason=why)
                    return findings_of_point.location(
                        tuple(legs.values()), [*assumed, *comparison.notes()]
                    )
                assumed += [f"{pair.title}: {each}" for each in outputs.ties]
                if point.seed is not None:
                    holes |= dict.fromkeys(f"{pair.title}: {each}" for each in outputs.holes)
        except _LegError as error:
            unfit |= point.seed is not None and error.leg != TENSORRT
            legs |= comparison.reports(error)
            continue
        legs |= comparison.reports()
        assumed += comparison.notes()
    open_legs = [leg for leg in legs.values() if leg.status != "ran"]
    reasons = [f"{leg.name} {leg.status}: {leg.reason}" for leg in open_legs]
    reasons += [f"{each} is NaN at the same places in both" for each in holes]
    return Location(
        verdict="unproven" if reasons else "equal",
        reasons=tuple(reasons),
        pair=None,
        resolution="",
        shapes={},
        seed=None,
        outputs=(),
        culprit=None,
        accumulation=None,
        passed_on=(),
        others=(),
        repro=None,
        legs=tuple(legs.values()),
        notes=tuple(dict.fromkeys(assumed)),
        unsuited=unfit or bool(holes),
    )


class _LegError(Exception):
    """A leg that did not run."""

    def __init__(self, leg: str, error: TripointError) -> None:
        super().__init__(error.fact)
        self.leg = leg
        self.error = error


class _Comparison:
    """One pair on its way through the points."""

    def __init__(self, pair: Pair, specs: InputSpecs, limits: Limits, progress: Progress) -> None:
        self.pair = pair
        self._specs = specs
        self._limits = limits
        self._say = progress

    def outputs(self, point: Point) -> findings.Outputs:
        """The outputs of both legs at one point."""
        reference, suspect = self.pair.reference, self.pair.suspect
        names = list(suspect.graph.outputs)
        own = self.pair.graph.outputs if self.pair.graph is not None else names
        expected = _run(reference, [*own, *(name for name in names if name not in own)], point)
        arrays = _run(suspect, names, point)
        # The reference gives what is an output of the other and an inner tensor of its own, too.
        expected = {name: array for name, array in expected.items() if name in own}
        allowed = self._allowed(point)
        deviations = {
            name: measure(array, arrays[name], allowed.behind(name, array))
            for name, array in expected.items()
            if name in arrays
        }
        if any(not each.agrees for each in deviations.values()):
            graph = self.pair.graph or suspect.graph
            deviations = tied.settled(
                graph.ir, point.inputs, allowed.bindings, allowed.products, (expected, arrays),
                deviations, allowed.behind,
            )  # fmt: skip
        return findings.Outputs(expected, arrays, deviations)

    def investigate(
        self, point: Point, outputs: findings.Outputs, folder: repro.Target | None
    ) -> findings.Findings:
        """Search for the node behind a difference."""
        pair, feed, allowed = self.pair, point.inputs, self._allowed(point)
        state = findings.Findings(pair.title, point.inputs, point.seed, outputs.deviations)
        state.missing, state.extra = outputs.missing, outputs.extra
        wrong = [name for name, each in outputs.deviations.items() if not each.agrees]
        tolerances = {name: each.tolerance for name, each in outputs.deviations.items()}
        places = find_permutation(outputs.expected, outputs.actual, tolerances, wrong)
        if places is not None:
            state.reasons.append(f"nothing but the places of outputs differs: {moved(places)}")
            return state
        drawing = self._drawing(point, outputs, wrong)
        changes = Changes()
        if not drawing:
            pair, changes = self._stood_in(point, outputs, state)
            allowed = self._allowed(point, pair)
        names = pair.suspect.graph.comparable
        if pair.graph is not None:
            common = set(pair.graph.comparable)
            names = [name for name in names if name in common]
        self._say(f"compare {number_of(len(names), 'tensor')} of {pair.title}")
        scanned = scan(pair.reference, pair.suspect, names, feed, allowed.behind)
        how = "by name" if pair is self.pair else "by an export of the module as it is now"
        state.resolution = _resolution(pair, len(scanned), len(names), how)
        unmade = [name for name in wrong if pair.suspect.graph.node_of(name) is None]
        state.reasons += [_why_unmade(pair.suspect.graph, name) for name in unmade]
        if all(scanned[name].agrees for name in outputs.deviations if name in scanned):
            if len(wrong) > len(unmade):
                state.reasons.append(
                    "an engine built for the search agrees with the reference: the difference "
                    "belongs to the plan that was given, or comes and goes"
                )
            return state
        result = search(
            pair.reference, pair.suspect, scanned, feed, allowed,
            limit=self._limits.tensors, progress=self._say,
        )  # fmt: skip
        graphs = findings.Graphs(pair.suspect.graph, pair.graph, again=pair is not self.pair)
        if drawing:
            state.reasons += [draws.told(node, graphs, legs) for node, legs in drawing.items()]
            result = draws.before(result, pair.suspect.graph, list(drawing))
            if not result.makers:
                return state
        first = self._narrowed(pair, result, feed, allowed)
        fusion = pair.suspect.fusion(first.part, feed) if first is not None else Fusion()
        vanishes = self._vanishes(fusion, outputs, allowed)
        spot = self._entered(pair, first, scanned, feed) if first is not None else None
        state.take(graphs, scanned, result, spot, fusion.layer, vanishes, changes)
        if spot is not None and folder is not None:
            self._say("write the repro")
            part = spot.first.part
            values = dict(spot.reference.values(part.tensors, spot.feed))
            case = repro.Case(spot.suspect.graph, spot.twin, part, values, pair.title)
            state.repro = str(repro.write(folder, case, pair.reproduce, state.culprit))
        return state

    def reports(self, error: _LegError | None = None) -> dict[str, LegReport]:
        """Return the reports of the legs."""
        reports = {
            leg.name: LegReport(leg.name, "ran", leg.version, leg.device, None, leg.tf32)
            for leg in _legs(self.pair)
        }
        if error is not None:
            missing = isinstance(error.error, MissingDependencyError)
            # The other leg may not have been asked for anything yet.
            return {
                error.leg: LegReport(
                    error.leg, "not run" if missing else "failed", reason=error.error.fact
                )
            }
        return reports

    def notes(self) -> list[str]:
        """Return the assumptions of the legs."""
        return [note for leg in _legs(self.pair) for note in leg.notes]

    def _stood_in(
        self, point: Point, outputs: findings.Outputs, state: findings.Findings
    ) -> tuple[Pair, Changes]:
        """The pair with an export of today in place of a module that gives few tensors."""
        pair, leg = self.pair, self.pair.reference
        if not isinstance(leg, PyTorch):
            return pair, Changes()
        instead = Instead(leg, self._limits.tensors, self._say)
        reference = instead.reference(point.inputs, outputs.expected, products_of(_legs(pair)))
        state.reasons += instead.reasons
        state.notes += instead.notes
        if reference is None:
            return pair, Changes(weights=leg.weights())
        other = replace(pair, reference=reference, graph=reference.graph)
        return other, Changes(instead.changes)

    def _allowed(self, point: Point, pair: Pair | None = None) -> Allowed:
        pair = pair or self.pair
        legs = _legs(self.pair)
        return Allowed(
            pair.suspect.graph,
            pair.graph,
            bindings_of(self._specs, point.inputs),
            products=products_of(legs),
            atol=self._limits.atol,
            rtol=self._limits.rtol,
            inputs=point.inputs,
        )

    def _narrowed(
        self, pair: Pair, result: Found, feed: Arrays, allowed: Allowed
    ) -> Replayed | None:
        if not result.makers:
            return None
        return narrow(
            pair.reference, pair.suspect, result.makers[0], feed, allowed,
            limit=self._limits.tensors, progress=self._say,
        )  # fmt: skip

    def _entered(
        self, pair: Pair, first: Replayed, scanned: Mapping[str, Deviation], feed: Arrays
    ) -> subgraphs.Spot:
        return subgraphs.enter(
            subgraphs.Spot(pair.reference, pair.suspect, pair.graph, feed, scanned, first),
            freeze=pair.reproduce.kind == "engine",
            limit=self._limits.tensors,
            progress=self._say,
        )

    def _drawing(
        self, point: Point, outputs: findings.Outputs, wrong: Sequence[str]
    ) -> dict[ir.Node, list[str]]:
        """Nodes that draw random numbers behind wrong outputs, with the legs that do not repeat."""
        nodes = draws.behind(self.pair.suspect.graph, wrong)
        if not nodes:
            return {}
        legs = zip(_legs(self.pair), (outputs.expected, outputs.actual), strict=True)
        moving = [
            leg.name
            for leg, before in legs
            if any(
                not np.array_equal(array, before[name], equal_nan=array.dtype.kind == "f")
                for name, array in _run(leg, wrong, point).items()
                if name in before
            )
        ]
        return dict.fromkeys(nodes, moving)

    def _vanishes(self, fusion: Fusion, outputs: findings.Outputs, allowed: Allowed) -> bool | None:
        if fusion.unfused is None:
            return None
        return all(
            measure(array, fusion.unfused[name], allowed.behind(name, array)).agrees
            for name, array in outputs.expected.items()
            if name in fusion.unfused
        )


def _why_unmade(graph: Graph, name: str) -> str:
    """Return the origin of an output that no node produces."""
    what = "an initializer" if name in graph.constants else "an input"
    return (
        f"no node produces output {name}: the file gives out {what} as it is, so export the module "
        "again if that is not what it returns"
    )


def _legs(pair: Pair) -> tuple[Reference, Reference]:
    return pair.reference, pair.suspect


def _run(leg: Reference, names: Sequence[str], point: Point) -> dict[str, np.ndarray[Any, Any]]:
    try:
        return dict(leg.values(names, point.inputs))
    except (ExternalStepError, MissingDependencyError, InputError) as error:
        raise _LegError(leg.name, error) from error


def _resolution(pair: Pair, scanned: int, total: int, how: str) -> str:
    own = [getattr(leg, "resolution", "") for leg in _legs(pair)]
    return "; ".join(filter(None, own)) or f"{scanned} of {total} tensors, {how}"
