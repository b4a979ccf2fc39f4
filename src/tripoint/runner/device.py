"""The CUDA calls of the runner: memory, copies, streams, events and graphs, each checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.errors import ExternalStepError
from tripoint.trt.cuda import check

POISON = 0xFF
"""Fills outputs before a run on request: what is not written reads as NaN, or -1 of an integer."""

LEGACY_STREAMS = frozenset({0, 1})
"""Handles of CUDA's default stream, which can be neither captured nor used without waiting."""


class Cuda:
    """CUDA on one device.

    Args:
        runtime: The module ``cuda.bindings.runtime``.

    Raises:
        ExternalStepError: If CUDA finds no device.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.device = int(check(runtime.cudaGetDevice))

    def select(self) -> None:
        """Make the device current in this thread."""
        check(self._runtime.cudaSetDevice, self.device)

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""
        flags = self._runtime.cudaStreamNonBlocking
        return int(check(self._runtime.cudaStreamCreateWithFlags, flags))

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back; errors of what ran on it are not reported again."""
        self._runtime.cudaStreamDestroy(stream)

    def synchronize(self, stream: int) -> None:
        """Wait until all that was queued on a stream is done."""
        check(self._runtime.cudaStreamSynchronize, stream)

    def event(self) -> Any:
        """A new event without a clock."""
        flags = self._runtime.cudaEventDisableTiming
        return check(self._runtime.cudaEventCreateWithFlags, flags)

    def destroy_event(self, event: Any) -> None:
        """Give an event back."""
        self._runtime.cudaEventDestroy(event)

    def record(self, event: Any, stream: int) -> None:
        """Let an event stand for all that was queued on a stream so far."""
        check(self._runtime.cudaEventRecord, event, stream)

    def wait(self, stream: int, event: Any) -> None:
        """Let what is queued on a stream from now on wait for an event, without waiting here."""
        check(self._runtime.cudaStreamWaitEvent, stream, event, 0)

    def join(self, event: Any) -> None:
        """Wait here for an event."""
        check(self._runtime.cudaEventSynchronize, event)

    def allocate(self, size: int) -> Allocation:
        """Device memory of at least one byte, so that it has an address."""
        runtime, size = self._runtime, max(1, size)
        return Allocation(int(check(runtime.cudaMalloc, size)), size, runtime.cudaFree)

    def allocate_pinned(self, size: int) -> Allocation:
        """Host memory that the device copies from and to without stopping the host."""
        runtime, size = self._runtime, max(1, size)
        return Allocation(int(check(runtime.cudaMallocHost, size)), size, runtime.cudaFreeHost)

    def upload(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy from pinned memory to the device."""
        self._copy(target, source, size, "cudaMemcpyHostToDevice", stream)

    def download(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy from the device to pinned memory."""
        self._copy(target, source, size, "cudaMemcpyDeviceToHost", stream)

    def duplicate(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy within the device."""
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice", stream)

    def poison(self, address: int, size: int, stream: int) -> None:
        """Queue filling device memory with :data:`POISON`."""
        if size:
            check(self._runtime.cudaMemsetAsync, address, POISON, size, stream)

    def capture(self, stream: int, queue: Callable[[], bool]) -> Any:
        """Capture what a function queues on a stream as an executable graph.

        Args:
            stream: The stream; nothing of what is captured runs on it.
            queue: Queues the work, and tells whether it could.

        Returns:
            The graph, for :meth:`launch`.

        Raises:
            ExternalStepError: If the work cannot be captured. The stream is usable again.
        """
        runtime = self._runtime
        # Other threads may allocate memory meanwhile; this one may not.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(runtime.cudaStreamBeginCapture, stream, mode)
        done = False
        try:
            done = queue()
        finally:
            status, graph = runtime.cudaStreamEndCapture(stream)
            if int(status) != 0 or not done:
                runtime.cudaGetLastError()
        if int(status) != 0 or not done:
            if int(status) == 0 and graph is not None:
                runtime.cudaGraphDestroy(graph)
            what = status.name if int(status) else "TensorRT refused"
            raise ExternalStepError(f"the execution cannot be captured in a CUDA graph: {what}")
        try:
            return check(runtime.cudaGraphInstantiate, graph, 0)
        finally:
            runtime.cudaGraphDestroy(graph)

    def launch(self, graph: Any, stream: int) -> None:
        """Queue a captured graph."""
        check(self._runtime.cudaGraphLaunch, graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Give a graph back."""
        self._runtime.cudaGraphExecDestroy(graph)

    def _copy(self, target: int, source: int, size: int, kind: str, stream: int) -> None:
        if size:
            runtime = self._runtime
            direction = getattr(runtime.cudaMemcpyKind, kind)
            check(runtime.cudaMemcpyAsync, target, source, size, direction, stream)


class Allocation:
    """Memory that is given back when nothing refers to it any more.

    Args:
        address: Where it begins.
        size: Its bytes.
        release: Takes the address.
    """

    def __init__(self, address: int, size: int, release: Callable[[int], object]) -> None:
        self.address = address
        self.size = size
        self._release = release

    def __del__(self) -> None:
        # At the end of the process the driver may be gone, and the memory with it.
        with contextlib.suppress(Exception):
            self._release(self.address)


class Buffer:
    """Memory for one tensor, kept from call to call and replaced only when it is too small.

    Args:
        allocate: Makes memory of a size in bytes.
        settle: Called before memory is replaced that may still be in use.
    """

    def __init__(self, allocate: Callable[[int], Any], settle: Callable[[], None]) -> None:
        self._allocate = allocate
        self._settle = settle
        self.held: Any = None

    def reserve(self, size: int) -> int:
        """Make sure of a size in bytes.

        Returns:
            The address, the same as before unless the memory was too small.
        """
        if self.held is None:
            self.held = self._allocate(size)
        elif self.held.size < size:
            self._settle()
            # The old memory goes first, so that both need not fit at once.
            self.held = None
            self.held = self._allocate(size)
        return int(self.held.address)


class _Window:
    def __init__(self, allocation: Allocation, size: int) -> None:
        self.allocation = allocation
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (allocation.address, False),
        }


def view(allocation: Allocation, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Host memory as an array, which keeps it alive."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw: npt.NDArray[Any] = np.asarray(_Window(allocation, size))
    return raw.view(dtype).reshape(shape)
