"""Queued runs: one whose outputs arrive later, and one that is prepared once for many launches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tripoint.runner.buffers import Placed
from tripoint.runner.contexts import Context
from tripoint.runner.device import Allocation, Cuda, view


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
        buffer = self.placed.buffer
        if buffer is not None and buffer.array is not None:
            np.copyto(buffer.array, arrived)
            return buffer.array
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
        """Number of the call of the engine."""
        return self._number

    @property
    def stream(self) -> int:
        """Handle of the stream that it is queued on."""
        return self._stream

    @property
    def overwritten_by_next(self) -> bool:
        """Return whether the next call overwrites what has not arrived yet."""
        return bool(self._arriving)

    def collect(self) -> dict[str, Any]:
        """The outputs, once the stream is done."""
        outputs = dict(self.on_device)
        for name, arriving in self._arriving.items():
            array = arriving.array()
            outputs[name] = sys.modules["torch"].from_numpy(array) if self._as_torch else array
        return {name: outputs[name] for name in self._order}


Launch = Callable[[Callable[[], None], int, frozenset[int]], None]
"""Calls a function that queues work on a stream, ordered with other streams."""


class Bound:
    """An engine with its inputs and outputs tied to device memory.

    :meth:`launch` reads and writes that memory, whatever it holds by then, and costs hardly more
    than the CUDA or TensorRT call that it makes: shapes, dtypes and profiles were looked at
    once. It has an execution context of its own, so other calls of the engine do not disturb it.

    Args:
        launch: Queues it in turn; that of the session that it belongs to.
        cuda: Where it runs.
        context: Its context, which was told everything.
        graph: Its CUDA graph, None where there is none.
        stream: Handle of the stream that it runs on.
        outers: Handles of the streams of the caller that it is ordered with.
        outputs: Output by name, where it lies.
        keeps: What must live as long as it does.
    """

    def __init__(
        self,
        launch: Launch,
        cuda: Cuda,
        context: Context,
        graph: Any,
        stream: int,
        outers: frozenset[int],
        outputs: Mapping[str, Any],
        keeps: object,
    ) -> None:
        self._launch = launch
        self._cuda = cuda
        self._context: Context | None = context
        self._graph = graph
        self._stream = stream
        self._outers = outers
        self._keeps = keeps
        self.outputs = outputs
        """Output by name: PyTorch tensors or :class:`~tripoint.DeviceArray`, or the memory that
        was given. Every launch writes them."""

    @property
    def captured(self) -> bool:
        """Return whether a launch is that of a CUDA graph."""
        return self._graph is not None

    @property
    def stream(self) -> int:
        """Handle of the stream that it runs on."""
        return self._stream

    def launch(self) -> None:
        """Queue a run and return without waiting for it.

        Raises:
            UsageError: If the engine is closed, or another thread is in a call.
            ExternalStepError: If CUDA or TensorRT fails.
        """
        self._launch(self._queue, self._stream, self._outers)

    def release(self) -> None:
        """Give graph and context back; the engine does so when it closes."""
        if self._graph is not None:
            self._cuda.destroy_graph(self._graph)
        self._graph = self._context = self._keeps = None

    def _queue(self) -> None:
        if self._graph is not None:
            self._cuda.launch(self._graph, self._stream)
        else:
            assert self._context is not None  # noqa: S101 - a closed session does not get here
            self._context.execute(self._stream)
