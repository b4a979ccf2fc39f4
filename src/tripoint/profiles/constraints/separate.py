"""Dims of one name that a person gives different ranges, and that nothing ties together."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.numeric.inputs import shapes_of
from tripoint.shape_inference import constraints, dim_names
from tripoint.spec import Range, Spec
from tripoint.symbols import Shape, is_plain

_Place = tuple[str, int]
"""Name of an input, and one of its axes."""


def separated(model: Model, specs: Sequence[Spec]) -> Model:
    """The model with a symbol for each size, where one name stands for sizes that differ.

    Exporters write one name at dims that have nothing to do with each other. Where ``--input``
    gives two dims of one name different ranges, they get a symbol each; the first keeps the name.
    Dims stay one where an equation of the graph holds them together, whatever is given.

    Args:
        model: It is not changed.
        specs: What was written, one for each profile.

    Returns:
        The model itself, if no name is given two ranges.

    Raises:
        UsageError: If the graph needs two dims to be equal that are given different ranges.
    """
    if sum(len(spec.inputs) for spec in specs) == 0:
        return model
    shapes = shapes_of(model)
    for symbol in _doubtful(shapes, specs):
        model = _apart(model, _places(shapes, symbol), specs)
    return model


def renamed(written: Model, model: Model) -> tuple[str, ...]:
    """Names of the inputs whose dims have other symbols in the second model."""
    before, after = shapes_of(written), shapes_of(model)
    return tuple(name for name, shape in before.items() if after[name] != shape)


def _doubtful(shapes: dict[str, Shape], specs: Sequence[Spec]) -> list[str]:
    """Symbols that are given two ranges in one profile."""
    doubtful: dict[str, None] = {}
    for spec in specs:
        ranges: dict[str, Range] = {}
        for (name, axis), size in _asked(shapes, spec).items():
            symbol = str(shapes[name][axis])
            if ranges.setdefault(symbol, size) != size:
                doubtful[symbol] = None
    return list(doubtful)


def _asked(shapes: dict[str, Shape], spec: Spec) -> dict[_Place, Range]:
    """The ranges that ``--input`` gives plain symbols, where the rank is right."""
    sizes: dict[_Place, Range] = {}
    for name, written in spec.resolve_names(shapes).items():
        for axis, (true, said) in enumerate(zip(shapes[name], written.dims, strict=False)):
            size = spec.dims.get(said) if isinstance(said, str) else said
            if isinstance(true, str) and is_plain(true) and size is not None:
                sizes[name, axis] = Range(size, size, size) if isinstance(size, int) else size
    return sizes


def _places(shapes: dict[str, Shape], symbol: str) -> list[_Place]:
    return [
        (name, axis)
        for name, shape in shapes.items()
        for axis, dim in enumerate(shape)
        if dim == symbol
    ]


def _apart(model: Model, places: Sequence[_Place], specs: Sequence[Spec]) -> Model:
    """The model with symbols of their own at these places, as far as no equation ties them."""
    free = _renamed(model, [[place] for place in places])
    shapes = shapes_of(free)
    symbols = {(name, axis): str(shapes[name][axis]) for name, axis in places}
    group = {symbol: {symbol} for symbol in symbols.values()}
    for equation in constraints.collect(free.ir):
        tied = [symbol for symbol in symbols.values() if symbol in equation.symbols]
        joined = set().union(*(group[symbol] for symbol in tied)) if tied else set()
        _refuse_different(equation, [p for p, s in symbols.items() if s in joined], model, specs)
        for symbol in joined:
            group[symbol] = joined
    together: dict[frozenset[str], list[_Place]] = {}
    for place, symbol in symbols.items():
        together.setdefault(frozenset(group[symbol]), []).append(place)
    return _renamed(model, list(together.values())) if len(together) > 1 else model


def _refuse_different(
    equation: constraints.Equation, tied: Sequence[_Place], model: Model, specs: Sequence[Spec]
) -> None:
    shapes = shapes_of(model)
    for spec in specs:
        sizes = {place: size for place, size in _asked(shapes, spec).items() if place in tied}
        (first, size), *others = sizes.items() or [(("", 0), None)]
        for place, other in others:
            if other != size:
                name, axis = first
                raise UsageError(
                    f"dimension {shapes[name][axis]} is bound to {size} by axis {axis} of --input "
                    f"{name} and to {other} by axis {place[1]} of --input {place[0]}, and node "
                    f"{equation.node!r} ({equation.op}) needs them to be the same",
                    hint="one symbol has one range; give it once",
                )


def _renamed(model: Model, groups: Sequence[Sequence[_Place]]) -> Model:
    """A copy in which each group but the first has a symbol of its own, after its first place."""
    copy = model.ir.clone()
    inputs = {value.name or "": value for value in copy.graph.inputs}
    taken = {str(dim) for shape in shapes_of(model).values() for dim in shape}
    for group in groups[1:]:
        name, axis = group[0]
        symbol = dim_names.unique(f"{name}_dim{axis}", taken)
        for name, axis in group:
            dims = list(inputs[name].shape or ())
            dims[axis] = ir.SymbolicDim(symbol)
            inputs[name].shape = ir.Shape(dims)
    return Model(copy, written=model.origin)
