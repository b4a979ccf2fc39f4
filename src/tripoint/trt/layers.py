"""The layers of a parsed network and of an engine, in one form, with their ONNX nodes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PRECISIONS = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float4_e2m1fn": "fp4",
    "int8": "int8",
    "int4": "int4",
}
"""Name of a precision by NumPy (or ml_dtypes) name of a type that numbers are computed in."""

_MOVERS = frozenset(
    {"CAST", "CONSTANT", "SHUFFLE", "SHAPE", "IDENTITY", "SQUEEZE", "UNSQUEEZE", "REFORMAT"}
)
_NOTE = re.compile(r"\[ONNX Layer: (.*?)(?: \| .*?)?\](?=\s*(?:[\x1e\x1f,\[]|$))", re.DOTALL)
_SEPARATORS = re.compile(r"[\x1e\x1f]")
_POINTWISE = re.compile(r"^PWN\((.*)\)$", re.DOTALL)
_FOREIGN = re.compile(r"^\{ForeignNode\[(.*)\]\}$", re.DOTALL)
_COPY = re.compile(r"^Reformatting CopyNode for \w+ Tensor \d+ to ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LayerTensor:
    """A tensor that a layer consumes or produces.

    Args:
        name: Its name in the network.
        dtype: Element type in NumPy's spelling, None if unknown.
        shape: Per axis a size, -1 where it is not known; None if none was told.
        format: How an engine lays it out in memory, in TensorRT's words; None if unknown.
        shape_tensor: Whether it is a shape tensor: sizes that the host computes.
    """

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None = None
    format: str | None = None
    shape_tensor: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer.

    Args:
        name: Its name.
        type: ``LayerType`` of a network's layer, ``LayerType`` in the inspector's words of an
            engine's; None if it was not told.
        nodes: ONNX nodes that it computes; of several, it is a fusion.
        inputs: What it takes.
        outputs: What it produces.
        weights: Type of its weights in NumPy's spelling, None without weights or if not told.
        tactic: Name of the kernel, None if not told.
    """

    name: str
    type: str | None
    nodes: tuple[str, ...]
    inputs: tuple[LayerTensor, ...] = ()
    outputs: tuple[LayerTensor, ...] = ()
    weights: str | None = None
    tactic: str | None = None

    @property
    def precision(self) -> str | None:
        """The types that its numbers have, ``"fp16"`` or several as ``"fp16+fp32"``.

        They are those of its weights and of the tensors that it consumes and produces. What it sums
        in is not told by TensorRT. None if no type is known or none is one of numbers.
        """
        types = [self.weights, *(tensor.dtype for tensor in (*self.inputs, *self.outputs))]
        names = {PRECISIONS[each] for each in types if each in PRECISIONS}
        if names == {"fp32"} and self.tactic and "tf32" in self.tactic.lower():
            return "tf32"
        return "+".join(sorted(names)) or None

    @property
    def told(self) -> bool:
        """Return whether the types of its tensors are known."""
        return any(tensor.dtype for tensor in (*self.inputs, *self.outputs))

    @property
    def shape_only(self) -> bool:
        """Return whether all that it produces are shape tensors."""
        return bool(self.outputs) and all(tensor.shape_tensor for tensor in self.outputs)

    @property
    def computes(self) -> bool:
        """Return whether it does more than to move, convert or hold numbers."""
        return (self.type or "").upper() not in _MOVERS and not self.shape_only


def of_network(described: Iterable[Mapping[str, Any]]) -> tuple[Layer, ...]:
    """The layers of a parsed network.

    Args:
        described: As the tasks "describe" and "build" give them.
    """
    return tuple(
        Layer(
            entry["name"],
            entry["type"],
            nodes_of(entry["metadata"]),
            tuple(_tensor(each) for each in entry["inputs"]),
            tuple(_tensor(each) for each in entry["outputs"]),
        )
        for entry in described
    )


def _tensor(entry: Iterable[Any]) -> LayerTensor:
    name, dtype, shape, is_shape = entry
    return LayerTensor(
        name, dtype, None if shape is None else tuple(shape), shape_tensor=bool(is_shape)
    )


def nodes_of(note: str, name: str = "", nodes: Collection[str] = ()) -> tuple[str, ...]:
    """The ONNX nodes of a layer.

    From TensorRT 8.6 on the ONNX parser notes ``[ONNX Layer: name]`` as the metadata of a layer,
    and a fused layer has the notes of all its parts, in TensorRT 10 with a control character
    between them. Without metadata the layer's name is read: ``/a/Conv + /b/Relu``,
    ``PWN(/c/Sigmoid, /d/Mul)`` and ``{ForeignNode[/first.../last]}``, which names two of many.

    Args:
        note: The metadata.
        name: The name of the layer, used where the metadata names no node.
        nodes: Names of the model's nodes. With them the name of a layer that holds one of the
            separators is read right, and what is no node is left out of it.
    """
    parts = [part for part in _SEPARATORS.split(note) if part]
    names = [match[1] for part in parts for match in _NOTE.finditer(part)]
    if not names:
        names = list(_of_name(name, nodes))
    return tuple(dict.fromkeys(names))


def _of_name(name: str, nodes: Collection[str]) -> Iterable[str]:
    if name in nodes:
        return [name]
    if _COPY.match(name) or name.startswith("__m"):
        return []
    if match := _FOREIGN.match(name):
        return [end for end in match[1].split("...") if end and (not nodes or end in nodes)]
    if match := _POINTWISE.match(name):
        return [each for part in _top_level(match[1]) for each in _of_name(part, nodes)]
    if " + " in name:
        return [each for part in name.split(" + ") for each in _of_name(part.strip(), nodes)]
    return [name] if name and not nodes else []


def _top_level(text: str) -> list[str]:
    """The parts of a list, split at the commas outside of parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def counted(layers: Iterable[Layer]) -> dict[str, int]:
    """Return how many of the layers that compute have which precision, the most frequent first."""
    counts = Counter(
        layer.precision or ("integers" if layer.told else "not told")
        for layer in layers
        if layer.computes
    )
    return dict(counts.most_common())
