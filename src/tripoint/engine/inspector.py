"""Reading of the JSON of TensorRT's engine inspector.

The form changes with the version, as its documentation says and files show that people published.
Before 11 a tensor has one text for layout and type, ``"Format/Datatype"``, which is a bare type
where there is no execution context; from 11 on it has ``"Format"`` and ``"DataType"``. With a
profiling verbosity below DETAILED a layer is only its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tripoint.trt.layers import Layer, LayerTensor, nodes_of

_DTYPES: dict[str, str] = {
    **dict.fromkeys(("float", "fp32", "float32"), "float32"),
    **dict.fromkeys(("half", "fp16", "float16"), "float16"),
    **dict.fromkeys(("bf16", "bfloat16"), "bfloat16"),
    **dict.fromkeys(("fp8", "float8", "e4m3"), "float8_e4m3fn"),
    **dict.fromkeys(("fp4", "float4", "e2m1"), "float4_e2m1fn"),
    **{each: each for each in ("int8", "int4", "int32", "int64", "uint8", "bool")},
}
_WORD = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class EngineLayers:
    """The layers of an engine.

    Args:
        layers: In the order of the engine.
        detailed: Whether the inspector told more than names.
        note: What it did not tell and why, None if it told all.
    """

    layers: tuple[Layer, ...]
    detailed: bool
    note: str | None = None


def read(text: str, nodes: Collection[str] = ()) -> EngineLayers:
    """Read what ``IEngineInspector.get_engine_information`` gives as JSON.

    Args:
        text: The JSON. Control characters inside of its strings, which TensorRT writes between
            the notes of fused nodes, are taken as they are.
        nodes: Names of the model's nodes, if they are known; see
            :func:`tripoint.trt.layers.nodes_of`.
    """
    try:
        content = json.loads(text, strict=False)
    except ValueError as error:
        return EngineLayers((), detailed=False, note=f"the inspector's JSON is broken: {error}")
    entries = content.get("Layers") if isinstance(content, Mapping) else None
    if not isinstance(entries, list):
        return EngineLayers((), detailed=False, note="the inspector's JSON lists no layers")
    layers = tuple(_layer(entry, nodes) for entry in entries)
    if not any(isinstance(entry, Mapping) for entry in entries):
        note = (
            "the engine was built without detailed profiling verbosity, so only names are in it"
            if layers
            else "the inspector lists no layers"
        )
        return EngineLayers(layers, detailed=False, note=note)
    return EngineLayers(layers, detailed=True)


def _layer(entry: object, nodes: Collection[str]) -> Layer:
    if not isinstance(entry, Mapping):
        return Layer(str(entry), None, nodes_of("", str(entry), nodes))
    name = _text(entry.get("Name"))
    tactic = _text(entry.get("TacticName"))
    return Layer(
        name,
        _text(entry.get("LayerType")) or None,
        nodes_of(_text(entry.get("Metadata")), name, nodes),
        _tensors(entry.get("Inputs")),
        _tensors(entry.get("Outputs")),
        _weights(entry.get("Weights")),
        tactic or None,
    )


def _tensors(entries: object) -> tuple[LayerTensor, ...]:
    if not isinstance(entries, list):
        return ()
    return tuple(_tensor(entry) for entry in entries)


def _tensor(entry: object) -> LayerTensor:
    if not isinstance(entry, Mapping):
        return LayerTensor(str(entry), None)
    both = _text(entry.get("Format/Datatype"))
    layout = _text(entry.get("Format")) or both
    named = _text(entry.get("DataType")) or _text(entry.get("Datatype")) or both
    return LayerTensor(
        _text(entry.get("Name")),
        dtype_of(named) or dtype_of(layout),
        _sizes(entry.get("Dimensions")),
        layout or None,
    )


def _sizes(entry: object) -> tuple[int, ...] | None:
    if not isinstance(entry, list) or not all(isinstance(size, int) for size in entry):
        return None
    return tuple(entry)


def _weights(entry: object) -> str | None:
    return dtype_of(_text(entry.get("Type"))) if isinstance(entry, Mapping) else None


def dtype_of(words: str) -> str | None:
    """The type that a text of the inspector names, in NumPy's spelling.

    Args:
        words: ``"Half"``, ``"Row major linear FP32 format"`` or ``"N/A due to dynamic shapes"``.
    """
    for word in _WORD.findall(words):
        if word.lower() in _DTYPES:
            return _DTYPES[word.lower()]
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
