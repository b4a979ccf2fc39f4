"""Memory of the inputs and outputs of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tripoint.errors import UsageError
from tripoint.runner.caller_buffers import CallerBuffer, Kind, take_output
from tripoint.runner.device import POISON, Buffer, Cuda, view
from tripoint.runner.graphs import Recent
from tripoint.runner.select_profile import Values
from tripoint.runner.tensors import UNKNOWN, DeviceArray, Shape, Tensor, nbytes

Situation = tuple[tuple[Shape, ...], tuple[Values, ...]]
"""Shape of each input, and the values of those that are shape tensors."""


class InputMemory:
    """The memory of inputs that come from the host, kept from call to call.

    Args:
        cuda: Where it lies.
        settle: Called before memory is replaced or overwritten that may still be in use.
    """

    def __init__(self, cuda: Cuda, settle: Callable[[], None]) -> None:
        self._cuda = cuda
        self._settle = settle
        self._buffers: dict[tuple[str, str], Buffer] = {}
        self._values: dict[str, bytes] = {}
        self._uploaded: Any = None
        self._uploading = False
        self.on_host: dict[str, int] = {}
        """Address by name of each input that TensorRT reads in host memory."""

    def place(
        self, inputs: Sequence[Tensor], taken: Sequence[CallerBuffer], stream: int
    ) -> tuple[Situation, tuple[int, ...]]:
        """Bring every input to where TensorRT reads it.

        Args:
            inputs: The inputs of the engine.
            taken: What was given for each.
            stream: Where copies are queued.

        Returns:
            Shapes and values, and the address of each input.
        """
        shapes = tuple(item.shape for item in taken)
        values: list[Values] = []
        addresses: list[int] = []
        uploads = False
        for tensor, item in zip(inputs, taken, strict=True):
            value: Values = None
            if tensor.on_host:
                assert item.array is not None  # noqa: S101 - caller_buffers.take refuses the device
                address, value = self._keep(tensor, item.array)
            elif item.array is not None:
                if not uploads:
                    self._free_staging()
                    uploads = True
                address = self._upload(tensor, item.array, stream)
            else:
                # Memory of no size may have no address, which TensorRT does not take.
                address = item.address or self._buffer(tensor.name, "device").reserve(0)
            values.append(value)
            addresses.append(address)
        if uploads:
            if self._uploaded is None:
                self._uploaded = self._cuda.event()
            self._cuda.record(self._uploaded, stream)
            self._uploading = True
        return (shapes, tuple(values)), tuple(addresses)

    def clear(self) -> None:
        """Give everything back."""
        self._buffers.clear()
        self._values.clear()
        if self._uploaded is not None:
            self._cuda.destroy_event(self._uploaded)
            self._uploaded = None

    def _free_staging(self) -> None:
        # What the last call copied from must be read before it is overwritten.
        if self._uploading:
            self._cuda.join(self._uploaded)
            self._uploading = False

    def _upload(self, tensor: Tensor, array: np.ndarray[Any, Any], stream: int) -> int:
        staging = self._buffer(tensor.name, "pinned")
        source = staging.reserve(array.nbytes)
        np.copyto(view(staging.held, array.shape, array.dtype), array)
        address = self._buffer(tensor.name, "device").reserve(array.nbytes)
        self._cuda.upload(address, source, array.nbytes, stream)
        return address

    def _keep(self, tensor: Tensor, array: np.ndarray[Any, Any]) -> tuple[int, Values]:
        content = array.tobytes()
        buffer = self._buffer(tensor.name, "pinned")
        if self._values.get(tensor.name) != content:
            # A run that was queued with the values before may still read them.
            self._settle()
            buffer.reserve(array.nbytes)
            np.copyto(view(buffer.held, array.shape, array.dtype), array)
            self._values[tensor.name] = content
        address = buffer.reserve(array.nbytes)
        self.on_host[tensor.name] = address
        return address, tuple(array.reshape(-1).tolist())

    def _buffer(self, name: str, form: str) -> Buffer:
        buffer = self._buffers.get((name, form))
        if buffer is None:
            allocate = self._cuda.allocate_pinned if form == "pinned" else self._cuda.allocate
            buffer = self._buffers[(name, form)] = Buffer(allocate, self._settle)
        return buffer


_VIEWS = 64


class TorchMemory:
    """Device memory that is a PyTorch tensor, so that outputs can be views of it.

    Args:
        size: Bytes.
        device: Index of the CUDA device.
    """

    def __init__(self, size: int, device: int) -> None:
        torch = sys.modules["torch"]
        self.size = max(1, size)
        self.tensor = torch.empty(self.size, dtype=torch.uint8, device=f"cuda:{device}")
        self.address = int(self.tensor.data_ptr())

    def view(self, shape: Shape, dtype: np.dtype[Any]) -> Any:
        """The first bytes as a tensor of a shape and dtype."""
        element = getattr(sys.modules["torch"], dtype.name)
        return self.tensor[: nbytes(shape, dtype)].view(element).reshape(shape)


@dataclass(slots=True)
class Placed:
    """An output of one run.

    Args:
        tensor: The output.
        shape: Its shape.
        address: Where it lies.
        memory: What owns that memory.
        buffer: Memory of the caller, None if the memory is the engine's.
    """

    tensor: Tensor
    shape: Shape
    address: int
    memory: Any
    buffer: CallerBuffer | None = None

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return nbytes(self.shape, self.tensor.dtype)


class OutputMemory:
    """The memory that outputs are written to, kept from call to call.

    Args:
        cuda: Where it lies.
        settle: Called before memory is replaced that may still be in use.
    """

    def __init__(self, cuda: Cuda, settle: Callable[[], None]) -> None:
        self._cuda = cuda
        self._settle = settle
        self._buffers: dict[tuple[str, str], Buffer] = {}
        self._views: Recent[Any] = Recent(_VIEWS)

    def buffer(self, tensor: Tensor, kind: Kind) -> Buffer:
        """The memory of an output: pinned, PyTorch's, or plain device memory."""
        form = "pinned" if tensor.on_host else "torch" if kind == "torch" else "device"
        return self._buffer(tensor.name, form)

    def place(
        self,
        tensors: Sequence[Tensor],
        shapes: Mapping[str, Shape],
        kind: Kind,
        callers: Mapping[str, Any],
    ) -> list[Placed]:
        """Decide where each output is written to.

        Args:
            tensors: The outputs of the engine.
            shapes: Shape by name, with -1 where the values of the run decide it; such an output
                gets its memory when it asks for it.
            kind: The form of the outputs that nothing was given for.
            callers: Memory of the caller, by name.

        Raises:
            UsageError: If it does not fit, or its name is unknown.
        """
        _refuse_unknown(tensors, callers)
        placed = []
        for tensor in tensors:
            shape = shapes[tensor.name]
            mine = self._callers(tensor, shape, callers) if tensor.name in callers else None
            if mine is not None and mine.array is None:
                # Memory of no size may have no address, which TensorRT does not take.
                address = mine.address or self.buffer(tensor, kind).reserve(0)
                placed.append(Placed(tensor, shape, address, mine.owner, mine))
                continue
            buffer = self.buffer(tensor, kind)
            address = buffer.reserve(0 if UNKNOWN in shape else nbytes(shape, tensor.dtype))
            placed.append(Placed(tensor, shape, address, buffer.held, mine))
        return placed

    def fill(self, placed: Sequence[Placed], stream: int) -> None:
        """Fill outputs of known size with :data:`POISON` before they are written."""
        for output in placed:
            if UNKNOWN in output.shape:
                continue
            if output.tensor.on_host:
                self._settle()
                view(output.memory, (output.nbytes,), np.dtype(np.uint8))[:] = POISON
            else:
                self._cuda.poison(output.address, output.nbytes, stream)

    def staging(self, tensor: Tensor) -> Buffer:
        """Pinned memory that an output is copied to on its way to the host."""
        return self._buffer(tensor.name, "pinned")

    def shown(self, placed: Placed, stream: int) -> Any:
        """An output where it lies, for a caller who knows about streams."""
        if placed.buffer is not None and placed.buffer.kind != "host":
            return placed.buffer.owner
        memory = placed.memory
        if isinstance(memory, TorchMemory):
            key = (placed.address, placed.shape, placed.tensor.dtype.name)
            output = self._views.get(key)
            if output is None:
                output = memory.view(placed.shape, placed.tensor.dtype)
                self._views.put(key, output)
            return output
        return DeviceArray(
            placed.address, placed.shape, placed.tensor.dtype, owner=memory, stream=stream
        )

    def fresh(self, placed: Placed, kind: Kind, stream: int) -> Any:
        """A copy of an output on the device that belongs to the caller."""
        size = placed.nbytes
        if kind == "torch":
            copy = TorchMemory(size, self._cuda.device)
            shown = copy.view(placed.shape, placed.tensor.dtype)
            self._cuda.duplicate(copy.address, placed.address, size, stream)
            return shown
        own = self._cuda.allocate(size)
        self._cuda.duplicate(own.address, placed.address, size, stream)
        return DeviceArray(own.address, placed.shape, placed.tensor.dtype, owner=own)

    def clear(self) -> None:
        """Give all memory back that no caller holds."""
        self._buffers.clear()
        self._views.clear()

    def _callers(self, tensor: Tensor, shape: Shape, callers: Mapping[str, Any]) -> CallerBuffer:
        if UNKNOWN in shape:
            raise UsageError(
                f"the values of a run decide the size of output {tensor.name!r}, "
                "so no memory can be given for it"
            )
        return take_output(tensor, callers[tensor.name], shape, self._cuda.device)

    def _buffer(self, name: str, form: str) -> Buffer:
        buffer = self._buffers.get((name, form))
        if buffer is None:
            cuda = self._cuda
            allocate: Callable[[int], Any] = {
                "pinned": cuda.allocate_pinned,
                "torch": lambda size: TorchMemory(size, cuda.device),
                "device": cuda.allocate,
            }[form]
            buffer = self._buffers[(name, form)] = Buffer(allocate, self._let_go)
        return buffer

    def _let_go(self) -> None:
        self._settle()
        self._views.clear()


def _refuse_unknown(tensors: Sequence[Tensor], callers: Mapping[str, Any]) -> None:
    names = [tensor.name for tensor in tensors]
    for name in callers:
        if name not in names:
            raise UsageError(f"the engine has no output {name!r}; it has {', '.join(names)}")
