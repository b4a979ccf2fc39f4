"""Task "inspect_plan": what a plan itself says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tripoint.spec import ENDS
from tripoint.trt import bindings, native
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Load a plan, which takes a GPU, and describe it. Whatever this TensorRT lacks is None.

    Args:
        request: ``tensorrt`` (module name), ``plan`` (absolute path), ``environment``, and
            ``context``: whether to make an execution context, without which the inspector tells
            types but no layouts. It takes the memory that a run takes.
        emit: Takes the log lines.

    Returns:
        ``version``, ``name``, ``layers``, and ``inputs`` and ``outputs`` with name, dtype and
        shape; ``io`` with what else is known of each, ``memory`` in bytes, ``profiles``,
        ``refittable``, ``inspector`` (its JSON text) and ``notes`` on what failed.
    """
    trt = bindings.load(request["tensorrt"])
    emit({"event": "loaded", "version": trt.__version__, "at": "loading the plan"})
    logger = native.make_logger(trt, emit)
    _runtime, engine = native.deserialize(trt, logger, Path(request["plan"]).read_bytes())
    tensors: dict[bool, list[list[Any]]] = {True: [], False: []}
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    for name in names:
        shape = [int(size) for size in engine.get_tensor_shape(name)]
        entry = [name, native.numpy_name(engine.get_tensor_dtype(name)), shape]
        tensors[_is_input(trt, engine, name)].append(entry)
    emit({"event": "inspecting", "at": "inspecting the engine"})
    notes: list[str] = []
    return {
        "version": trt.__version__,
        "name": _get(engine, "name"),
        "layers": engine.num_layers,
        "inputs": tensors[True],
        "outputs": tensors[False],
        "io": {name: _io(trt, engine, name) for name in names},
        "memory": _memory(trt, engine),
        "profiles": [
            _profile(trt, engine, names, index)
            for index in range(_get(engine, "num_optimization_profiles") or 0)
        ],
        "refittable": _get(engine, "refittable"),
        "inspector": _inspect(trt, engine, context=bool(request.get("context")), notes=notes),
        "notes": notes,
    }


def _is_input(trt: Any, engine: Any, name: str) -> bool:
    return bool(engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)


def _io(trt: Any, engine: Any, name: str) -> dict[str, Any]:
    location = _call(engine, "get_tensor_location", name)
    return {
        "format": _call(engine, "get_tensor_format_desc", name),
        "location": None if location is None else location.name.lower(),
        "shape_tensor": _call(engine, "is_shape_inference_io", name),
        # An output that shares its memory with an input.
        "aliases": None
        if _is_input(trt, engine, name)
        else _call(engine, "get_aliased_input_tensor", name) or None,
    }


def _memory(trt: Any, engine: Any) -> dict[str, Any]:
    context = _get(engine, "device_memory_size_v2")
    by_profile = [
        _first(
            _call(engine, "get_device_memory_size_for_profile_v2", index),
            _call(engine, "get_device_memory_size_for_profile", index),
        )
        for index in range(_get(engine, "num_optimization_profiles") or 0)
    ]
    stat = getattr(getattr(trt, "EngineStat", None), "TOTAL_WEIGHTS_SIZE", None)
    return {
        "context": _first(context, _get(engine, "device_memory_size")),
        "context_by_profile": by_profile,
        "weights": None if stat is None else _call(engine, "get_engine_stat", stat),
        "streamable_weights": _get(engine, "streamable_weights_size"),
    }


def _profile(trt: Any, engine: Any, names: list[str], index: int) -> list[dict[str, Any]]:
    entries = []
    for name in names:
        if not _is_input(trt, engine, name):
            continue
        values = None
        if _call(engine, "is_shape_inference_io", name):
            values = _call(engine, "get_tensor_profile_values", index, name)
        shapes = _call(engine, "get_tensor_profile_shape", name, index)
        entry: dict[str, Any] = {"name": name}
        for place, end in enumerate(ENDS):
            entry[end] = [int(size) for size in shapes[place]] if shapes else None
            if values:
                entry[f"{end}_values"] = [int(value) for value in values[place]]
        entries.append(entry)
    return entries


def _inspect(trt: Any, engine: Any, *, context: bool, notes: list[str]) -> str | None:
    if not hasattr(engine, "create_engine_inspector"):
        notes.append("this TensorRT has no engine inspector")
        return None
    inspector = engine.create_engine_inspector()
    running = None
    if context:
        running = _call(engine, "create_execution_context")
        if running is None:
            notes.append("no execution context could be made, so layouts are not told")
        else:
            inspector.execution_context = running
    form = trt.LayerInformationFormat.JSON
    text = _call(inspector, "get_engine_information", form)
    if not text and running is not None:
        notes.append("the inspector tells nothing with an execution context, so no layouts")
        inspector = engine.create_engine_inspector()
        text = _call(inspector, "get_engine_information", form)
    if not text:
        notes.append("the engine inspector tells nothing")
    return text or None


def _get(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except (RuntimeError, TypeError):
        return None


def _call(owner: Any, name: str, *arguments: Any) -> Any:
    function: Callable[..., Any] | None = getattr(owner, name, None)
    if function is None:
        return None
    try:
        return function(*arguments)
    except (RuntimeError, TypeError, ValueError):
        return None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
