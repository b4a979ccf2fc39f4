"""Task "build": parse a model, build an engine and write it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tripoint.errors import ExternalStepError, MissingDependencyError, OutputError, UsageError
from tripoint.files import reason
from tripoint.tasks import configure, layers, parse, timing
from tripoint.trt import bindings, cuda, devices, native, tf32
from tripoint.trt.protocol import Emit

_SECONDS_BETWEEN_STEPS = 0.05


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Build an engine.

    Args:
        request: ``tensorrt`` (module name), ``model`` and ``plan`` (absolute paths),
            ``profiles`` (for each, per input: name, min, opt, max, values),
            ``compute_capabilities``, ``tf32`` and ``options`` as
            :meth:`tripoint.engine.options.BuildOptions.request` gives them, and ``precision``
            (or None).
        emit: Takes log lines and progress, and, if the builder fails, the layers of the network
            as the task "parse" gives them.

    Returns:
        ``complete``, ``version`` and ``errors``; if the model was parsed also ``parser``,
        ``layers``, ``inputs``, ``outputs``, ``flags``, ``timing_cache``, ``environment``,
        ``compute_capabilities``, ``gpu``, ``driver`` and ``network`` (its layers, see
        :mod:`tripoint.tasks.layers`).

    Raises:
        UsageError: If a compute capability is unknown, a dynamic input has no shapes, or this
            TensorRT lacks an option.
        InputError: If a plugin cannot be loaded.
        ExternalStepError: If the builder fails.
        OutputError: If the plan cannot be written.
    """
    trt = bindings.load(request["tensorrt"])
    emit({"event": "loaded", "version": trt.__version__, "at": "checking the options"})
    logger = native.make_logger(trt, emit)
    options = request["options"]
    builder = native.make_builder(trt, logger)
    plugins = configure.load_plugins(trt, logger, options["plugins"])
    config = builder.create_builder_config()
    configured = configure.Configured(trt, logger, builder, config)
    flags = configure.apply(configured, {**options, "tf32": request["tf32"]})
    capabilities = _set_capabilities(trt, config, request["compute_capabilities"])
    gpu, driver = _gpu()

    def warn(text: str) -> None:
        emit({"event": "log", "lines": [["WARNING", text]]})

    targets = "+".join(capabilities or [gpu["name"] if gpu else "default"])
    cache = timing.open_cache(trt, config, options["timing_cache"], targets, warn)

    emit({"event": "stage", "at": "reading the model"})
    parsed = native.parse(trt, logger, request["model"], builder)
    if not parsed.complete:
        return {"complete": False, "version": trt.__version__, "errors": parsed.errors}
    network = parsed.network
    layers.set_precision(trt, network, config, request.get("precision"))
    for profile in request["profiles"] or [[]]:
        configure.add_profile(parsed, config, {entry["name"]: entry for entry in profile})
    monitor = _watch(trt, config, emit)
    emit({"event": "stage", "at": "building the engine"})
    try:
        plan = configure.serialize(configured, network)
    except ExternalStepError:
        emit({"event": "network", "made": list(parse.layers(network))})
        raise
    del monitor
    emit({"event": "stage", "at": "writing the engine"})
    _write(Path(request["plan"]), plan)
    timing.save(cache, config, warn)
    return {
        "complete": True,
        "version": trt.__version__,
        "parser": _parser_version(trt),
        "errors": [],
        "layers": network.num_layers,
        "inputs": [_describe(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_describe(network.get_output(i)) for i in range(network.num_outputs)],
        "flags": {
            **flags,
            "strongly_typed": native.strongly_typed(trt, network),
            "plugins": plugins,
        },
        "timing_cache": cache.as_json(),
        "environment": dict(tf32.in_effect()),
        "compute_capabilities": capabilities,
        "gpu": gpu,
        "driver": driver,
        "network": list(layers.describe(network)),
    }


def _set_capabilities(trt: Any, config: Any, wanted: list[str]) -> list[str] | None:
    if not wanted:
        return None
    if not hasattr(trt, "ComputeCapability"):
        raise UsageError(f"{trt.__name__} builds for the GPU at hand, not for a chosen one")
    capabilities = {
        f"{name[2:-1]}.{name[-1]}": getattr(trt.ComputeCapability, name)
        for name in dir(trt.ComputeCapability)
        if name.startswith("SM") and name[2:].isdigit()
    }
    for capability in wanted:
        if capability not in capabilities:
            choice = ", ".join(sorted(capabilities, key=float))
            raise UsageError(
                f"{trt.__name__} {trt.__version__} cannot build for compute capability "
                f"{capability!r}",
                hint=f"it can for {choice}",
            )
    chosen = list(dict.fromkeys(wanted))
    config.num_compute_capabilities = len(chosen)
    for index, capability in enumerate(chosen):
        config.set_compute_capability(capabilities[capability], index)
    return chosen


def _watch(trt: Any, config: Any, emit: Emit) -> Any:
    if not hasattr(trt, "IProgressMonitor") or not hasattr(config, "progress_monitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.sent = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            self.send(phase, 0, parent=parent)

        def step_complete(self, phase: str, step: int) -> bool:
            if time.monotonic() - self.sent > _SECONDS_BETWEEN_STEPS:
                self.send(phase, step + 1)
            return True

        def phase_finish(self, phase: str) -> None:
            self.send(phase, self.steps.pop(phase, 0), done=True)

        def send(self, phase: str, step: int, **extra: Any) -> None:
            self.sent = time.monotonic()
            steps = max(step, self.steps.get(phase, step))
            at = f"building the engine ({phase})"
            emit(
                {"event": "progress", "phase": phase, "step": step, "steps": steps}
                | extra
                | {"at": at}
            )

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


def _parser_version(trt: Any) -> int | None:
    """Version of the ONNX parser, as the number that it calls itself."""
    ask = getattr(trt, "get_nv_onnx_parser_version", None)
    return None if ask is None else int(ask())


def _gpu() -> tuple[dict[str, Any] | None, str | None]:
    """The first GPU and the CUDA version of its driver."""
    try:
        cudart = cuda.runtime()
        status, count = cudart.cudaGetDeviceCount()
        if int(status) == 0 and count:
            return devices.describe(cudart, 0), devices.driver(cudart)
    except (MissingDependencyError, ExternalStepError):
        pass
    return None, None
