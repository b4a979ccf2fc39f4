"""Layers of a parsed network. Imported in the child process only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tripoint.errors import UsageError
from tripoint.trt import native


def describe(network: Any) -> Iterator[dict[str, Any]]:
    """Describe every layer of an ``INetworkDefinition`` that is complete.

    Yields:
        ``name``, ``type`` (of ``LayerType``), ``metadata`` (what TensorRT notes of the ONNX node,
        empty before TensorRT 8.6, which has no such property), and ``inputs`` and ``outputs``,
        each a list of name, dtype, shape and whether it is a shape tensor.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        inputs = (layer.get_input(position) for position in range(layer.num_inputs))
        outputs = (layer.get_output(position) for position in range(layer.num_outputs))
        yield {
            "name": layer.name,
            "type": layer.type.name,
            "metadata": str(getattr(layer, "metadata", "")),
            "inputs": [_tensor(tensor) for tensor in inputs if tensor is not None],
            "outputs": [_tensor(tensor) for tensor in outputs if tensor is not None],
        }


def _tensor(tensor: Any) -> list[Any]:
    return [
        tensor.name,
        native.numpy_name(tensor.dtype),
        native.tensor_shape(tensor),
        bool(tensor.is_shape_tensor),
    ]


_FLAGS = {"fp16": "FP16", "bf16": "BF16"}


def set_precision(trt: Any, network: Any, config: Any, precision: str | None) -> None:
    """Let the engine keep what its inspector tells, and allow a precision where a flag does.

    A strongly typed network takes its types from the graph. A weakly typed one, which TensorRT 8
    has, may use a lower type only if a builder flag allows it.

    Args:
        trt: The TensorRT module.
        network: ``INetworkDefinition``.
        config: ``IBuilderConfig``.
        precision: What was asked for, or None.

    Raises:
        UsageError: If the network is weakly typed and this TensorRT has no flag for it.
    """
    if hasattr(trt, "ProfilingVerbosity") and hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if precision not in _FLAGS or native.strongly_typed(trt, network):
        return
    flag = getattr(trt.BuilderFlag, _FLAGS[precision], None)
    if flag is None:
        raise UsageError(f"{trt.__name__} {trt.__version__} cannot build in {precision}")
    config.set_flag(flag)
