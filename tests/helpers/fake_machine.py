"""A CUDA device and a TensorRT that live in host memory, for tests of the runner without a GPU.

Streams are queues: nothing that is queued happens before somebody waits for it, so a runner that
overwrites or reads memory too early is found. Memory that was given back is overwritten.
"""

# ruff: noqa: ARG002, N802, N815

from __future__ import annotations

import ctypes
import enum
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

ALIGNMENT = 256
DEAD = 0xDD
NAMES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "float8_e4m3fn": "FP8",
    "int4": "INT4",
}


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureInvalidated = 901


@dataclass
class Event:
    stream: int | None = None
    place: int = 0


@dataclass
class Stream:
    queued: list[Callable[[], None]] = field(default_factory=list)
    done: int = 0
    capturing: list[Callable[[], None]] | None = None

    def advance(self, place: int) -> None:
        while self.done < place:
            self.done += 1
            self.queued[self.done - 1]()


class Cuda:
    """Stands for ``cuda.bindings.runtime``."""

    cudaError_t = Status
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2
    cudaMemcpyKind = enum.Enum(
        "cudaMemcpyKind",
        ["cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost", "cudaMemcpyDeviceToDevice"],
    )
    cudaStreamCaptureMode = enum.Enum("cudaStreamCaptureMode", ["cudaStreamCaptureModeThreadLocal"])

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.memory: dict[int, np.ndarray] = {}
        self.freed: list[np.ndarray] = []
        self.streams = {0: Stream(), 1: Stream(), 77: Stream(), 88: Stream()}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.limit: int | None = None
        self.refuse_capture = False
        self._handles = itertools.count(1000)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("cuda") and callable(found) and not isinstance(found, type):
            self.calls.append(name)
        return found

    def waits(self) -> int:
        return sum("Synchronize" in call for call in self.calls)

    def cudaGetDevice(self):
        return Status.cudaSuccess, 0

    def cudaSetDevice(self, device):
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags):
        handle = next(self._handles)
        self.streams[handle] = Stream()
        return Status.cudaSuccess, handle

    def cudaStreamDestroy(self, stream):
        del self.streams[stream]
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream):
        if self.streams[stream].capturing is not None:
            return (Status.cudaErrorInvalidValue,)
        self.streams[stream].advance(len(self.streams[stream].queued))
        return (Status.cudaSuccess,)

    def cudaEventCreateWithFlags(self, flags):
        return Status.cudaSuccess, Event()

    def cudaEventCreate(self):
        return Status.cudaSuccess, Event()

    def cudaEventElapsedTime(self, start, end):
        """A millisecond for each thing that was queued in between."""
        assert self.streams[end.stream].done >= end.place
        return Status.cudaSuccess, float(end.place - start.place)

    def cudaEventDestroy(self, event):
        return (Status.cudaSuccess,)

    def cudaEventRecord(self, event, stream):
        event.stream, event.place = stream, len(self.streams[stream].queued)
        return (Status.cudaSuccess,)

    def cudaStreamWaitEvent(self, stream, event, flags):
        earlier, place = self.streams[event.stream], event.place
        self.queue(stream, lambda: earlier.advance(place))
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event):
        self.streams[event.stream].advance(event.place)
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size):
        if self.limit is not None and size > self.limit:
            return Status.cudaErrorMemoryAllocation, None
        raw = np.full(size + ALIGNMENT, 0x11, np.uint8)
        address = -(-raw.ctypes.data // ALIGNMENT) * ALIGNMENT
        self.memory[address] = raw
        return Status.cudaSuccess, address

    cudaMallocHost = cudaMalloc

    def cudaFree(self, address):
        for stream in list(self.streams):
            self.cudaStreamSynchronize(stream)
        raw = self.memory.pop(address)
        raw[:] = DEAD
        self.freed.append(raw)
        return (Status.cudaSuccess,)

    def cudaFreeHost(self, address):
        raw = self.memory.pop(address)
        raw[:] = DEAD
        self.freed.append(raw)
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.queue(stream, lambda: ctypes.memmove(target, source, size))
        return (Status.cudaSuccess,)

    def cudaMemsetAsync(self, address, value, size, stream):
        self.queue(stream, lambda: ctypes.memset(address, value, size))
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.streams[stream].capturing = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream):
        work, self.streams[stream].capturing = self.streams[stream].capturing, None
        if self.refuse_capture:
            return Status.cudaErrorStreamCaptureInvalidated, None
        return Status.cudaSuccess, work

    def cudaGraphInstantiate(self, graph, flags):
        handle = next(self._handles)
        self.graphs[handle] = list(graph)
        return Status.cudaSuccess, handle

    def cudaGraphDestroy(self, graph):
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph, stream):
        for work in self.graphs[graph]:
            self.queue(stream, work)
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph):
        del self.graphs[graph]
        return (Status.cudaSuccess,)

    def cudaGetLastError(self):
        return (Status.cudaSuccess,)

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        found = self.streams[stream]
        (found.queued if found.capturing is None else found.capturing).append(work)


Mode = enum.Enum("TensorIOMode", ["INPUT", "OUTPUT"])
Location = enum.Enum("TensorLocation", ["DEVICE", "HOST"])
Format = enum.Enum("TensorFormat", ["LINEAR", "CHW32"])
Shapes = Mapping[str, tuple[int, ...]]
Arrays = Mapping[str, np.ndarray]


@dataclass
class Port:
    """An input or output: ``profiles`` holds (min, opt, max) for each optimization profile."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    profiles: Sequence[tuple[tuple[int, ...], ...]] = ()
    host: bool = False
    values: Sequence[Any] = ()
    layout: Any = Format.LINEAR


@dataclass
class Plan:
    """What the engine of a test computes.

    Args:
        inputs: Its inputs.
        outputs: Its outputs.
        shapes: Shapes of the outputs, from those and the host values of the inputs; -1 for a
            size that ``compute`` decides.
        compute: The outputs from the inputs.
    """

    inputs: Sequence[Port]
    outputs: Sequence[Port]
    shapes: Callable[[Shapes, Arrays], Shapes]
    compute: Callable[[Arrays], Arrays]
    profiles: int = 1
    capturable: bool = True
    executes: bool = True


class Engine:
    device_memory_size_v2 = 64

    def __init__(self, plan: Plan, trt: TensorRT) -> None:
        self.plan, self.trt = plan, trt
        self.ports = {port.name: port for port in (*plan.inputs, *plan.outputs)}
        self.num_io_tensors = len(self.ports)
        self.num_optimization_profiles = plan.profiles

    def get_tensor_name(self, index):
        return list(self.ports)[index]

    def get_tensor_mode(self, name):
        return Mode.INPUT if self.ports[name] in self.plan.inputs else Mode.OUTPUT

    def get_tensor_location(self, name):
        return Location.HOST if self.ports[name].host else Location.DEVICE

    def get_tensor_format(self, name):
        return self.ports[name].layout

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=NAMES[self.ports[name].dtype])

    def get_tensor_shape(self, name):
        return self.ports[name].shape

    def get_tensor_profile_shape(self, name, profile):
        return self.ports[name].profiles[profile]

    def get_tensor_profile_values(self, profile, name):
        if not isinstance(profile, int):
            raise TypeError
        values = self.ports[name].values
        return values[profile] if values else []

    def create_runtime_config(self):
        return RuntimeConfig()

    def create_execution_context(self, config=None):
        context = Context(self, config)
        self.trt.contexts.append(context)
        return context


class RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = "LAZY"

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return object()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class Context:
    active_optimization_profile = 0

    def __init__(self, engine: Engine, config: RuntimeConfig | None) -> None:
        self.engine, self.config = engine, config
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self.scratch: tuple[int, int] | None = None
        self.executed = 0

    def set_device_memory(self, address, size):
        self.scratch = (address, size)

    def set_optimization_profile_async(self, index, stream):
        self.active_optimization_profile = index
        self.shapes.clear()
        return True

    def set_input_shape(self, name, shape):
        profiles = self.engine.ports[name].profiles
        if profiles:
            low, _, high = profiles[self.active_optimization_profile]
            if not all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
                return False
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, address):
        assert address
        self.addresses[name] = address
        return True

    def set_output_allocator(self, name, allocator):
        self.allocators[name] = allocator
        return True

    def host(self) -> dict[str, np.ndarray]:
        ports = [port for port in self.engine.plan.inputs if port.host]
        return {port.name: self.read(port, self.shapes[port.name]) for port in ports}

    def infer_shapes(self):
        missing = [port.name for port in self.engine.plan.inputs if port.name not in self.shapes]
        if not missing:
            self.outputs = self.engine.plan.shapes(self.shapes, self.host())
        return missing

    def get_tensor_shape(self, name):
        return self.outputs[name]

    def is_stream_capturable(self, stream):
        return self.engine.plan.capturable

    def read(self, port: Port, shape: tuple[int, ...]) -> np.ndarray:
        found = np.empty(shape, dtype_of(port.dtype))
        ctypes.memmove(found.ctypes.data, self.addresses[port.name], found.nbytes)
        return found

    def execute_async_v3(self, stream):
        plan, cuda = self.engine.plan, self.engine.trt.cuda
        if not plan.executes:
            self.engine.trt.logger.log(Severity.ERROR, "something went wrong in a kernel")
            return False
        self.executed += 1
        shapes, addresses = dict(self.shapes), dict(self.addresses)
        outputs = self.engine.plan.shapes(shapes, self.host())
        unknown = [name for name, shape in outputs.items() if -1 in shape]

        def work() -> None:
            fed = {}
            for port in plan.inputs:
                fed[port.name] = np.empty(shapes[port.name], dtype_of(port.dtype))
                ctypes.memmove(
                    fed[port.name].ctypes.data, addresses[port.name], fed[port.name].nbytes
                )
            for name, array in plan.compute(fed).items():
                assert -1 in outputs[name] or array.shape == tuple(outputs[name])
                array = np.ascontiguousarray(array, dtype_of(self.engine.ports[name].dtype))
                ctypes.memmove(addresses[name], array.ctypes.data, array.nbytes)

        if unknown and cuda.streams[stream].capturing is not None:
            return False
        if unknown:
            cuda.cudaStreamSynchronize(stream)
            fed = {port.name: self.read(port, shapes[port.name]) for port in plan.inputs}
            for name, array in plan.compute(fed).items():
                if name in unknown:
                    size = array.size * dtype_of(self.engine.ports[name].dtype).itemsize
                    given = self.allocators[name].reallocate_output_async(
                        name, 0, max(size, 1), ALIGNMENT, stream
                    )
                    if not given:
                        return False
                    addresses[name] = given
                    self.allocators[name].notify_shape(name, array.shape)
        cuda.queue(stream, work)
        return True


Severity = enum.Enum("Severity", ["ERROR", "WARNING", "INFO", "VERBOSE"])


class TensorRT:
    """Stands for the TensorRT module."""

    __name__ = "fake_tensorrt"
    __version__ = "1.0"
    TensorIOMode, TensorLocation, TensorFormat = Mode, Location, Format
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="USER_MANAGED")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="EAGER")

    class IOutputAllocator:
        pass

    class ILogger:
        Severity = Severity

    def __init__(self, cuda: Cuda, plan: Plan) -> None:
        self.cuda, self.plan = cuda, plan
        self.contexts: list[Context] = []
        self.host_code_allowed: list[bool] = []
        self.loaded: list[bytes] = []

    def Runtime(self, logger):
        self.logger = logger
        outer = self

        class Runtime:
            engine_host_code_allowed = True

            def deserialize_cuda_engine(self, content):
                outer.host_code_allowed.append(self.engine_host_code_allowed)
                outer.loaded.append(bytes(content))
                return None if content == b"broken" else Engine(outer.plan, outer)

        return Runtime()


def dtype_of(name: str) -> np.dtype:
    import ml_dtypes

    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype(getattr(ml_dtypes, name))
