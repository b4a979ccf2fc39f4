"""Parts shared by the tasks and the runner: logger, network, dtypes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tripoint.errors import ExternalStepError
from tripoint.trt.protocol import Emit

NUMPY_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "FP8": "float8_e4m3fn",
}
"""NumPy (or ml_dtypes) name by ``DataType`` name."""

_BEGINS = "Parsing node: "
_NODE = re.compile(r"(?:Static check for p|P)arsing node: (.*) \[(\S+)\]$", re.DOTALL)
# Follows every error on a machine without a GPU, whatever the error is about.
_NO_DRIVER = "CUDA driver version is insufficient"
_JOINS = ("Registering tensor: ", "Adding network input: ", "Marking ")


@dataclass
class Parsed:
    """A network and everything that must live as long as it does.

    Args:
        builder: ``Builder``.
        network: ``INetworkDefinition``, complete only if ``complete``.
        parser: ``OnnxParser``, which owns the weights.
        complete: Whether the parser took the whole model.
        errors: One dict for each parser error: code, node (index), name, op, text, stack.
    """

    builder: Any
    network: Any
    parser: Any
    complete: bool
    errors: list[dict[str, Any]]


def make_logger(trt: Any, emit: Emit) -> Any:
    """An ``ILogger`` that passes on what the parent needs.

    Of the verbose lines these are the ones that join tensors to ONNX names, and that say where
    a node begins. They are sent whenever one does, before any native code that could crash on it.

    Args:
        trt: The TensorRT module.
        emit: Takes ``{"event": "log", "lines": [[severity, text]]}``, with ``at``, ``node`` and
            ``op`` where a node begins.
    """
    verbose, info = trt.ILogger.Severity.VERBOSE, trt.ILogger.Severity.INFO

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []
            self.last_error = "it gave no reason"

        def log(self, severity: Any, message: str) -> None:
            if severity == info:
                return
            if severity != verbose:
                if severity.name.endswith("ERROR") and _NO_DRIVER not in message:
                    self.last_error = message
                self.lines.append((severity.name, message))
                self.flush()
            elif match := _NODE.match(message):
                name, op = match.groups()
                if message.startswith(_BEGINS):
                    # Nested graphs, and where a parser stopped, can be told by these lines only.
                    self.lines.append(("VERBOSE", message))
                self.flush(at=f"parsing node {name!r} ({op})", node=name, op=op)
            elif message.startswith(_JOINS) or "] outputs: [" in message:
                self.lines.append(("VERBOSE", message))

        def flush(self, **extra: str) -> None:
            emit({"event": "log", "lines": self.lines, **extra})
            self.lines = []

    return Logger()


def spell(trt: Any) -> str:
    """Name and version of a TensorRT module."""
    return f"{trt.__name__} {trt.__version__}"


def make_builder(trt: Any, logger: Any) -> Any:
    """A ``Builder``.

    Raises:
        ExternalStepError: If this TensorRT cannot make one here.
    """
    try:
        return trt.Builder(logger)
    except (RuntimeError, TypeError) as error:
        raise ExternalStepError(
            f"{spell(trt)} cannot make a builder on this machine",
            hint="the full TensorRT needs a GPU; --tensorrt tensorrt_rtx_bindings does not",
        ) from error


def parse(trt: Any, logger: Any, model: str, builder: Any = None) -> Parsed:
    """Build a network from an ONNX file.

    Args:
        trt: The TensorRT module.
        logger: From :func:`make_logger`.
        model: Absolute path of a binary ONNX file.
        builder: From :func:`make_builder`, None for a new one.

    Raises:
        ExternalStepError: If this TensorRT cannot even make a builder here.
    """
    builder = builder or make_builder(trt, logger)
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    complete = parser.parse_from_file(model)
    logger.flush()
    errors = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
    return Parsed(builder, network, parser, bool(complete), errors)


def tensor_shape(tensor: Any) -> list[int] | None:
    """Shape of a network tensor, None where TensorRT cannot tell (it raises on bad graphs)."""
    try:
        return [int(size) for size in tensor.shape]
    except (RuntimeError, ValueError):
        return None


def strongly_typed(trt: Any, network: Any) -> bool:
    """Return whether the network keeps the types of the model.

    Without a flag that says so it must, unless a builder flag offers to lower them (TensorRT 8).
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if flag is None:
        return not hasattr(trt.BuilderFlag, "FP16")
    return bool(network.get_flag(flag))


def numpy_name(dtype: Any) -> str:
    """NumPy name of a ``DataType``, or TensorRT's own in lower case where NumPy has none."""
    name: str = dtype.name
    return NUMPY_DTYPES.get(name, name.lower())


def deserialize(trt: Any, logger: Any, plan: bytes) -> tuple[Any, Any]:
    """Load a plan. Code inside the plan is never allowed to run on the host.

    Returns:
        The ``Runtime`` and the ``ICudaEngine``; the first must outlive the second.

    Raises:
        ExternalStepError: If TensorRT does not take the plan.
    """
    runtime = trt.Runtime(logger)
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ExternalStepError(
            f"{trt.__name__} {trt.__version__} cannot load this plan on this machine",
            hint="a plan runs with the TensorRT version and GPU it was built for; build it again",
        )
    return runtime, engine


def network_flags(trt: Any) -> int:
    """Return the flags that a network is created with: explicit batch, types of the model."""
    # TensorRT 8 and 9 need the first flag, 10 knows both, 11 and RTX have no other network.
    flag = trt.NetworkDefinitionCreationFlag
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED")
    flags = 0
    for name in names:
        if hasattr(flag, name):
            flags |= 1 << int(getattr(flag, name))
    return flags


def _error(error: Any) -> dict[str, Any]:
    return {
        "code": error.code().name,
        "node": int(error.node()),
        "name": error.node_name() if hasattr(error, "node_name") else "",
        "op": error.node_operator() if hasattr(error, "node_operator") else "",
        "text": error.desc(),
        "stack": list(error.local_function_stack())
        if hasattr(error, "local_function_stack")
        else [],
    }
