"""Conversion of a caller's arguments to the objects that the functions work on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from tripoint import model as models
from tripoint.model import Model

if TYPE_CHECKING:
    from tripoint.numeric.feed import Feed
    from tripoint.sources.python import TorchModel
    from tripoint.spec import Spec
    from tripoint.symbols import Shape

ModelLike = str | os.PathLike[str] | Model | ir.Model
"""A path, a :class:`~tripoint.model.Model` or an ``onnx_ir.Model``."""

PLAN_SUFFIXES = frozenset({".plan", ".engine", ".trt"})


def as_model(model: ModelLike) -> Model:
    """Return a user's argument as a :class:`~tripoint.model.Model`."""
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, os.PathLike)):
        return models.load(model)
    return Model(model)


def as_given(model: ModelLike, *specs: Spec | None) -> Model:
    """The model with a symbol for each size that was given.

    See :func:`tripoint.profiles.constraints.separate.separated`.
    """
    from tripoint.profiles.constraints.separate import separated

    return separated(as_model(model), [spec for spec in specs if spec is not None])


def as_torch(model: str | TorchModel) -> TorchModel:
    """A module, or the one that a reference names; see :func:`tripoint.sources.named.as_torch`."""
    from tripoint.sources import named

    return named.as_torch(model)


def is_plan(model: object) -> bool:
    """Return whether an argument names a serialized engine."""
    return isinstance(model, (str, os.PathLike)) and Path(model).suffix in PLAN_SUFFIXES


def input_shapes(model: Model) -> dict[str, Shape]:
    """True shape by name of every input that must be fed."""
    from tripoint.numeric.inputs import shapes_of

    return shapes_of(model)


def sweep(model: Model, spec: Spec | None) -> list[dict[str, int]]:
    """Points of the input range: min, opt, max and a random one, or fewer sizes repeated.

    At each of at least three points other random inputs are used. The random point is one that
    the graph can take.

    Raises:
        UsageError: If a dynamic dim has no range, a shape tensor no values, or min, opt or max is
            a size that the graph cannot take.
    """
    from tripoint.profiles.constraints.legal import LegalSizes

    return LegalSizes.of(as_given(model, spec), spec).points()


def read_inputs(
    inputs: str | os.PathLike[str], model: ModelLike, names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Inputs out of a file or a function; see :mod:`tripoint.sources.inputs_file`."""
    from tripoint.numeric.inputs import inputs_of
    from tripoint.sources.inputs_file import read_inputs as read

    return read(os.fspath(inputs), inputs_of(as_model(model)), names)


def feed_of(
    model: Model,
    torch: str | TorchModel | None,
    inputs: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None,
    values: Mapping[str, tuple[float, float]] | None,
    names: Sequence[str] | None = None,
) -> Feed:
    """Return a caller's arguments about the inputs of a model as a :class:`Feed`.

    Raises:
        UsageError: If ``values`` names no input, or given inputs or examples do not fit.
        InputError: If inputs cannot be read.
    """
    from tripoint.numeric.feed import Feed
    from tripoint.numeric.inputs import inputs_of, refuse_unknown
    from tripoint.parity.points import examples_of

    if inputs is None and torch is None and not values:
        return Feed()
    specs = inputs_of(model)
    refuse_unknown(specs, values or {})
    if isinstance(inputs, (str, os.PathLike)):
        inputs = read_inputs(inputs, model, names)
    like = examples_of(as_torch(torch), specs, names) if torch is not None else {}
    return Feed(values or {}, like, tuple(inputs or ()))
