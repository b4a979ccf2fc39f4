"""Task "debug_tensors": build an engine that shows what lies between its kernels, and run it.

``mark_unfused_tensors_as_debug_tensors`` marks the tensors that exist anyway between fused kernels,
so that the engine keeps its layers; a listener gets each of them while the engine runs (TensorRT
10.12 and later, TensorRT-RTX). They carry the names that the engine inspector uses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tripoint.engine.options import BuildOptions
from tripoint.errors import ExternalStepError
from tripoint.graph import passthrough
from tripoint.runner import loading
from tripoint.spec import ENDS
from tripoint.tasks import configure, listening
from tripoint.trt import array_ipc, bindings, cuda, native
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Build and execute.

    Args:
        request: ``tensorrt`` (module name), ``model`` (absolute path), ``profile`` (per input
            name, min, opt, max, values; empty for the sizes of this run alone), ``tf32``,
            ``listen`` (whether to take the tensors between kernels), ``outputs`` (tensors to mark
            as outputs of the network as well, which keeps them apart from their neighbours) and
            ``folder``, where ``in.npz`` is located.
        emit: Takes the log lines.

    Returns:
        ``version``, ``complete``, ``errors``; of a complete network ``engine_layers`` (each as
        the engine inspector describes it), ``debug`` (name and file of each tensor), ``missed``
        (name and reason) and ``unmarked``: the ``outputs`` that the network does not have. The
        outputs are in ``out.npz``.

    Raises:
        ExternalStepError: If TensorRT cannot build, load or run the engine.
        UsageError: If the profile lacks an input, or the values of a shape tensor.
        InputError: If an input is missing or does not fit.
    """
    trt = bindings.load(request["tensorrt"])
    folder = Path(request["folder"])
    emit({"event": "loaded", "version": trt.__version__, "at": "reading the model"})
    logger = native.make_logger(trt, emit)
    parsed = native.parse(trt, logger, request["model"])
    if not parsed.complete:
        return {"complete": False, "version": trt.__version__, "errors": parsed.errors}
    unmarked = mark_outputs(parsed.network, request["outputs"])
    emit({"event": "building", "at": "building the engine"})
    feed = array_ipc.load(folder / "in.npz")
    plan = build(trt, logger, parsed, request, feed)
    emit({"event": "loading", "at": "loading the engine"})
    cudart = cuda.runtime()
    shown = listening.Shown(folder)
    listeners: list[Any] = []

    def on_context(context: Any) -> None:
        if request["listen"]:
            listeners.append(listening.listen(trt, cudart, context, shown))

    loaded = loading.load(trt, cudart, bytes(plan), emit, poison=True, on_context=on_context)
    emit({"event": "executing", "at": "executing the engine"})
    outputs = loaded.session.run(feed)
    array_ipc.save(folder / "out.npz", outputs)
    layers = engine_layers(trt, loaded.engine)
    loaded.close()
    return {
        "complete": True,
        "version": trt.__version__,
        "errors": [],
        "engine_layers": layers,
        "debug": list(shown.files.items()),
        "missed": list(shown.missed.items()),
        "unmarked": unmarked,
    }


def mark_outputs(network: Any, names: list[str]) -> list[str]:
    """Mark tensors as outputs of the network.

    Returns:
        The names that it does not have.
    """
    wanted = set(names)
    present = {network.get_output(index).name for index in range(network.num_outputs)}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for position in range(layer.num_outputs):
            tensor = layer.get_output(position)
            if tensor is not None and tensor.name in wanted - present:
                network.mark_output(tensor)
                present.add(tensor.name)
    return sorted(wanted - present)


def build(
    trt: Any,
    logger: Any,
    parsed: native.Parsed,
    request: Mapping[str, Any],
    feed: Mapping[str, array_ipc.Array],
) -> Any:
    """The serialized engine, with the inspector's names in it.

    Raises:
        UsageError: If the profile lacks an input, or the values of a shape tensor.
        ExternalStepError: If the builder fails, or this TensorRT has no such debug tensors.
    """
    config = parsed.builder.create_builder_config()
    configured = configure.Configured(trt, logger, parsed.builder, config)
    options = BuildOptions(timing_cache="off").request()
    configure.apply(configured, {**options, "tf32": request["tf32"]})
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = {entry["name"]: entry for entry in request["profile"]}
    configure.add_profile(parsed, config, profile or _around(parsed.network, feed))
    if request["listen"]:
        mark = getattr(parsed.network, "mark_unfused_tensors_as_debug_tensors", None)
        if mark is None or not mark():
            raise ExternalStepError(
                f"{native.spell(trt)} cannot show the tensors between its kernels"
            )
    return configure.serialize(configured, parsed.network)


def _around(network: Any, feed: Mapping[str, array_ipc.Array]) -> dict[str, dict[str, Any]]:
    """The profile of one run: the shapes of its inputs, the values of shape tensors."""
    entries = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        array = passthrough.entry(tensor.name, feed)
        if array is not None:
            values = bool(tensor.is_shape_tensor)
            numbers = array.ravel().tolist() if values else list(array.shape)
            entries[tensor.name] = {**dict.fromkeys(ENDS, numbers), "values": values}
    return entries


def engine_layers(trt: Any, engine: Any) -> list[dict[str, Any]]:
    """The layers of an engine as its inspector describes them; empty if it cannot."""
    try:
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        layers = json.loads(text).get("Layers", [])
    except (RuntimeError, ValueError, AttributeError, TypeError):
        return []
    # Without detail a layer is its name only.
    return [layer if isinstance(layer, dict) else {"Name": str(layer)} for layer in layers]
