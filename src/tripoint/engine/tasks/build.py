"""Task "build": parse a model, build an engine and write it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tripoint.engine import bindings, tf32
from tripoint.engine.tasks import cuda, devices, layers, native
from tripoint.engine.worker import Emit
from tripoint.errors import ExternalStepError, MissingDependencyError, OutputError, UsageError
from tripoint.files import reason

_SECONDS_BETWEEN_STEPS = 0.05


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Build an engine.

    Args:
        request: ``tensorrt`` (module name), ``model`` and ``plan`` (absolute paths),
            ``profile`` (per input name, min, opt, max), ``compute_capabilities``,
            ``workspace`` (bytes or None), ``tf32`` and ``precision`` (or None).
        emit: Takes log lines and progress.

    Returns:
        ``complete``, ``version`` and ``errors``; if the model was parsed also ``layers``,
        ``inputs``, ``outputs``, ``flags``, ``environment``, ``compute_capabilities``,
        ``gpu`` and ``network`` (its layers, see :mod:`tripoint.engine.tasks.layers`).

    Raises:
        UsageError: If a compute capability is unknown or a dynamic input has no shapes.
        ExternalStepError: If the builder fails.
        OutputError: If the plan cannot be written.
    """
    trt = bindings.load(request["tensorrt"])
    emit({"event": "loaded", "version": trt.__version__, "at": "reading the model"})
    logger = native.make_logger(trt, emit)
    parsed = native.parse(trt, logger, request["model"])
    if not parsed.complete:
        return {"complete": False, "version": trt.__version__, "errors": parsed.errors}
    network = parsed.network
    config = parsed.builder.create_builder_config()
    flags = _set_flags(trt, network, config, request)
    capabilities = _set_capabilities(trt, config, request["compute_capabilities"])
    _add_profile(parsed, config, {entry["name"]: entry for entry in request["profile"]})
    monitor = _watch(trt, config, emit)
    emit({"event": "building", "at": "building the engine"})
    plan = parsed.builder.build_serialized_network(network, config)
    del monitor
    if plan is None:
        raise ExternalStepError(
            f"{trt.__name__} {trt.__version__} could not build an engine: {logger.last_error}"
        )
    emit({"event": "writing", "at": "writing the engine"})
    _write(Path(request["plan"]), plan)
    return {
        "complete": True,
        "version": trt.__version__,
        "errors": [],
        "layers": network.num_layers,
        "inputs": [_describe(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_describe(network.get_output(i)) for i in range(network.num_outputs)],
        "flags": flags,
        "environment": dict(tf32.in_effect()),
        "compute_capabilities": capabilities,
        "gpu": _gpu(),
        "network": list(layers.describe(network)),
    }


def _set_flags(trt: Any, network: Any, config: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    change = config.set_flag if request["tf32"] else config.clear_flag
    change(trt.BuilderFlag.TF32)
    if request["workspace"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace"])
    layers.set_precision(trt, network, config, request.get("precision"))
    return {
        "tf32": bool(config.get_flag(trt.BuilderFlag.TF32)) and not tf32.is_off(),
        "strongly_typed": native.strongly_typed(trt, network),
        "workspace": request["workspace"],
    }


def _set_capabilities(trt: Any, config: Any, wanted: list[str]) -> list[str] | None:
    if not wanted:
        return None
    if not hasattr(trt, "ComputeCapability"):
        raise UsageError(f"{trt.__name__} builds for the GPU at hand, not for a chosen one")
    known = {
        f"{name[2:-1]}.{name[-1]}": getattr(trt.ComputeCapability, name)
        for name in dir(trt.ComputeCapability)
        if name.startswith("SM") and name[2:].isdigit()
    }
    for capability in wanted:
        if capability not in known:
            choice = ", ".join(sorted(known, key=float))
            raise UsageError(
                f"{trt.__name__} {trt.__version__} cannot build for compute capability "
                f"{capability!r}",
                hint=f"it can for {choice}",
            )
    chosen = list(dict.fromkeys(wanted))
    config.num_compute_capabilities = len(chosen)
    for index, capability in enumerate(chosen):
        config.set_compute_capability(known[capability], index)
    return chosen


def _add_profile(parsed: native.Parsed, config: Any, entries: Mapping[str, Any]) -> None:
    network = parsed.network
    profile = parsed.builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.is_shape_tensor:
            raise ExternalStepError(
                f"input {tensor.name!r} is a shape tensor: the profile would need its values, "
                "which tripoint cannot give yet"
            )
        shape = native.tensor_shape(tensor) or []
        axes = [axis for axis, size in enumerate(shape) if size == -1]
        if not axes:
            continue
        if tensor.name not in entries:
            raise UsageError(
                f"input {tensor.name!r} has a dynamic axis {axes[0]} without a range",
                hint="give its range with --dim or --input",
            )
        dynamic = True
        entry = entries[tensor.name]
        try:
            profile.set_shape(tensor.name, *(tuple(entry[end]) for end in ("min", "opt", "max")))
        except (RuntimeError, ValueError) as error:
            raise ExternalStepError(
                f"TensorRT refuses the ranges of input {tensor.name!r}: {error}"
            ) from error
    if dynamic and config.add_optimization_profile(profile) < 0:
        raise ExternalStepError("TensorRT refuses the optimization profile")


def _watch(trt: Any, config: Any, emit: Emit) -> Any:
    if not hasattr(trt, "IProgressMonitor") or not hasattr(config, "progress_monitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.sent = 0.0

        def phase_start(self, phase: str, _parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            self.send(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            if time.monotonic() - self.sent > _SECONDS_BETWEEN_STEPS:
                self.send(phase, step + 1)
            return True

        def phase_finish(self, phase: str) -> None:
            self.send(phase, self.steps.pop(phase, 0))

        def send(self, phase: str, step: int) -> None:
            self.sent = time.monotonic()
            steps = max(step, self.steps.get(phase, step))
            at = f"building the engine ({phase})"
            emit({"event": "progress", "phase": phase, "step": step, "steps": steps, "at": at})

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor


def _write(path: Path, plan: Any) -> None:
    try:
        with path.open("wb") as stream:
            stream.write(plan)
    except OSError as error:
        raise OutputError(f"cannot write the engine: {reason(error)}") from error


def _describe(tensor: Any) -> list[Any]:
    return [tensor.name, native.numpy_name(tensor.dtype), native.tensor_shape(tensor)]


def _gpu() -> dict[str, Any] | None:
    try:
        cudart = cuda.runtime()
        status, count = cudart.cudaGetDeviceCount()
        return devices.describe(cudart, 0) if int(status) == 0 and count else None
    except (MissingDependencyError, ExternalStepError):
        return None
