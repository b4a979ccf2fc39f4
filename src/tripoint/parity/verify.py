"""The three-legged comparison: PyTorch, ONNX Runtime, TensorRT."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tripoint.engine.tf32 import Environment
from tripoint.errors import UsageError
from tripoint.facts import truth
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, InputSpecs, bindings_of, generate, inputs_of
from tripoint.parity import metamorphic
from tripoint.parity.assignment import find_permutation
from tripoint.parity.compare import OutputComparison, compare_outputs
from tripoint.parity.legs import Leg
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.legs.tensorrt import TensorRTLeg
from tripoint.parity.legs.torch import TorchLeg
from tripoint.parity.pairing import pair_inputs
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
)
from tripoint.parity.runs import Run, Runs
from tripoint.parity.tolerance import Budget, Given
from tripoint.sources.python import TorchModel

MINIMUM_POINTS = 3


@dataclass(frozen=True)
class Engine:
    """A TensorRT engine to compare.

    Args:
        plan: The engine file.
        tensorrt: Which TensorRT runs it, None for the first that can be imported.
        version: Its version, for the report.
        device: The GPU, for the report.
        tf32: Whether it may round float32 products to TF32.
        environment: Variables that it was built with and needs to run.
        timeout: Seconds that the execution of all points may take.
        rounding: Largest error by output that its precision was measured to make.
    """

    plan: Path
    tensorrt: str | None = None
    version: str = "unknown"
    device: str = "gpu"
    tf32: bool = True
    environment: Environment | None = None
    timeout: float = 600.0
    rounding: Mapping[str, float] = field(default_factory=dict)


def verify(
    model: Model,
    *,
    torch: TorchModel | None = None,
    fixed: Model | None = None,
    engine: Engine | None = None,
    no_engine: str = "no engine was given",
    bindings: Sequence[Mapping[str, int]] = ({},),
    inputs: Sequence[Arrays] | None = None,
    output_names: Sequence[str] | None = None,
    atol: Given = None,
    rtol: Given = None,
    seed: int = 0,
) -> Verification:
    """Run every leg that can run, at several points, and compare all outputs by name.

    Args:
        model: The ONNX model.
        torch: The module that it was exported from.
        fixed: The model after rewriting; the engine, if any, is compared with it.
        engine: The TensorRT engine.
        no_engine: Why there is none, for the report.
        bindings: Size of each symbol, one entry for a point: min, opt, max, random ones. With
            less than three, further points repeat them with other seeds.
        inputs: Inputs to use in place of generated ones, one entry for a point.
        output_names: Names for what the module returns, in order.
        atol: Absolute tolerance in place of the derived one.
        rtol: Relative tolerance in place of the derived one.
        seed: Seed of the first point.

    Raises:
        UsageError: If symbols have no size, given inputs do not fit, or the names of the module
            and the file cannot be matched.
    """
    specs = inputs_of(model)
    graph = model.ir.clone()
    facts = truth.annotate(graph)
    outputs = [value.name or "" for value in graph.graph.outputs]
    points = _points(model, specs, bindings, inputs, seed)
    probes, checks = metamorphic.plan(
        [point.inputs for point in points],
        {name: shape for name, (_, shape) in specs.items()},
        {name: facts.shapes.get(name) for name in outputs},
    )
    legs, absent, notes = _legs(model, torch, fixed, engine, no_engine, list(specs))
    cases = [*(point.inputs for point in points), *(probe.inputs for probe in probes)]
    runs = Runs(
        [Run(leg, cases) for leg in legs],
        Budget(graph, atol=atol, rtol=rtol),
        outputs,
        output_names,
        {TENSORRT: engine.rounding} if engine is not None else None,
    )
    reports, permutation, kept = _compare(runs, points, {probe.point for probe in probes})
    for probe in probes:
        after = runs.next()
        for leg in (leg for leg in after if leg in kept[probe.point]):
            before = kept[probe.point][leg]
            allowed = runs.allowed(before, points[probe.point].bindings, leg)
            checks.append(metamorphic.judge(probe, leg, before, after[leg], allowed))
    finished = sorted([*runs.reports(), *absent], key=lambda leg: LEGS.index(leg.name))
    verdict, reasons = decide(finished, reports, checks)
    return Verification(
        verdict=verdict,
        reasons=reasons,
        legs=tuple(finished),
        points=tuple(reports),
        permutation=permutation,
        metamorphic=tuple(checks),
        notes=(*notes, *runs.notes),
    )


@dataclass(frozen=True)
class _Point:
    bindings: Mapping[str, int]
    inputs: Arrays
    seed: int | None


def _points(
    model: Model,
    specs: InputSpecs,
    bindings: Sequence[Mapping[str, int]],
    given: Sequence[Arrays] | None,
    seed: int,
) -> list[_Point]:
    if given is not None:
        return [_Point(bindings_of(specs, arrays), arrays, None) for arrays in given]
    if not bindings:
        raise UsageError("there is no point to compare at")
    count = max(MINIMUM_POINTS, len(bindings))
    sizes = [bindings[index % len(bindings)] for index in range(count)]
    return [
        _Point(size, generate(specs, size, seed + index, model=model), seed + index)
        for index, size in enumerate(sizes)
    ]


def _legs(
    model: Model,
    torch: TorchModel | None,
    fixed: Model | None,
    engine: Engine | None,
    no_engine: str,
    inputs: Sequence[str],
) -> tuple[list[Leg], list[LegReport], list[str]]:
    legs: list[Leg] = []
    absent: list[LegReport] = []
    notes: list[str] = []
    if torch is None:
        absent.append(LegReport(PYTORCH, "not run", reason="no PyTorch module was given"))
    else:
        parameters, note = pair_inputs(torch, inputs)
        notes += [note] if note else []
        legs.append(TorchLeg(torch, inputs=parameters))
    legs.append(OnnxRuntimeLeg(model, name=ONNX_RUNTIME))
    if fixed is not None:
        legs.append(OnnxRuntimeLeg(fixed, name=FIXED))
    if engine is None:
        absent.append(LegReport(TENSORRT, "not run", reason=no_engine))
    else:
        legs.append(
            TensorRTLeg(
                engine.plan,
                tensorrt=engine.tensorrt,
                version=engine.version,
                device=engine.device,
                tf32=engine.tf32,
                environment=engine.environment,
                timeout=engine.timeout,
            )
        )
    return legs, absent, notes


def _compare(
    runs: Runs, points: Sequence[_Point], keep: Collection[int]
) -> tuple[list[PointReport], Permutation | None, dict[int, dict[str, Arrays]]]:
    """Compare at every point, and keep the outputs of those that probes vary."""
    reports: list[PointReport] = []
    moves: dict[str, list[dict[str, str] | None]] = {}
    kept: dict[int, dict[str, Arrays]] = {}
    for index, point in enumerate(points):
        found = runs.next()
        compared: list[OutputComparison] = []
        for a, b in _pairs(list(found)):
            pair = f"{a} / {b}"
            allowed = runs.allowed(found[a], point.bindings, a, b)
            entries = compare_outputs(found[a], found[b], allowed, pair=pair)
            compared += entries
            if not all(entry.equal for entry in entries):
                moves.setdefault(pair, []).append(find_permutation(found[a], found[b], allowed))
        shapes = {name: tuple(array.shape) for name, array in point.inputs.items()}
        reports.append(PointReport(shapes, point.seed, tuple(compared)))
        if index in keep:
            kept[index] = found
    return reports, _permutation(moves), kept


def _pairs(legs: Sequence[str]) -> list[tuple[str, str]]:
    """Each leg with the first, and TensorRT also with the graph that it was built from."""
    pairs = [(legs[0], leg) for leg in legs[1:]]
    built_from = next((leg for leg in (FIXED, ONNX_RUNTIME) if leg in legs), None)
    if TENSORRT in legs and built_from and (built_from, TENSORRT) not in pairs:
        pairs.append((built_from, TENSORRT))
    return pairs


def _permutation(moves: Mapping[str, Sequence[dict[str, str] | None]]) -> Permutation | None:
    for pair, found in moves.items():
        if found[0] is not None and all(moved == found[0] for moved in found):
            return Permutation(pair, found[0])
    return None
