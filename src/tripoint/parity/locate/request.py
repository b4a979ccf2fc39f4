"""From what a user names to the pairs of legs that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tripoint.engine.debugging import Settings
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.numeric import trials
from tripoint.numeric.inputs import Arrays, bindings_of, generate
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.legs import Reference, Suspect
from tripoint.parity.locate.locate import Limits, Pair, Point, locate
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.recorded import Recorded
from tripoint.parity.locate.repro import Options, Target
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.tensorrt import TensorRT
from tripoint.parity.locate.torch import PyTorch
from tripoint.parity.points import examples_of
from tripoint.parity.results import FIXED, ONNX_RUNTIME, TENSORRT, LegReport
from tripoint.progress import Progress, silent
from tripoint.sources.python import TorchModel


@dataclass(frozen=True)
class TensorRTRequest:
    """Settings to build and run engines with, or the reason against it.

    Args:
        absent: Why there is none; None if there is.
        settings: How to build.
        version: Version of TensorRT, for the report.
        device: The GPU, for the report.
        plan: The engine that was given, None to build one.
        profile: The optimization profile, as a manifest has it; none for one around each point.
        built_from: Hash of the model that the plan was built from, None if not known.
        options: Arguments of the command that ask for such engines.
    """

    absent: str | None = None
    settings: Settings = field(default_factory=Settings)
    version: str = "unknown"
    device: str = "gpu"
    plan: Path | None = None
    profile: Sequence[Mapping[str, Any]] = ()
    built_from: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Request of a comparison.

    Args:
        model: The ONNX model.
        torch: The module that it was exported from.
        expected: Outputs that were recorded elsewhere, by output name.
        fixed: The rewritten model; engines are built from it.
        against: Another model with the same tensor names.
        tensorrt: Engines of the model, or of the rewritten one.
        input_names: What the ONNX file calls the inputs of the module, in order.
        output_names: Names for what the module returns, in order.
        ranges: Smallest and largest size by symbol, if known.
    """

    model: Model
    torch: TorchModel | None = None
    expected: Arrays | None = None
    fixed: Model | None = None
    against: Model | None = None
    tensorrt: TensorRTRequest | None = None
    input_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def run(
    request: Request,
    *,
    bindings: Sequence[Mapping[str, int]] = ({},),
    inputs: Sequence[Arrays] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 0,
    limits: Limits | None = None,
    folder: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Location:
    """Find where the legs of a request part.

    Args:
        request: What to compare.
        bindings: Size of each symbol, one entry for a point.
        inputs: Inputs to use in place of generated ones, one entry for a point.
        values: Smallest and largest value of generated inputs, by name.
        seed: Seed of the first point.
        limits: What the search may use.
        folder: Where a minimal model goes, None to write none.
        force: Whether files in it may be replaced.
        progress: Told what goes on.

    Raises:
        UsageError: If there is nothing to compare, names cannot be matched, symbols have no
            size, or given inputs do not fit.
        OutputError: If a file of the repro exists without ``force``, or cannot be written.
    """
    target = Target(folder, force) if folder is not None else None
    if target is not None:
        target.refuse_overwrite()
    limits = limits or Limits()
    graph = Graph(request.model)
    pairs, absent, notes = _pairs(request, graph, limits.tensors)

    def at(where: Sequence[Point], *further: str) -> Location:
        return locate(
            pairs,
            graph.specs,
            where,
            absent=absent,
            limits=limits,
            folder=target,
            notes=[*notes, *further],
            progress=progress,
        )

    names = request.input_names
    like = examples_of(request.torch, graph.specs, names) if inputs is None else None
    usual = points(graph, bindings, inputs, seed, values=values, like=like)
    result = at(usual)
    if not result.unsuited:
        return result
    progress("look for inputs that suit the model")
    seeds = [(size, seed + index) for index, size in enumerate(bindings)]
    tried = list(trials.suited(graph.model, graph.specs, seeds, ranges=values, like=like))
    note = trials.note(trial.values for trial in tried if trial is not None)
    better = [
        point if trial is None else replace(point, inputs=trial.inputs)
        for point, trial in zip(usual, tried, strict=True)
    ]
    if not all(trials.same(new.inputs, old.inputs) for new, old in zip(better, usual, strict=True)):
        result = at(better, *([note] if note else []))
    if result.unsuited and all(trial is None or trial.holes for trial in tried):
        return replace(result, notes=(*result.notes, trials.UNSUITED))
    return result


def points(
    graph: Graph,
    bindings: Sequence[Mapping[str, int]],
    fixed: Sequence[Arrays] | None,
    seed: int,
    *,
    values: Mapping[str, tuple[float, float]] | None = None,
    like: Arrays | None = None,
) -> list[Point]:
    """Inputs to compare at.

    Args:
        graph: The graph.
        bindings: Size of each symbol, one entry for a point.
        fixed: Inputs to use in place of generated ones, one entry for a point.
        seed: Seed of the first point.
        values: As :func:`tripoint.numeric.inputs.generate`.
        like: As :func:`tripoint.numeric.inputs.generate`.

    Raises:
        UsageError: If symbols have no size, or given inputs do not fit.
    """
    if fixed is not None:
        for arrays in fixed:
            bindings_of(graph.specs, arrays)
        return [Point(arrays) for arrays in fixed]
    return [
        Point(
            generate(graph.specs, size, seed + index, model=graph.model, values=values, like=like),
            seed + index,
        )
        for index, size in enumerate(bindings)
    ]


def _pairs(
    request: Request, graph: Graph, limit: int
) -> tuple[list[Pair], list[LegReport], list[str]]:
    pairs: list[Pair] = []
    absent: list[LegReport] = []
    notes: list[str] = []
    reference: Reference = OnnxRuntime(graph, name=ONNX_RUNTIME, limit=limit)
    twin: Graph | None = graph
    suspect: Suspect = OnnxRuntime(graph, name=ONNX_RUNTIME, limit=limit)
    if request.torch is not None:
        module = PyTorch(
            request.torch,
            graph,
            limit=limit,
            ranges=request.ranges,
            input_names=request.input_names,
            output_names=request.output_names,
        )
        pairs.append(Pair(module, suspect, None, Options("recorded")))
    built_from = graph
    if request.fixed is not None:
        built_from = Graph(request.fixed)
        leg = OnnxRuntime(built_from, name=FIXED, limit=limit)
        pairs.append(Pair(reference, leg, graph, Options("model")))
    if request.against is not None:
        path = request.against.path
        name = f"{ONNX_RUNTIME} ({path.name if path else 'other model'})"
        leg = OnnxRuntime(Graph(request.against), name=name, limit=limit)
        pairs.append(Pair(reference, leg, graph, Options("model")))
    if request.expected is not None:
        _check_names(request.expected, graph)
        reference, twin = Recorded(request.expected), None
        if request.tensorrt is None:
            pairs.append(Pair(reference, suspect, None, Options("recorded")))
    asked = request.tensorrt
    if asked is not None and asked.absent is not None:
        absent.append(LegReport(TENSORRT, "not run", reason=asked.absent))
    elif asked is not None:
        trt = TensorRT(
            built_from,
            asked.settings,
            version=asked.version,
            device=asked.device,
            plan=asked.plan,
            profile=asked.profile,
        )
        kind = Options("engine", asked.options)
        pairs.append(Pair(reference, trt, twin, kind))
        notes += _doubts(asked, built_from.model)
    if not pairs and not absent:
        raise UsageError(
            "there is nothing to compare the model with",
            hint="give --torch FILE:NAME, --engine PLAN, --build, --fixed or --against MODEL",
        )
    return pairs, absent, notes


def _check_names(expected: Arrays, graph: Graph) -> None:
    if not expected.keys() & (graph.values.keys() | graph.constants.keys()):
        raise UsageError(
            f"what was recorded is called {', '.join(expected)}; the outputs of the ONNX file are "
            f"{', '.join(graph.outputs)}",
            hint="save the arrays under the names that the file has",
        )


def _doubts(asked: TensorRTRequest, model: Model) -> list[str]:
    if asked.built_from is None or model.sha256 in (None, asked.built_from):
        return []
    return [
        "the plan was built from another file than the model that is searched; give that with "
        "--fixed"
    ]
