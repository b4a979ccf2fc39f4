"""Inputs for a comparison: random, but such that the model can take them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from tripoint.errors import InputError, UsageError
from tripoint.model import Model
from tripoint.numeric import like as likeness
from tripoint.numeric import meanings
from tripoint.numeric.dtypes import held
from tripoint.shape_inference import dim_names, shape_inputs, truth
from tripoint.symbols import Dim, Shape, evaluate

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""Array by tensor name."""

InputSpecs = Mapping[str, tuple[str, Shape]]
"""ONNX element type in lower case, and shape, by input name."""

How = Literal["usual", "unlimited", "plain"]
"""How much of what a graph says of its inputs is followed."""

MINIMUM_POINTS = 3
"""Points at least at which numbers are compared; of fewer sizes, some are taken again."""

_MOST_DRAWN = 1 << 24
"""Random numbers of an input. A larger one repeats them: drawing takes longer than running."""

_IMAGES = re.compile(r"image|img|pixel|frame|picture|photo", re.IGNORECASE)


def inputs_of(model: Model, *, named: bool = False) -> dict[str, tuple[str, Shape]]:
    """Element type and shape of the graph inputs that must be fed, in order.

    Args:
        model: The model.
        named: Whether its dims are symbols and expressions already, as in an annotated graph;
            else they are read by :func:`tripoint.shape_inference.dim_names.input_shapes`.

    Raises:
        InputError: If an input declares no type or no rank.
    """
    graph = model.ir.graph
    shapes = {value: value.shape for value in graph.inputs}
    if not named:
        shapes |= dim_names.input_shapes(graph)
    specs: dict[str, tuple[str, Shape]] = {}
    for value in graph.inputs:
        if value.name in graph.initializers:
            continue
        name, shape = value.name or "", shapes.get(value)
        if value.dtype is None or shape is None:
            raise InputError(f"input {name!r} declares no type or no shape")
        specs[name] = (value.dtype.name.lower(), truth.dims_of(shape))
    return specs


def shapes_of(model: Model) -> dict[str, Shape]:
    """True shape by name of every input that must be fed.

    Raises:
        InputError: As :func:`inputs_of`.
    """
    return {name: shape for name, (_, shape) in inputs_of(model).items()}


def generate(
    inputs: InputSpecs,
    bindings: Mapping[str, int],
    seed: int,
    *,
    model: Model | None = None,
    wide: bool = False,
    values: Mapping[str, tuple[float, float]] | None = None,
    like: Arrays | None = None,
    draw: How = "usual",
) -> dict[str, np.ndarray[Any, Any]]:
    """Make one array for each input; the same arguments give the same arrays.

    ========================================  ==========================================
    a shape tensor                            its values, where they have a size
    any of ``values``                         even, from the first number to the second
    an integer that indexes (Gather)          within the axis, both ends among them
    uint8 pixels                              0 to 255
    any of ``like`` that says something       see :func:`tripoint.numeric.like.of`
    any of which ``model`` says something     see :mod:`tripoint.numeric.meanings`
    bool, or an integer named ``*mask*``      0 or 1, 1 at least once along the last axis
    float                                     normal, mean 0, deviation 1
    any other integer                         0 or 1; if ``wide``, up to 8 in size but not 0
    ========================================  ==========================================

    An input of uint8 holds pixels if it has three axes or more, or is named after an image. Of an
    integer that ``model`` uses as a number, half are 0 or 1 and others far from it.

    Args:
        inputs: Element type and shape by input name, see :func:`inputs_of`.
        bindings: Size of each symbol; see :func:`tripoint.shape_inference.shape_inputs.find` for
            those of shape tensors.
        seed: Seed; each input draws its own numbers from it and its name.
        model: What says of the values what they are.
        wide: Whether integers that nobody gave a meaning may be negative and larger than 1.
        values: Smallest and largest value by input name, both possible for integers.
        like: Examples by input name, of any shape.
        draw: ``"unlimited"`` for floats that need not lie where operators give numbers,
            ``"plain"`` to ask ``model`` for the axes that are indexed only.

    Raises:
        UsageError: If a symbol has no size, a dim would be negative, ``values`` names no input,
            or numbers that its dtype does not hold.
    """
    refuse_unknown(inputs, values or {})
    meant = _meant(model, inputs, bindings, draw)
    by_value = shape_inputs.find(model.ir) if model is not None else {}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, (dtype, shape) in inputs.items():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        sizes = tuple(_size(name, dim, bindings) for dim in shape)
        kind = ir.DataType[dtype.upper()]
        meaning = meant.get(name)
        if name in by_value and bindings.keys() >= set(by_value[name]):
            numbers = [bindings[symbol] for symbol in by_value[name]]
            arrays[name] = np.array(numbers, dtype=kind.numpy()).reshape(sizes)
        elif values and name in values:
            arrays[name] = _between(random, name, kind, sizes, *values[name])
        elif wide and kind.is_integer() and not (meaning and meaning.corners):
            arrays[name] = _wide(random, kind, sizes)
        elif drawn := _like(name, kind, len(sizes), meaning, like):
            array = drawn.draw(random, sizes)
            if meaning is not None and array.size:
                within = [each for each in meaning.corners if array.min() <= each <= array.max()]
                array = meanings.placed(random, array, within, seed)
            arrays[name] = array.astype(kind.numpy())
        elif meaning is None or (_holds_pixels(name, kind, shape) and not meaning.index):
            arrays[name] = _array(random, name, kind, sizes)
        elif draw == "plain" and meaning.low is not None and meaning.high is not None:
            array = random.integers(int(meaning.low), int(meaning.high), sizes, endpoint=True)
            arrays[name] = np.asarray(array).astype(kind.numpy())
        elif math.prod(sizes) > _MOST_DRAWN:
            array = meaning.draw(random, (_MOST_DRAWN,), seed)
            arrays[name] = np.resize(array, sizes).astype(kind.numpy())
        else:
            arrays[name] = meaning.draw(random, sizes, seed).astype(kind.numpy())
    return arrays


def told(
    inputs: InputSpecs,
    *,
    model: Model,
    values: Mapping[str, tuple[float, float]] | None = None,
    like: Arrays | None = None,
    points: Sequence[Mapping[str, int]] = ({},),
) -> dict[str, str]:
    """Describe in words what :func:`generate` draws for each input: ``"integers 0 or 1"``.

    Args:
        inputs: As :func:`generate` takes them.
        model: As :func:`generate` takes it.
        values: As :func:`generate` takes them.
        like: As :func:`generate` takes them.
        points: Size of each symbol, at least one entry.
    """
    distinct = {tuple(point.items()): point for point in points}
    meant = [_meant(model, inputs, point) for point in distinct.values()]
    by_value = shape_inputs.find(model.ir)
    texts: dict[str, str] = {}
    for name, (dtype, shape) in inputs.items():
        kind = ir.DataType[dtype.upper()]
        noun = "floats" if kind.is_floating_point() else "integers"
        here = [each[name] for each in meant if name in each]
        if name in by_value:
            texts[name] = "the sizes that it stands for"
        elif values and name in values:
            low, high = values[name]
            texts[name] = f"{noun} {low:g}..{high:g} as given"
        elif drawn := _like(name, kind, len(shape), here[0] if here else None, like):
            texts[name] = drawn.text
        elif _holds_pixels(name, kind, shape) and not (here and here[0].index):
            texts[name] = "pixels 0..255"
        elif here:
            texts[name] = meanings.said(here)
        else:
            texts[name] = "normal floats" if kind.is_floating_point() else "integers 0 or 1"
    return texts


def beyond(
    inputs: InputSpecs,
    *,
    model: Model,
    values: Mapping[str, tuple[float, float]] | None = None,
    like: Arrays | None = None,
    bindings: Mapping[str, int],
) -> dict[str, tuple[float, float]]:
    """Ranges that leave the limits which :func:`generate` keeps since operators need them.

    A graph that lacks what makes its operand legal, as an Abs before a Sqrt, is like a right one
    within them.
    """
    limits = {}
    for name, meaning in _meant(model, inputs, bindings, "usual").items():
        rank = len(inputs[name][1])
        kind = ir.DataType[inputs[name][0].upper()]
        if meaning.limits is None or name in (values or {}):
            continue
        if _like(name, kind, rank, meaning, like) is None:
            limits[name] = meaning.limits
    return limits


def _meant(
    model: Model | None, inputs: InputSpecs, bindings: Mapping[str, int], draw: How = "usual"
) -> dict[str, meanings.Meaning]:
    """Return the meanings that the graph gives its inputs; without a graph, masks by name alone."""
    if model is not None:
        meant = meanings.of(model, inputs, bindings)
        if draw == "usual":
            return meant
        return {
            name: each
            for name, each in meant.items()
            if each.index or (draw == "unlimited" and each.limits is None)
        }
    kinds = {name: ir.DataType[dtype.upper()] for name, (dtype, _) in inputs.items()}
    return {
        name: meanings.mask(kind)
        for name, kind in kinds.items()
        if meanings.is_mask(name, kind) and draw != "plain"
    }


def refuse_unknown(inputs: InputSpecs, values: Mapping[str, object]) -> None:
    """Make sure that all names are those of inputs.

    Raises:
        UsageError: If one is not.
    """
    for name in values:
        if name not in inputs:
            raise UsageError(
                f"the model has no input named {name!r}", hint=f"its inputs are {', '.join(inputs)}"
            )


def _like(
    name: str,
    kind: ir.DataType,
    rank: int,
    meaning: meanings.Meaning | None,
    like: Arrays | None,
) -> likeness.Like | None:
    """Return the rule to draw an input like its example; None without one, or if others decide."""
    if not like or name not in like or (meaning and meaning.index):
        return None
    if _holds_pixels(name, kind, range(rank)):
        return None
    return likeness.of(like[name], kind)


def _holds_pixels(name: str, kind: ir.DataType, shape: Sequence[object]) -> bool:
    return kind == ir.DataType.UINT8 and (len(shape) > 2 or bool(_IMAGES.search(name)))


def bindings_of(inputs: InputSpecs, arrays: Arrays) -> dict[str, int]:
    """The sizes of the symbols in given arrays.

    Args:
        inputs: Element type and shape by input name.
        arrays: Array by input name.

    Raises:
        UsageError: If an input is missing or unknown, or has another dtype, rank or size.
    """
    if inputs.keys() != arrays.keys():
        raise UsageError(
            f"the given inputs are {', '.join(arrays)}; the model takes {', '.join(inputs)}"
        )
    bindings: dict[str, int] = {}
    for name, (dtype, shape) in inputs.items():
        array = arrays[name]
        expected = ir.DataType[dtype.upper()].numpy()
        if array.dtype != expected:
            raise UsageError(
                f"input {name!r} is given as {array.dtype}, the model takes {expected}"
            )
        fits = array.ndim == len(shape) and all(
            size == (bindings.setdefault(dim, size) if isinstance(dim, str) else dim)
            for dim, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = "x".join(map(str, shape))
            raise UsageError(
                f"input {name!r} is given as {list(array.shape)}, the model takes {wanted}"
            )
    return bindings


def _size(name: str, dim: Dim, bindings: Mapping[str, int]) -> int:
    size = evaluate(dim, bindings)
    if size is not None and size < 0:
        raise UsageError(f"dimension {dim} of input {name!r} is negative at {dict(bindings)}")
    if size is None:
        raise UsageError(
            f"dimension {dim} of input {name!r} has no size", hint=f"give --dim {dim}=1..2..8"
        )
    return size


def _array(
    random: np.random.Generator,
    name: str,
    dtype: ir.DataType,
    sizes: tuple[int, ...],
) -> np.ndarray[Any, Any]:
    if dtype.is_floating_point():
        if math.prod(sizes) > _MOST_DRAWN:
            drawn = random.standard_normal(_MOST_DRAWN, np.float32).astype(dtype.numpy())
            return np.resize(drawn, sizes)
        return random.standard_normal(sizes).astype(dtype.numpy())
    if _holds_pixels(name, dtype, sizes):
        return random.integers(0, 256, sizes, np.uint8)
    array = random.integers(0, 2, sizes)
    if meanings.is_mask(name, dtype) and array.ndim and array.size:
        # A row that is masked out as a whole makes a softmax divide by zero.
        array[..., 0] = 1
    return array.astype(dtype.numpy())


def _between(
    random: np.random.Generator,
    name: str,
    dtype: ir.DataType,
    sizes: tuple[int, ...],
    low: float,
    high: float,
) -> np.ndarray[Any, Any]:
    kind = dtype.numpy()
    if dtype.is_floating_point():
        return random.uniform(low, high, sizes).astype(kind)
    first, last = math.ceil(low), math.floor(high)
    limits = (0, 1) if dtype == ir.DataType.BOOL else held(dtype)
    if not limits[0] <= first <= last <= limits[1]:
        raise UsageError(f"input {name!r} is {kind}, which has no numbers from {low:g} to {high:g}")
    return np.asarray(random.integers(first, last, sizes, endpoint=True)).astype(kind)


def _wide(
    random: np.random.Generator, dtype: ir.DataType, sizes: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    array = random.integers(1, 9, sizes)
    if dtype.is_signed():
        array = array * random.choice([-1, 1], sizes)
    return np.asarray(array).astype(dtype.numpy())
