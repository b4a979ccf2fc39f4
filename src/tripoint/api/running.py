"""The main job: export, look, rewrite, build, compare."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tripoint import files, views
from tripoint import model as models
from tripoint.api import arguments, building, comparing, rewriting
from tripoint.engine import manifest
from tripoint.engine.builder import BuildResult
from tripoint.engine.network import NetworkDescription, describe
from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.parity import failing
from tripoint.parity.failing import CASE
from tripoint.parity.locate import command
from tripoint.parity.results import TENSORRT, Verification
from tripoint.progress import Progress, silent
from tripoint.rewrites.base import FixResult
from tripoint.sources import reference
from tripoint.spec import Spec
from tripoint.trt import bindings

if TYPE_CHECKING:
    from tripoint.precision.lower import Precision
    from tripoint.sources.python import TorchModel

ARTEFACTS = ("model.onnx", "model.fixed.onnx", "model.plan", "model.manifest.json", "report.json")

FAILING = "failing"
"""Folder of the first case that fails, if one does."""


@dataclass(frozen=True)
class RunResult:
    """All that the main job found out.

    Args:
        folder: Where the files lie.
        model: The exported model.
        fixed: The rewritten model, or the exported one where nothing was proven.
        fix: Rewrites with proofs, and the facts before and after.
        network_before: Inputs and outputs as the target sees them before the rewrites.
        network_after: The same after them.
        build: The engine; None if it was not built.
        no_build: Why it was not; None if it was.
        build_failed: Whether the builder was started and failed.
        verification: The verdict over the three legs.
        log: What the exporter printed.
        notes: What the export has to say of the ranges.
    """

    folder: Path
    model: Model
    fixed: Model
    fix: FixResult
    network_before: NetworkDescription
    network_after: NetworkDescription
    build: BuildResult | None
    no_build: str | None
    build_failed: bool
    verification: Verification
    log: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Origin:
    model: Model
    torch: TorchModel | None = None
    log: str = ""
    notes: tuple[str, ...] = ()


def run(
    model: str,
    output: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    exporter: Literal["dynamo", "torchscript"] = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    inputs: str | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    target: str | None = None,
    tensorrt: str | None = None,
    select: Sequence[str] | None = None,
    numeric: bool = True,
    compute_capabilities: Sequence[str] = (),
    tf32: bool = True,
    precision: Precision | None = None,
    keep_fp32: Sequence[str] = (),
    timeout: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> RunResult:
    """Take a model from PyTorch to a verdict over PyTorch, ONNX Runtime and TensorRT.

    Args:
        model: ``file.py:name``, ``pkg.module:name`` or an ONNX file.
        output: Folder for the files of :data:`ARTEFACTS` and the report.
        spec: Shapes and ranges of the inputs.
        exporter: PyTorch's graph capture or its tracer.
        opset: Opset to export, by default the exporter's choice.
        input_names: What the ONNX file calls the inputs of the module, in order.
        output_names: Names for what the module returns, in order.
        inputs: Inputs to use in place of generated ones; see
            :mod:`tripoint.sources.inputs_file`.
        values: Smallest and largest value of generated inputs, by name.
        target: Whose view of the shapes is shown; see :func:`tripoint.shapes`.
        tensorrt: Name of the importable TensorRT to use.
        select: Names of the rewrites to try, None for all.
        numeric: False leaves the numeric proof out.
        compute_capabilities: Target GPUs of the engine, by default TensorRT's own choice.
        tf32: Whether the engine may round float32 products to TF32, TensorRT's default.
        precision: As :func:`tripoint.build`.
        keep_fp32: As :func:`tripoint.build`.
        timeout: Seconds that the build may take.
        atol: Absolute tolerance in place of the derived one.
        rtol: Relative tolerance in place of the derived one.
        force: Whether existing files may be replaced.
        on_progress: Called with one line at the start of each stage.

    Raises:
        TripointError: If a stage cannot be carried out at all. A build that fails does not raise:
            the comparison goes on without the engine, and the result says so.
    """
    progress = on_progress or silent
    spec = spec or Spec()
    model_reference, output = reference.parse(model), Path(output)
    views.resolve(target, tensorrt=tensorrt)
    with files.result_folder(output):
        for name in ARTEFACTS:
            files.refuse_overwrite(output / name, force=force)
        files.refuse_overwrite(output / FAILING / CASE, force=force)
        if isinstance(model_reference, reference.OnnxReference):
            for name in ARTEFACTS:
                files.refuse_same(model_reference.path, output / name)
            loaded = models.load(model_reference.path)
            arguments.sweep(loaded, spec)  # a missing range is an error before anything is written
            origin = _Origin(models.save(loaded, output / "model.onnx", force=force))
        else:
            from tripoint.sources import torch_export

            module = arguments.as_torch(model)
            progress(f"export ({exporter})")
            exported = torch_export.export(
                module,
                output / "model.onnx",
                spec=spec,
                exporter=exporter,
                opset=opset,
                input_names=input_names,
                output_names=output_names,
                force=force,
            )
            origin = _Origin(exported.model, module, exported.log, exported.notes)
            spec = Spec(dims=exported.symbols)

        progress("shapes and rewrites")
        result = rewriting.fix(
            origin.model,
            spec=spec,
            torch=origin.torch,
            inputs=inputs,
            values=values,
            input_names=input_names,
            target=target,
            tensorrt=tensorrt,
            select=select,
            numeric=numeric,
            on_progress=progress,
        )
        kept = result.model if result.proven else origin.model
        fixed = models.save(kept, output / "model.fixed.onnx", force=force)

        progress("build")
        built, no_build, failed = _attempt(
            lambda: building.build(
                fixed,
                output / "model.plan",
                spec=spec,
                torch=origin.torch,
                inputs=inputs,
                values=values,
                input_names=input_names,
                tensorrt=tensorrt,
                compute_capabilities=compute_capabilities,
                tf32=tf32,
                precision=precision,
                keep_fp32=keep_fp32,
                numeric=numeric,
                timeout=timeout,
                force=force,
                on_progress=progress,
            )
        )
        progress("compare")
        verification = comparing.verify(
            origin.model,
            torch=origin.torch,
            fixed=fixed,
            engine=built.engine if built else None,
            no_engine=no_build,
            spec=spec,
            inputs=inputs,
            values=values,
            save_failing=output / FAILING,
            force=force,
            tensorrt=tensorrt,
            input_names=input_names,
            output_names=output_names,
            atol=atol,
            rtol=rtol,
        )
        compared = command.Compared(
            str(output / "model.onnx"),
            torch=model if origin.torch is not None else None,
            fixed=str(output / "model.fixed.onnx"),
            engine=str(built.engine) if built else None,
            inputs=inputs,
            values=[f"{name}:{low:g}..{high:g}" for name, (low, high) in (values or {}).items()],
            options=failing.options(atol, rtol, output_names, tensorrt, input_names),
        )
        verification = dataclasses.replace(
            verification, next=command.next_command(verification, origin.model.ir, compared)
        )
        built = _with_verification(built, verification)
    after = result.facts_after if result.proven else result.facts_before
    return RunResult(
        folder=output,
        model=origin.model,
        fixed=fixed,
        fix=result,
        network_before=describe(result.facts_before.table),
        network_after=describe(after.table),
        build=built,
        no_build=no_build,
        build_failed=failed,
        verification=verification,
        log=origin.log,
        notes=origin.notes,
    )


def _with_verification(built: BuildResult | None, verification: Verification) -> BuildResult | None:
    """The engine; if it was compared, its manifest says with what result."""
    ran = any(leg.name == TENSORRT and leg.status == "ran" for leg in verification.legs)
    if built is None or not ran:
        return built
    content = manifest.add_verification(
        built.manifest_path,
        {
            "verdict": verification.verdict,
            "legs": {leg.name: leg.status for leg in verification.legs},
            "points": len(verification.points),
        },
    )
    return dataclasses.replace(built, manifest=content)


def _attempt(build: Callable[[], BuildResult]) -> tuple[BuildResult | None, str | None, bool]:
    """The engine; without one the reason, and whether a builder was at fault."""
    if not bindings.available():
        return None, f"no TensorRT is installed ({bindings.INSTALL})", False
    try:
        return build(), None, False
    except ExternalStepError as error:
        return None, f"{error.fact}; next: {error.hint}" if error.hint else error.fact, True
