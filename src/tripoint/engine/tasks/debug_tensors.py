"""Task "debug_tensors": build an engine that shows what lies between its kernels, and run it.

``mark_unfused_tensors_as_debug_tensors`` marks the tensors that exist anyway between fused kernels,
so that the engine keeps its layers; a listener gets each of them while the engine runs (TensorRT
10.12 and later, TensorRT-RTX). They carry the names that the engine inspector uses.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.engine import bindings, exchange
from tripoint.engine.tasks import cuda, native
from tripoint.engine.worker import Emit
from tripoint.errors import ExternalStepError, InputError

Array = npt.NDArray[Any]


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Build and execute.

    Args:
        request: ``tensorrt`` (module name), ``model`` (absolute path), ``profile`` (per input
            name, min, opt, max), ``tf32``, ``listen`` (whether to take the tensors between
            kernels), ``outputs`` (tensors to mark as outputs of the network as well, which keeps
            them apart from their neighbours) and ``folder``, where ``in.npz`` lies.
        emit: Takes the log lines.

    Returns:
        ``version``, ``complete``, ``errors``; of a complete network ``engine_layers`` (each as
        the engine inspector describes it), ``debug`` (name and file of each tensor), ``missed``
        (name and reason) and ``unmarked``: the ``outputs`` that the network does not have. The
        outputs are in ``out.npz``.

    Raises:
        ExternalStepError: If TensorRT cannot build, load or run the engine.
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
    plan = build(trt, logger, parsed, request)
    emit({"event": "loading", "at": "loading the engine"})
    runtime, engine = native.deserialize(trt, logger, plan)
    context = engine.create_execution_context()
    if context is None:
        raise ExternalStepError("TensorRT could not make an execution context")
    cudart = cuda.runtime()
    emit({"event": "executing", "at": "executing the engine"})
    shown = _Shown(folder)
    outputs = _execute(
        _Run(trt, cudart, engine, context),
        exchange.load(folder / "in.npz"),
        shown if request["listen"] else None,
    )
    exchange.save(folder / "out.npz", outputs)
    layers = engine_layers(trt, engine)
    del context, engine, runtime
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


def build(trt: Any, logger: Any, parsed: native.Parsed, request: Mapping[str, Any]) -> Any:
    """The serialized engine, with the inspector's names in it.

    Raises:
        ExternalStepError: If the builder fails, or this TensorRT has no such debug tensors.
    """
    network, config = parsed.network, parsed.builder.create_builder_config()
    change = config.set_flag if request["tf32"] else config.clear_flag
    change(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request["profile"]:
        profile = parsed.builder.create_optimization_profile()
        for entry in request["profile"]:
            profile.set_shape(entry["name"], *(tuple(entry[end]) for end in ("min", "opt", "max")))
        if config.add_optimization_profile(profile) < 0:
            raise ExternalStepError("TensorRT refuses the optimization profile")
    if request["listen"]:
        mark = getattr(network, "mark_unfused_tensors_as_debug_tensors", None)
        if mark is None or not mark():
            raise ExternalStepError(
                f"{trt.__name__} {trt.__version__} cannot show the tensors between its kernels"
            )
    plan = parsed.builder.build_serialized_network(network, config)
    if plan is None:
        raise ExternalStepError(
            f"{trt.__name__} {trt.__version__} could not build an engine: {logger.last_error}"
        )
    return plan


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


@dataclass
class _Shown:
    """Tensors that a listener was given, in files.

    Args:
        folder: Where the files go.
    """

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, array: Array) -> None:
        """Write a tensor; of one that comes again the last counts."""
        file = self.files.setdefault(name, f"debug{len(self.files)}.npz")
        exchange.save(self.folder / file, {name: array})


@dataclass
class _Run:
    trt: Any
    cudart: Any
    engine: Any
    context: Any

    def names(self) -> list[str]:
        return [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]

    def is_input(self, name: str) -> bool:
        return bool(self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT)

    def on_host(self, name: str) -> bool:
        return bool(self.engine.get_tensor_location(name) == self.trt.TensorLocation.HOST)

    def bind(self, name: str, address: int) -> None:
        if not self.context.set_tensor_address(name, address):
            raise ExternalStepError(f"TensorRT did not take the memory of tensor {name!r}")


def _execute(session: _Run, fed: Mapping[str, Array], shown: _Shown | None) -> dict[str, Array]:
    context = session.context
    with cuda.Memory(session.cudart) as memory:
        # TensorRT keeps plain addresses of these arrays, so they must live until the end.
        alive = [
            _feed(session, memory, name, fed) for name in session.names() if session.is_input(name)
        ]
        missing = context.infer_shapes()
        if missing:
            raise InputError(f"the engine needs more to know its shapes: {', '.join(missing)}")
        results = {
            name: _prepare(session, memory, name)
            for name in session.names()
            if not session.is_input(name)
        }
        listener = _listen(session, shown) if shown is not None else None
        if not context.execute_async_v3(int(memory.stream)):
            raise ExternalStepError("TensorRT could not execute the engine")
        memory.synchronize()
        outputs = {name: result.fetch(memory) for name, result in results.items()}
        memory.synchronize()
        del alive, listener
    return outputs


def _feed(session: _Run, memory: cuda.Memory, name: str, fed: Mapping[str, Array]) -> Array:
    if name not in fed:
        raise InputError(f"input {name!r} of the engine was not given")
    wanted = exchange.dtype(native.numpy_name(session.engine.get_tensor_dtype(name)))
    array = np.asarray(fed[name].astype(wanted, copy=False), order="C")
    if not session.context.set_input_shape(name, array.shape):
        raise InputError(f"input {name!r} of shape {array.shape} does not fit the engine")
    session.bind(name, array.ctypes.data if session.on_host(name) else memory.upload(array))
    return array


@dataclass
class _Result:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    address: int = 0
    array: Array | None = None
    allocator: Any = None

    def fetch(self, memory: cuda.Memory) -> Array:
        if self.array is not None:
            return self.array
        if self.allocator is not None:
            return memory.download(self.allocator.address, self.allocator.shape, self.dtype)
        return memory.download(self.address, self.shape, self.dtype)


def _prepare(session: _Run, memory: cuda.Memory, name: str) -> _Result:
    shape = tuple(int(size) for size in session.context.get_tensor_shape(name))
    dtype = exchange.dtype(native.numpy_name(session.engine.get_tensor_dtype(name)))
    if -1 in shape:
        allocator = _allocator(session.trt, memory)
        session.context.set_output_allocator(name, allocator)
        return _Result(shape, dtype, allocator=allocator)
    if session.on_host(name):
        array = cuda.poisoned(shape, dtype)
        session.bind(name, array.ctypes.data)
        return _Result(shape, dtype, array=array)
    address = memory.allocate(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    session.bind(name, address)
    return _Result(shape, dtype, address)


def _allocator(trt: Any, memory: cuda.Memory) -> Any:
    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.address = 0
            self.size = -1
            self.shape: tuple[int, ...] = (0,)

        def reallocate_output(self, _name: str, _memory: int, size: int, _alignment: int) -> int:
            if size > self.size:
                try:
                    self.address, self.size = memory.allocate(size), size
                except ExternalStepError:
                    # Native code cannot take an exception; no address means failure to it.
                    return 0
            return self.address

        def reallocate_output_async(
            self, name: str, held: int, size: int, alignment: int, _stream: int
        ) -> int:
            return self.reallocate_output(name, held, size, alignment)

        def notify_shape(self, _name: str, shape: Any) -> None:
            self.shape = tuple(int(size) for size in shape)

    return Allocator()


def _listen(session: _Run, shown: _Shown) -> Any:
    """Give the context a listener that copies each tensor; it must live as long as the run."""
    trt, context = session.trt, session.context

    class Listener(trt.IDebugListener):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IDebugListener.__init__(self)

        def process_debug_tensor(
            self, addr: Any, location: Any, dtype: Any, shape: Any, name: str, stream: Any
        ) -> bool:
            # Native code cannot take an exception, and one tensor less is no reason to stop.
            try:
                on_host = location == trt.TensorLocation.HOST
                array = np.empty(
                    tuple(int(size) for size in shape), exchange.dtype(native.numpy_name(dtype))
                )
                _copy(session.cudart, array, pointer_of(addr), int(stream), on_host=on_host)
                shown.keep(name, array)
            except Exception as error:  # noqa: BLE001
                shown.missed[name] = f"{error}"
            return True

    listener = Listener()
    if not context.set_debug_listener(listener):
        raise ExternalStepError("TensorRT took no listener for the tensors between its kernels")
    # Marked as a whole, they have a switch of their own; those of mark_debug have the other.
    if hasattr(context, "unfused_tensors_debug_state"):
        context.unfused_tensors_debug_state = True
    context.set_all_tensors_debug_state(True)
    return listener


def _copy(cudart: Any, array: Array, address: int, stream: int, *, on_host: bool) -> None:
    if not array.nbytes:
        return
    if on_host:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
        return
    kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
    cuda.check(cudart.cudaMemcpyAsync, array.ctypes.data, address, array.nbytes, kind, stream)
    cuda.check(cudart.cudaStreamSynchronize, stream)


def pointer_of(address: Any) -> int:
    """The address in what a binding hands over: a number, or a capsule around a pointer."""
    if isinstance(address, int):
        return address
    name = ctypes.pythonapi.PyCapsule_GetName
    name.argtypes, name.restype = [ctypes.py_object], ctypes.c_char_p
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    return int(pointer(address, name(address)) or 0)
