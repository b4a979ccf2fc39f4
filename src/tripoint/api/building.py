"""Optimization profiles and engines."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tripoint.api.arguments import as_given, feed_of, input_shapes, is_plan
from tripoint.api.tables import shapes
from tripoint.progress import Progress
from tripoint.spec import Spec

if TYPE_CHECKING:
    from tripoint.api.arguments import ModelLike
    from tripoint.engine.builder import BuildResult
    from tripoint.engine.inspect import PlanInspection
    from tripoint.engine.network import NetworkDescription
    from tripoint.engine.options import BuildOptions
    from tripoint.engine.progress import OnPhase
    from tripoint.precision.lower import Io, Precision
    from tripoint.profiles.proposal import ProfileResult
    from tripoint.sources.python import TorchModel


def profile(model: ModelLike, *, specs: Sequence[Spec] = ()) -> ProfileResult:
    """Propose optimization profiles, and hold them against what the graph needs.

    Args:
        model: As :func:`tripoint.api.facts`.
        specs: What is said of each profile; dims that it leaves out are proposed. Without any,
            one profile is proposed.

    Returns:
        The profiles with where their numbers come from, every equation between sizes that the
        graph implies, and how it fares. A profile that violates one is returned, too.

    Raises:
        UsageError: If a name, symbol or rank is unknown or wrong, a fixed dim is given another
            size, or a shape tensor has no values.
    """
    from tripoint.profiles import proposal

    return proposal.profiles(as_given(model, *specs), specs or (Spec(),))


def build(
    model: ModelLike,
    path: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    specs: Sequence[Spec] = (),
    torch: str | TorchModel | None = None,
    inputs: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    input_names: Sequence[str] | None = None,
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
    on_progress: Progress | None = None,
    on_phase: OnPhase | None = None,
) -> BuildResult:
    """Build an engine with its optimization profiles, and a manifest beside it.

    Args:
        model: As :func:`tripoint.api.facts`.
        path: The plan to write.
        spec: Range of every dynamic dim, for one profile.
        specs: The same for several, in place of ``spec``.
        torch: The module that it came from. What a lower precision costs is measured at its
            example inputs as well, and at some that follow them.
        inputs: As :func:`tripoint.verify`: inputs at which that is measured.
        values: As :func:`tripoint.verify`, likewise.
        input_names: What the ONNX file calls the inputs of the module, in order.
        tensorrt: Name of the importable TensorRT.
        compute_capabilities: GPUs to build for, such as ``"8.6"``; none leaves the choice to
            the vendor. TensorRT-RTX only.
        tf32: Whether float32 products may be rounded to TF32 first, as TensorRT does unless
            told otherwise. With TensorRT-RTX, an engine without it runs only where
            ``NVIDIA_TF32_OVERRIDE=0`` is set; the manifest says so.
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
        on_phase: Called in place of it with every phase, as TensorRT tells it. What it raises
            stops the build.

    Raises:
        OutputError: If a file exists without ``force`` or cannot be written, or another build
            writes the same plan.
        InputError: If a plugin cannot be loaded.
        UsageError: If a dynamic dim has no range, a size is one that the graph cannot take, a
            capability or a node is unknown, or this TensorRT lacks an option.
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If TensorRT refuses, fails, crashes or takes too long, or the model or
            its engine cannot have the precision.
    """
    from tripoint.analysis import misreading
    from tripoint.api import rewriting
    from tripoint.engine import builder
    from tripoint.engine.progress import Lines, Phase
    from tripoint.numeric.inputs import inputs_of
    from tripoint.parity import points as choice
    from tripoint.precision import prepare
    from tripoint.precision.lower import LOW
    from tripoint.profiles import points
    from tripoint.profiles.constraints import profiles as constrained

    model = as_given(model, spec, *specs)
    profiles = constrained.checked(model, specs or (spec or Spec(),))
    on_phase = on_phase or (Lines(on_progress) if on_progress else None)
    builder.refuse_early(model, Path(path), tensorrt=tensorrt, options=options, force=force)
    feed = feed_of(model, torch, inputs, values, input_names)
    at = None
    if numeric and precision in LOW:
        specs_of = inputs_of(model)
        sizes = points.ends_of(input_shapes(model), profiles)
        at = (
            choice.of_arrays(specs_of, feed.arrays)
            if feed.arrays
            else choice.made_up(model, specs_of, sizes, values=feed.values, examples=feed.like)
        ).points
    prepared = prepare.prepare(
        model,
        precision,
        keep=keep_fp32,
        io=io_precision,
        points=[point.sizes for point in at] if at is not None else None,
        inputs=[point.inputs for point in at] if at is not None else None,
        on_progress=(lambda line: on_phase(Phase(line))) if on_phase else None,
    )
    built = builder.build(
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
    outputs = {each.name: each.shape for each in built.network.outputs}
    misread = (*misreading.untrue_outputs(model, outputs), *misreading.ignored_attributes(model))
    otherwise = rewriting.says_otherwise(model) if misread else ()
    ahead = (*misread, *otherwise, *constrained.frozen_at(model, profiles))
    return dataclasses.replace(built, warnings=(*ahead, *built.warnings))


def inspect(
    model: ModelLike,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
    load_plan: bool = False,
) -> NetworkDescription | PlanInspection:
    """The inputs and outputs of a model as TensorRT sees them, or those of a plan.

    Args:
        model: A model as :func:`tripoint.api.facts` takes it, or the path of a plan (``.plan``,
            ``.engine``, ``.trt``).
        target: As :func:`tripoint.api.facts`.
        tensorrt: As :func:`tripoint.api.facts`.
        load_plan: Whether to load the plan, which takes a GPU; else its manifest is read.

    Raises:
        InputError: If the file cannot be read, or the plan is not that of its manifest.
        ExternalStepError: If the plan is to be loaded and cannot be.
    """
    from tripoint.engine.inspect import inspect_plan
    from tripoint.engine.network import describe

    if is_plan(model):
        return inspect_plan(Path(os.fspath(model)), load=load_plan, tensorrt=tensorrt)  # type: ignore[arg-type]
    return describe(shapes(model, target=target, tensorrt=tensorrt))
