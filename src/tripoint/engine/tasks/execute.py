"""Task "execute": run a plan on the inputs in a folder, and write the outputs there."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Execute every point.

    Args:
        request: ``tensorrt`` (module name), ``plan`` (absolute path), ``folder`` and
            ``points``: how many files ``in0.npz`` ... lie there; ``out0.npz`` ... are written.
        emit: Takes the log lines.
    """
    trt = bindings.load(request["tensorrt"])
    cudart = cuda.runtime()
    emit({"event": "loaded", "version": trt.__version__, "at": "loading the plan"})
    logger = native.make_logger(trt, emit)
    runtime, engine = native.deserialize(trt, logger, Path(request["plan"]).read_bytes())
    context = engine.create_execution_context()
    if context is None:
        raise ExternalStepError("TensorRT could not make an execution context for this plan")
    folder, count = Path(request["folder"]), request["points"]
    session = _Session(trt, cudart, engine, context)
    for index in range(count):
        emit({"event": "point", "at": f"executing point {index + 1} of {count}"})
        outputs = session.execute(exchange.load(folder / f"in{index}.npz"))
        exchange.save(folder / f"out{index}.npz", outputs)
    # The runtime owns what the engine uses; it must not be collected before this line.
    del session, context, engine, runtime
    return {"version": trt.__version__}


@dataclass
class _Session:
    trt: Any
    cudart: Any
    engine: Any
    context: Any

    def execute(self, fed: dict[str, Array]) -> dict[str, Array]:
        inputs = [name for name in self._names() if self._is_input(name)]
        _check_names(inputs, fed)
        with cuda.Memory(self.cudart) as memory:
            # Pinned by this list: TensorRT keeps plain addresses of these arrays.
            alive = [self._feed(memory, name, fed[name]) for name in inputs]
            missing = self.context.infer_shapes()
            if missing:
                raise InputError(f"the engine needs more to know its shapes: {', '.join(missing)}")
            outputs = {
                name: self._prepare(memory, name)
                for name in self._names()
                if not self._is_input(name)
            }
            if not self.context.execute_async_v3(int(memory.stream)):
                raise ExternalStepError("TensorRT could not execute the engine")
            memory.synchronize()
            results = {name: output.fetch(memory) for name, output in outputs.items()}
            memory.synchronize()
            del alive
        return results

    def _names(self) -> list[str]:
        return [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]

    def _is_input(self, name: str) -> bool:
        return bool(self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT)

    def _on_host(self, name: str) -> bool:
        return bool(self.engine.get_tensor_location(name) == self.trt.TensorLocation.HOST)

    def _dtype(self, name: str) -> np.dtype[Any]:
        known = native.numpy_name(self.engine.get_tensor_dtype(name))
        try:
            return exchange.dtype(known)
        except TypeError as error:
            raise ExternalStepError(f"tensor {name!r} has dtype {known}, which no array has") from (
                error
            )

    def _feed(self, memory: cuda.Memory, name: str, array: Array) -> Array:
        array = np.asarray(self._as_engine_takes_it(name, array), order="C")
        if not self.context.set_input_shape(name, array.shape):
            raise InputError(
                f"input {name!r} of shape {array.shape} does not fit the engine, which takes "
                f"{self._allowed(name)}"
            )
        address = array.ctypes.data if self._on_host(name) else memory.upload(array)
        self._bind(name, address)
        return array

    def _allowed(self, name: str) -> str:
        shape = tuple(self.engine.get_tensor_shape(name))
        if -1 not in shape:
            return str(shape)
        low, _, high = (tuple(s) for s in self.engine.get_tensor_profile_shape(name, 0))
        return f"{low} to {high}"

    def _as_engine_takes_it(self, name: str, array: Array) -> Array:
        wanted = self._dtype(name)
        if array.dtype == wanted:
            return array
        has_int64 = hasattr(self.trt.DataType, "INT64")
        if not has_int64 and (array.dtype.name, wanted.name) == ("int64", "int32"):
            narrow = array.astype(wanted)
            if np.array_equal(narrow, array):
                return narrow
            raise InputError(
                f"input {name!r} has values outside int32, which is all this TensorRT has"
            )
        raise InputError(f"input {name!r} is {array.dtype.name}, the engine takes {wanted.name}")

    def _prepare(self, memory: cuda.Memory, name: str) -> _Output:
        shape, dtype = tuple(self.context.get_tensor_shape(name)), self._dtype(name)
        if -1 in shape:
            output = _make_data_dependent(self.trt, memory, dtype)
            self.context.set_output_allocator(name, output.allocator)
            return output
        if self._on_host(name):
            array = cuda.poisoned(shape, dtype)
            self._bind(name, array.ctypes.data)
            return _HostOutput(array)
        address = memory.allocate(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        self._bind(name, address)
        return _DeviceOutput(address, shape, dtype)

    def _bind(self, name: str, address: int) -> None:
        if not self.context.set_tensor_address(name, address):
            raise ExternalStepError(f"TensorRT did not take the memory of tensor {name!r}")


@dataclass
class _DeviceOutput:
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def fetch(self, memory: cuda.Memory) -> Array:
        return memory.download(self.address, self.shape, self.dtype)


@dataclass
class _HostOutput:
    array: Array

    def fetch(self, memory: cuda.Memory) -> Array:  # noqa: ARG002 - one form for all outputs
        return self.array


@dataclass
class _DataDependentOutput:
    allocator: Any
    dtype: np.dtype[Any]

    def fetch(self, memory: cuda.Memory) -> Array:
        return memory.download(self.allocator.address, self.allocator.shape, self.dtype)


_Output = _DeviceOutput | _HostOutput | _DataDependentOutput


def _make_data_dependent(
    trt: Any, memory: cuda.Memory, dtype: np.dtype[Any]
) -> _DataDependentOutput:
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

    return _DataDependentOutput(Allocator(), dtype)


def _check_names(inputs: list[str], fed: dict[str, Array]) -> None:
    for name in inputs:
        if name not in fed:
            raise InputError(f"input {name!r} of the engine was not given")
    for name in fed:
        if name not in inputs:
            raise InputError(f"the engine has no input {name!r}; it has {', '.join(inputs)}")
