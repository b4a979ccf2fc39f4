"""Starts what takes long before the libraries of the command itself are imported."""

from __future__ import annotations

import contextlib
from pathlib import Path


def parser(model: str, target: str | None, tensorrt: str | None) -> None:
    """Start the TensorRT that will parse the model of a command, if one will.

    Args:
        model: The MODEL argument. PyTorch models are exported first, which takes longer.
        target: As on the command line.
        tensorrt: As on the command line.
    """
    if target not in (None, "installed") or Path(model).suffix != ".onnx":
        return
    from tripoint.errors import TripointError
    from tripoint.trt import bindings, process

    # The command finds the same fault, and reports it.
    with contextlib.suppress(TripointError):
        process.prepare(bindings.find(tensorrt).name)
