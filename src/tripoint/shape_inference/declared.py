"""Declarations of a file that its nodes contradict.

A declared shape is a remark that nobody checks before a model runs. Where it contradicts what the
nodes produce, each reader believes something else: ONNX Runtime forgets the rank of the tensor, or
the size of the axis, and refuses a declared element type that is another (seen with 1.32).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint import symbols
from tripoint.graph.names import node_name
from tripoint.graph.subgraphs import graphs_of
from tripoint.model import DECLARED_AS_OUTPUT, Model
from tripoint.symbols import Dim, Shape
from tripoint.table import format_shape


@dataclass(frozen=True, slots=True)
class Declared:
    """Declaration of one tensor by a file.

    Args:
        shape: Its dims, None if it says nothing of the rank; a dim without a size or a name is
            ``""``.
        dtype: Its element type, None if it says none.
        maker: What produces the tensor, for messages.
        read: The tensors that the maker consumes and feeds to its nested graphs.
    """

    shape: Shape | None
    dtype: ir.DataType | None
    maker: str
    read: tuple[ir.Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A tensor that is not what the file declares.

    Args:
        name: Its name.
        shape: The shape that is declared, None if it is the true one.
        dtype: The true element type, None if it is the declared one.
        text: One sentence.
    """

    name: str
    shape: Shape | None
    dtype: ir.DataType | None
    text: str


def read(model: ir.Model) -> dict[ir.Value, Declared]:
    """Return what is declared of the tensors that something in the model produces, in graph order.

    Those are constants among the inputs and outputs, outputs of nodes, and inputs of nested graphs.
    """
    graph = model.graph
    initialized = (value for value in (*graph.inputs, *graph.outputs) if value.is_initializer())
    declarations = {
        value: _declared(value, "the initializer") for value in dict.fromkeys(initialized)
    }
    for value in graph.inputs:
        said = value.meta.get(DECLARED_AS_OUTPUT)
        if said is not None:
            declarations[value] = Declared(tuple(map(_dim, said)), None, "the input")
    for node in graph.all_nodes():
        maker = f"{node.op_type} `{node_name(node)}`"
        reads = tuple(value for value in node.inputs if value is not None)
        inside = tuple(value for body in graphs_of(node) for value in body.inputs)
        for values, read_there in ((inside, reads), (node.outputs, (*reads, *inside))):
            for value in values:
                if value.shape is not None or value.dtype is not None:
                    declarations[value] = _declared(value, maker, read_there)
    return declarations


def _declared(value: ir.Value, maker: str, reads: tuple[ir.Value, ...] = ()) -> Declared:
    dims = None if value.shape is None else tuple(_dim(dim) for dim in value.shape)
    return Declared(dims, value.dtype, maker, reads)


def _dim(dim: int | ir.SymbolicDim) -> Dim:
    return dim if isinstance(dim, int) and dim >= 0 else str(getattr(dim, "value", None) or "")


def contradictions(
    declared: Mapping[ir.Value, Declared],
    names: Mapping[ir.Value, str],
    shapes: Mapping[str, Shape | None],
    dtypes: Mapping[ir.Value, ir.DataType],
    symbols_of_inputs: Collection[str],
) -> Iterator[Contradiction]:
    """The tensors that are not what the file declares.

    A declared size of the export's example is none where the true size is an expression, and
    neither is a name that no input has.

    Args:
        declared: From :func:`read`.
        names: Name of each tensor.
        shapes: True shape by name.
        dtypes: The element types that follow from the nodes.
        symbols_of_inputs: Symbols of the inputs.
    """
    own = frozenset(symbols_of_inputs)
    mistyped: set[ir.Value] = set()
    for value, said in declared.items():
        name = names.get(value)
        if name is None:
            continue
        true, dtype = shapes.get(name), dtypes.get(value)
        if said.shape is not None and true is not None and _differ(said.shape, true, own):
            shown = format_shape(tuple(dim if dim != "" else "?" for dim in said.shape))
            text = f"`{name}` is declared {shown}, but {said.maker} gives {format_shape(true)}"
            yield Contradiction(name, said.shape, None, text)
        if said.dtype is None or dtype is None or said.dtype == dtype:
            continue
        # Behind a wrong type, those that follow from it are right where they differ.
        if not mistyped.intersection(said.read):
            text = f"`{name}` is declared {said.dtype.name.lower()}, but {said.maker} gives "
            text += f"{dtype.name.lower()}; ONNX Runtime does not load such a model"
            yield Contradiction(name, None, dtype, text)
        mistyped.add(value)


def corrected(model: Model, shapes: Mapping[str, Shape | None], names: Collection[str]) -> Model:
    """The model with true shapes in place of what it declares of some tensors.

    Declared shapes are remarks: the function is the same.

    Args:
        model: It is not changed.
        shapes: True shape by tensor name.
        names: The tensors, of the main graph.

    Returns:
        The model itself where there is nothing to correct.
    """
    if not names:
        return model
    copy = model.ir.clone()
    graph = copy.graph
    produced = (value for node in graph for value in node.outputs)
    for value in dict.fromkeys((*graph.inputs, *graph.outputs, *produced)):
        true = shapes.get(value.name or "")
        if value.name in names and true is not None:
            value.shape = ir.Shape([_written(dim) for dim in true])
    return Model(copy, written=model.origin)


def _written(dim: Dim) -> int | ir.SymbolicDim:
    """A dim for a file; a size that nothing of the inputs tells has no name."""
    if isinstance(dim, int):
        return dim
    return ir.SymbolicDim(None if any(map(symbols.is_made_up, symbols.symbols_of(dim))) else dim)


def _differ(said: Shape, true: Shape, own: frozenset[str]) -> bool:
    if len(said) != len(true):
        return True
    return any(_other(a, b, own) for a, b in zip(said, true, strict=True) if a != b)


def _other(said: Dim, true: Dim, own: frozenset[str]) -> bool:
    if isinstance(said, int):
        return isinstance(true, int)
    used = symbols.symbols_of(said) | symbols.symbols_of(true)
    if not symbols.symbols_of(said) or not used <= own:
        return False
    try:
        return symbols.differ(said, true)
    except ValueError:
        return False
