"""The child's side: reads one request, runs one task, writes events and a result."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from tripoint.errors import TripointError
from tripoint.trt.protocol import Emit

_HERE = ("parse", "describe", "build", "inspect_plan", "execute", "bench", "debug_tensors")
TASKS = {name: f"tripoint.tasks.{name}" for name in _HERE} | {"devices": "tripoint.trt.devices"}
"""Module of each task, whose ``run`` does it."""


def main(load: str | None) -> None:
    """Read a request, ``{"task": one of TASKS, ...}``, run it and leave the process.

    Args:
        load: Name of a TensorRT module to load while there is no request yet.
    """
    emit = _take_standard_output()
    _forbid_core_dumps()
    if load:
        # What goes wrong here goes wrong again, and is reported, when the task loads it.
        with contextlib.suppress(Exception):
            importlib.import_module(TASKS["parse"])
            importlib.import_module("tripoint.trt.bindings").load(load)
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)
    request = json.loads(line)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    emit({"event": "started", "pid": os.getpid()})
    status = 0
    try:
        _set_environment(request.get("environment") or {})
        if request["task"] not in TASKS:
            raise ValueError(f"no such task: {request['task']!r}")
        task = importlib.import_module(TASKS[request["task"]])
        emit({"result": task.run(request, emit)})
    except TripointError as error:
        emit({"error": {"type": type(error).__name__, "fact": error.fact, "hint": error.hint}})
    except BaseException:  # noqa: BLE001 - the traceback is the parent's to read
        traceback.print_exc()
        status = 1
    # Native destructors may crash at exit, and the result is already out.
    os._exit(status)


def _take_standard_output() -> Emit:
    # Native code prints to file descriptor 1, so the protocol moves away from it.
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with lock:
            protocol.write(line)
            protocol.flush()

    return emit


def _set_environment(variables: Mapping[str, str | None]) -> None:
    # Before any native library is loaded, since they read it once.
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _forbid_core_dumps() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _leave_with_parent() -> None:
    # The parent keeps our input open as long as it lives and waits.
    while os.read(0, 1):
        pass
    os._exit(1)
