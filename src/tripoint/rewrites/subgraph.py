"""Cuts a few nodes out of a graph into a model of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.facts.operands import READS_SIZES, size_operands

_IR_VERSION = 10


@dataclass(frozen=True, slots=True)
class Cut:
    """Some nodes as a model of their own.

    Args:
        model: Its inputs are named ``in_0``, ``in_1`` … and its outputs ``out_0`` …
        copies: The value in ``model`` by the value that it was copied from.
    """

    model: ir.Model
    copies: Mapping[ir.Value, ir.Value]

    def give_back_shapes(self) -> None:
        """Write shapes and types that were inferred on the cut on values that have none."""
        for value, copy in self.copies.items():
            if value.shape is None:
                value.shape = copy.shape
            if value.type is None:
                value.type = copy.type


def with_sizes(nodes: Sequence[ir.Node], inside: Sequence[ir.Node] = ()) -> list[ir.Node]:
    """The given nodes and those that compute their size operands, in topological order.

    A size operand only makes sense together with the tensor whose size it came from, so the
    cut goes behind the ``Shape`` operators.

    Args:
        nodes: What to cut out.
        inside: Nodes that belong to the cut as soon as one of ``nodes`` reads them.
    """
    given = {*nodes, *inside}
    ordered: dict[ir.Node, None] = {}
    pending = [(node, False) for node in reversed(nodes)]
    while pending:
        node, ready = pending.pop()
        if ready:
            ordered[node] = None
        elif node not in ordered:
            pending.append((node, True))
            pending.extend((producer, False) for producer in _needed(node, given))
    return list(ordered)


def _needed(node: ir.Node, given: set[ir.Node]) -> list[ir.Node]:
    operands = size_operands(node)
    needed = []
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is None or producer.op_type == "Constant":
            continue
        is_size = value in operands if node in given else node.op_type not in READS_SIZES
        if is_size or producer in given:
            needed.append(producer)
    return needed


def boundary(nodes: Iterable[ir.Node]) -> list[ir.Value]:
    """Values that the nodes read and neither make nor hold as constants."""
    nodes = list(nodes)
    made = {value for node in nodes for value in node.outputs}
    found: dict[ir.Value, None] = {}
    for node in nodes:
        for value in node.inputs:
            if value is not None and value not in made and _constant(value) is None:
                found[value] = None
    return list(found)


def cut(
    nodes: Sequence[ir.Node],
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    opsets: Mapping[str, int],
) -> Cut:
    """Copy nodes into a new model.

    Args:
        nodes: In topological order; without nested graphs.
        inputs: Values that become graph inputs, with their shapes and dtypes.
        outputs: Values that become graph outputs.
        opsets: Opset version by domain.
    """
    copies: dict[ir.Value, ir.Value] = {}
    for index, given in enumerate(inputs):
        copies[given] = ir.Value(name=f"in_{index}", shape=given.shape, type=given.type)
    initializers: list[ir.Value] = []
    copied: list[ir.Node] = []
    for node in nodes:
        for value in node.inputs:
            constant = _constant(value) if value is not None else None
            if value is not None and constant is not None and value not in copies:
                copies[value] = _initializer(constant, f"constant_{len(initializers)}")
                initializers.append(copies[value])
        copied.append(
            ir.Node(
                node.domain,
                node.op_type,
                inputs=[copies[value] if value is not None else None for value in node.inputs],
                attributes=list(node.attributes.values()),
                num_outputs=len(node.outputs),
                name=f"node_{len(copied)}",
            )
        )
        copies.update(zip(node.outputs, copied[-1].outputs, strict=True))
    results = []
    for index, output in enumerate(outputs):
        # A graph output may not be a graph input, and a replacement may be the input itself.
        copied.append(ir.Node("", "Identity", inputs=[copies[output]], name=f"result_{index}"))
        results.append(copied[-1].outputs[0])
        results[-1].name = f"out_{index}"
    graph = ir.Graph(
        [copies[value] for value in inputs],
        results,
        nodes=copied,
        initializers=initializers,
        opset_imports=dict(opsets),
        name="proof",
    )
    return Cut(ir.Model(graph, ir_version=_IR_VERSION), copies)


def has_nested_graph(nodes: Iterable[ir.Node]) -> bool:
    """Whether a node carries a graph of its own, as If and Loop do."""
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(a.type in kinds for node in nodes for a in node.attributes.values())


def _initializer(constant: ir.TensorProtocol, name: str) -> ir.Value:
    tensor = ir.Tensor(constant.numpy(), dtype=constant.dtype, name=name)
    return ir.Value(
        name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype)
    )


def _constant(value: ir.Value) -> ir.TensorProtocol | None:
    if value.producer() is None or value.producer().op_type == "Constant":  # type: ignore[union-attr]
        return ir.convenience.get_const_tensor(value)
    return None
