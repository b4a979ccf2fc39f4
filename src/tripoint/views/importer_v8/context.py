"""The node that an importer of 8.0 or later sees: symbolic dims, and values of shape tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tripoint.graph.ops import READS_SIZES, SIZE_OPERANDS
from tripoint.table import Reason, ViewShape
from tripoint.views.importer.context import (
    LARGEST_VECTOR,
    UNKNOWN,
    Importer,
    Network,
    NodeContext,
    RefusedError,
)
from tripoint.views.importer_v8.algebra import Algebra, Dim, Dims, Expression, Value, bounds
from tripoint.views.importer_v8.reasons import sentence

Values: TypeAlias = npt.NDArray[np.object_]
"""Elements of a tensor, in its shape; each is a :data:`Value`."""

FLOATS = frozenset({"FLOAT", "HALF", "BF16"})

_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)
_MOST_ROOTS = 16


@dataclass(frozen=True, slots=True)
class Rules:
    """Differences between the versions from 8.0 on, beside the importers of single operators.

    Args:
        int64: Whether INT64 is a type of its own; else it becomes INT32.
        named_dims: Whether dims of network inputs are equal where the model gives them one name.
        ranks: Highest rank of a tensor whose values the core computes.
        floats: Whether the core computes with values of floats.
    """

    int64: bool
    named_dims: bool
    ranks: int
    floats: bool


@dataclass
class State:
    """State that the core computes beside the shapes that it prints.

    Args:
        algebra: Makes the expressions.
        dims: Dims by tensor name.
        values: Elements by name, of tensors that are computed from sizes and constants.
        roots: Tensors whose sizes are in these elements.
        refused: Why a tensor may not be used as a size, by name.
    """

    algebra: Algebra = field(default_factory=Algebra)
    dims: dict[str, Dims] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    roots: dict[str, frozenset[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass
class Node(NodeContext):
    """The node that is being imported.

    Args:
        rules: Of the version.
        results: Elements of outputs that the core can compute, by position.
    """

    rules: Rules = field(kw_only=True)
    results: dict[int, Values] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """Return the state of the core so far."""
        state = self.network.state
        if not isinstance(state, State):
            state = self.network.state = State()
        return state

    @property
    def algebra(self) -> Algebra:
        """Makes the expressions."""
        return self.state.algebra

    def dims(self, index: int) -> Dims:
        """Dims of an input.

        Raises:
            RefusedError: If its rank is unknown.
        """
        name, shape = self.name(index), self.shape(index)
        value = self.onnx.inputs[index]
        names = _declared(value)
        if not self.rules.named_dims:
            names = (None,) * len(names)
        return self.dims_of(name, shape, names)

    def dims_of(self, name: str, shape: ViewShape, names: Sequence[str | None] = ()) -> Dims:
        """Dims of a tensor; new symbols where no importer of these versions produced them.

        That is so for inputs of the network and outputs of refused nodes.

        Args:
            name: Of the tensor.
            shape: As TensorRT prints it.
            names: Names of the dims of a network input.
        """
        dims = self.state.dims
        if name not in dims:
            true = self.network.truth.get(name)
            expressions = true if not names and true is not None else names
            dims[name] = tuple(
                self._symbol(name, axis, expressions) if size == UNKNOWN else size
                for axis, size in enumerate(shape)
            )
        return dims[name]

    def _symbol(self, name: str, axis: int, texts: Sequence[object]) -> Expression:
        text = texts[axis] if axis < len(texts) else None
        return self.algebra.symbol(text if isinstance(text, str) else f"dim {axis} of `{name}`")

    def decided_by_data(self, index: int) -> Expression:
        """A size of an output that only the data decide."""
        return self.algebra.symbol(f"size of `{self.output_name(index)}`")

    def is_floating(self, index: int) -> bool:
        """Return whether an input holds floats."""
        return self.type(index) in FLOATS

    def values(self, index: int) -> Values | None:
        """Elements of an input that is computed from sizes and constants; None if it is not.

        A large constant has none either.
        """
        name = self.name(index)
        state = self.state
        if name not in state.values and name in self.network.weights:
            constant = self._constant(name)
            if constant is None:
                return None
            state.values[name] = constant
        return state.values.get(name)

    def _constant(self, name: str) -> Values | None:
        dims = self.network.shapes[name]
        if len(dims) > self.rules.ranks or math.prod(dims) > LARGEST_VECTOR:
            return None
        tensor = self.network.weights[name]
        if tensor.dtype == ir.DataType.STRING:
            return None
        try:
            array = tensor.numpy()
        except OSError as error:
            raise RefusedError(f"reads `{name}` from a file that is not there") from error
        if tensor.dtype.is_floating_point():
            return as_values([float(value) for value in array.reshape(-1)], dims)
        low, high = _INT64 if self.rules.int64 else _INT32
        return as_values([min(max(int(value), low), high) for value in array.reshape(-1)], dims)

    def elements(self, index: int) -> Values:
        """Elements of an input; those that the core cannot compute are symbols.

        Raises:
            RefusedError: If their number is not known, or too large for a shape.
        """
        values = self.values(index)
        if values is not None:
            return values
        name, dims = self.name(index), self.dims(index)
        if name in self.state.refused:
            raise RefusedError(self.state.refused[name])
        sizes = [dim for dim in dims if isinstance(dim, int)]
        if len(sizes) < len(dims) or math.prod(sizes) > LARGEST_VECTOR:
            raise RefusedError(
                f"needs at most {LARGEST_VECTOR} elements in `{name}`, the size operand of "
                f"{self.op}, which it sees as {self.printed(dims)}"
            )
        count = math.prod(sizes)
        symbols = [
            self.algebra.symbol(f"`{name}`[{place}]", -math.inf, math.inf) for place in range(count)
        ]
        return as_values(symbols, sizes)

    def vector(self, index: int) -> tuple[Dim, ...]:
        """Elements of a size operand.

        Raises:
            RefusedError: If it is no vector of integers, or as in :meth:`elements`.
        """
        elements = self.elements(index)
        if elements.ndim != 1:
            raise RefusedError(
                f"takes a vector for `{self.name(index)}` of {self.op}, not {elements.shape}"
            )
        if any(isinstance(element, float) for element in elements):
            raise RefusedError(f"takes integers for `{self.name(index)}` of {self.op}")
        return tuple(elements)

    def scalar(self, index: int) -> Value:
        """The one element of an input.

        Raises:
            RefusedError: If it has more, or none.
        """
        elements = self.elements(index)
        if elements.size != 1:
            raise RefusedError(f"takes a scalar for `{self.name(index)}` of {self.op}")
        element: Value = elements.reshape(-1)[0]
        return element

    @property
    def computes_values(self) -> bool:
        """Return whether the core computes the elements of the output: no input is plain data."""
        tensors = [index for index in self.present if not self.is_weights(index)]
        followed = [self.values(index) is not None for index in tensors]
        if tensors and not any(followed):
            return False
        return all(self.values(i) is not None for i in self.present if self.is_weights(i))

    def printed(self, dims: Sequence[Dim]) -> str:
        """Dims as the logs of TensorRT print them."""
        return str(view_of(dims))

    def keep(self, index: int, dims: Dims | None) -> ViewShape | None:
        """Store what is known of an output, and print its shape."""
        name = self.output_name(index) if index < len(self.onnx.outputs) else ""
        if dims is None or not name:
            return None if dims is None else view_of(dims)
        if any(bounds(dim)[1] < 0 for dim in dims):
            raise RefusedError(
                f"computes a negative size for `{name}`, and says so while it parses"
            )
        state = self.state
        state.dims[name] = dims
        values = self.results.get(index)
        if values is None:
            self._pass_on_refusal(name)
        elif values.ndim > self.rules.ranks:
            state.refused[name] = (
                f"takes no shape tensor of rank {values.ndim}, which `{name}` is "
                f"(`applied to shape tensor must have 0 or 1 reshape dimensions`)"
            )
        elif values.size <= LARGEST_VECTOR:
            state.values[name] = values
            state.roots[name] = self._roots()
        self._explain(index, name, dims)
        return view_of(dims)

    def _pass_on_refusal(self, output: str) -> None:
        """Mark an output as not followed if it is computed from elements not followed."""
        state = self.state
        for index in self.present if state.refused else ():
            if self.name(index) in state.refused and self.op not in READS_SIZES:
                state.refused[output] = state.refused[self.name(index)]
                return

    def _roots(self) -> frozenset[str]:
        """Tensors whose sizes the elements of the outputs are computed from."""
        names = [self.name(index) for index in self.present]
        if self.op in READS_SIZES:
            return frozenset(names)
        roots = frozenset[str]().union(*(self.state.roots.get(name, ()) for name in names))
        return frozenset(sorted(roots)[:_MOST_ROOTS])

    def _explain(self, index: int, name: str, dims: Dims) -> None:
        """Say why an output has lost dims, unless it inherits them."""
        network = self.network
        true = network.truth.get(name)
        if true is None or len(true) != len(dims) or index in self.reasons or self.reason:
            return
        lost = [
            (axis, dim, size)
            for axis, (dim, size) in enumerate(zip(dims, true, strict=True))
            if isinstance(dim, Expression) and isinstance(size, int)
        ]
        if not lost:
            return
        names = [self.name(position) for position in self.present]
        version = str(network.version)
        for other in names:
            if network.lost(other):
                text = f"inherits the unknown dims of `{other}`"
                self.reasons[index] = Reason(text, (other,))
                return
        if any(map(network.lost, self._roots())):
            return
        positions = SIZE_OPERANDS.get(self.op, ())
        operands = [
            self.name(position)
            for position in self.present
            if position in positions and not self.is_weights(position)
        ]
        axis, dim, size = lost[0]
        text = f"{version} {sentence(self.algebra, dim, axis, size, operands)}"
        self.reasons[index] = Reason(text, tuple(operands))


def _declared(value: ir.Value | None) -> tuple[str | None, ...]:
    """Names of the dims of a network input; none for another tensor."""
    if value is None or not value.is_graph_input() or value.shape is None:
        return ()
    return tuple(
        dim.value if isinstance(dim, ir.SymbolicDim) and isinstance(dim.value, str) else None
        for dim in value.shape
    )


def as_values(elements: Sequence[Value], dims: Sequence[int]) -> Values:
    """Elements in row-major order as an array."""
    values = np.empty(len(elements), dtype=object)
    values[:] = elements
    return values.reshape(tuple(dims))


def as_array(result: object) -> Values:
    """Return NumPy's result as an array: of a single element NumPy makes none."""
    if isinstance(result, np.ndarray):
        return result
    scalar = np.empty((), dtype=object)
    scalar[()] = result
    return scalar


def view_of(dims: Sequence[Dim]) -> ViewShape:
    """Dims as TensorRT prints them: -1 for all that is no integer."""
    return tuple(dim if isinstance(dim, int) else UNKNOWN for dim in dims)


Result: TypeAlias = Dims | Sequence[Dims | None]


def printing(importer: Any) -> Importer:
    """An importer of symbolic dims as the walk wants it: it prints them.

    Args:
        importer: Takes a :class:`Node`, gives the dims of its output, or a list of those of all.
    """

    def run(node: Node) -> list[ViewShape | None]:
        result = importer(node)
        outputs = result if isinstance(result, list) else [result]
        return [node.keep(index, dims) for index, dims in enumerate(outputs)]

    return run


def factory(rules: Rules) -> Any:
    """Makes the nodes of a version."""

    def make(onnx: ir.Node, network: Network) -> Node:
        return Node(onnx, network, rules=rules)

    return make
