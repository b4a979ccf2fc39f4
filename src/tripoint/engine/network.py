"""The inputs and outputs of a network, as reports and manifests describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tripoint.graph import passthrough
from tripoint.table import TensorTable, ViewShape


@dataclass(frozen=True, slots=True)
class IoTensor:
    """One input or output.

    Args:
        name: Its name.
        dtype: Element type in NumPy's spelling, None if unknown.
        shape: Per axis an integer; -1 where TensorRT does not know it. Of a tensor that
            TensorRT never reached this is the true shape, with its symbols.
        reached: Whether TensorRT reached this tensor.
        model: The shape in the model where TensorRT's cannot be that one, else None.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str, ...] | None
    reached: bool = True
    model: tuple[int | str, ...] | None = None


@dataclass(frozen=True, slots=True)
class NetworkDescription:
    """The inputs and outputs of a network, in the order of the ONNX model.

    Args:
        inputs: Its inputs.
        outputs: Its outputs.
        layers: Number of layers that the parser made, None if not known.
    """

    inputs: tuple[IoTensor, ...]
    outputs: tuple[IoTensor, ...]
    layers: int | None = None


_ONNX_DTYPES = {"float": "float32", "double": "float64"}


def describe(table: TensorTable) -> NetworkDescription:
    """The network as the table's target sees it.

    An output that is listed twice is there once: TensorRT marks it once.

    Args:
        table: Facts of the model; its target's view gives the shapes.
    """
    return NetworkDescription(
        tuple(
            replace(_of_table(table, name), name=passthrough.engine_name(name, table.outputs))
            for name in table.inputs
        ),
        tuple(_of_table(table, name) for name in dict.fromkeys(table.outputs)),
        table.layers,
    )


def from_child(
    result: Mapping[str, Any], inputs: Iterable[str], outputs: Iterable[str]
) -> NetworkDescription:
    """The network as TensorRT itself described it.

    Args:
        result: ``inputs`` and ``outputs``, each a list of name, dtype and shape, and ``layers``.
        inputs: Input names in the order of the ONNX model; others keep theirs, after these.
        outputs: Output names, likewise.
    """
    return NetworkDescription(
        _ordered(result["inputs"], inputs), _ordered(result["outputs"], outputs), result["layers"]
    )


def as_json(tensors: Iterable[IoTensor]) -> list[dict[str, Any]]:
    """The tensors as JSON values."""
    return [
        {"name": t.name, "dtype": t.dtype, "shape": None if t.shape is None else list(t.shape)}
        for t in tensors
    ]


def _of_table(table: TensorTable, name: str) -> IoTensor:
    facts = table.by_name[name]
    dtype = _ONNX_DTYPES.get(facts.dtype, facts.dtype) if facts.dtype else None
    seen: ViewShape | None = facts.tensorrt
    true = facts.shape if facts.differs else None
    return IoTensor(name, dtype, facts.shape if seen is None else seen, seen is not None, true)


def _ordered(tensors: Iterable[list[Any]], order: Iterable[str]) -> tuple[IoTensor, ...]:
    by_name = {
        name: IoTensor(name, dtype, None if shape is None else tuple(shape))
        for name, dtype, shape in tensors
    }
    first = [by_name.pop(name) for name in order if name in by_name]
    return (*first, *by_name.values())
