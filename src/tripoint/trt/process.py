"""The parent's side of the child process in which all native code runs.

A crash of a parser, builder or runtime must end that process only. The child is told how to
start in one line of JSON on its standard input, and what to do in a second; events and one result
come back as lines of JSON on its standard output; whatever native code prints goes to a file of
its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Literal

from tripoint import errors
from tripoint.trt import messages
from tripoint.trt.paths import child_path

Kind = Literal["crash", "memory", "timeout", "failed"]
Event = dict[str, Any]

_BOOT = (
    "import json, sys; start = json.loads(sys.stdin.buffer.readline()); "
    "sys.path[:] = start['path']; "
    "from tripoint.tasks.worker import main; main(start['load'])"
)
_STEPS = {
    "parse": "TensorRT parser",
    "describe": "TensorRT parser",
    "build": "TensorRT builder",
    "inspect_plan": "TensorRT runtime",
    "execute": "TensorRT runtime",
    "debug_tensors": "TensorRT builder",
    "devices": "CUDA driver",
    "bench": "process that measures",
}
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "out of memory", "OutOfMemory", "MemoryAllocation")
_NATIVE_BYTES = 4000
_NATIVE_ERRORS = 20
_GRACE_SECONDS = 5.0


class WorkerError(errors.ExternalStepError):
    """Native code crashed, ran out of memory or time, or reported an error.

    Args:
        fact: One sentence.
        kind: What happened.
        native: The last errors that native code logged and the end of what it printed.
        hint: The next step.
    """

    def __init__(self, fact: str, kind: Kind, *, native: str = "", hint: str | None = None) -> None:
        super().__init__(fact, hint=hint)
        self.kind = kind
        self.native = native


def call(
    request: dict[str, Any],
    *,
    timeout: float | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Run one task in a fresh child process.

    Args:
        request: ``{"task": name, ...}`` with values that JSON can hold.
        timeout: Seconds after which the child is stopped, None for no limit.
        on_event: Called for each event while the task runs. An exception that it raises, like
            a KeyboardInterrupt, stops the child.

    Returns:
        The task's result.

    Raises:
        WorkerError: If the child crashes, runs out of memory or time, or native code fails.
        TripointError: As the task raised it in the child.
    """
    with _taken(request) or _Child() as child:
        talk = _Conversation(request["task"], child.process, child.printed, on_event)
        return talk.run(request, timeout)


def prepare(tensorrt: str) -> None:
    """Start the child of a later "parse", so that it loads TensorRT while the caller is busy.

    A call that does not come costs nothing but that: the child leaves with this process.

    Args:
        tensorrt: Name of the TensorRT module.
    """
    if not _waiting:
        _waiting.append(_Child(load=tensorrt))


class _Child:
    """A child process that waits for its request.

    Args:
        load: Name of a TensorRT module to load meanwhile.
    """

    def __init__(self, *, load: str | None = None) -> None:
        self.load = load
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter, a constant program
            [sys.executable, "-I", "-c", _BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            # A group of its own, so that Ctrl-C reaches the parent alone and one signal ends all.
            start_new_session=True,
        )
        _send(self.process, {"path": child_path(), "load": load})

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self.process)
        self.printed.close()


_waiting: list[_Child] = []


def _taken(request: dict[str, Any]) -> _Child | None:
    """The child that was prepared for this request, if there is one."""
    fits = request["task"] == "parse" and not request.get("environment")
    if fits and _waiting and _waiting[0].load == request.get("tensorrt"):
        return _waiting.pop()
    return None


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None  # noqa: S101 - asked for as a pipe
    # A child that has ended is noticed by who reads from it.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The pipes first: the child leaves by itself when its input ends.
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


class _Conversation:
    def __init__(
        self,
        task: str,
        process: subprocess.Popen[bytes],
        printed: IO[bytes],
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.step = _STEPS.get(task, "worker")
        self.process = process
        self.printed = printed
        self.on_event = on_event
        self.at: str | None = None
        self.logged: deque[str] = deque(maxlen=_NATIVE_ERRORS)
        self.warned: deque[str] = deque(maxlen=_NATIVE_ERRORS)

    def run(self, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        deadline = None if timeout is None else time.monotonic() + timeout
        lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        stdout = self.process.stdout
        assert stdout is not None  # noqa: S101 - asked for as a pipe
        reader = threading.Thread(target=_read, args=(stdout, lines), daemon=True)
        reader.start()
        _send(self.process, request)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                raise self._late(timeout or 0.0) from None
            if line is None:
                raise self._died()
            result = self._take(json.loads(line))
            if result is not None:
                self._finish()
                return result

    def _take(self, message: Event) -> dict[str, Any] | None:
        if "result" in message:
            return dict(message["result"])
        if "error" in message:
            raise self._reported(message["error"])
        self.at = message.get("at", self.at)
        for severity, text in message.get("lines", ()):
            if severity.endswith("ERROR"):
                self.logged.append(text)
            elif severity == "WARNING":
                self.warned.append(text)
        if self.on_event:
            self.on_event(message)
        return None

    def _finish(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE_SECONDS)

    def _native(self) -> str:
        size = self.printed.seek(0, os.SEEK_END)
        self.printed.seek(max(0, size - _NATIVE_BYTES))
        tail = self.printed.read().decode(errors="replace").strip()
        return "\n".join([*self.logged, *([tail] if tail else [])])

    @property
    def _while(self) -> str:
        return f" while {self.at}" if self.at else ""

    def _late(self, timeout: float) -> WorkerError:
        return WorkerError(
            f"the {self.step} was stopped after {timeout:g} s{self._while}",
            "timeout",
            native=self._native(),
            hint="give it more time with --timeout SECONDS",
        )

    def _died(self) -> WorkerError:
        try:
            code = self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return WorkerError(f"the {self.step} stopped answering{self._while}", "crash")
        native = self._native()
        if code == -getattr(signal, "SIGKILL", 9) or any(t in native for t in _OUT_OF_MEMORY):
            how = _signal_name(code) if code < 0 else f"exit code {code}"
            return WorkerError(
                f"the {self.step} was ended ({how}){self._while}; the machine ran out of memory "
                "or another program ended it",
                "memory",
                native=native,
                hint="free memory, or make the model or its ranges smaller",
            )
        if code < 0:
            return self._explained(
                f"the {self.step} crashed ({_signal_name(code)}){self._while}",
                "crash",
                hint="this is a fault of that TensorRT; --tensorrt NAME chooses another",
            )
        last = native.splitlines()[-1:] or ["it printed nothing"]
        return self._explained(
            f"the {self.step} stopped without a result (exit code {code}){self._while}: {last[0]}",
            "crash",
        )

    def _explained(self, fact: str, kind: Kind, *, hint: str | None = None) -> WorkerError:
        native = self._native()
        message = messages.of([fact, native, *self.warned])
        if message is not None:
            fact = f"{fact}; what it means: {message.meaning}"
            hint = message.hint
        return WorkerError(fact, kind, native=native, hint=hint)

    def _reported(self, error: dict[str, Any]) -> errors.TripointError:
        raised = getattr(errors, error["type"])
        if issubclass(raised, errors.ExternalStepError):
            return self._explained(error["fact"], "failed", hint=error["hint"])
        error_of_child: errors.TripointError = raised(error["fact"], hint=error["hint"])
        return error_of_child


def _read(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    # A crash can cut the last line short; a closed pipe means that nobody waits any more.
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            if line.endswith(b"\n"):
                lines.put(line)
    lines.put(None)


def _signal_name(code: int) -> str:
    try:
        return f"killed by signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
