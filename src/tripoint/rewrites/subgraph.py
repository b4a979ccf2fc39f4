"""Cuts a few nodes out of a graph into a model of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.graph.ops import READS_SIZES, size_operands
from tripoint.graph.subgraphs import graphs_in, read_by
from tripoint.rewrites.constants import constant, initializer

Typed = tuple[ir.Shape | None, ir.TypeProtocol | None]
"""Shape and type of a value."""

_IR_VERSION = 10
_SMALL = 1024
"""Elements of a constant that may be a size or an index, and is no weight."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Some nodes as a model of their own.

    Args:
        model: Its inputs are named ``in_0``, ``in_1`` … and its outputs ``out_0`` …
        copies: The value in ``model`` by the value that it was copied from.
    """

    model: ir.Model
    copies: Mapping[ir.Value, ir.Value]

    @property
    def typed(self) -> list[Typed]:
        """Shape and type of each copy, once they were inferred."""
        return [(copy.shape, copy.type) for copy in self.copies.values()]

    def give_back(self, shapes: Iterable[tuple[ir.Shape | None, ir.TypeProtocol | None]]) -> None:
        """Write shapes and types on the values that have none.

        Args:
            shapes: The :attr:`shapes` of this cut, or of another with the same content.
        """
        for value, (shape, typed) in zip(self.copies, shapes, strict=True):
            if value.shape is None:
                value.shape = shape
            if value.type is None:
                value.type = typed

    @property
    def content(self) -> bytes:
        """Key that is equal for two cuts which differ only in names."""
        return bytes(ir.to_proto(self.model).SerializeToString(deterministic=True))


def around(nodes: Sequence[ir.Node], *, whole: bool = False) -> list[ir.Node]:
    """The given nodes and those that compute their size operands, in topological order.

    A size operand only makes sense together with the tensor whose size it came from, so the
    cut goes behind the ``Shape`` operators.

    Args:
        nodes: What to cut out.
        whole: Whether all operands are followed like size operands, not those alone.
    """
    start = set(nodes)
    cone = dict.fromkeys(nodes)
    pending = list(nodes)
    while pending:
        for producer in _needed(pending.pop(), start, whole=whole):
            if producer not in cone:
                cone[producer] = None
                pending.append(producer)
    return _sorted(list(cone))


def _sorted(nodes: Sequence[ir.Node]) -> list[ir.Node]:
    chosen, entered = set(nodes), set[ir.Node]()
    ordered = []
    pending = [(node, False) for node in reversed(nodes)]
    while pending:
        node, ready = pending.pop()
        if ready:
            ordered.append(node)
        elif node not in entered:
            entered.add(node)
            pending.append((node, True))
            producers = (value.producer() for value in read_by([node]))
            pending.extend((other, False) for other in producers if other and other in chosen)
    return ordered


def _needed(node: ir.Node, chosen: set[ir.Node], *, whole: bool) -> list[ir.Node]:
    follows_sizes_only = node in chosen and not whole
    operands = size_operands(node) if follows_sizes_only else ()
    needed = []
    for value in read_by([node]):
        producer = value.producer()
        if producer is None or producer.op_type == "Constant":
            continue
        is_size = value in operands if follows_sizes_only else node.op_type not in READS_SIZES
        if is_size or producer in chosen:
            needed.append(producer)
    return needed


def behind(ends: Iterable[ir.Node], nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """Those of some nodes that others need, these included.

    Args:
        ends: The others.
        nodes: In topological order.
    """
    needed = set(ends)
    for node in reversed(nodes):
        if node in needed:
            producers = (value.producer() for value in read_by([node]))
            needed.update(producer for producer in producers if producer is not None)
    return [node for node in nodes if node in needed]


def boundary(
    old: Sequence[ir.Node], new: Sequence[ir.Node], new_outputs: Iterable[ir.Value]
) -> list[ir.Value]:
    """Values that two cuts take in: what they read and neither make nor hold as constants.

    A weight that both read is taken in as well: what holds for any tensor holds for it, and it
    need not be read.
    """
    produced = {value for node in (*old, *new) for value in node.outputs}
    before, after = dict.fromkeys(read_by(old)), dict.fromkeys([*read_by(new), *new_outputs])
    inputs = []
    for value in {**before, **after}:
        if value in produced:
            continue
        tensor = constant(value)
        if tensor is None or (value in before and value in after and _is_weight(tensor)):
            inputs.append(value)
    return inputs


def _is_weight(tensor: ir.TensorProtocol) -> bool:
    external = isinstance(tensor, ir.ExternalTensor)
    return tensor.size > _SMALL or (external and tensor.dtype.is_floating_point())


def cut(
    nodes: Sequence[ir.Node],
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    opsets: Mapping[str, int],
) -> Cut:
    """Copy nodes into a new model.

    Args:
        nodes: In topological order.
        inputs: Values that become graph inputs, with their shapes and dtypes.
        outputs: Values that become graph outputs.
        opsets: Opset version by domain.
    """
    copies: dict[ir.Value, ir.Value] = {}
    for index, origin in enumerate(inputs):
        copies[origin] = ir.Value(name=f"in_{index}", shape=origin.shape, type=origin.type)
    initializers: list[ir.Value] = []
    copied: list[ir.Node] = []

    def hold(value: ir.Value | None) -> None:
        tensor = constant(value) if value not in copies else None
        if value is not None and tensor is not None:
            copies[value] = initializer(
                tensor.numpy(), f"constant_{len(initializers)}", tensor.dtype
            )
            initializers.append(copies[value])

    for node in nodes:
        for value in read_by([node]):
            hold(value)
        copied.append(
            ir.Node(
                node.domain,
                node.op_type,
                inputs=[copies[value] if value is not None else None for value in node.inputs],
                attributes=[_attribute(each, copies) for each in node.attributes.values()],
                num_outputs=len(node.outputs),
                name=f"node_{len(copied)}",
            )
        )
        copies.update(zip(node.outputs, copied[-1].outputs, strict=True))
    results = []
    for index, output in enumerate(outputs):
        hold(output)
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


def _attribute(attribute: ir.Attr, copies: Mapping[ir.Value, ir.Value]) -> ir.Attr:
    """An attribute for a copied node; graphs in it read the copies."""
    graphs = [graph.clone(allow_outer_scope_values=True) for graph in graphs_in(attribute)]
    if not graphs:
        return attribute
    for graph in graphs:
        for node in graph.all_nodes():
            for index, value in enumerate(node.inputs):
                if value is not None and value in copies:
                    node.replace_input_with(index, copies[value])
    if attribute.type == ir.AttributeType.GRAPH:
        return ir.AttrGraph(attribute.name, graphs[0])
    return ir.AttrGraphs(attribute.name, graphs)
