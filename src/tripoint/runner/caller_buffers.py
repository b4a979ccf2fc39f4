"""Memory of the caller for an input or output: of the host, PyTorch, or another library."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tripoint.errors import InputError, UsageError
from tripoint.graph import passthrough
from tripoint.runner.tensors import DeviceArray, Shape, Tensor, as_wanted, nbytes
from tripoint.trt import array_ipc

Kind = Literal["host", "torch", "device"]

_DLPACK_HOST = frozenset({1, 3})  # kDLCPU, kDLCUDAHost
_torch_names: dict[Any, str] = {}


@dataclass(slots=True)
class CallerBuffer:
    """Memory of a caller.

    Args:
        kind: Which form outputs take if this is an input.
        shape: Size by axis.
        address: Device address, 0 if it is in host memory.
        array: The array in host memory, None if it is on the device.
        owner: What must live until the run is done.
        stream: Stream on which the content becomes valid, None if it is already or if PyTorch's
            current stream orders it.
    """

    kind: Kind
    shape: Shape
    address: int
    array: np.ndarray[Any, Any] | None = None
    owner: object = None
    stream: int | None = None


def torch_tensor_type() -> type | None:
    """``torch.Tensor`` if the caller has imported torch; it is not imported here."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor if isinstance(tensor, type) else None


def in_order(tensors: Sequence[Tensor], inputs: Mapping[str, Any]) -> list[Any]:
    """Return what the caller gave for each input, in the engine's order.

    Raises:
        InputError: If an input is missing or unknown.
    """
    if len(inputs) == len(tensors):
        try:
            return [inputs[tensor.name] for tensor in tensors]
        except KeyError:
            pass
    values = [passthrough.entry(tensor.name, inputs) for tensor in tensors]
    if len(inputs) == len(tensors) and all(value is not None for value in values):
        return values
    names = [tensor.name for tensor in tensors]
    for name, value in zip(names, values, strict=True):
        if value is None:
            raise InputError(f"input {name!r} of the engine was not given")
    unknown = next(name for name in inputs if name not in names)
    raise InputError(f"the engine has no input {unknown!r}; it has {', '.join(names) or 'none'}")


def take(tensor: Tensor, value: Any, device: int) -> CallerBuffer:
    """Memory that was given for an input.

    Args:
        tensor: The input.
        value: NumPy array, number or list of numbers; PyTorch tensor; :class:`DeviceArray`, or
            anything with ``__cuda_array_interface__``.
        device: Index of the engine's CUDA device.

    Raises:
        InputError: If it is of another kind or dtype, on another device, or not row-major.
    """
    if isinstance(value, np.ndarray):
        array = as_wanted(tensor, value)
        return CallerBuffer("host", array.shape, 0, array)
    torch_tensor = torch_tensor_type()
    if torch_tensor is not None and isinstance(value, torch_tensor):
        return _take_torch(tensor, value, device)
    if isinstance(value, DeviceArray) or hasattr(value, "__cuda_array_interface__"):
        return _take_device(tensor, value)
    array = as_wanted(tensor, _host_array(tensor, value))
    return CallerBuffer("host", array.shape, 0, array)


def take_output(tensor: Tensor, value: Any, shape: Shape, device: int) -> CallerBuffer:
    """Memory that was given for an output to be written to.

    Args:
        tensor: The output.
        value: NumPy array, PyTorch tensor, :class:`DeviceArray` or the like.
        shape: Shape that the output has in this run.
        device: Index of the engine's CUDA device.

    Raises:
        UsageError: If it has another dtype or shape, cannot be written, or is not row-major.
    """
    what = f"the memory given for output {tensor.name!r}"
    if isinstance(value, np.ndarray):
        buffer = CallerBuffer("host", value.shape, 0, value, value)
        if value.dtype != tensor.dtype:
            raise UsageError(f"{what} is {value.dtype.name}, the engine writes {tensor.dtype.name}")
        if not value.flags.writeable:
            raise UsageError(f"{what} cannot be written")
    else:
        try:
            buffer = take(tensor, value, device)
        except InputError as error:
            raise UsageError(error.fact.replace("input", "the memory given for output", 1)) from (
                error
            )
        if buffer.kind == "host":
            raise UsageError(f"{what} is neither a NumPy array nor device memory")
        if buffer.owner is not value or _is_read_only(value):
            raise UsageError(f"{what} cannot be written in place: it is read-only or not row-major")
    if buffer.shape != shape:
        raise UsageError(f"{what} has shape {buffer.shape}, the output has {shape}")
    if tensor.on_host and buffer.array is None:
        raise UsageError(f"output {tensor.name!r} is written in host memory; give a NumPy array")
    return buffer


def _take_torch(tensor: Tensor, value: Any, device: int) -> CallerBuffer:
    name = _torch_names.get(value.dtype) or _name_of(value.dtype)
    if not value.is_cuda or tensor.on_host:
        if value.is_cuda:
            raise InputError(
                f"input {tensor.name!r} is read in host memory, and its tensor is on the device",
                hint="its values decide shapes: give them as a NumPy array or a list",
            )
        array = as_wanted(tensor, _torch_to_numpy(value, name))
        return CallerBuffer("host", array.shape, 0, array)
    if name != tensor.dtype.name:
        raise InputError(
            f"input {tensor.name!r} is {name} on the device, the engine takes {tensor.dtype.name}"
        )
    index = value.device.index
    if index is not None and index != device:
        raise InputError(
            f"input {tensor.name!r} is on device {index}, the engine on device {device}"
        )
    if not value.is_contiguous():
        value = value.contiguous()
    return CallerBuffer("torch", tuple(value.shape), value.data_ptr(), None, value)


def _take_device(tensor: Tensor, value: Any) -> CallerBuffer:
    if tensor.on_host:
        raise InputError(
            f"input {tensor.name!r} is read in host memory, and its array is on the device",
            hint="its values decide shapes: give them as a NumPy array or a list",
        )
    if isinstance(value, DeviceArray):
        shape, dtype, address, stream = value.shape, value.dtype, value.address, value.stream
    else:
        interface = value.__cuda_array_interface__
        shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
        address, stream = int(interface["data"][0]), interface.get("stream")
        strides = interface.get("strides")
        if strides is not None and not _is_row_major(shape, tuple(strides), dtype.itemsize):
            raise InputError(
                f"input {tensor.name!r} is not row-major", hint="make a contiguous copy of it"
            )
    if dtype != tensor.dtype:
        raise InputError(
            f"input {tensor.name!r} is {dtype.name} on the device, "
            f"the engine takes {tensor.dtype.name}"
        )
    return CallerBuffer("device", shape, address, None, value, stream)


def _host_array(tensor: Tensor, value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, (bool, int, float, list, tuple)):
        return _of_numbers(tensor, value)
    if hasattr(value, "__dlpack_device__"):
        kind = int(value.__dlpack_device__()[0])
        if kind not in _DLPACK_HOST:
            raise InputError(
                f"input {tensor.name!r} is a {type(value).__name__} in device memory that offers "
                "DLPack only",
                hint="give tripoint.DeviceArray(address, shape, dtype, owner=it)",
            )
        return np.from_dlpack(value)
    if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
        return np.asarray(value)
    raise InputError(
        f"input {tensor.name!r} is a {type(value).__name__}",
        hint="give a NumPy array, a PyTorch tensor, or something with __cuda_array_interface__",
    )


def _of_numbers(tensor: Tensor, value: Any) -> np.ndarray[Any, Any]:
    """Python's numbers have no width, so they take the engine's where that loses nothing."""
    wanted = tensor.dtype
    try:
        array = np.asarray(value)
        if array.size == 0:
            return array.astype(wanted)
        if array.dtype.kind in "iub" and wanted.kind in "iub":
            exact = array.astype(wanted)
            if np.array_equal(exact, array):
                return exact
        elif array.dtype.kind in "iuf" and wanted.kind not in "iub":
            return array.astype(wanted)
    except (ValueError, OverflowError) as error:
        raise InputError(f"input {tensor.name!r} is no array of numbers: {error}") from error
    raise InputError(f"the numbers given for input {tensor.name!r} do not fit {wanted.name}")


def _name_of(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.")
    _torch_names[dtype] = name
    return name


def _torch_to_numpy(value: Any, name: str) -> np.ndarray[Any, Any]:
    import torch

    value = value.detach().contiguous()
    try:
        wanted = array_ipc.dtype(name)
    except TypeError as error:
        raise InputError(f"NumPy has no dtype for a PyTorch tensor of {name}") from error
    raw: np.ndarray[Any, Any] = value.reshape(-1).view(torch.uint8).numpy()
    return raw.view(wanted).reshape(tuple(value.shape))


def _is_row_major(shape: Shape, strides: Shape, itemsize: int) -> bool:
    if nbytes(shape, np.dtype(np.uint8)) == 0:
        return True
    expected = itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _is_read_only(value: Any) -> bool:
    if isinstance(value, DeviceArray) or not hasattr(value, "__cuda_array_interface__"):
        return False
    torch_tensor = torch_tensor_type()
    if torch_tensor is not None and isinstance(value, torch_tensor):
        return False
    return bool(value.__cuda_array_interface__["data"][1])
