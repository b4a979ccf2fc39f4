"""The functions behind the commands: they take what users hold and return dataclasses."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tripoint import model as models
from tripoint.errors import InputError, UsageError
from tripoint.facts.compute import Facts, compute
from tripoint.facts.table import Chain, Shape, TensorTable
from tripoint.model import Model
from tripoint.numeric.inputs import MINIMUM_POINTS
from tripoint.rewrites.base import FixResult
from tripoint.rewrites.numbers import Points
from tripoint.spec import Range, Spec

if TYPE_CHECKING:
    import onnx_ir as ir

    from tripoint.engine.builder import BuildResult
    from tripoint.engine.inspect import NetworkDescription, PlanInspection
    from tripoint.engine.options import BuildOptions
    from tripoint.engine.progress import OnPhase
    from tripoint.engine.proposal import ProfileResult
    from tripoint.facts.differences import Differences
    from tripoint.parity.locate.precision import Ranking
    from tripoint.parity.locate.request import TensorRTRequest
    from tripoint.parity.locate.results import Location
    from tripoint.parity.results import Verification
    from tripoint.parity.verify import Engine
    from tripoint.pipeline import RunResult
    from tripoint.precision.lower import Io, Precision
    from tripoint.sources.python import TorchModel
    from tripoint.sources.torch_export import Export

PLAN_SUFFIXES = frozenset({".plan", ".engine", ".trt"})
Exporter = Literal["dynamo", "torchscript"]


def load(path: str | os.PathLike[str]) -> Model:
    """Read an ONNX model; see :func:`tripoint.model.load`."""
    return models.load(path)


def facts(
    model: str | os.PathLike[str] | Model | ir.Model,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> Facts:
    """True shapes and a TensorRT's view of a model, able to explain each tensor.

    Args:
        model: Path, :class:`~tripoint.model.Model` or ``onnx_ir.Model``.
        target: ``"installed"``, a version such as ``"7.1"``, the path of a verbose log, or None
            for the installed TensorRT where there is one, else the newest that is modelled.
        tensorrt: Name of the importable TensorRT that ``"installed"`` means.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If the target is ``"installed"`` and no TensorRT is.
        InputError: If the model cannot be read.
    """
    return compute(as_model(model), target, tensorrt=tensorrt)


def shapes(
    model: str | os.PathLike[str] | Model | ir.Model,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> TensorTable:
    """The tensor table: the true shape of every tensor beside TensorRT's view.

    Arguments and errors are those of :func:`facts`.
    """
    return facts(model, target=target, tensorrt=tensorrt).table


def compare(a: TensorTable, b: TensorTable) -> Differences:
    """Where two targets see one model differently; see :mod:`tripoint.facts.differences`."""
    from tripoint.facts import differences

    return differences.compare(a, b)


def recorded(path: str | os.PathLike[str]) -> tuple[Facts, ...]:
    """What a verbose log shows, model by model, without their files.

    Args:
        path: A log of the ONNX parser of TensorRT 7.0 to 10; see
            :func:`tripoint.facts.views.log.read`.

    Raises:
        InputError: If the log cannot be read, or no line of a TensorRT parser is in it.
    """
    from tripoint.facts.views import log

    return tuple(log.facts(recording) for recording in log.read(path))


def why(
    model: str | os.PathLike[str] | Model | ir.Model,
    tensor: str,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> Chain:
    """Why TensorRT does not know the dims of one tensor.

    Args:
        model: As :func:`facts`.
        tensor: Name of the tensor.
        target: As :func:`facts`.
        tensorrt: As :func:`facts`.

    Raises:
        UsageError: If the model has no such tensor.
    """
    return explain(facts(model, target=target, tensorrt=tensorrt), tensor)


def explain(known: Facts, tensor: str) -> Chain:
    """The chain of one tensor of facts that are already known.

    Raises:
        UsageError: If the model has no such tensor.
    """
    import difflib

    try:
        return known.chain(tensor)
    except KeyError as error:
        near = difflib.get_close_matches(tensor, known.table.by_name, n=3)
        raise UsageError(
            f"the model has no tensor named {tensor!r}",
            hint=f"did you mean {', '.join(near)}?" if near else "tripoint shapes lists them",
        ) from error


def fix(
    model: str | os.PathLike[str] | Model | ir.Model,
    *,
    spec: Spec | None = None,
    target: str | None = None,
    tensorrt: str | None = None,
    select: Sequence[str] | None = None,
    unsafe: bool = False,
    numeric: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> FixResult:
    """Rewrite a model so that TensorRT understands it, with proof.

    Args:
        model: As :func:`facts`; it is not changed.
        spec: Ranges of the symbols, for the numeric proof; without it sizes at which the model
            runs are looked for.
        target: As :func:`facts`: whose lost dims are counted.
        tensorrt: As :func:`facts`.
        select: Names of the rewrites to try, None for all.
        unsafe: Whether to try those as well that change results in a corner case.
        numeric: False leaves the numeric proof out, and the result says so.
        on_progress: Called with one line for each rewrite that is kept.

    Raises:
        UsageError: If a rewrite, target, symbol or range is unknown or impossible.
    """
    from tripoint.rewrites import fix as fixing

    model = as_model(model)
    return fixing.fix(
        model,
        points=_proof_points(model, spec),
        target=target,
        tensorrt=tensorrt,
        select=select,
        unsafe=unsafe,
        numeric=numeric,
        on_progress=on_progress,
    )


def as_model(model: str | os.PathLike[str] | Model | ir.Model) -> Model:
    """What a user holds, as a :class:`~tripoint.model.Model`."""
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, os.PathLike)):
        return load(model)
    return Model(model)


def input_shapes(model: Model) -> dict[str, Shape]:
    """True shape by name of every input that must be fed."""
    from tripoint.numeric.inputs import inputs_of

    return {name: shape for name, (_, shape) in inputs_of(model).items()}


def sweep(model: Model, spec: Spec | None) -> list[dict[str, int]]:
    """Points of the input range: min, opt, max and a random one, or fewer sizes repeated.

    At each of at least three points other random inputs are used. The random point is one that
    the graph can take.

    Raises:
        UsageError: If a dynamic dim has no range, a shape tensor no values, or min, opt or max is
            a size that the graph cannot take.
    """
    return _swept(*_examined(model, spec))


def _swept(
    ranges: Mapping[str, Range], takes: Callable[[Mapping[str, int]], bool]
) -> list[dict[str, int]]:
    from tripoint.engine.sampling import points

    found = points(ranges, allowed=takes)
    return found * math.ceil(MINIMUM_POINTS / len(found))


def _examined(
    model: Model, spec: Spec | None
) -> tuple[Mapping[str, Range], Callable[[Mapping[str, int]], bool]]:
    """The range of every symbol, values of shape tensors too, and whether the graph takes sizes.

    Raises:
        UsageError: As :func:`sweep`.
    """
    from tripoint.engine.constraints import profiles
    from tripoint.engine.profile import several

    needed = profiles.needs(model)
    checked = several(needed.inputs, [spec or Spec()], values=needed.values)
    examined = profiles.examine(needed, checked)
    profiles.refuse(examined)
    ranges = examined[0].ranges if examined else {}
    return ranges, lambda sizes: profiles.takes(needed, sizes)


def _proof_points(model: Model, spec: Spec | None) -> Points | None:
    if spec is None or not (spec.inputs or spec.dims):
        return None
    ranges, takes = _examined(model, spec)
    return Points(tuple(_swept(ranges, takes)), ranges=_ends(ranges))


def _ends(ranges: Mapping[str, Range]) -> dict[str, tuple[int, int]]:
    """Smallest and largest size by symbol."""
    return {symbol: (size.min, size.max) for symbol, size in ranges.items()}


def export(
    model: str | TorchModel,
    path: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    output_names: Sequence[str] | None = None,
    force: bool = False,
) -> Export:
    """Export a PyTorch module to an ONNX file whose nodes know their source lines.

    Args:
        model: ``file.py:name``, ``pkg.module:name`` or a
            :class:`~tripoint.sources.python.TorchModel`.
        path: The ONNX file to write.
        spec: Shapes and ranges of the inputs.
        exporter: PyTorch's graph capture or its tracer.
        opset: Opset to export, by default the exporter's choice.
        output_names: Names for what the module returns, in order.
        force: Whether existing files may be replaced.

    Raises:
        UsageError: If the reference is not one to PyTorch code, or the inputs do not fit.
        InputError: If the code or the module raises.
        ExternalStepError: If the exporter refuses.
    """
    from tripoint.sources.torch_export import export as run_export

    return run_export(
        as_torch(model),
        spec or Spec(),
        Path(path),
        exporter=exporter,
        opset=opset,
        output_names=output_names,
        force=force,
    )


def profile(
    model: str | os.PathLike[str] | Model | ir.Model, *, specs: Sequence[Spec] = ()
) -> ProfileResult:
    """Propose optimization profiles, and hold them against what the graph needs.

    Args:
        model: As :func:`facts`.
        specs: What is said of each profile; dims that it leaves out are proposed. Without any,
            one profile is proposed.

    Returns:
        The profiles with where their numbers come from, every equation between sizes that the
        graph implies, and how it fares. A profile that violates one is returned, too.

    Raises:
        UsageError: If a name, symbol or rank is unknown or wrong, a fixed dim is given another
            size, or a shape tensor has no values.
    """
    from tripoint.engine import proposal

    return proposal.profiles(as_model(model), specs or (Spec(),))


def build(
    model: str | os.PathLike[str] | Model | ir.Model,
    path: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    specs: Sequence[Spec] = (),
    tensorrt: str | None = None,
    compute_capabilities: Sequence[str] = (),
    tf32: bool = True,
    options: BuildOptions | None = None,
    precision: Precision | None = None,
    keep_fp32: Sequence[str] = (),
    io_precision: Io = "keep",
    numeric: bool = True,
    timeout: float | None = None,
    force: bool = False,
    on_progress: Callable[[str], None] | None = None,
    on_phase: OnPhase | None = None,
) -> BuildResult:
    """Build an engine with its optimization profiles, and a manifest beside it.

    Args:
        model: As :func:`facts`.
        path: The plan to write.
        spec: Range of every dynamic dim, for one profile.
        specs: The same for several, in place of ``spec``.
        tensorrt: Name of the importable TensorRT.
        compute_capabilities: GPUs to build for, such as ``"8.6"``.
        tf32: Whether products may be rounded to TF32, as TensorRT does by default; see
            :func:`tripoint.engine.builder.build`.
        options: Memory pools, optimization level, timing cache, compatibility, refitting,
            plugins. What this TensorRT lacks is an error.
        precision: ``"fp32"`` (without TF32), ``"tf32"``, ``"fp16"`` or ``"bf16"``; None builds the
            model as it is. See :mod:`tripoint.precision.lower`.
        keep_fp32: Nodes that stay in float32 whatever the precision: names or patterns.
        io_precision: ``"keep"`` or ``"match"``: whether float32 inputs and outputs stay so.
        numeric: Whether to measure what a lower precision costs, in ONNX Runtime.
        timeout: Seconds that the build may take.
        force: Whether existing files may be replaced.
        on_progress: Called with one line now and then.
        on_phase: Called in place of it with every phase, as TensorRT tells it.

    Raises:
        UsageError: If a dynamic dim has no range, a size is one that the graph cannot take, a
            capability or a node is unknown, or this TensorRT lacks an option.
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If TensorRT refuses, fails, crashes or takes too long, or the model or
            its engine cannot have the precision.
    """
    from tripoint.engine import builder
    from tripoint.engine.constraints import profiles as constrained
    from tripoint.engine.progress import Lines, Phase
    from tripoint.precision import prepare

    model = as_model(model)
    profiles = constrained.checked(model, specs or (spec or Spec(),))
    on_phase = on_phase or (Lines(on_progress) if on_progress else None)
    builder.refuse_early(model, Path(path), tensorrt=tensorrt, options=options, force=force)
    prepared = prepare.prepare(
        model,
        precision,
        keep=keep_fp32,
        io=io_precision,
        points=prepare.points(input_shapes(model), profiles) if numeric else None,
        on_progress=(lambda line: on_phase(Phase(line))) if on_phase else None,
    )
    return builder.build(
        model,
        Path(path),
        profiles=profiles,
        tensorrt=tensorrt,
        compute_capabilities=compute_capabilities,
        tf32=tf32 and precision != "fp32",
        options=options,
        precision=prepared,
        timeout=timeout,
        force=force,
        on_phase=on_phase,
    )


def verify(
    model: str | os.PathLike[str] | Model | ir.Model,
    *,
    torch: str | TorchModel | None = None,
    fixed: str | os.PathLike[str] | Model | None = None,
    engine: str | os.PathLike[str] | None = None,
    no_engine: str | None = None,
    spec: Spec | None = None,
    points: Sequence[Mapping[str, int]] | int | None = None,
    inputs: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    tensorrt: str | None = None,
    output_names: Sequence[str] | None = None,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    timeout: float = 600.0,
    seed: int = 0,
    rebuild: bool = False,
    save_failing: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Verification:
    """Compare PyTorch, ONNX Runtime and TensorRT, output by output and by name.

    Args:
        model: The ONNX model; as :func:`facts`.
        torch: The module that it came from: ``file.py:name`` or a ``TorchModel``.
        fixed: The rewritten model, compared as well; an engine is compared with it.
        engine: A plan, executed where a GPU is.
        no_engine: Why there is none, for the report.
        spec: Range of every dynamic dim.
        points: Sizes by symbol in place of those that follow from ``spec``, or how many of
            those to take; see :func:`tripoint.parity.sweep.points`.
        inputs: Inputs to use in place of generated ones: one mapping for a point, or what
            :func:`tripoint.sources.inputs_file.read_inputs` reads.
        values: Smallest and largest value of generated inputs, by name.
        tensorrt: Name of the importable TensorRT that executes the plan.
        output_names: Names for what the module returns, in order.
        atol: Absolute tolerance in place of the derived one, for all outputs or by name.
        rtol: Relative tolerance, likewise.
        timeout: Seconds that executing the engine may take.
        seed: Seed of the generated inputs.
        rebuild: Whether the engine is built a second time to see that it computes the same.
        save_failing: Folder for the first failing case; see :mod:`tripoint.parity.failing`.
        force: Whether a failing case that lies there already may be replaced.

    Raises:
        UsageError: If a dynamic dim has no range, or outputs cannot be matched by name.
        InputError: If a model or its code cannot be read, or it takes or gives something that is
            no tensor of numbers.
        OutputError: If a failing case cannot be saved.
    """
    from tripoint.parity import failing as failing_case
    from tripoint.parity import rebuild as rebuilding
    from tripoint.parity.verify import verify as run_verify

    model = as_model(model)
    found = _engine(Path(engine), tensorrt, timeout) if engine is not None else None
    no_engine = found if isinstance(found, str) else no_engine or "no engine was given"
    running = None if isinstance(found, str) else found
    module = as_torch(torch) if torch is not None else None
    rewritten = as_model(fixed) if fixed is not None else None
    failing = None
    if save_failing is not None:
        subject = failing_case.Subject(
            model,
            torch=module.reference if module else None,
            fixed=rewritten,
            engine=Path(engine) if engine is not None else None,
            options=failing_case.options(atol, rtol, output_names, tensorrt),
        )
        failing = failing_case.FailingCase(Path(save_failing), subject, force)
    if isinstance(inputs, (str, os.PathLike)):
        inputs = read_inputs(inputs, model)
    if points is None or isinstance(points, int):
        points = [{}] if inputs is not None else _sizes(model, spec, points)
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        rebuilt: Engine | str | None = None
        if rebuild:
            rebuilt = no_engine
            if running is not None:
                rebuilt = rebuilding.again(running, rewritten or model, Path(folder))
        return run_verify(
            model,
            torch=module,
            fixed=rewritten,
            engine=running,
            no_engine=no_engine,
            bindings=points,
            inputs=inputs,
            output_names=output_names,
            atol=atol,
            rtol=rtol,
            seed=seed,
            values=values,
            rebuilt=rebuilt,
            failing=failing,
        )


def read_inputs(
    inputs: str | os.PathLike[str], model: str | os.PathLike[str] | Model | ir.Model
) -> list[dict[str, Any]]:
    """Inputs out of a file or a function; see :mod:`tripoint.sources.inputs_file`."""
    from tripoint.numeric.inputs import inputs_of
    from tripoint.sources.inputs_file import read_inputs as read

    return read(os.fspath(inputs), inputs_of(as_model(model)))


def _sizes(model: Model, spec: Spec | None, count: int | None) -> Sequence[Mapping[str, int]]:
    from tripoint.parity import sweep as sizes

    ranges, takes = _examined(model, spec)
    return sizes.points(ranges, count or sizes.POINTS, allowed=takes)


def locate(
    model: str | os.PathLike[str] | Model | ir.Model,
    *,
    torch: str | TorchModel | None = None,
    engine: str | os.PathLike[str] | None = None,
    build_engine: bool = False,
    fixed: str | os.PathLike[str] | Model | None = None,
    against: str | os.PathLike[str] | Model | None = None,
    expected: Mapping[str, Any] | None = None,
    spec: Spec | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    tensorrt: str | None = None,
    tf32: bool = True,
    output_names: Sequence[str] | None = None,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    timeout: float = 600.0,
    seed: int = 0,
    most_tensors: int = 64,
    folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Location:
    """Find the first node, in graph order, that makes two legs differ.

    Args:
        model: The ONNX model; as :func:`facts`.
        torch: The module that it came from, compared with ONNX Runtime.
        engine: A plan, compared with ONNX Runtime; further engines are built as it was.
        build_engine: Whether to build an engine here in place of a given one.
        fixed: The rewritten model, compared as well; engines are of it.
        against: Another model with the same tensor names, compared in ONNX Runtime.
        expected: Outputs that were recorded elsewhere, by output name; the reference of the
            engine, or else of ONNX Runtime.
        spec: Range of every dynamic dim.
        inputs: Inputs to use in place of generated ones, one mapping for a point.
        tensorrt: Name of the importable TensorRT.
        tf32: Whether an engine that is built may round float32 products to TF32.
        output_names: Names for what the module returns, in order.
        atol: Absolute tolerance of outputs in place of the derived one.
        rtol: Relative tolerance, likewise.
        timeout: Seconds that one build and run of an engine may take.
        seed: Seed of the generated inputs.
        most_tensors: Intermediate tensors to have in memory at a time.
        folder: Where a minimal model that shows the difference goes; None to write none.
        force: Whether files in it may be replaced.
        on_progress: Called with one line at each step.

    Raises:
        UsageError: If there is nothing to compare, a dynamic dim has no range, or names cannot
            be matched.
        InputError: If a model or its code cannot be read.
        OutputError: If a file of the repro exists without ``force``, or cannot be written.
    """
    from tripoint.parity.locate import request
    from tripoint.parity.locate.locate import Limits

    model = as_model(model)
    asked = None
    if engine is not None or build_engine:
        asked = _engines(Path(engine) if engine is not None else None, tensorrt, timeout, tf32)
    return request.run(
        request.Request(
            model,
            torch=as_torch(torch) if torch is not None else None,
            expected=expected,
            fixed=as_model(fixed) if fixed is not None else None,
            against=as_model(against) if against is not None else None,
            tensorrt=asked,
            output_names=output_names,
            ranges=_ends(_examined(model, spec)[0]) if inputs is None else {},
        ),
        bindings=[{}] if inputs is not None else sweep(model, spec),
        inputs=inputs,
        seed=seed,
        limits=Limits(most_tensors, atol, rtol),
        folder=Path(folder) if folder is not None else None,
        force=force,
        say=on_progress or (lambda _: None),
    )


def locate_precision(
    model: str | os.PathLike[str] | Model | ir.Model,
    precision: Literal["fp16", "bf16"],
    *,
    spec: Spec | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Ranking:
    """Rank the nodes by what a lower precision costs there, in ONNX Runtime.

    Args:
        model: As :func:`facts`, in float32.
        precision: The lower precision.
        spec: Range of every dynamic dim.
        inputs: Inputs to use in place of generated ones, one mapping for a point.
        atol: Absolute tolerance of outputs; see :func:`tripoint.parity.locate.precision.rank`.
        rtol: Relative tolerance, likewise.
        seed: Seed of the generated inputs.
        folder: Where the list for ``build --keep-fp32`` goes; None to write none.
        force: Whether it may be replaced.
        on_progress: Called with one line at each step.

    Raises:
        UsageError: If a dynamic dim has no range, or given inputs do not fit.
        ExternalStepError: If ONNX Runtime cannot run the model.
        OutputError: If the list exists without ``force``, or cannot be written.
    """
    from tripoint import files
    from tripoint.parity.locate import precision as costs
    from tripoint.parity.locate.graph import Graph
    from tripoint.parity.locate.request import points

    if folder is not None:
        files.refuse_overwrite(Path(folder) / costs.LIST, force=force)
    graph = Graph(as_model(model))
    where = [{}] if inputs is not None else sweep(graph.model, spec)
    ranking = costs.rank(
        graph,
        precision,
        [point.inputs for point in points(graph, where, inputs, seed)],
        atol=atol,
        rtol=rtol,
        say=on_progress or (lambda _: None),
    )
    return costs.write(ranking, Path(folder), force=force) if folder is not None else ranking


def inspect(
    model: str | os.PathLike[str] | Model | ir.Model,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
    load_plan: bool = False,
) -> NetworkDescription | PlanInspection:
    """The inputs and outputs of a model as TensorRT sees them, or those of a plan.

    Args:
        model: A model as :func:`facts` takes it, or the path of a plan (``.plan``, ``.engine``,
            ``.trt``).
        target: As :func:`facts`.
        tensorrt: As :func:`facts`.
        load_plan: Whether to load the plan, which takes a GPU; else its manifest is read.

    Raises:
        InputError: If the file cannot be read, or the plan is not that of its manifest.
        ExternalStepError: If the plan is to be loaded and cannot be.
    """
    from tripoint.engine.inspect import describe, inspect_plan

    if is_plan(model):
        return inspect_plan(Path(os.fspath(model)), load=load_plan, tensorrt=tensorrt)  # type: ignore[arg-type]
    return describe(shapes(model, target=target, tensorrt=tensorrt))


def run(model: str, output: str | os.PathLike[str], **options: Any) -> RunResult:
    """The main job in one call; see :func:`tripoint.pipeline.run` for the options."""
    from tripoint.pipeline import run as run_pipeline

    return run_pipeline(model, Path(output), **options)


def is_plan(model: object) -> bool:
    """Whether an argument names a serialized engine."""
    return isinstance(model, (str, os.PathLike)) and Path(model).suffix in PLAN_SUFFIXES


def as_torch(model: str | TorchModel) -> TorchModel:
    """A reference to PyTorch code, as the module that it names.

    Raises:
        UsageError: If it is not a reference to PyTorch code.
    """
    from tripoint.sources import python, reference

    if not isinstance(model, str):
        return model
    found = reference.parse(model)
    if isinstance(found, reference.OnnxReference):
        raise UsageError(f"{model} is not PyTorch code", hint="write file.py:name")
    return python.load_module(found)


def _engine(plan: Path, tensorrt: str | None, timeout: float) -> Engine | str:
    """What is needed to execute a plan, or why it cannot be."""
    from tripoint.engine import bindings, gpu, manifest
    from tripoint.parity.verify import Engine
    from tripoint.precision import recorded

    if not plan.is_file():
        raise InputError("no such file").within(subject=str(plan))
    found = gpu.probe()
    if not found.devices:
        return found.reason or "no GPU was found"
    binding = bindings.find(tensorrt)
    beside = manifest.path_for(plan)
    content = manifest.read(beside) if beside.is_file() else {}
    return Engine(
        plan,
        tensorrt=binding.name,
        version=str(binding),
        device=found.devices[0].name,
        tf32=bool(content.get("flags", {}).get("tf32", True)),
        environment=content.get("environment"),
        timeout=timeout,
        rounding=recorded.rounding(content),
    )


def _engines(
    plan: Path | None, tensorrt: str | None, timeout: float, tf32: bool
) -> TensorRTRequest:
    """What is needed to build engines as a plan was built, or as options say."""
    from tripoint.engine import bindings, gpu, manifest
    from tripoint.engine.debugging import Settings
    from tripoint.engine.tf32 import for_build
    from tripoint.parity.locate.request import TensorRTRequest
    from tripoint.parity.locate.tensorrt import Plan

    if plan is None:
        found = gpu.probe()
        if not found.devices:
            return TensorRTRequest(absent=found.reason or "no GPU was found")
        binding = bindings.find(tensorrt)
        return TensorRTRequest(
            settings=Settings(binding.name, tf32, for_build(binding.kind, tf32=tf32), timeout),
            version=str(binding),
            device=found.devices[0].name,
            options=(
                *(["--tensorrt", tensorrt] if tensorrt else []),
                *([] if tf32 else ["--no-tf32"]),
            ),
        )
    known = _engine(plan, tensorrt, timeout)
    if isinstance(known, str):
        return TensorRTRequest(absent=known)
    beside = manifest.path_for(plan)
    content = manifest.read(beside) if beside.is_file() else {}
    return TensorRTRequest(
        settings=Settings(known.tensorrt, known.tf32, known.environment or {}, timeout),
        version=known.version,
        device=known.device,
        plan=Plan(plan, tuple(next(iter(content.get("profiles", [])), []))),
        built_from=content.get("model", {}).get("sha256"),
        options=() if known.tf32 else ("--no-tf32",),
    )
