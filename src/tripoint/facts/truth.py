"""True shapes: what each tensor's shape is, whoever runs the model."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir
from onnx_shape_inference import SYM_DATA_KEY, infer_symbolic_shapes

from tripoint.errors import InputError
from tripoint.facts import operators
from tripoint.facts.symbols import symbols_of
from tripoint.facts.table import Dim, Shape

DATA_DEPENDENT = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"})
"""Operators whose output size is decided by values (ONNX operator specification)."""

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
    """

    shapes: Mapping[str, Shape | None]
    dtypes: Mapping[str, str | None]
    symbols: frozenset[str]
    data_dependent: frozenset[str]
    contradictions: tuple[str, ...]


def infer(model: ir.Model) -> Truth:
    """Compute the true shape of every tensor; the model is not changed.

    Raises:
        InputError: If an operator has inputs that its specification does not allow.
    """
    return annotate(model.clone())


def annotate(model: ir.Model) -> Truth:
    """As :func:`infer`, and leave the shapes on the values of ``model``.

    Declared shapes of inputs are kept, all others are computed anew: exporters write sizes of
    the example into them. A declared shape is used only where nothing could be computed.
    """
    for value in model.graph.inputs:
        _name_dims(value)
    declared = {}
    for value in _node_outputs(model):
        declared[value] = value.shape
        value.shape = None
    contradictions = _infer(model)
    for value, shape in declared.items():
        if value.shape is None:
            value.shape = shape
    values = [*model.graph.inputs, *_node_outputs(model)]
    symbols = frozenset(
        symbol
        for value in model.graph.inputs
        for dim in shape_of(value) or ()
        for symbol in symbols_of(dim)
    )
    return Truth(
        shapes={value.name or "": shape_of(value) for value in values},
        dtypes={value.name or "": dtype_of(value) for value in values},
        symbols=symbols,
        data_dependent=_data_dependent(model, symbols),
        contradictions=contradictions,
    )


def strip(model: ir.Model) -> None:
    """Remove the notes that :func:`annotate` leaves on values, except the shapes."""
    for value in _node_outputs(model):
        value.metadata_props.pop(SYM_DATA_KEY, None)
        producer = value.producer()
        if producer is not None and producer.op_type != "Constant":
            value.const_value = None


def shape_of(value: ir.Value) -> Shape | None:
    """Shape of a value as integers and expressions; None if the rank is unknown."""
    if value.shape is None:
        return None
    return tuple(_dim(dim) for dim in value.shape)


def dtype_of(value: ir.Value) -> str | None:
    """ONNX element type of a value in lower case, for instance ``"float"``."""
    return value.dtype.name.lower() if value.dtype is not None else None


def anonymous(name: str, axis: int) -> str:
    """The symbol for an input dim that has neither a size nor a name."""
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_dim{axis}"


def _name_dims(value: ir.Value) -> None:
    if value.shape is None or all(
        isinstance(dim, int) or dim.value is not None for dim in value.shape
    ):
        return
    value.shape = ir.Shape(
        [
            anonymous(value.name or "", axis)
            if isinstance(dim, ir.SymbolicDim) and dim.value is None
            else dim
            for axis, dim in enumerate(value.shape)
        ]
    )


def _dim(dim: int | ir.SymbolicDim) -> Dim:
    if isinstance(dim, int):
        return dim
    text = str(dim.value) if dim.value is not None else "?"
    # Arithmetic that cancels all symbols leaves the integer as text.
    return int(text) if text.isdecimal() else text


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
        self.texts.append(record.getMessage())


def _data_dependent(model: ir.Model, symbols: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for node in model.graph.all_nodes():
        if node.op_type not in DATA_DEPENDENT:
            continue
        for value in node.outputs:
            for dim in shape_of(value) or ():
                found |= symbols_of(dim) - symbols
    return frozenset(found)
