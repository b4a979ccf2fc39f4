"""Reading the verbose lines of the ONNX parser of TensorRT 8 and later."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.facts.table import ViewShape

_OUTPUTS = re.compile(r"(?P<label>.*?) ?\[(?P<op>[^\]\s]+)\] outputs: (?P<items>.*)", re.DOTALL)
_ITEM = re.compile(
    r"\[(?P<tensor>(?:(?!\], \[).)*?) -> \((?P<dims>(?:-?\d+(?:, -?\d+)*)?)\)"
    r"(?:\[[A-Z0-9 >\-]+\])?\](?:, |,?\s*$)",
    re.DOTALL,
)
_INPUT = re.compile(
    r"Adding network input: (?P<tensor>.*) with dtype: \w+, dimensions: \((?P<dims>[^)]*)\)$",
    re.DOTALL,
)
_TENSOR = re.compile(r"Registering tensor: (?P<unique>.*) for ONNX tensor: (?P<tensor>.*)$", re.S)


@dataclass
class Lines:
    """What the lines say.

    Args:
        shapes: Shape by ONNX tensor name.
        unique: The network's own name for an ONNX tensor, before graph outputs are renamed.
    """

    shapes: dict[str, ViewShape] = field(default_factory=dict)
    unique: dict[str, str] = field(default_factory=dict)


def read(lines: Iterable[str], graph: ir.Graph) -> Lines:
    """Join ONNX names to shapes and network names.

    A local function may use a name that the main graph uses too; then the line of the main
    graph's own producer counts.

    Args:
        lines: Verbose lines without a prefix.
        graph: The graph that was parsed.
    """
    producers = {
        output.name: (node.op_type, _labels(node))
        for node in graph
        for output in node.outputs
        if output.name
    }
    inputs = {value.name for value in graph.inputs}
    registered: dict[str, str] = {}
    sure, other = Lines(), Lines()
    for line in lines:
        if match := _TENSOR.match(line):
            unique, tensor = match["unique"], match["tensor"]
            registered[tensor] = unique
            if tensor in inputs and tensor not in sure.unique:
                sure.unique[tensor] = unique
        elif match := _INPUT.match(line):
            sure.shapes[match["tensor"]] = _dims(match["dims"])
        elif match := _OUTPUTS.match(line):
            for item in _ITEM.finditer(match["items"]):
                tensor = item["tensor"]
                op, labels = producers.get(tensor, (match["op"], {match["label"]}))
                own = op == match["op"] and match["label"] in labels
                into = sure if own else other
                into.shapes[tensor] = _dims(item["dims"])
                if tensor in registered:
                    into.unique[tensor] = registered[tensor]
    return Lines(other.shapes | sure.shapes, other.unique | sure.unique)


def _labels(node: ir.Node) -> set[str]:
    first = next((output.name for output in node.outputs if output.name), "")
    return {node.name or "", f"node_of_{first}"}


def _dims(text: str) -> ViewShape:
    return tuple(int(size) for size in text.split(", ") if size)
