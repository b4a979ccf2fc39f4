"""Inputs and outputs of an engine, read from it once, and arrays in device memory without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.errors import ExternalStepError, InputError
from tripoint.trt import array_ipc, native

Shape = tuple[int, ...]
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """Range that one optimization profile allows an input.

    Args:
        min: Smallest size by axis; for a shape tensor its smallest values.
        max: Largest size by axis, or largest values.
    """

    min: Shape
    max: Shape


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of an engine.

    Args:
        name: Its name.
        dtype: Element type.
        shape: Size by axis, -1 where the shapes of a run decide it.
        on_host: Whether TensorRT reads or writes it in host memory, as it does shape tensors.
        sizes: Of an input, the sizes that each optimization profile allows.
        values: Of an input that is a shape tensor, the values that each profile allows; None
            where the profile does not limit them.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    on_host: bool = False
    sizes: tuple[Limits, ...] = ()
    values: tuple[Limits | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """All inputs and outputs of an engine, in its order.

    Args:
        inputs: Its inputs.
        outputs: Its outputs.
        profiles: Number of optimization profiles, at least 1.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: int

    @property
    def dynamic(self) -> bool:
        """Return whether the shapes of a run are decided by its inputs."""
        return any(UNKNOWN in tensor.shape or tensor.on_host for tensor in self.inputs)


def read(trt: Any, engine: Any) -> Signature:
    """Return what an engine says of its inputs and outputs.

    Args:
        trt: The TensorRT module.
        engine: ``ICudaEngine``.

    Raises:
        ExternalStepError: If a tensor has a dtype or memory layout that no array has.
    """
    count = max(1, int(engine.num_optimization_profiles))
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_input = bool(engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
        _refuse_layout(trt, engine, name)
        on_host = bool(engine.get_tensor_location(name) == trt.TensorLocation.HOST)
        profiles = range(count) if is_input else ()
        shape = _sizes(engine.get_tensor_shape(name))
        tensor = Tensor(
            name,
            _dtype(engine, name),
            shape,
            on_host,
            tuple(_limits(engine, name, shape, profile) for profile in profiles),
            tuple(_values(engine, name, profile) for profile in profiles) if on_host else (),
        )
        (inputs if is_input else outputs).append(tensor)
    return Signature(tuple(inputs), tuple(outputs), count)


def nbytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Bytes of a row-major array."""
    return math.prod(shape) * dtype.itemsize


def as_wanted(tensor: Tensor, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array with the dtype that the engine takes.

    Only int64 becomes int32, since TensorRT before 10 has no other integer: every value is
    looked at.

    Args:
        tensor: The input.
        array: What was given for it.

    Raises:
        InputError: If the dtype is another, or a value does not fit int32.
    """
    wanted = tensor.dtype
    if array.dtype == wanted:
        return array
    if (array.dtype.name, wanted.name) == ("int64", "int32"):
        narrow = array.astype(wanted)
        if np.array_equal(narrow, array):
            return narrow
        raise InputError(
            f"input {tensor.name!r} has values outside int32, which is what this engine takes"
        )
    raise InputError(f"input {tensor.name!r} is {array.dtype.name}, the engine takes {wanted.name}")


def _dtype(engine: Any, name: str) -> np.dtype[Any]:
    kind = engine.get_tensor_dtype(name)
    numpy_name = native.NUMPY_DTYPES.get(kind.name)
    try:
        if numpy_name is not None:
            return array_ipc.dtype(numpy_name)
    except (TypeError, ImportError):
        pass
    raise ExternalStepError(
        f"tensor {name!r} of this engine has dtype {kind.name}, which NumPy cannot hold",
        hint="build the engine from a model whose inputs and outputs have another dtype",
    )


def _refuse_layout(trt: Any, engine: Any, name: str) -> None:
    layout = engine.get_tensor_format(name)
    if layout != trt.TensorFormat.LINEAR:
        raise ExternalStepError(
            f"tensor {name!r} of this engine has memory layout {layout.name}; "
            "only row-major (LINEAR) inputs and outputs can be given and read"
        )
    alias = getattr(engine, "get_aliased_input_tensor", lambda _: None)(name)
    if alias:
        raise ExternalStepError(
            f"output {name!r} of this engine is written into input {alias!r} (a KV cache), "
            "which this runner does not do"
        )


def _limits(engine: Any, name: str, shape: Shape, profile: int) -> Limits:
    if UNKNOWN not in shape:
        return Limits(shape, shape)
    low, _, high = (_sizes(ends) for ends in engine.get_tensor_profile_shape(name, profile))
    return Limits(low, high)


def _values(engine: Any, name: str, profile: int) -> Limits | None:
    # The bindings declare (name, profile_index) and take them the other way round.
    try:
        ends = engine.get_tensor_profile_values(profile, name)
    except TypeError:
        ends = engine.get_tensor_profile_values(name, profile)
    except (RuntimeError, ValueError):
        return None
    if not ends:
        return None
    low, _, high = (_sizes(end) for end in ends)
    return Limits(low, high)


def _sizes(dims: Any) -> Shape:
    return tuple(int(size) for size in dims)


class DeviceArray:
    """A row-major array in the memory of a CUDA device.

    Outputs come as these where inputs were given in device memory without torch. To give an
    engine the memory of a library that shares neither ``__cuda_array_interface__`` nor PyTorch
    tensors, such as a ``cuda.core`` buffer, wrap its address:
    ``DeviceArray(int(buffer.handle), (1, 3, 224, 224), "float32", owner=buffer)``.

    Args:
        address: Where it begins.
        shape: Size by axis.
        dtype: Element type, anything that ``numpy.dtype`` takes.
        owner: Kept alive as long as this array is.
        stream: CUDA stream on which the content becomes valid; None if it is already.
    """

    __slots__ = ("address", "dtype", "owner", "shape", "stream")

    def __init__(
        self,
        address: int,
        shape: Shape,
        dtype: npt.DTypeLike,
        *,
        owner: object = None,
        stream: int | None = None,
    ) -> None:
        self.address = int(address)
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.owner = owner
        self.stream = stream

    def __repr__(self) -> str:
        return f"DeviceArray(0x{self.address:x}, {self.shape}, {self.dtype.name})"

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return nbytes(self.shape, self.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the interface, which CuPy, Numba and PyTorch read."""
        interface: dict[str, Any] = {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
        }
        if self.stream is not None:
            # The interface has no 0; 1 is its name for the default stream.
            interface["stream"] = self.stream or 1
        return interface

    def numpy(self) -> npt.NDArray[Any]:
        """A copy in host memory; waits until the content is valid.

        Raises:
            MissingDependencyError: If cuda-bindings is not installed.
            ExternalStepError: If CUDA cannot copy it.
        """
        from tripoint.trt import cuda

        runtime = cuda.runtime()
        array: npt.NDArray[Any] = np.empty(self.shape, self.dtype)
        stream = self.stream or 0
        if array.nbytes:
            kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
            cuda.check(
                runtime.cudaMemcpyAsync,
                array.ctypes.data,
                self.address,
                array.nbytes,
                kind,
                stream,
            )
        cuda.check(runtime.cudaStreamSynchronize, stream)
        return array
