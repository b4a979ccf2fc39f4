"""True shapes: what each tensor's shape is, whoever runs the model."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
from onnx_shape_inference import SYM_DATA_KEY, infer_symbolic_shapes

from tripoint.errors import InputError
from tripoint.facts import operators
from tripoint.facts.symbols import is_plain, symbols_of
from tripoint.facts.table import Bound, Dim, Frozen, Shape

DATA_DEPENDENT = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"})
"""Operators whose output size is decided by values (ONNX operator specification)."""

_ODD = re.compile(r"[^A-Za-z0-9_]+")
_ARITHMETIC = re.compile(r"[A-Za-z0-9_+*/%(),\s-]+")

_LOGGER = logging.getLogger("onnx_shape_inference")

operators.register()


@dataclass(frozen=True, slots=True)
class Truth:
    """True shapes and dtypes of a model.

    Args:
        shapes: By tensor name: per axis an integer or an expression; None if the rank is unknown.
        dtypes: ONNX element type by tensor name, in lower case.
        symbols: The symbols of the graph inputs.
        data_dependent: Symbols that stand for sizes that tensor values decide.
        contradictions: Sentences about nodes whose input shapes do not fit together.
        bounds: What is known of the sizes that tensor values decide.
        frozen: Constant sizes of the export's example that do not follow an input.
        fixed: Axes by tensor name whose size is one integer that is not known; see
            :class:`~tripoint.facts.table.TensorFacts`.
    """

    shapes: Mapping[str, Shape | None]
    dtypes: Mapping[str, str | None]
    symbols: frozenset[str]
    data_dependent: frozenset[str]
    contradictions: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    fixed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def infer(model: ir.Model) -> Truth:
    """Compute the true shape of every tensor; the model is not changed.

    Raises:
        InputError: If an operator has inputs that its specification does not allow.
    """
    return annotate(model.clone())


def annotate(model: ir.Model, *, named: bool = False) -> Truth:
    """As :func:`infer`, and leave the shapes on the values of ``model``.

    Declared shapes of inputs are kept, all others are computed anew: exporters write sizes of
    the example into them. A declared shape is used only where nothing could be computed.

    Args:
        model: The model.
        named: Whether the dims of its inputs are symbols and expressions already, as in a part
            of a graph that was annotated; else they are read by :func:`input_shapes`.
    """
    for value, shape in ({} if named else input_shapes(model.graph)).items():
        value.shape = shape
    declared: dict[ir.Value, ir.Shape | None] = {}
    for value in _node_outputs(model):
        declared[value] = value.shape
        value.shape = None
    with tensor_names_kept(model):
        contradictions = _infer(model)
    for value, previous in declared.items():
        if value.shape is None:
            value.shape = previous
    symbols = frozenset(
        symbol
        for value in model.graph.inputs
        for dim in shape_of(value) or ()
        for symbol in symbols_of(dim)
    )
    return Truth(
        shapes={value.name or "": shape_of(value) for value in values(model)},
        dtypes={value.name or "": dtype_of(value) for value in values(model)},
        symbols=symbols,
        data_dependent=_data_dependent(model, symbols),
        contradictions=contradictions,
    )


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
    names = [tensor.name for tensor in tensors]
    try:
        yield
    finally:
        for tensor, name in zip(tensors, names, strict=True):
            tensor.name = name


def strip(model: ir.Model) -> None:
    """Remove the notes that :func:`annotate` leaves on values, except the shapes."""
    for value in _node_outputs(model):
        value.metadata_props.pop(SYM_DATA_KEY, None)
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


def input_shapes(graph: ir.Graph) -> dict[ir.Value, ir.Shape]:
    """Shapes of the graph inputs, each dim a size, a plain symbol or an expression in symbols.

    ONNX allows any text as the name of a dim, and none. ``batch size`` becomes ``batch_size``, a
    dim without a name ``<input>_dim<axis>``. An expression such as ``2*N`` stays one only if ``N``
    is the name of another dim; otherwise it is taken for a name, too.
    """
    shaped = [value for value in graph.inputs if value.shape is not None]
    texts = [str(dim.value) for value in shaped for dim in _symbolic(value)]
    plain = {text for text in texts if is_plain(text)}
    shapes = {}
    for value in shaped:
        dims = list(value.shape or ())
        for axis, dim in enumerate(dims):
            if isinstance(dim, ir.SymbolicDim):
                dims[axis] = _symbol(value.name or "", axis, dim.value, plain)
        shapes[value] = ir.Shape(dims)
    return shapes


def _symbol(name: str, axis: int, text: object, plain: set[str]) -> ir.SymbolicDim:
    if text is None:
        return ir.SymbolicDim(f"{_ODD.sub('_', name)}_dim{axis}")
    used = symbols_of(str(text))
    if used and used <= plain and _ARITHMETIC.fullmatch(str(text)):
        return ir.SymbolicDim(str(text))
    tidy = _ODD.sub("_", str(text)).strip("_") or f"{_ODD.sub('_', name)}_dim{axis}"
    return ir.SymbolicDim(tidy if is_plain(tidy) else f"_{tidy}")


def _symbolic(value: ir.Value) -> list[ir.SymbolicDim]:
    return [dim for dim in value.shape or () if isinstance(dim, ir.SymbolicDim) and dim.value]


def _dim(dim: int | ir.SymbolicDim) -> Dim:
    if isinstance(dim, int):
        return dim
    text = str(dim.value) if dim.value is not None else "?"
    # Arithmetic that cancels all symbols leaves the integer as text.
    return int(text) if text.isdecimal() else text


def values(model: ir.Model) -> Iterator[ir.Value]:
    """Every graph input and every node output, those of nested graphs included."""
    yield from model.graph.inputs
    yield from _node_outputs(model)


def _node_outputs(model: ir.Model) -> Iterator[ir.Value]:
    for node in model.graph.all_nodes():
        yield from node.outputs


def _infer(model: ir.Model) -> tuple[str, ...]:
    notes = _Notes()
    propagate, _LOGGER.propagate = _LOGGER.propagate, False
    _LOGGER.addHandler(notes)
    try:
        # "skip" goes on behind a node whose inputs contradict each other.
        infer_symbolic_shapes(
            model, policy="skip", warn_on_missing=False, adopt_declared_symbols=False
        )
    except ValueError as error:
        raise InputError(f"shapes cannot be inferred: {error}") from error
    finally:
        _LOGGER.removeHandler(notes)
        _LOGGER.propagate = propagate
    return tuple(notes.texts)


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage().removeprefix("Shape inference error: "))


def _data_dependent(model: ir.Model, symbols: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for node in model.graph.all_nodes():
        if node.op_type not in DATA_DEPENDENT:
            continue
        for value in node.outputs:
            for dim in shape_of(value) or ():
                found |= symbols_of(dim) - symbols
    return frozenset(found)
