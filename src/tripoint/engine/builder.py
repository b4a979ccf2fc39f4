"""Building an engine, in a child process; a GPU is not needed for TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint import files
from tripoint.engine import bindings, gpu, manifest, network, process, proof
from tripoint.engine.bindings import Binding
from tripoint.engine.network import NetworkDescription
from tripoint.engine.profile import Profile
from tripoint.engine.refusals import refusals
from tripoint.engine.tf32 import for_build
from tripoint.errors import ExternalStepError
from tripoint.model import Model, sha256
from tripoint.precision.evidence import Evidence, as_json
from tripoint.precision.prepare import Prepared, source_of

OnProgress = Callable[[str, int, int], None]
"""Takes the name of a phase, the step that it has reached, and its number of steps."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A built engine.

    Args:
        engine: Where the plan lies.
        bytes: Its size.
        sha256: Its hash.
        manifest_path: Where the manifest lies.
        manifest: Its content.
        network: Inputs, outputs and number of layers of the network that was built.
        profile: The optimization profile, None for a static model.
        warnings: What TensorRT warned of, in its words, each once.
        precision: What precision the network and the engine have, and what it costs.
    """

    engine: Path
    bytes: int
    sha256: str
    manifest_path: Path
    manifest: Mapping[str, Any]
    network: NetworkDescription
    profile: Profile | None
    warnings: tuple[str, ...]
    precision: Evidence


def build(
    model: Model,
    output: Path,
    *,
    profile: Profile | None = None,
    tensorrt: str | None = None,
    compute_capabilities: Sequence[str] = (),
    workspace: int | None = None,
    tf32: bool = True,
    precision: Prepared | None = None,
    timeout: float | None = None,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> BuildResult:
    """Build an engine and write it with its manifest beside it, both or neither.

    Args:
        model: The model; the parser reads it by path.
        output: Where the plan goes.
        profile: Shapes of the dynamic inputs.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        compute_capabilities: GPUs to build for, such as ``"8.6"``; none leaves the choice to
            the vendor. TensorRT-RTX only.
        workspace: Bytes of scratch memory that a layer may use, None for the vendor's choice.
        tf32: Whether float32 products may be rounded to TF32 first, as TensorRT does unless
            told otherwise. With TensorRT-RTX, an engine without it runs only where
            ``NVIDIA_TF32_OVERRIDE=0`` is set; the manifest says so.
        precision: The model in the precision that was asked for, None for the model as it is.
        timeout: Seconds after which the build is stopped, None for no limit.
        force: Whether existing files may be replaced.
        on_progress: Called as the build goes on. What it raises stops the build.

    Raises:
        OutputError: If a file exists without ``force``, or cannot be written.
        UsageError: If a compute capability is unknown, or a dynamic input has no shapes.
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If TensorRT refuses the model, fails, crashes, or runs out of time
            or memory; or if the engine lacks the precision that was asked for.
    """
    described = manifest.path_for(output)
    binding = refuse_early(output, tensorrt=tensorrt, force=force)
    progress = _Progress(on_progress)
    with (
        source_of(model, precision) as source,
        files.atomic(described, force=force) as described_here,
        files.atomic(output, force=force) as plan,
    ):
        built = process.call(
            {
                "task": "build",
                "tensorrt": binding.name,
                "model": str(source.resolve()),
                "plan": str(plan.resolve()),
                "profile": manifest.as_json(profile) if profile else [],
                "compute_capabilities": list(compute_capabilities),
                "workspace": workspace,
                "tf32": tf32,
                "precision": precision.requested if precision else None,
                "environment": dict(for_build(binding.kind, tf32=tf32)),
            },
            timeout=timeout,
            on_event=progress,
        )
        _raise_refusal(model, built, f"{binding.name} {built['version']}")
        size, digest = plan.stat().st_size, sha256(plan)
        found = proof.gather(precision, built, plan, binding, timeout=timeout)
        description = network.from_child(built, _names(model, "inputs"), _names(model, "outputs"))
        content = manifest.create(
            model={
                "path": model.path.name if model.path else None,
                "sha256": model.sha256 or sha256(source),
                "opset": model.opset,
            },
            engine={"file": output.name, "bytes": size, "sha256": digest},
            binding=binding,
            built=built,
            profile=profile,
            description=description,
        )
        content["precision"] = as_json(found)
        described_here.write_text(manifest.text(content), encoding="utf-8")
    return BuildResult(
        output,
        size,
        digest,
        described,
        content,
        description,
        profile,
        tuple(progress.warnings),
        found,
    )


class _Progress:
    """Passes progress on and keeps warnings."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.on_progress = on_progress
        self.warnings: dict[str, None] = {}

    def __call__(self, event: process.Event) -> None:
        if event["event"] == "progress" and self.on_progress:
            self.on_progress(event["phase"], event["step"], event["steps"])
        for severity, text in event.get("lines", ()):
            if severity == "WARNING":
                self.warnings[text] = None


def refuse_early(output: Path, *, tensorrt: str | None, force: bool) -> Binding:
    """Refuse what cannot be built, or not be written, before any work is done.

    Args:
        output: As :func:`build`.
        tensorrt: As :func:`build`.
        force: As :func:`build`.

    Returns:
        The TensorRT that is going to build.

    Raises:
        OutputError: If a file exists without ``force``.
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If it builds only where a GPU is, and there is none.
    """
    for path in (output, manifest.path_for(output)):
        files.refuse_overwrite(path, force=force)
    binding = bindings.find(tensorrt)
    _refuse_without_gpu(binding)
    return binding


def _refuse_without_gpu(binding: Binding) -> None:
    reason = gpu.absence() if binding.kind == "tensorrt" else None
    if reason:
        raise ExternalStepError(
            f"{binding} builds only on a machine with a GPU: {reason}",
            hint="--tensorrt tensorrt_rtx_bindings builds without one",
        )


def _raise_refusal(model: Model, built: Mapping[str, Any], version: str) -> None:
    if built["complete"]:
        return
    refused = refusals(built["errors"], model.ir.graph, version)
    if not refused:
        raise ExternalStepError(f"{version} did not parse this model")
    first = refused[0]
    raise ExternalStepError(
        f"node {first.node!r} ({first.op}): {first.reason}",
        hint="`tripoint shapes` lists every node that it refuses",
    )


def _names(model: Model, which: str) -> list[str]:
    return [value.name for value in getattr(model.ir.graph, which) if value.name]
