"""Building an engine, in a child process; a GPU is not needed for TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint import files
from tripoint.engine import manifest, network, next_step, outputs, precision_check, why_not_built
from tripoint.engine.network import NetworkDescription
from tripoint.engine.options import BuildOptions
from tripoint.engine.precision_check import Evidence, as_json
from tripoint.engine.progress import OnPhase, Phase
from tripoint.errors import ExternalStepError
from tripoint.graph import passthrough
from tripoint.model import Model, external_tensors, sha256
from tripoint.precision.prepare import Prepared, source_of
from tripoint.profiles.profile import Profile
from tripoint.trt import bindings, gpu, messages, process
from tripoint.trt.bindings import Binding
from tripoint.trt.tf32 import for_build
from tripoint.views import quantized
from tripoint.views.stops import Watch, refusals


class NotParsedError(ExternalStepError):
    """The parser of a TensorRT refused the model, so that no build was begun."""


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
        profiles: The optimization profiles, none for a static model.
        warnings: What TensorRT warned of, in its words, each once; before that where outputs have
            another shape than those of the model, which attributes are ignored, and what of the
            profiles is likely not meant.
        precision: What precision the network and the engine have, and what it costs.
    """

    engine: Path
    bytes: int
    sha256: str
    manifest_path: Path
    manifest: Mapping[str, Any]
    network: NetworkDescription
    profiles: tuple[Profile, ...]
    warnings: tuple[str, ...]
    precision: Evidence


def build(
    model: Model,
    output: Path,
    *,
    profiles: Sequence[Profile] = (),
    tensorrt: str | None = None,
    compute_capabilities: Sequence[str] = (),
    tf32: bool = True,
    options: BuildOptions | None = None,
    precision: Prepared | None = None,
    timeout: float | None = None,
    force: bool = False,
    on_phase: OnPhase | None = None,
) -> BuildResult:
    """Build an engine and write it with its manifest beside it, both or neither.

    What is guaranteed of the two files, also where a process is killed, is said in
    :mod:`tripoint.engine.outputs`.

    Arguments and errors are those of :func:`tripoint.build`, but for: ``profiles``, each with
    shapes of all dynamic inputs and values of all shape inputs; and ``precision``, the model in
    the precision that was asked for, None for the model as it is.
    """
    described = manifest.path_for(output)
    asked = options or BuildOptions()
    options_asked = asked.request()
    asked_of = profiles
    profiles = [each.renamed(_names(model, "outputs")) for each in profiles]
    binding = refuse_early(model, output, tensorrt=tensorrt, options=asked, force=force)
    events = _Events(on_phase)
    with (
        source_of(model, precision) as source,
        outputs.pair(output, described, force=force) as (plan, described_here),
        next_step.tried(model),
    ):
        request = {
            "task": "build",
            "tensorrt": binding.name,
            "model": str(source.resolve()),
            "plan": str(plan.resolve()),
            "profiles": [manifest.as_json(profile) for profile in profiles],
            "compute_capabilities": list(compute_capabilities),
            "tf32": tf32,
            "options": options_asked,
            "precision": precision.requested if precision else None,
            "environment": dict(for_build(binding.kind, tf32=tf32)),
        }

        def again(file: Path, trial: Path, wanted: Sequence[Profile], seconds: float) -> Any:
            each = [manifest.as_json(profile) for profile in wanted]
            other = {**request, "model": str(file), "plan": str(trial), "profiles": each}
            return process.call(other, timeout=seconds)

        try:
            built = process.call(request, timeout=timeout, on_event=events)
        except process.WorkerError as error:
            convolution = quantized.convolution(model.ir.graph)
            if messages.INT8_CONVOLUTION.search(error.fact) and convolution:
                error.within(subject=convolution)
                raise
            lowered = precision.lowered if precision else None
            whole = Model(lowered.model) if lowered else model
            raise why_not_built.explain(
                why_not_built.Failed(
                    whole,
                    asked_of,
                    error,
                    events.watch.lines,
                    events.network_layers,
                    again,
                    events.say,
                )
            ) from error
        _raise_refusal(model, built, f"{binding.name} {built['version']}", events.watch)
        evidence = precision_check.gather(precision, built, plan, binding, timeout=timeout)
        size, digest = plan.stat().st_size, sha256(plan)
        given_out = _names(model, "outputs")
        given_in = [passthrough.engine_name(name, given_out) for name in _names(model, "inputs")]
        description = network.from_child(built, given_in, given_out)
        content = manifest.create(
            model=_identity(model, source),
            engine={"file": output.name, "bytes": size, "sha256": digest},
            binding=binding,
            built=built,
            profiles=profiles,
            description=description,
            precision=as_json(evidence),
        )
        described_here.write_text(manifest.text(content), encoding="utf-8")
    return BuildResult(
        output,
        size,
        digest,
        described,
        content,
        description,
        tuple(profiles),
        tuple(events.warnings),
        evidence,
    )


def refuse_early(
    model: Model,
    output: Path,
    *,
    tensorrt: str | None = None,
    options: BuildOptions | None = None,
    force: bool = False,
) -> Binding:
    """Refuse what cannot be built, or not be written, before any work is done.

    Args:
        model: As :func:`build`.
        output: As :func:`build`.
        tensorrt: As :func:`build`.
        options: As :func:`build`.
        force: As :func:`build`.

    Returns:
        The TensorRT that is going to build.

    Raises:
        OutputError: If a file exists without ``force``, or is one that goes into the build.
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If it builds only where a GPU is, and there is none.
    """
    results = (output, manifest.path_for(output))
    for path in results:
        files.refuse_overwrite(path, force=force)
    _refuse_inputs(model, options or BuildOptions(), results)
    binding = bindings.find(tensorrt)
    _refuse_without_gpu(binding)
    return binding


class _Events:
    """Passes progress on and keeps warnings."""

    def __init__(self, on_phase: OnPhase | None) -> None:
        self.on_phase = on_phase
        self.warnings: dict[str, None] = {}
        self.watch = Watch()
        self.network_layers: list[Any] = []

    def say(self, line: str) -> None:
        """Tell what is done outside of the build."""
        if self.on_phase:
            self.on_phase(Phase(line, done=True))

    def __call__(self, event: process.Event) -> None:
        self.watch(event)
        if event["event"] == "network":
            self.network_layers = event["made"]
        for severity, text in event.get("lines", ()):
            if severity == "WARNING":
                self.warnings[text] = None
        if not self.on_phase:
            return
        if event["event"] in ("loaded", "stage"):
            self.on_phase(Phase(event["at"]))
        elif event["event"] == "progress":
            self.on_phase(
                Phase(
                    event["phase"],
                    event.get("parent"),
                    event["step"],
                    event["steps"],
                    event.get("done", False),
                )
            )


def _refuse_inputs(model: Model, options: BuildOptions, results: Sequence[Path]) -> None:
    """Raise if a result would replace a file that goes into the build."""
    read = [Path(tensor.base_dir, tensor.location) for tensor in external_tensors(model.ir)]
    read += [*options.plugins, *([model.origin] if model.origin else [])]
    if options.timing_cache not in (None, "off"):
        read.append(Path(options.timing_cache))
    for source in dict.fromkeys(read):
        for result in results:
            files.refuse_same(source, result)


def _identity(model: Model, source: Path) -> dict[str, Any]:
    """Return what identifies a model, its weights included."""
    weights = {
        Path(tensor.base_dir, tensor.location): str(tensor.location)
        for tensor in external_tensors(model.ir)
    }
    return {
        "path": model.origin.name if model.origin else None,
        "sha256": model.sha256 or sha256(source),
        "opset": model.opset,
        "external_data": [
            {"location": location, "bytes": path.stat().st_size, "sha256": sha256(path)}
            for path, location in weights.items()
        ],
    }


def _refuse_without_gpu(binding: Binding) -> None:
    reason = gpu.absence() if binding.kind == "tensorrt" else None
    if reason:
        raise ExternalStepError(
            f"{binding} builds only on a machine with a GPU: {reason}",
            hint="--tensorrt tensorrt_rtx_bindings builds without one",
        )


def _raise_refusal(model: Model, built: Mapping[str, Any], version: str, watch: Watch) -> None:
    if built["complete"]:
        return
    refused = refusals(built["errors"], model.ir, version, watch.lines)
    if not refused:
        raise NotParsedError(f"{version} did not parse this model")
    fact = str(refused[0])
    (first,) = quantized.explained(refused[:1], model.ir.graph)
    if first.next:
        raise NotParsedError(fact, hint=quantized.hint(first))
    meaning = messages.of(built["errors"][0]["text"])
    hint = next_step.after_refusal(model, refused, meaning, version.split(" ")[0])
    if meaning is not None:
        fact = f"{fact}; what it means: {meaning.meaning}"
    raise NotParsedError(fact, hint=hint)


def _names(model: Model, which: str) -> list[str]:
    return [value.name for value in getattr(model.ir.graph, which) if value.name]
