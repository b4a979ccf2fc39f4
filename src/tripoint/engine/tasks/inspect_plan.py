"""Task "inspect_plan": what a plan itself says of its inputs and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tripoint.engine import bindings
from tripoint.engine.tasks import native
from tripoint.engine.worker import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Load a plan, which takes a GPU, and list its tensors.

    Args:
        request: ``tensorrt`` (module name) and ``plan`` (absolute path).
        emit: Takes the log lines.

    Returns:
        ``version``, ``layers``, and ``inputs`` and ``outputs`` with name, dtype and shape.
    """
    trt = bindings.load(request["tensorrt"])
    emit({"event": "loaded", "version": trt.__version__, "at": "loading the plan"})
    logger = native.make_logger(trt, emit)
    _runtime, engine = native.deserialize(trt, logger, Path(request["plan"]).read_bytes())
    tensors: dict[bool, list[list[Any]]] = {True: [], False: []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_input = bool(engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
        shape = [int(size) for size in engine.get_tensor_shape(name)]
        tensors[is_input].append([name, native.numpy_name(engine.get_tensor_dtype(name)), shape])
    return {
        "version": trt.__version__,
        "layers": engine.num_layers,
        "inputs": tensors[True],
        "outputs": tensors[False],
    }
