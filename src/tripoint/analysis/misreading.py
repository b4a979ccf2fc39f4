"""Nodes that a TensorRT gives another shape or meaning than the model, and the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.table import Refusal, Target, TensorFacts, contradicts, format_shape, varying
from tripoint.views.importer import attributes


def of_parser(
    graph: ir.Model, facts: Mapping[str, TensorFacts], target: Target, told: Sequence[Refusal]
) -> Iterator[Refusal]:
    """The nodes that a real parser took, and of which it makes something else.

    Args:
        graph: The graph.
        facts: Facts by tensor name.
        target: Whose view it is.
        told: What it refused.

    Yields:
        A refusal of each node at which an untrue shape starts, or of which it ignores an attribute
        that changes the result.
    """
    refused = {refusal.node for refusal in told}
    names = truth.names(graph)
    opset = graph.graph.opset_imports.get("", 0)
    for node in graph.graph.all_nodes():
        name = node_name(node)
        if name in refused:
            continue
        said = [text for _, text in attributes.misread(attributes.INSTALLED, node, opset)]
        shapes = list(_untrue(node, names, facts))
        if said or shapes:
            text = "; it ".join([*said, *shapes])
            yield Refusal(name, node.op_type, f"{target} {text}")


def _untrue(
    node: ir.Node, names: Mapping[ir.Value, str], facts: Mapping[str, TensorFacts]
) -> Iterator[str]:
    """Outputs of an untrue shape, where no input has one already."""

    def facts_of(value: ir.Value | None) -> TensorFacts | None:
        return facts.get(names.get(value, "")) if value is not None else None

    if any(each.differs for value in node.inputs if (each := facts_of(value)) is not None):
        return
    for value in node.outputs:
        each = facts_of(value)
        if each is not None and each.differs:
            seen, true = format_shape(each.tensorrt), format_shape(each.shape)
            yield f"gives `{each.name}` the shape {seen}, not {true}"


def untrue_outputs(
    model: Model, outputs: Mapping[str, Sequence[int | str] | None]
) -> tuple[str, ...]:
    """Return the outputs of an engine that do not have the shapes of the model.

    Args:
        model: The model that it was built from.
        outputs: Shape by name as TensorRT gives it; None where that is not known.

    Returns:
        A sentence for each output.
    """
    inferred = truth.infer(model.ir)
    texts = []
    for value in model.ir.graph.outputs:
        name = value.name or ""
        true, seen = inferred.shapes.get(name), outputs.get(name)
        if true is None or seen is None:
            continue
        engine = tuple(size if isinstance(size, int) else -1 for size in seen)
        if contradicts(true, engine, varying(true, inferred.symbols)):
            shapes = f"the model {format_shape(true)}, the engine {format_shape(engine)}"
            texts.append(f"output {name}: {shapes}")
    return tuple(texts)


def ignored_attributes(model: Model) -> tuple[str, ...]:
    """A sentence for each attribute that the installed TensorRT ignores, with another result."""
    return tuple(
        f"node {node_name(node)} ({node.op_type}): TensorRT {text}"
        for node in truth.inlined(model.ir).graph.all_nodes()
        for _, text in attributes.misread(attributes.INSTALLED, node, model.opset)
    )
