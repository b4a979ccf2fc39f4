"""State that an operator's importer works on: the network so far, and the node being imported."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from tripoint.symbols import Shape
from tripoint.table import Reason, Refusal, ViewShape

UNKNOWN = -1
"""TensorRT's print of a dim that it does not know."""

MOST_DIMS = 8
"""Highest rank that TensorRT has."""

LARGEST_VECTOR = 64
"""Longest constant whose values are read; a shape has at most 8 dims."""

_INT32 = (-(2**31), 2**31 - 1)


def dims_of(tensor: ir.TensorProtocol) -> ViewShape:
    """Shape of a constant, without its data."""
    return tuple(tensor.shape.numpy())


Importer = Callable[[Any], ViewShape | list[ViewShape] | list[ViewShape | None]]
"""Takes the :class:`NodeContext` of its generation; gives the shape of each output.

None in a list is for an output of unknown rank.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """Tensor that an input of a nested graph stands for.

    Args:
        shape: Its shape as TensorRT prints it.
        type: Its TensorRT type, None if not known.
    """

    shape: ViewShape
    type: str | None = None


class RefusedError(Exception):
    """The node cannot be imported; the text continues the sentence "TensorRT VERSION ..."."""


@dataclass(frozen=True)
class Version:
    """The importer of one TensorRT version, as a table.

    Args:
        name: For instance ``"7.1"``.
        importers: Importer by operator.
        types: TensorRT type by ONNX element type; the version has no others.
        node: What an importer is given: the class of its generation.
        check: Notes each input type that an operator does not take.
        output_type: TensorRT type of an output, by its position; None if it is not known.
        nameless_dim: How a graph input's dim without a size and without a name is read.
        plugins: Whether an operator without an importer is looked up among the plugins.
        constant_outputs: Whether a constant can be an output of the model.
        local_functions: Whether the functions of a model are imported.
    """

    name: str
    importers: Mapping[str, Importer]
    types: Mapping[ir.DataType, str]
    node: Callable[[ir.Node, Network], NodeContext]
    check: Callable[[NodeContext], None]
    output_type: Callable[[NodeContext, int], str | None]
    nameless_dim: int
    plugins: bool = True
    constant_outputs: bool = True
    local_functions: bool = False

    def __str__(self) -> str:
        return f"TensorRT {self.name}"


@dataclass
class Network:
    """The state of one import, filled in graph order.

    Args:
        version: The importer.
        opset: Version of the default operator set of the model.
        truth: True shape by tensor name.
        names: The name by which each tensor is known here, its own over all nested graphs.
        shapes: Shape that TensorRT prints, by tensor name, weights included.
        weights: Constants whose values the parser still has. Any node but ``Transpose`` turns
            them into a layer, downstream of which the parser has lost the values.
        types: TensorRT type by tensor name, where known.
        reasons: Why a tensor has a -1 that its inputs do not have.
        refusals: What would stop this version, or mislead it.
        initializers: Names of the initializers of all graphs; no view shows them.
        depth: How many graphs are being imported inside each other.
        state: What a generation keeps beside all this.
    """

    version: Version
    opset: int
    truth: Mapping[str, Shape | None]
    names: dict[ir.Value, str] = field(default_factory=dict)
    shapes: dict[str, ViewShape] = field(default_factory=dict)
    weights: dict[str, ir.TensorProtocol] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, Reason] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    depth: int = 0
    state: Any = None

    def name_of(self, value: ir.Value) -> str:
        """The name by which a value is known here."""
        return self.names.get(value, value.name or "")

    def add_initializer(self, value: ir.Value, tensor: ir.TensorProtocol) -> str:
        """Register an initializer under its name, or another where that is of another tensor."""
        if value not in self.names:
            name = value.name or ""
            numbers = itertools.count(len(self.names))
            while self.depth and (name in self.shapes or name in self.truth):
                name = f"{value.name}#{next(numbers)}"
            self.names[value] = name
        self.initializers.add(self.names[value])
        self.add_weights(self.names[value], tensor)
        return self.names[value]

    def add_weights(self, name: str, tensor: ir.TensorProtocol) -> None:
        """Register an initializer or a ``Constant``."""
        self.weights[name] = tensor
        self.shapes[name] = dims_of(tensor)
        if tensor.dtype in self.version.types:
            self.types[name] = self.version.types[tensor.dtype]

    def contradicts(self, name: str) -> bool:
        """Return whether the rank or a size that TensorRT prints is not the true one."""
        seen, true = self.shapes.get(name), self.truth.get(name)
        if seen is None or true is None:
            return False
        if len(seen) != len(true):
            return True
        return any(
            isinstance(dim, int) and size not in (UNKNOWN, dim)
            for size, dim in zip(seen, true, strict=True)
        )

    def lost(self, name: str) -> bool:
        """Return whether TensorRT prints -1 for a dim that is an integer."""
        seen, true = self.shapes.get(name), self.truth.get(name)
        if seen is None or true is None or len(seen) != len(true):
            return False
        pairs = zip(seen, true, strict=True)
        return any(size == UNKNOWN and isinstance(dim, int) for size, dim in pairs)


@dataclass
class NodeContext:
    """The node that is being imported.

    Args:
        onnx: The ONNX node.
        network: The network so far.
        reason: Why an output has a -1 that the inputs do not have.
        reasons: The same for one output, by its position.
        kept: Weights that the output still is, for ``Constant`` and ``Transpose``.
        bodies: Nested graphs that were imported for this node.
    """

    onnx: ir.Node
    network: Network
    reason: Reason | None = None
    reasons: dict[int, Reason] = field(default_factory=dict)
    kept: ir.TensorProtocol | None = None
    bodies: list[ir.Graph] = field(default_factory=list)

    @property
    def op(self) -> str:
        """Operator type."""
        return self.onnx.op_type

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.network.opset

    @property
    def present(self) -> tuple[int, ...]:
        """Positions of the inputs that are not left out."""
        return tuple(
            i for i, value in enumerate(self.onnx.inputs) if value is not None and value.name
        )

    def has(self, index: int) -> bool:
        """Return whether an input is present."""
        value = self.onnx.inputs[index] if index < len(self.onnx.inputs) else None
        return value is not None and bool(value.name)

    def name(self, index: int) -> str:
        """Name of an input.

        Raises:
            RefusedError: If it is left out.
        """
        value = self.onnx.inputs[index] if index < len(self.onnx.inputs) else None
        if value is None or not value.name:
            raise RefusedError(f"needs input {index} of {self.op}, which is left out")
        return self.network.name_of(value)

    def output_name(self, index: int) -> str:
        """Name of an output; empty if it is left out."""
        value = self.onnx.outputs[index]
        return self.network.name_of(value) if value.name else ""

    def shape(self, index: int) -> ViewShape:
        """Shape of an input as TensorRT sees it.

        Raises:
            RefusedError: If its rank is unknown.
        """
        name = self.name(index)
        if name not in self.network.shapes:
            raise RefusedError(f"never reaches {self.op}, since the rank of `{name}` is unknown")
        return self.network.shapes[name]

    def true_shape(self, index: int) -> Shape | None:
        """True shape of an input; None if its rank is unknown."""
        name = self.name(index)
        if name in self.network.weights:
            return self.network.shapes[name]
        return self.network.truth.get(name)

    def type(self, index: int) -> str | None:
        """TensorRT type of an input; None if it is left out or not known."""
        return self.network.types.get(self.name(index)) if self.has(index) else None

    def is_weights(self, index: int) -> bool:
        """Return whether the parser still has the values of an input."""
        return self.has(index) and self.name(index) in self.network.weights

    def ints(self, index: int) -> tuple[int, ...] | None:
        """Values of an input as a shape vector, as INT32; None if it is a run-time tensor.

        Raises:
            RefusedError: If the parser has the values, but they are no vector that we can read.
        """
        if not self.is_weights(index):
            return None
        low, high = _INT32
        return tuple(min(max(int(value), low), high) for value in self._values(index))

    def floats(self, index: int) -> tuple[float, ...] | None:
        """Values of a short vector; None if it is a run-time tensor.

        Raises:
            RefusedError: As :meth:`ints`.
        """
        if not self.is_weights(index):
            return None
        return tuple(float(value) for value in self._values(index))

    def _values(self, index: int) -> Sequence[float]:
        name = self.name(index)
        dims = self.network.shapes[name]
        if len(dims) > 1 or math.prod(dims) > LARGEST_VECTOR:
            raise RefusedError(f"takes a scalar or a vector for `{name}` of {self.op}")
        try:
            tensor = self.network.weights[name]
            values: Sequence[float] = tensor.numpy().reshape(-1).tolist()
        except OSError as error:
            raise RefusedError(f"reads `{name}` from a file that is not there") from error
        return values

    def branch(self, name: str) -> ir.Graph:
        """An attribute that is a graph.

        Raises:
            RefusedError: If it is absent.
        """
        attribute = self.onnx.attributes.get(name)
        if attribute is None or not isinstance(attribute.value, ir.Graph):
            raise RefusedError(f"needs the graph `{name}` of {self.op}, which is left out")
        return attribute.value

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front.

        Raises:
            RefusedError: If it is out of range.
        """
        if not -rank <= axis < rank:
            raise RefusedError(f"takes no axis {axis} of a tensor of rank {rank} for {self.op}")
        return axis % rank

    def attribute_ints(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of integers; None if it is absent.

        Raises:
            RefusedError: If it is something else; so for the attributes below.
        """
        values = self._attribute(self.onnx.attributes.get_ints, name)
        return None if values is None else tuple(values)

    def attribute_int(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        value: int = self._attribute(self.onnx.attributes.get_int, name, default)
        return value

    def attribute_float(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        value: float = self._attribute(self.onnx.attributes.get_float, name, default)
        return value

    def attribute_floats(self, name: str) -> tuple[float, ...] | None:
        """An attribute that is a list of numbers; None if it is absent."""
        values = self._attribute(self.onnx.attributes.get_floats, name)
        return None if values is None else tuple(values)

    def attribute_text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        value: str = self._attribute(self.onnx.attributes.get_string, name, default)
        return value

    def attribute_tensor(self, name: str) -> ir.TensorProtocol | None:
        """An attribute that is a tensor; None if it is absent."""
        value: ir.TensorProtocol | None = self._attribute(self.onnx.attributes.get_tensor, name)
        return value

    def _attribute(self, read: Callable[..., Any], name: str, *default: Any) -> Any:
        try:
            return read(name, *default)
        except (TypeError, UnicodeError) as error:
            raise RefusedError(
                f"cannot read the attribute `{name}` of {self.op}, which has a wrong type"
            ) from error

    def refuse(self, text: str) -> None:
        """Note that this version stops here or reads the node differently, and go on.

        Args:
            text: Continues the sentence "TensorRT VERSION ...".
        """
        outputs = (self.output_name(index) for index in range(len(self.onnx.outputs)))
        where = self.onnx.name or next(filter(None, outputs), "")
        sentence = f"{self.network.version} {text}"
        self.network.refusals.append(Refusal(where, self.op, sentence))
