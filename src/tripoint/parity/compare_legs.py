"""Legs, whatever they are, run at several points, compared by name, and judged.

Legs take turns at each point, and of what they gave only that which others are still to be
compared with is held: the first leg's outputs, and those of the graph that an engine was built
from.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, InputSpecs
from tripoint.parity import metamorphic
from tripoint.parity.assignment import find_permutation
from tripoint.parity.compare import OutputComparison, compare_outputs, compare_settled
from tripoint.parity.dependence import of_outputs
from tripoint.parity.failing import FailingCase
from tripoint.parity.legs import Leg
from tripoint.parity.metamorphic import REBUILD, SECOND_RUN, MetamorphicCheck
from tripoint.parity.noise import Noise
from tripoint.parity.points import Point
from tripoint.parity.randomness import NEXT, accused, by_output, excused, repeated
from tripoint.parity.results import (
    FIXED,
    LEGS,
    ONNX_RUNTIME,
    PYTORCH,
    TENSORRT,
    LegReport,
    Permutation,
    PointReport,
    Verification,
    decide,
    unsuited,
)
from tripoint.parity.rounded import Rounded
from tripoint.parity.runs import Run, Runs, close
from tripoint.parity.vacuous import Watch
from tripoint.parity.wide import Wide
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Budget, Given, Rounding
from tripoint.tolerance.measure import is_exact
from tripoint.tolerance.sensitivity import Sensitivity


@dataclass
class _Findings:
    watch: Watch
    watched: str
    """Name of the leg whose outputs are watched."""
    drawn: Mapping[str, str]
    """What draws the random numbers that an output depends on, by its name."""
    repeated: dict[str, frozenset[str]] = field(default_factory=dict)
    """By leg that drew nothing those of these outputs that it gives twice."""
    points: list[PointReport] = field(default_factory=list)
    moves: dict[str, list[dict[str, str] | None]] = field(default_factory=dict)
    checks: list[MetamorphicCheck] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    """By reason the places at which no leg runs."""
    nowhere: bool = False
    """Whether there is such a place."""

    measured: dict[str, float] = field(default_factory=dict)
    """By output the smallest fault that errors of the sums would not hide."""

    def visible(self) -> dict[str, float]:
        """The smallest fault that would have been seen, by name of the outputs that were compared.

        A fault that errors of the sums behind an output might be would have been allowed.
        """
        least_visible: dict[str, float] = {}
        for point in self.points:
            for entry in point.outputs:
                if entry.visible is not None:
                    least = least_visible.get(entry.name, self.measured.get(entry.name, 0.0))
                    least_visible[entry.name] = max(least, entry.visible)
        return least_visible

    def notes(self) -> list[str]:
        """One sentence for each reason why no leg runs, and what to do about random numbers."""
        entries = (entry for point in self.points for entry in point.outputs)
        random = [NEXT] if any(entry.status == "random" for entry in entries) else []
        return random + [
            f"no leg runs at {places[0]}{f' and {len(places) - 1} more' if places[1:] else ''}: "
            f"{reason}"
            for reason, places in self.passed_over.items()
        ]


def compare_legs(
    model: Model,
    specs: InputSpecs,
    legs: Sequence[Leg],
    points: Sequence[Point],
    *,
    absent: Sequence[LegReport] = (),
    rebuilt: Leg | str | None = None,
    output_names: Sequence[str] | None = None,
    atol: Given = None,
    rtol: Given = None,
    rounding: Mapping[str, Rounding] | None = None,
    notes: Sequence[str] = (),
    said: Mapping[str, str] | None = None,
    failing: FailingCase | None = None,
    beside: Sequence[Point] = (),
) -> Verification:
    """Run legs at several points, and compare all outputs by name.

    Args:
        model: The ONNX model; tolerances are derived from its graph.
        specs: Element type and shape by input name.
        legs: What to run; each is compared with the first, and TensorRT also with the graph that
            it was built from.
        points: Where, at least one.
        absent: Legs that cannot run, for the verdict.
        rebuilt: A second engine, compared with the TensorRT leg, or why there is none.
        output_names: Names for what the PyTorch module returns, in order.
        atol: Absolute tolerance in place of the derived one.
        rtol: Relative tolerance in place of the derived one.
        rounding: By leg what its precision was measured to cost.
        notes: What was assumed already.
        said: What each input is, in words, by name.
        failing: Where the first failing case is saved.
        beside: Where ONNX Runtime runs as well, to see what moves its outputs.

    Raises:
        UsageError: If the names of the module and the file cannot be matched.
    """
    graph = model.ir.clone()
    facts = truth.annotate(graph)
    outputs = [value.name or "" for value in graph.graph.outputs]
    # What they need no reference for is told of inputs that were made up, where there are any.
    made_up = [point for point in points if point.made_up] or points
    checks = metamorphic.plan(
        [point.inputs for point in made_up],
        {name: shape for name, (_, shape) in specs.items()},
        {name: facts.shapes.get(name) for name in outputs},
    )
    varied = made_up[checks.point]
    cases = [point.inputs for point in points]
    cases += [varied.inputs, *(probe.inputs for probe in checks.probes)]
    watched = next((leg.name for leg in legs if leg.name == ONNX_RUNTIME), legs[0].name)
    further = [point.inputs for point in beside]
    runs = Runs(
        [Run(leg, [*cases, *further] if leg.name == watched else cases) for leg in legs],
        Budget(graph, atol=atol, rtol=rtol),
        Sensitivity(graph),
        Rounded(graph),
        Noise(graph),
        Wide(graph),
        outputs,
        output_names,
        rounding,
    )
    watch = Watch(of_outputs(model.ir), [point.sizes for point in (*points, *beside)])
    findings = _Findings(watch, watched, by_output(graph), checks=list(checks.refused))
    if isinstance(rebuilt, str):
        findings.checks.append(MetamorphicCheck(REBUILD, "not applicable", "", rebuilt))
        rebuilt = None
    for point in points:
        _compare_at(point, runs, findings, failing)
    for run in runs:
        _probe(run, runs, varied, checks.probes, rebuilt, findings, failing)
    findings.points[:] = [
        accused(point, findings.repeated, findings.drawn) for point in findings.points
    ]
    for point in beside:
        _watch(point, runs, findings)
    reports = sorted(
        [*(run.report() for run in runs), *absent], key=lambda leg: LEGS.index(leg.name)
    )
    verdict, reasons = decide(reports, findings.points, findings.checks)
    permutation = _permutation(findings.moves)
    order = runs.other_order(permutation.outputs) if permutation is not None else None
    if permutation is not None and order is not None and PYTORCH in permutation.pair:
        runs.notes.append(
            "by their values the outputs of PyTorch are in another order than those of the file; "
            f"if that is meant, give --output-names {order}"
        )
    return Verification(
        verdict=verdict,
        reasons=reasons,
        legs=tuple(reports),
        points=tuple(findings.points),
        permutation=permutation,
        metamorphic=tuple(findings.checks),
        notes=(*notes, *runs.notes, *findings.notes()),
        failing=failing.finish(reports) if failing is not None else None,
        unsuited=unsuited(findings.points, findings.checks, nowhere=findings.nowhere),
        inputs=said or {},
        variation=findings.watch.variation(),
        visible=findings.visible(),
    )


def _compare_at(point: Point, runs: Runs, findings: _Findings, failing: FailingCase | None) -> None:
    report = PointReport(
        point.shapes,
        point.seed,
        (),
        point.sizes,
        point.values,
        example=point.example,
        beyond=point.beyond,
    )
    built_from = _built_from(runs)
    held: dict[str, Arrays] = {}
    compared: list[OutputComparison] = []
    failed: list[Run] = []
    for run in runs:
        name = run.leg.name
        outputs = runs.next(run, report.place)
        if outputs is None:
            failed.append(run)
            continue
        for against in _references(name, held):
            pair = f"{against} / {name}"
            measured = point.inputs if runs.to_measure(outputs, against, name) else None
            allowed = runs.allowed(held[against], point.sizes, against, name, inputs=measured)
            entries = compare_outputs(held[against], outputs, allowed, pair=pair)
            off = any(entry.excess is not None and entry.wrong for entry in entries)
            if off and measured is None:
                allowed = runs.allowed(
                    held[against], point.sizes, against, name, inputs=point.inputs
                )
                entries = compare_outputs(held[against], outputs, allowed, pair=pair)
            if any(map(close, entries)) and ONNX_RUNTIME in (name, *held):
                allowed = runs.sharpened(
                    allowed,
                    outputs if name == ONNX_RUNTIME else held[ONNX_RUNTIME],
                    point.sizes,
                    *(against, name),
                    inputs=point.inputs,
                )
                entries = compare_outputs(held[against], outputs, allowed, pair=pair)
            if differing := [entry.name for entry in entries if entry.wrong]:
                entries = _settled(
                    entries, held[against], outputs, runs, point, (against, name), differing
                )
            entries = excused(entries, findings.drawn)
            compared += entries
            wrong = {entry.name for entry in entries if entry.wrong}
            if not wrong:
                continue
            moves = find_permutation(held[against], outputs, allowed, wrong)
            findings.moves.setdefault(pair, []).append(moves)
            if failing is not None:
                failing.keep(point.inputs, {against: held[against], name: outputs}, pair)
        if name == findings.watched:
            findings.watch.add(
                point.sizes,
                outputs,
                functools.partial(runs.allowed, outputs, point.sizes, name),
            )
        if not held or name == built_from:
            held[name] = outputs
        # Else the next leg would run beside it.
        del outputs
    findings.nowhere |= len(failed) == len(runs) and point.made_up
    if len(failed) == len(runs) > 1 and not any(run.hopeless for run in runs):
        legs: dict[str, list[str]] = {}
        for run in failed:
            run.excuse(report.place)
            legs.setdefault(run.failure(), []).append(run.leg.name)
        reason = "; ".join(f"{', '.join(names)}: {fact}" for fact, names in legs.items())
        findings.passed_over.setdefault(reason, []).append(report.place)
        return
    findings.points.append(replace(report, outputs=tuple(compared)))


def _watch(point: Point, runs: Runs, findings: _Findings) -> None:
    """Run the leg whose outputs are watched on further inputs; where it fails, nothing is said."""
    run = next(run for run in runs if run.leg.name == findings.watched)
    place = "inputs of other values"
    outputs = None if run.hopeless else runs.next(run, place)
    if outputs is None:
        run.excuse(place)
        return
    allowed = functools.partial(runs.allowed, outputs, point.sizes, run.leg.name)
    findings.watch.add(point.sizes, outputs, allowed, compared=False)


def _settled(
    entries: list[OutputComparison],
    reference: Arrays,
    other: Arrays,
    runs: Runs,
    point: Point,
    legs: tuple[str, ...],
    wrong: Sequence[str],
) -> list[OutputComparison]:
    """The comparisons again where tied numbers explain some of the differences, else as before."""
    settled = runs.settled(reference, other, point.sizes, *legs, inputs=point.inputs, wrong=wrong)
    if settled is None:
        return entries
    allowed = runs.allowed(settled.reference, point.sizes, *legs, inputs=point.inputs)
    again = compare_settled(reference, other, settled, allowed, pair=" / ".join(legs))
    before = {entry.name: entry for entry in entries}
    return [entry if entry.ties else before.get(entry.name, entry) for entry in again]


def _references(name: str, held: Mapping[str, Arrays]) -> Iterator[str]:
    """The first leg, and for TensorRT also the graph that it was built from."""
    for index, held_name in enumerate(held):
        if index == 0 or name == TENSORRT:
            yield held_name


def _built_from(runs: Runs) -> str | None:
    """The leg whose outputs are held for an engine."""
    names = [run.leg.name for run in runs]
    if TENSORRT not in names:
        return None
    return next((name for name in (FIXED, ONNX_RUNTIME) if name in names), None)


def _probe(
    run: Run,
    runs: Runs,
    point: Point,
    probes: Sequence[metamorphic.Probe],
    rebuilt: Leg | None,
    findings: _Findings,
    failing: FailingCase | None,
) -> None:
    """The checks that need no reference, on one leg."""
    name = run.leg.name
    before = None if run.hopeless else runs.next(run, "another run")
    if before is None:
        return
    allowed = runs.allowed(before, point.sizes, name)
    # It tells how small a fault would have been seen, where anything was compared.
    if name == findings.watched and len(runs) > 1 and runs.measurable(before):
        every = [other.leg.name for other in runs]
        moved = runs.allowed(before, point.sizes, *every, inputs=point.inputs, once=True)
        findings.measured |= {
            key: moved[key].visible(array)
            for key, array in before.items()
            if not is_exact(array.dtype)
        }
    finite = metamorphic.all_finite(name, before)
    findings.checks.append(finite)
    made_up = point.made_up
    if finite.status == "different" and failing is not None and not made_up:
        failing.keep(point.inputs, {name: before}, finite.check)
    todo = [(probe.check, run, probe.inputs) for probe in probes]
    if name == TENSORRT and rebuilt is not None:
        todo.append((REBUILD, Run(rebuilt, [point.inputs]), point.inputs))
    for check, runner, inputs in todo:
        after = runs.next(runner, f"the check {check!r}")
        if after is None:
            reason = f"it failed: {runner.failure()}"
            findings.checks.append(MetamorphicCheck(check, "not applicable", name, reason))
            continue
        if check == SECOND_RUN and not getattr(run.leg, "drew", True):
            findings.repeated[name] = repeated(before, after, findings.drawn)
        # Where another leg draws nothing, that this one does not repeat itself is a fault.
        excuse = findings.drawn.keys() - {
            key for each in findings.repeated.values() for key in each
        }
        after = {key: array for key, array in after.items() if key not in excuse}
        if not after:
            reason = "all outputs depend on random numbers"
            findings.checks.append(MetamorphicCheck(check, "not applicable", name, reason))
            continue
        entry = metamorphic.judge(check, name, before, after, allowed)
        if entry.status == "different" and check != SECOND_RUN:
            wider = runs.allowed(before, point.sizes, name, inputs=point.inputs)
            entry = metamorphic.judge(check, name, before, after, wider)
        if entry.status == "different" and check != SECOND_RUN:
            expected = metamorphic.expected(check, before, after)
            at = replace(point, inputs=inputs)
            settled = _settled([], expected, after, runs, at, (name,), list(after))
            entry = metamorphic.judged(check, name, settled) if settled else entry
        findings.checks.append(entry)
        if entry.status == "different" and failing is not None:
            failing.keep(inputs, {f"{name} before": before, f"{name} after": after}, check)


def _permutation(moves: Mapping[str, Sequence[dict[str, str] | None]]) -> Permutation | None:
    for pair, orders in moves.items():
        if orders[0] is not None and all(moved == orders[0] for moved in orders):
            return Permutation(pair, orders[0])
    return None
