"""True shapes: what each tensor's shape is, whoever runs the model."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import onnx_ir as ir

from tripoint.errors import InputError
from tripoint.graph.names import node_name
from tripoint.graph.subgraphs import graphs_in
from tripoint.shape_inference import declared as declared_shapes
from tripoint.shape_inference import dim_names, hardcoded_sizes, inference
from tripoint.shape_inference.operators import symbolic_values
from tripoint.shape_inference.operators.context import Context
from tripoint.symbols import Dim, Shape, symbols_of
from tripoint.table import Bound, Frozen

_MOST_NODES = 1_000_000
"""Nodes of a model whose local functions were inlined."""


@dataclass(frozen=True, slots=True)
class Truth:
    """True shapes and dtypes of a model.

    Args:
        shapes: By tensor name: per axis an integer or an expression; None if the rank is unknown.
        dtypes: ONNX element type by tensor name, in lower case.
        symbols: The symbols of the graph inputs.
        data_dependent: Symbols that stand for sizes that tensor values decide.
        contradictions: Sentences about nodes whose input shapes do not fit together, and tensors
            that are not what the file declares.
        bounds: What is known of the sizes that tensor values decide.
        frozen: Constant sizes of the export's example that do not follow an input.
        fixed: Axes by tensor name whose size is one integer that is not known; see
            :class:`~tripoint.table.TensorFacts`.
        unknown: Operators whose output shapes are not known: those of other domains.
        declared: The shape that the file declares, by name of the tensors that contradict it.
    """

    shapes: Mapping[str, Shape | None]
    dtypes: Mapping[str, str | None]
    symbols: frozenset[str]
    data_dependent: frozenset[str]
    contradictions: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    fixed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    declared: Mapping[str, Shape] = field(default_factory=dict)


def infer(model: ir.Model) -> Truth:
    """Compute the true shape of every tensor; the model is not changed.

    Raises:
        InputError: If local functions call each other in a circle, or cannot be inlined.
    """
    return annotate(model.clone())


def annotate(model: ir.Model, *, named: bool = False) -> Truth:
    """Return the result of :func:`infer`, and leave the shapes on the values of ``model``.

    Declared shapes of inputs are kept, all others are computed anew: exporters write sizes of
    the example into them. A declared shape is used only where nothing could be computed.

    Args:
        model: The model. If it has local functions, their inside is not changed.
        named: Whether the dims of its inputs are symbols and expressions already, as in a part
            of a graph that was annotated; else they are read by
            :func:`tripoint.shape_inference.dim_names.input_shapes`.
    """
    flat = inlined(model)
    result = _annotate(flat, named=named)
    if flat is not model:
        shapes = {value.name: value for value in values(flat)}
        for value in values(model):
            if (inferred := shapes.get(value.name)) is not None:
                value.shape, value.type = inferred.shape, inferred.type
    return result


def _annotate(model: ir.Model, *, named: bool) -> Truth:
    said = {} if named else declared_shapes.read(model)
    for value, shape in ({} if named else dim_names.input_shapes(model.graph)).items():
        value.shape = shape
    for value in (*model.graph.inputs, *constant_outputs(model.graph)):
        if value.is_initializer() and value.const_value is not None:
            # What is declared of an input or output need not be the shape of the constant.
            value.shape = ir.Shape(value.const_value.shape.numpy())
            value.dtype = value.const_value.dtype
    declared: dict[ir.Value, ir.Shape | None] = {}
    for value in _node_outputs(model):
        declared[value] = value.shape
        value.shape = None
    symbols = frozenset(
        symbol
        for value in model.graph.inputs
        for dim in shape_of(value) or ()
        for symbol in symbols_of(dim)
    )
    with tensor_names_kept(model):
        context = inference.infer(model, symbols)
        named_values = names(model)
        frozen_sizes = hardcoded_sizes.find(model.graph, context, symbols, named_values)
    for value, previous in declared.items():
        if value.shape is None:
            value.shape = previous
    shapes = {name: shape_of(value) for value, name in named_values.items()}
    contradictory = tuple(
        declared_shapes.contradictions(said, named_values, shapes, context.dtypes, symbols)
    )
    return Truth(
        shapes=shapes,
        dtypes={name: dtype_of(value) for value, name in named_values.items()}
        | {each.name: each.dtype.name.lower() for each in contradictory if each.dtype is not None},
        symbols=symbols,
        data_dependent=frozenset(name for name, size in context.sizes.items() if size.by_data),
        contradictions=(*context.contradictions, *(each.text for each in contradictory)),
        declared={each.name: each.shape for each in contradictory if each.shape is not None},
        bounds=_bounds(named_values, context),
        frozen=frozen_sizes,
        unknown=tuple(context.unknown),
    )


def inlined(model: ir.Model) -> ir.Model:
    """A model without local functions, their calls replaced by their nodes.

    Tensors keep their names; those inside of a function that is called twice get a number.

    Args:
        model: It is not changed.

    Returns:
        The model itself if it has no local functions.

    Raises:
        InputError: If functions call each other in a circle, become too large, or import other
            operator sets than the model.
    """
    if not model.functions:
        return model
    from onnx_ir.passes.common import InlinePass

    _refuse_endless(model)
    flat = model.clone()
    try:
        return InlinePass()(flat).model
    except (ValueError, KeyError, ir.passes.PassError) as error:
        cause = error.__cause__ or error
        raise InputError(f"local functions cannot be inlined: {cause}") from error


def _refuse_endless(model: ir.Model) -> None:
    """Count what inlining would give, without doing it."""
    sizes: dict[ir.OperatorIdentifier, int] = {}
    open_calls: list[ir.OperatorIdentifier] = []

    def size(nodes: Iterable[ir.Node]) -> int:
        total = 0
        for node in nodes:
            called = node.op_identifier()
            total += expanded(called) if called in model.functions else 1
        return total

    def expanded(called: ir.OperatorIdentifier) -> int:
        if called in open_calls:
            circle = " -> ".join(name for _, name, _ in (*open_calls, called))
            raise InputError(f"local functions call each other in a circle: {circle}")
        if called not in sizes:
            open_calls.append(called)
            sizes[called] = size(model.functions[called].all_nodes())
            open_calls.pop()
        return sizes[called]

    total = size(model.graph.all_nodes())
    if total > _MOST_NODES:
        raise InputError(f"with its local functions inlined the model has {total} nodes")


@contextlib.contextmanager
def tensor_names_kept(model: ir.Model) -> Iterator[None]:
    """Undo what onnx-ir writes into Constant nodes when it reads their values.

    Clones share these tensors, so the model of the caller would change.
    """
    tensors = [
        attribute.value
        for node in model.graph.all_nodes()
        if node.op_type == "Constant"
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR
    ]
    names = [_own_name(tensor) for tensor in tensors]
    try:
        yield
    finally:
        for tensor, name in zip(tensors, names, strict=True):
            tensor.name = name


def _own_name(tensor: ir.TensorProtocol) -> str | None:
    """The name of a tensor; one of a file says ``""`` whether it has that name or none."""
    proto = tensor.raw if isinstance(tensor, ir.serde.TensorProtoTensor) else None
    return tensor.name if proto is None or proto.HasField("name") else None


def strip(model: ir.Model) -> None:
    """Remove the notes that :func:`annotate` leaves on values, except the shapes."""
    for value in _node_outputs(model):
        producer = value.producer()
        if producer is not None and producer.op_type != "Constant":
            value.const_value = None


def shape_of(value: ir.Value) -> Shape | None:
    """Shape of a value as integers and expressions; None if the rank is unknown."""
    return dims_of(value.shape) if value.shape is not None else None


def dims_of(shape: ir.Shape) -> Shape:
    """A shape as integers and expressions."""
    return tuple(_dim(dim) for dim in shape)


def dtype_of(value: ir.Value) -> str | None:
    """ONNX element type of a value in lower case, for instance ``"float"``."""
    return value.dtype.name.lower() if value.dtype is not None else None


def _dim(dim: int | ir.SymbolicDim) -> Dim:
    if isinstance(dim, int):
        return dim
    text = str(dim.value) if dim.value is not None else "?"
    # Arithmetic that cancels all symbols leaves the integer as text.
    return int(text) if text.isdecimal() else text


def values(model: ir.Model) -> Iterator[ir.Value]:
    """Every graph input, constant output and node output, those of nested graphs included."""
    yield from dict.fromkeys((*model.graph.inputs, *constant_outputs(model.graph)))
    yield from _node_outputs(model)


def constant_outputs(graph: ir.Graph) -> list[ir.Value]:
    """The initializers that a graph gives out as they are, each once."""
    return [value for value in dict.fromkeys(graph.outputs) if value.is_initializer()]


def given_inputs(graph: ir.Graph) -> list[ir.Value]:
    """The inputs that must be fed.

    Up to IR version 3 every initializer is listed as an input, too; later that gives an input a
    default. TensorRT takes all of these for constants.
    """
    return [value for value in graph.inputs if not value.is_initializer()]


def _node_outputs(model: ir.Model) -> Iterator[ir.Value]:
    for node in model.graph.all_nodes():
        yield from node.outputs


def names(model: ir.Model) -> dict[ir.Value, str]:
    """A name of its own for every tensor that a graph takes in or a node produces, nested ones too.

    So have the initializers that the main graph gives out.

    That is the tensor's ONNX name, if it is the only one of that name or belongs to the main
    graph. Otherwise, nested graphs may use a name again, it is ``<node>/<attribute>/<name>``,
    with the node and the attribute that hold the nested graph. Should that not be enough either,
    a number follows. Outputs without a name, which ONNX takes for left out, are not listed.
    """
    scoped = list(_scoped(model.graph, ""))
    uses = Counter(value.name for value, _ in scoped)
    reserved = {value.name for value, scope in scoped if not scope}
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: count(2))
    names_by_value: dict[ir.Value, str] = {}
    taken: set[str] = set()
    for value, scope in scoped:
        name = value.name or ""
        if scope and uses[name] > 1:
            name = f"{scope}{name}"
        if name in taken or (scope and name in reserved):
            tried = (f"{name}#{number}" for number in numbers[name])
            name = next(other for other in tried if other not in taken and other not in reserved)
        taken.add(name)
        names_by_value[value] = name
    return names_by_value


def _scoped(graph: ir.Graph, scope: str) -> Iterator[tuple[ir.Value, str]]:
    """The named tensors of a graph and of those in it, each with the path of its graph."""
    yield from ((value, scope) for value in given_inputs(graph) if value.name)
    if not scope:
        yield from ((value, scope) for value in constant_outputs(graph) if value.name)
    for node in graph:
        yield from ((value, scope) for value in node.outputs if value.name)
        label = node_name(node)
        for attribute in node.attributes.values():
            for nested in graphs_in(attribute):
                yield from _scoped(nested, f"{scope}{label}/{attribute.name}/")


def _bounds(names: Mapping[ir.Value, str], context: Context) -> tuple[Bound, ...]:
    """The bounds of every such size that some tensor has, in graph order.

    Args:
        names: Name by tensor, in graph order.
        context: What was inferred.
    """
    seen: dict[str, Bound] = {}
    for value, name in names.items():
        for dim in value.shape or ():
            if isinstance(dim, int):
                continue
            for symbol in sorted(symbols_of(str(dim.value))):
                size = context.sizes.get(symbol)
                if size is None or not size.by_data or symbol in seen or size.node is None:
                    continue
                seen[symbol] = Bound(
                    symbol=symbol,
                    tensor=name,
                    node=node_name(size.node),
                    op=size.node.op_type,
                    least=size.least,
                    most=_text(size.most),
                )
    return tuple(seen.values())


def _text(element: symbolic_values.Element) -> Dim | None:
    dim = symbolic_values.to_dim(element)
    return dim if isinstance(dim, int) or dim is None else str(dim.value)
