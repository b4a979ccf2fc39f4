"""State of the inference of a graph's shapes, node by node."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import sympy
from onnx_shape_inference import (
    OpUsageError,
    ShapeInferenceContext,
    ShapeInferenceError,
    registry,
)

from tripoint import symbols
from tripoint.graph.ops import COUNTING, RANDOM, READS_SIZES, SUBGRAPHS, size_operands
from tripoint.graph.subgraphs import graphs_of
from tripoint.shape_inference.operators import symbolic_values, values
from tripoint.shape_inference.operators.moving import Array
from tripoint.shape_inference.operators.symbolic_values import LARGEST, UNKNOWN, Element

DATA_DEPENDENT = COUNTING | {"StringNormalizer", "ImageDecoder"}
"""Operators whose output size is decided by values (ONNX operator specification)."""

_OWN_BODIES = SUBGRAPHS - {"SequenceMap"}  # whose shapes the library infers
"""Operators whose functions infer their nested graphs themselves."""

_NUMBERS = (ir.DataType.INT32, ir.DataType.INT64)
_FEW = 8
"""Numbers of a tensor that are given symbols."""

_LONGEST = 1000
"""Characters of a dim; a longer one helps nobody and takes long."""

FAILURES = (
    *(ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError),
    *(NotImplementedError, RecursionError, OSError, sympy.PolynomialError),
)
"""Errors that functions raise on nodes that their operator's specification does not allow."""


@dataclass(frozen=True, slots=True)
class Size:
    """A size that was given a symbol of its own, because no expression is known for it.

    Args:
        node: The node that decides it.
        by_data: Whether values of tensors decide it.
        least: Smallest size.
        most: Largest size, or UNKNOWN.
    """

    node: ir.Node | None
    by_data: bool
    least: int
    most: Element


class Context(ShapeInferenceContext):  # type: ignore[misc]
    """The state of one inference, for functions of onnx-shape-inference and our own.

    Args:
        opset_imports: Opset version by domain.
        reserved: Names that no new symbol may have.
        named: The graph whose nodes give numbers that tensor values decide a symbol of their own.
            They are taken for sizes: none is less than 0.
    """

    def __init__(
        self,
        opset_imports: Mapping[str, int],
        reserved: Iterable[str] = (),
        named: ir.Graph | None = None,
    ) -> None:
        super().__init__(opset_imports, policy="skip")
        self.reserve_symbol_names(reserved)
        self.values: dict[ir.Value, Array] = {}
        """Elements of small tensors, as far as they are known."""
        self.by_data: set[ir.Value] = set()
        """Tensors whose elements depend on what the model is fed."""
        self.dtypes: dict[ir.Value, ir.DataType] = {}
        """Element types that follow from the nodes, whatever is declared."""
        self.sizes: dict[str, Size] = {}
        """Facts of each symbol that was made up."""
        self.numbers: dict[str, tuple[ir.Value, int]] = {}
        """The tensor, and the place in it, of each number that was given a symbol."""
        self._named = named
        self.unknown: dict[str, None] = {}
        """Operators that no shape is known of, in graph order."""
        self.contradictions: dict[str, None] = {}
        """Sentences about nodes whose inputs do not fit together."""
        self.depth = 0
        """Number of loops around the node."""
        self._node: ir.Node | None = None
        self._unread: set[ir.Value] = set()

    def record_error(self, node: ir.Node, message: str) -> None:
        """Remember that a node's inputs do not fit together, and go on after it."""
        error = ShapeInferenceError(
            node_name=node.name, op_type=node.op_type, domain=node.domain, message=message
        )
        self.contradictions.setdefault(str(error))

    # The walk

    def visit(self, graph: ir.Graph) -> None:
        """Infer a graph, its nodes in order."""
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.shape = ir.Shape(value.const_value.shape.numpy())
                value.dtype = value.const_value.dtype
        for node in graph:
            outer, self._node = self._node, node
            self._visit(node)
            self._node = outer

    def _visit(self, node: ir.Node) -> None:
        if node.domain or node.op_type not in _OWN_BODIES:
            for body in graphs_of(node):
                self.by_data.update(body.inputs)
                self.visit(body)
        if self._computes_data(node):
            self.by_data.update(node.outputs)
        infer = _registered(node.domain, node.op_type, self.get_opset_version(node.domain))
        if infer is None:
            self.unknown.setdefault(
                f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            )
            return
        try:
            infer(self, node)
            if not node.domain:
                values.propagate(self, node)
                if node.graph is self._named:
                    self._name(node.outputs)
        except OpUsageError as error:
            self.record_error(node, error.message)
        except FAILURES as error:
            self.record_error(node, f"no shape can be inferred: {error or type(error).__name__}")

    def _name(self, outputs: Iterable[ir.Value]) -> None:
        """Give numbers that data decides, and nothing is known of, symbols of their own."""
        for value in outputs:
            if value.dtype not in _NUMBERS or value not in self.by_data or value in self.values:
                continue
            if value.shape is None or len(value.shape) > 1:
                continue
            dims = [dim for dim in value.shape if isinstance(dim, int) and dim <= _FEW]
            if len(dims) < len(value.shape):
                continue
            elements: Array = np.empty(dims, dtype=np.object_)
            for index in range(elements.size):
                symbol = self.fresh(by_data=True)
                self.numbers[str(symbol.value)] = value, index
                elements.flat[index] = symbolic_values.from_dim(symbol)
            self.values[value] = elements

    def forget(self, graph: ir.Graph) -> None:
        """Take back all that was inferred inside a graph, so that it can be inferred again."""
        for node in graph.all_nodes():
            for value in node.outputs:
                value.shape = None
                self.values.pop(value, None)
                self.by_data.discard(value)

    # Shapes

    def set_shape(self, value: ir.Value, shape: ir.Shape) -> bool:
        """Set the shape of a value that has none yet."""
        if value.shape is not None:
            return False
        value.shape = ir.Shape([self._checked(dim) for dim in shape])
        return True

    def set_dtype(self, value: ir.Value, dtype: ir.DataType) -> bool:
        """Set the element type of a value that has none yet, and remember it anyway."""
        self.dtypes[value] = dtype
        return bool(super().set_dtype(value, dtype))

    def set_dims(
        self,
        value: ir.Value,
        dims: Sequence[Element] | None,
        dtype: ir.DataType | None,
        most: Sequence[Element] | None = None,
    ) -> None:
        """Set shape and type of a value.

        Args:
            value: An output.
            dims: Its dims, None if the rank is unknown. What is unknown gets a symbol.
            dtype: Its element type.
            most: For each dim the largest that it can be, where it is unknown.
        """
        if dims is not None:
            sizes = [symbolic_values.to_dim(dim) for dim in dims]
            self.set_shape(
                value,
                ir.Shape(
                    [
                        dim if dim is not None else self.fresh(most=most[axis] if most else UNKNOWN)
                        for axis, dim in enumerate(sizes)
                    ]
                ),
            )
        if dtype is not None:
            self.set_dtype(value, dtype)

    def _checked(self, dim: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
        if isinstance(dim, ir.SymbolicDim):
            text = dim.value
            if text is None or len(text) > _LONGEST:
                return self.fresh()
            if not text.lstrip("-").isdecimal():
                return dim
            # Arithmetic that cancels all symbols leaves the integer as text.
            dim = int(text)
        if dim < 0 and self._node is not None:
            self.record_error(self._node, f"a size would be {dim}")
            return self.fresh()
        return dim

    def fresh(
        self, least: int = 0, most: Element = UNKNOWN, *, by_data: bool = False
    ) -> ir.SymbolicDim:
        """A symbol of its own for a size that no expression is known for.

        Args:
            least: Smallest size.
            most: Largest size.
            by_data: Whether values decide it although the node's inputs do not show it.
        """
        name = str(super().new_symbolic_dim().value)
        by_data = by_data or self._decided_by_data()
        self.sizes[name] = Size(self._node, by_data, least, most)
        return ir.SymbolicDim(symbols.symbol(name))

    def new_symbolic_dim(self) -> ir.SymbolicDim:
        """Return the symbol of :meth:`fresh`, for the functions of the library."""
        return self.fresh()

    def is_by_data(self, element: Element) -> bool:
        """Return whether an element contains a size that values decide."""
        return isinstance(element, sympy.Expr) and any(
            symbol.name in self.sizes and self.sizes[symbol.name].by_data
            for symbol in element.free_symbols
        )

    def _computes_data(self, node: ir.Node) -> bool:
        if node.op_type in READS_SIZES and not node.domain:
            # Sizes are no data, even those of data, unless data decides them.
            return any(self._has_size_by_data(value) for value in node.inputs)
        return any(value in self.by_data for value in node.inputs) or node.op_type in RANDOM

    def _decided_by_data(self) -> bool:
        node = self._node
        if node is None:
            return False
        return (
            node.op_type in DATA_DEPENDENT
            or any(value in self.by_data for value in size_operands(node))
            or any(self._has_size_by_data(value) for value in node.inputs)
        )

    def _has_size_by_data(self, value: ir.Value | None) -> bool:
        dims = value.shape if value is not None and value.shape is not None else ()
        return any(
            isinstance(dim, ir.SymbolicDim) and self.is_by_data(symbolic_values.from_dim(dim))
            for dim in dims
        )

    # Values

    def array(self, value: ir.Value | None) -> Array | None:
        """The elements of a small tensor, or None if nothing is known of them."""
        if value is None:
            return None
        array = self.values.get(value)
        if array is None and value not in self._unread:
            tensor = ir.convenience.get_const_tensor(value)
            array = values.read(tensor) if tensor is not None else None
            if array is None:
                self._unread.add(value)
            else:
                self.values[value] = array
        return array

    def elements(self, value: ir.Value | None) -> list[Element] | None:
        """The elements of a scalar or a vector, UNKNOWN where only their number is known."""
        array = self.array(value)
        if array is not None:
            return list(array.flat)
        if value is None or value.shape is None or len(value.shape) > 1:
            return None
        count = value.shape[0] if len(value.shape) else 1
        return [UNKNOWN] * count if isinstance(count, int) and count <= LARGEST else None

    def integers(self, value: ir.Value | None) -> list[int] | None:
        """The elements of a scalar or a vector, if they all are plain integers."""
        array = self.array(value)
        integers = [x for x in array.flat if isinstance(x, int)] if array is not None else []
        return integers if array is not None and len(integers) == array.size else None

    def scalar(self, value: ir.Value | None) -> Element:
        """The only element of a tensor."""
        array = self.array(value)
        return array.flat[0] if array is not None and array.size == 1 else UNKNOWN

    def learn(self, value: ir.Value, elements: Array) -> None:
        """Remember the elements of a tensor.

        Integers are left on the value as well, where the functions of the library look for axes
        and sizes.
        """
        dtype = value.dtype
        if dtype is None or not all(isinstance(element, int) for element in elements.flat):
            self.values[value] = elements
            return
        try:
            array: np.ndarray[Any, Any] = elements.astype(dtype.numpy())
        except OverflowError:
            return
        self.values[value] = elements
        if value.const_value is None and dtype.is_integer():
            value.const_value = ir.Tensor(array, name=value.name)

    def get_symbolic_value(self, value: ir.Value) -> list[int | ir.SymbolicDim] | None:
        """The elements of a tensor as the functions of the library take them."""
        array = self.array(value)
        if array is None:
            return None
        dims = [symbolic_values.to_dim(element) for element in array.flat]
        return [dim for dim in dims if dim is not None] if None not in dims else None

    def set_symbolic_value(self, value: ir.Value, data: list[int | ir.SymbolicDim]) -> None:
        """Do nothing: :func:`tripoint.shape_inference.operators.values.propagate` knows more."""


@functools.lru_cache(maxsize=1024)
def _registered(domain: str, op: str, version: int) -> Callable[[Context, ir.Node], None] | None:
    function: Callable[[Context, ir.Node], None] | None = registry.get(domain, op, version)
    if function is None and (versions := registry.version_boundaries(domain, op)):
        # An operator that is older than what is known of it gives the same shape, mostly.
        function = registry.get(domain, op, versions[0])
    return function


def dims_of(value: ir.Value | None) -> list[Element] | None:
    """The dims of a value, None if the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return [symbolic_values.from_dim(dim) for dim in value.shape]


def operand(node: ir.Node, position: int) -> ir.Value | None:
    """An input, None if it is left out."""
    return node.inputs[position] if position < len(node.inputs) else None
