"""A run that is prepared once and queued many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tripoint.runner.contexts import Context
from tripoint.runner.device import Cuda

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
        """Whether a launch is that of a CUDA graph."""
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
