"""Where inputs lie for a run, copied there if they come from host memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tripoint.runner.caller_buffers import Given
from tripoint.runner.device import Buffer, Cuda, view
from tripoint.runner.select_profile import Values
from tripoint.runner.tensors import Shape, Tensor

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
        self, inputs: Sequence[Tensor], taken: Sequence[Given], stream: int
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
                assert item.array is not None  # noqa: S101 - given.take refuses the device
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
        found = self._buffers.get((name, form))
        if found is None:
            allocate = self._cuda.allocate_pinned if form == "pinned" else self._cuda.allocate
            found = self._buffers[(name, form)] = Buffer(allocate, self._settle)
        return found
