"""A graph whose tensors are compared one by one, and how parts are cut out of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tripoint.graph.subgraphs import read_by
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, InputSpecs, inputs_of
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import Chain, Products, chains

SMALL = 1024
"""Elements up to which an integer tensor may be a size."""

_FEW = 16
"""Elements up to which a tensor may be the scales of a Resize."""


@dataclass(frozen=True)
class Part:
    """Some nodes of a graph.

    Args:
        nodes: In graph order; all that lies between the inputs and the outputs.
        inputs: What they read and neither make nor hold as constants.
        outputs: What is compared of what they make.
    """

    nodes: tuple[ir.Node, ...]
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of its inputs and outputs."""
        return tuple(value.name or "" for value in (*self.inputs, *self.outputs))


class Graph:
    """A model, with what the search needs to know of it.

    Args:
        model: The model; it is not changed.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.ir = model.ir.clone()
        truth.annotate(self.ir)
        _load_small(self.ir)
        graph = self.ir.graph
        self.specs: InputSpecs = inputs_of(model)
        self.inputs = [v for v in graph.inputs if v.name not in graph.initializers]
        self.outputs = [value.name or "" for value in graph.outputs]
        self.nodes = list(graph)
        self.position = {node: index for index, node in enumerate(self.nodes)}
        self.values = {value.name: value for node in graph for value in node.outputs if value.name}
        self.values |= {value.name: value for value in self.inputs if value.name}
        self.constants: dict[str, ir.TensorProtocol] = {
            value.name: value.const_value
            for value in graph.outputs
            if value.name and value.is_initializer() and value.const_value is not None
        }
        """The outputs that no node produces, for all that is fed."""
        self.users: dict[ir.Value, list[ir.Node]] = {}
        for node in self.nodes:
            for value in read_by([node]):
                self.users.setdefault(value, []).append(node)
        self._fed = self._behind_inputs()

    def _behind_inputs(self) -> frozenset[ir.Value]:
        fed = set(self.inputs)
        for node in self.nodes:
            if any(value in fed for value in read_by([node])):
                fed.update(node.outputs)
        return frozenset(fed)

    @property
    def comparable(self) -> list[str]:
        """Names of the tensors that depend on an input, in graph order.

        What depends on none is a constant, and belongs to the nodes that use it.
        """
        values = (value for node in self.nodes for value in node.outputs if value in self._fed)
        return [value.name for value in values if value.name and _is_tensor(value)]

    def is_fed(self, value: ir.Value | None) -> bool:
        """Return whether a tensor is an input or depends on one."""
        return value in self._fed

    def depends(self, node: ir.Node) -> bool:
        """Return whether a node depends on an input, and does not only make constants."""
        return any(value in self._fed for value in node.outputs)

    def node_of(self, tensor: str) -> ir.Node | None:
        """The node that produces a tensor."""
        value = self.values.get(tensor)
        return value.producer() if value is not None else None

    def between(self, outputs: Sequence[ir.Value], boundary: Collection[ir.Value]) -> Part:
        """Return the part that computes some tensors from others.

        Args:
            outputs: What is made.
            boundary: Where to stop; the outputs themselves do not count.
        """
        nodes: set[ir.Node] = set()
        pending = [node for value in outputs if (node := value.producer()) is not None]
        while pending:
            node = pending.pop()
            if node in nodes:
                continue
            nodes.add(node)
            for value in read_by([node]):
                producer = value.producer()
                if producer is not None and value not in boundary:
                    pending.append(producer)
        return self.part(nodes, outputs)

    def counterpart(self, part: Part) -> Part | None:
        """Return the part of this graph whose outputs have the names of those of another's part.

        Args:
            part: The part; what it takes in is known here, too.

        Returns:
            None if this graph does not have all of its outputs.
        """
        names = [value.name or "" for value in part.outputs]
        if any(self.node_of(name) is None for name in names):
            return None
        boundary = {self.values[v.name] for v in part.inputs if v.name in self.values}
        return self.between([self.values[name] for name in names], boundary)

    def part(self, nodes: Iterable[ir.Node], outputs: Sequence[ir.Value]) -> Part:
        """Nodes with what they read."""
        ordered = sorted(set(nodes), key=self.position.__getitem__)
        produced = {value for node in ordered for value in node.outputs}
        read = dict.fromkeys(read_by(ordered))
        inputs = [v for v in read if v not in produced and not v.is_initializer()]
        return Part(tuple(ordered), tuple(inputs), tuple(outputs))

    def leaving(self, nodes: Sequence[ir.Node]) -> list[ir.Value]:
        """Return the values that nodes produce for other nodes or as outputs of the graph."""
        inside = set(nodes)
        return [
            value
            for node in nodes
            for value in node.outputs
            if value.name in self.outputs
            or any(user not in inside for user in self.users.get(value, ()))
        ]

    def cut(self, part: Part, feed: Arrays, *, freeze: bool = False) -> Model:
        """A part as a model of its own; names and metadata stay, weights stay where they are.

        Args:
            part: What to cut out.
            feed: Array by input name: inputs get the shapes of these.
            freeze: Whether small integers that the graph computes become constants. TensorRT would
                take some of them for sizes, which as inputs of a network need a profile of values.
        """
        graph = self._copy(part)
        for value in graph.inputs:
            array = feed[value.name or ""]
            if not isinstance(array, np.ndarray):
                continue
            if value.type is None:
                value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
            value.shape = ir.Shape(array.shape)
        if freeze:
            _freeze(graph, [value.name or "" for value in part.inputs if value.producer()], feed)
        own = set(graph.inputs) | set(graph.initializers.values()) | set(graph.outputs)
        for node in graph:
            for value in node.outputs:
                if value not in own:
                    value.shape = None
        functions = [function.clone() for function in self.ir.functions.values()]
        return Model(ir.Model(graph, ir_version=self.ir.ir_version, functions=functions))

    def _copy(self, part: Part) -> ir.Graph:
        weights = {value: None for value in read_by(part.nodes) if value.is_initializer()}
        view = ir.GraphView(
            part.inputs,
            part.outputs,
            nodes=part.nodes,
            initializers=tuple(weights),
            opset_imports=self.ir.graph.opset_imports,
            name=self.ir.graph.name,
        )
        return view.clone()

    def chains(
        self, bindings: Mapping[str, int], *, products: Products, part: Part | None = None
    ) -> dict[str, Chain]:
        """Return the operations and roundings upstream of tensors.

        Args:
            bindings: Size of each input symbol.
            products: How float32 products are computed.
            part: A part, whose outputs are asked for; None for all tensors of the graph.
        """
        if part is None:
            part = self.between([self.values[name] for name in self.comparable], ())
        graph = self._copy(part)
        return chains(ir.Model(graph, ir_version=self.ir.ir_version), bindings, products=products)


def _is_tensor(value: ir.Value) -> bool:
    return value.type is None or isinstance(value.type, ir.TensorType)


def _load_small(model: ir.Model) -> None:
    """Take small weights into memory: ONNX Runtime must see sizes while it loads a graph."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            most = SMALL if tensor is not None and tensor.dtype.is_integer() else _FEW
            if isinstance(tensor, ir.ExternalTensor) and tensor.size <= most:
                value.const_value = ir.Tensor(
                    np.array(tensor.numpy()), dtype=tensor.dtype, name=tensor.name
                )


def _freeze(graph: ir.Graph, computed: Collection[str], feed: Arrays) -> None:
    """Make constants of small integers, unless no input would be left."""
    frozen = {}
    for value in graph.inputs:
        array = feed[value.name or ""]
        if value.name in computed and array.dtype.kind in "iub" and array.size <= SMALL:
            frozen[value] = array
    if len(frozen) == len(graph.inputs):
        return
    for value, array in frozen.items():
        value.const_value = ir.tensor(np.array(array, order="C"), name=value.name)
        graph.inputs.remove(value)
        graph.register_initializer(value)
