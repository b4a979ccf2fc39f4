"""Task "parse": what the network of a model looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tripoint.trt import bindings, native
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Parse a model.

    Args:
        request: ``tensorrt`` (module name) and ``model`` (absolute path).
        emit: Takes the log lines.

    Returns:
        ``complete``, ``version``, ``layers`` (their number), ``errors`` and, of a complete
        network, ``tensors`` and ``made``. Per tensor: its name in the network, shape, and
        whether it is a shape and an execution tensor. Per layer: its name, the names of its
        inputs and outputs, and what TensorRT notes of the ONNX node that it was made for.
    """
    trt = bindings.load(request["tensorrt"])
    emit({"event": "loaded", "version": trt.__version__, "at": "reading the model"})
    parsed = native.parse(trt, native.make_logger(trt, emit), request["model"])
    emit({"event": "parsed", "at": "reading the parsed network"})
    return {
        "complete": parsed.complete,
        "version": trt.__version__,
        "layers": parsed.network.num_layers,
        "errors": [
            {**error, "function": parsed.parser.get_error(index).func()}
            for index, error in enumerate(parsed.errors)
        ],
        "tensors": list(_tensors(parsed.network)) if parsed.complete else [],
        "made": list(layers(parsed.network)) if parsed.complete else [],
    }


def layers(network: Any) -> Iterator[list[Any]]:
    """Yield each layer's name, the names of its inputs and outputs, and TensorRT's note of it."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        inputs = (layer.get_input(position) for position in range(layer.num_inputs))
        outputs = (layer.get_output(position) for position in range(layer.num_outputs))
        yield [
            layer.name,
            [tensor.name for tensor in inputs if tensor is not None],
            [tensor.name for tensor in outputs if tensor is not None],
            str(getattr(layer, "metadata", "")),
        ]


def _tensors(network: Any) -> Iterator[list[Any]]:
    for index in range(network.num_inputs):
        yield _facts(network.get_input(index))
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            tensor = layer.get_output(output)
            if tensor is not None:
                yield _facts(tensor)


def _facts(tensor: Any) -> list[Any]:
    return [
        tensor.name,
        native.tensor_shape(tensor),
        bool(tensor.is_shape_tensor),
        bool(tensor.is_execution_tensor),
    ]
