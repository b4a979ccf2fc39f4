"""Running an engine once while a listener takes the tensors between its kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.engine import exchange
from tripoint.engine.tasks import cuda, native
from tripoint.errors import ExternalStepError, InputError

Array = npt.NDArray[Any]


@dataclass
class Shown:
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
class Session:
    """An engine that is ready to run.

    Args:
        trt: The TensorRT module.
        cudart: From :func:`tripoint.engine.tasks.cuda.runtime`.
        engine: ``ICudaEngine``.
        context: ``IExecutionContext``.
    """

    trt: Any
    cudart: Any
    engine: Any
    context: Any

    def names(self) -> list[str]:
        """Its inputs and outputs."""
        return [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]

    def is_input(self, name: str) -> bool:
        """Whether a tensor is an input."""
        return bool(self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT)

    def on_host(self, name: str) -> bool:
        """Whether TensorRT wants a tensor in the memory of the host."""
        return bool(self.engine.get_tensor_location(name) == self.trt.TensorLocation.HOST)

    def bind(self, name: str, address: int) -> None:
        """Tell TensorRT where a tensor lies."""
        if not self.context.set_tensor_address(name, address):
            raise ExternalStepError(f"TensorRT did not take the memory of tensor {name!r}")


def execute(session: Session, fed: Mapping[str, Array], shown: Shown | None) -> dict[str, Array]:
    """Run an engine once.

    Args:
        session: The engine.
        fed: Array by input name.
        shown: Takes the tensors between its kernels; None leaves them where they are.

    Returns:
        Array by output name.

    Raises:
        InputError: If an input is missing or does not fit.
        ExternalStepError: If TensorRT does not run it.
    """
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


def _feed(session: Session, memory: cuda.Memory, name: str, fed: Mapping[str, Array]) -> Array:
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


def _prepare(session: Session, memory: cuda.Memory, name: str) -> _Result:
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


def _listen(session: Session, shown: Shown) -> Any:
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
