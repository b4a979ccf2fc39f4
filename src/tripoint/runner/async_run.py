"""A run that was queued, and its outputs once they arrive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tripoint.runner.device import Allocation, view
from tripoint.runner.output_buffers import Placed


@dataclass(slots=True)
class Arriving:
    """An output on its way to host memory.

    Args:
        placed: The output.
        staging: Pinned memory that holds it once the stream is done.
    """

    placed: Placed
    staging: Allocation

    def array(self) -> np.ndarray[Any, Any]:
        """The output, copied to the caller's memory if some was given, else to new memory."""
        arrived = view(self.staging, self.placed.shape, self.placed.tensor.dtype)
        given = self.placed.given
        if given is not None and given.array is not None:
            np.copyto(given.array, arrived)
            return given.array
        return arrived.copy()


class Pending:
    """A run that was queued and may not be done yet.

    Args:
        finish: Waits for it and gives its outputs; that of the session that runs it.
        number: Which call it is.
        stream: The stream that it is queued on.
        on_device: Output by name, where it lies on the device.
        arriving: Output by name, on its way to the host.
        order: Output names in the engine's order.
        keeps: What must live until it is done.
        as_torch: Whether outputs in host memory become PyTorch tensors.
    """

    def __init__(
        self,
        finish: Callable[[Pending], dict[str, Any]],
        number: int,
        stream: int,
        on_device: Mapping[str, Any],
        arriving: Mapping[str, Arriving],
        order: tuple[str, ...],
        keeps: object,
        *,
        as_torch: bool,
    ) -> None:
        self._finish = finish
        self._number = number
        self._stream = stream
        self._arriving = arriving
        self._order = order
        self._keeps = keeps
        self._as_torch = as_torch
        self._arrived: dict[str, Any] | None = None
        self.on_device = on_device
        """Output by name where it lies, valid for what is queued on the same stream later, or on
        PyTorch's current stream; until the next call of the engine, unless the memory was given.
        Empty where all inputs were in host memory."""

    def wait(self) -> dict[str, Any]:
        """Wait until the run is done.

        Returns:
            Output by name: NumPy arrays of the caller's own where inputs were in host memory,
            else what :attr:`on_device` holds.

        Raises:
            UsageError: If the engine was called again meanwhile, which overwrites outputs in
                host memory, or was closed.
            ExternalStepError: If CUDA reports that the run failed.
        """
        if self._arrived is None:
            self._arrived = self._finish(self)
            self._keeps = None
        return dict(self._arrived)

    @property
    def number(self) -> int:
        """Which call of the engine it is."""
        return self._number

    @property
    def stream(self) -> int:
        """Handle of the stream that it is queued on."""
        return self._stream

    @property
    def overwritten_by_next(self) -> bool:
        """Whether the next call overwrites what has not arrived yet."""
        return bool(self._arriving)

    def collect(self) -> dict[str, Any]:
        """The outputs, once the stream is done."""
        found = dict(self.on_device)
        for name, arriving in self._arriving.items():
            array = arriving.array()
            found[name] = sys.modules["torch"].from_numpy(array) if self._as_torch else array
        return {name: found[name] for name in self._order}
