"""One call at a time."""

from __future__ import annotations

import threading

from tripoint.errors import UsageError
from tripoint.runner.device import Cuda


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
