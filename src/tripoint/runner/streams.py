"""Order of calls: one at a time, on a stream that waits for what the call needs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from tripoint.errors import UsageError
from tripoint.runner.caller_buffers import CallerBuffer, Kind
from tripoint.runner.device import LEGACY_STREAMS, Cuda


class Gate:
    """Lets one call in, on the device of the session; refuses others instead of waiting.

    Args:
        cuda: The device, which CUDA keeps by thread.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.closed = False
        self._cuda = cuda
        self._busy = threading.Lock()
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                "this engine is in use by another thread",
                hint="give each thread an engine of its own, or hold a lock around the calls",
            )
        try:
            if self.closed:
                raise UsageError("this engine is closed")
            thread = threading.get_ident()
            if thread != self._thread:
                self._cuda.select()
                self._thread = thread
        except BaseException:
            self._busy.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._busy.release()


def handle(stream: object) -> int | None:
    """The handle of a stream.

    Args:
        stream: None, a handle, a ``cuda.bindings`` stream, or a stream of PyTorch
            (``cuda_stream``), CuPy (``ptr``) or cuda-core (``__cuda_stream__``).

    Raises:
        UsageError: If it is none of these.
    """
    if stream is None or (isinstance(stream, int) and not isinstance(stream, bool)):
        return stream
    protocol = getattr(stream, "__cuda_stream__", None)
    if callable(protocol):
        return int(protocol()[1])
    for attribute in ("cuda_stream", "ptr"):
        if isinstance(getattr(stream, attribute, None), int):
            return int(getattr(stream, attribute))
    try:
        return int(stream)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError) as error:
        raise UsageError(f"a {type(stream).__name__} is no CUDA stream") from error


class Streams:
    """Orders the calls of one session, whichever streams they use.

    Args:
        cuda: Where they run.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._own: int | None = None
        self._last: int | None = None
        self._event: Any = None
        self._outers: frozenset[int] = frozenset()

    def begin(self, kind: Kind, wanted: int | None, taken: Sequence[CallerBuffer]) -> int:
        """The stream of a call, ordered after all that it depends on, without waiting here.

        Args:
            kind: What outputs will be.
            wanted: Handle that the caller asked for.
            taken: The inputs.
        """
        outers = {_torch_stream(self._cuda.device)} if kind == "torch" else set()
        chosen = wanted if wanted is not None else next(iter(outers), None)
        if chosen is not None and chosen in LEGACY_STREAMS:
            outers.add(chosen)
            chosen = None
        run = chosen if chosen is not None else self._mine()
        before = outers | {item.stream for item in taken if item.stream is not None}
        if self._last is not None:
            before.add(self._last)
        for stream in before:
            if stream != run:
                self._follow(run, stream)
        self._outers = frozenset(outers - {run})
        self._last = run
        return run

    def resume(self, run: int, outers: frozenset[int]) -> None:
        """Order a call whose stream was chosen before.

        Args:
            run: The stream.
            outers: Those of the caller that it was ordered with.
        """
        self._outers = outers
        for stream in outers:
            self._follow(run, stream)
        if self._last != run:
            if self._last is not None:
                self._follow(run, self._last)
            self._last = run

    def end(self, run: int) -> frozenset[int]:
        """Let what the caller queues on its own stream next come after the call.

        Returns:
            Those streams of the caller.
        """
        for stream in self._outers:
            self._follow(stream, run)
        return self._outers

    def settle(self) -> None:
        """Wait until the last call is done, and so all before it."""
        if self._last is not None:
            self._cuda.synchronize(self._last)

    def close(self) -> None:
        """Give streams and events back."""
        self._last = None
        if self._event is not None:
            self._cuda.destroy_event(self._event)
            self._event = None
        if self._own is not None:
            self._cuda.destroy_stream(self._own)
            self._own = None

    def _mine(self) -> int:
        if self._own is None:
            self._own = self._cuda.stream()
        return self._own

    def _follow(self, later: int, earlier: int) -> None:
        if self._event is None:
            self._event = self._cuda.event()
        # A wait means the record before it, so that one event serves all.
        self._cuda.record(self._event, earlier)
        self._cuda.wait(later, self._event)


def _torch_stream(device: int) -> int:
    return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream)
