"""The change of a graph as ONNX text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import onnx_ir as ir

from tripoint.model import Model
from tripoint.sanitize import clean
from tripoint.shape_inference.truth import shape_of


def graph_diff(before: Model, after: Model) -> list[str]:
    """A unified diff of the nodes of two models, weights left out."""
    lines = difflib.unified_diff(
        list(_lines(before)), list(_lines(after)), "before", "after", lineterm="", n=2
    )
    return [clean(line) for line in lines]


def _lines(model: Model) -> Iterator[str]:
    for value in model.ir.graph.initializers.values():
        shape = "x".join(map(str, shape_of(value) or ()))
        yield f"initializer {value.name}: {shape or 'scalar'}"
    for node in model.ir.graph.all_nodes():
        outputs = ", ".join(value.name or "" for value in node.outputs)
        inputs = ", ".join(value.name or "" if value is not None else "" for value in node.inputs)
        attributes = ", ".join(
            f"{name}={_value(attribute)}" for name, attribute in node.attributes.items()
        )
        yield f"{outputs} = {node.op_type}{f' <{attributes}>' if attributes else ''} ({inputs})"


def _value(attribute: ir.Attr) -> str:
    if attribute.type in (ir.AttributeType.TENSOR, ir.AttributeType.GRAPH):
        return attribute.type.name.lower()
    value = attribute.value
    return str(list(value)) if isinstance(value, tuple) else str(value)
