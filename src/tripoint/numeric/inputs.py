"""Inputs for a comparison: random, but such that the model can take them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import InputError, UsageError
from tripoint.facts import dim_names, shape_inputs, truth
from tripoint.facts.symbols import evaluate
from tripoint.facts.table import Dim, Shape
from tripoint.model import Model
from tripoint.numeric import like as likeness

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""Array by tensor name."""

InputSpecs = Mapping[str, tuple[str, Shape]]
"""ONNX element type in lower case, and shape, by input name."""

MINIMUM_POINTS = 3
"""Points at least at which numbers are compared; of fewer sizes, some are taken again."""

_MOST_DRAWN = 1 << 24
"""Random numbers of an input. A larger one repeats them: drawing takes longer than running."""

_IMAGES = re.compile(r"image|img|pixel|frame|picture|photo", re.IGNORECASE)

_KEEP_VALUES = frozenset(
    {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Expand"}
)


def inputs_of(model: Model, *, named: bool = False) -> dict[str, tuple[str, Shape]]:
    """Element type and shape of the graph inputs that must be fed, in order.

    Args:
        model: The model.
        named: Whether its dims are symbols and expressions already, as in an annotated graph;
            else they are read by :func:`tripoint.facts.dim_names.input_shapes`.

    Raises:
        InputError: If an input declares no type or no rank.
    """
    graph = model.ir.graph
    shapes = {value: value.shape for value in graph.inputs}
    if not named:
        shapes |= dim_names.input_shapes(graph)
    found: dict[str, tuple[str, Shape]] = {}
    for value in graph.inputs:
        if value.name in graph.initializers:
            continue
        name, shape = value.name or "", shapes.get(value)
        if value.dtype is None or shape is None:
            raise InputError(f"input {name!r} declares no type or no shape")
        found[name] = (value.dtype.name.lower(), truth.dims_of(shape))
    return found


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
) -> dict[str, np.ndarray[Any, Any]]:
    """Make one array for each input; the same arguments give the same arrays.

    ========================================  ==========================================
    a shape tensor                            its values, where they have a size
    any of ``values``                         even, from the first number to the second
    an integer that indexes a table (Gather)  inside the table, as ``model`` has it
    uint8 pixels                              0 to 255
    any of ``like`` that says something       see :func:`tripoint.numeric.like.of`
    bool, or an integer named ``*mask*``      0 or 1, the first along the last axis 1
    float                                     normal, mean 0, deviation 1
    any other integer                         0 or 1; if ``wide``, up to 8 in size but not 0
    ========================================  ==========================================

    An input of uint8 holds pixels if it has three axes or more, or is named after an image.

    Args:
        inputs: Element type and shape by input name, see :func:`inputs_of`.
        bindings: Size of each symbol; see :func:`tripoint.facts.shape_inputs.find` for those of
            shape tensors.
        seed: Seed; each input draws its own numbers from it and its name.
        model: Where to look for the tables that inputs index.
        wide: Whether integers that nobody gave a meaning may be negative and larger than 1.
        values: Smallest and largest value by input name, both possible for integers.
        like: Examples by input name, of any shape.

    Raises:
        UsageError: If a symbol has no size, a dim would be negative, ``values`` names no input,
            or numbers that its dtype does not hold.
    """
    refuse_unknown(inputs, values or {})
    limits = index_limits(model, inputs) if model is not None else {}
    by_value = shape_inputs.find(model.ir) if model is not None else {}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, (dtype, shape) in inputs.items():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        sizes = tuple(_size(name, dim, bindings) for dim in shape)
        kind = ir.DataType[dtype.upper()]
        if name in by_value and bindings.keys() >= set(by_value[name]):
            numbers = [bindings[symbol] for symbol in by_value[name]]
            arrays[name] = np.array(numbers, dtype=kind.numpy()).reshape(sizes)
        elif values and name in values:
            arrays[name] = _between(random, name, kind, sizes, *values[name])
        elif wide and kind.is_integer() and name not in limits:
            arrays[name] = _wide(random, kind, sizes)
        elif drawn := _like(name, kind, len(sizes), limits, like):
            arrays[name] = drawn.draw(random, sizes).astype(kind.numpy())
        else:
            arrays[name] = _array(random, name, kind, sizes, limits.get(name))
    return arrays


def told(
    inputs: InputSpecs,
    *,
    model: Model,
    values: Mapping[str, tuple[float, float]] | None = None,
    like: Arrays | None = None,
) -> dict[str, str]:
    """What :func:`generate` draws for each input, in words: ``"integers 0 or 1"``."""
    limits = index_limits(model, inputs)
    by_value = shape_inputs.find(model.ir)
    found: dict[str, str] = {}
    for name, (dtype, shape) in inputs.items():
        kind = ir.DataType[dtype.upper()]
        noun = "floats" if kind.is_floating_point() else "integers"
        if name in by_value:
            found[name] = "the sizes that it stands for"
        elif values and name in values:
            low, high = values[name]
            found[name] = f"{noun} {low:g}..{high:g} as given"
        elif drawn := _like(name, kind, len(shape), limits, like):
            found[name] = drawn.text
        elif kind.is_floating_point():
            found[name] = "normal floats"
        elif _holds_pixels(name, kind, len(shape)):
            found[name] = "pixels 0..255"
        elif kind == ir.DataType.BOOL:
            found[name] = "True or False"
        elif name in limits and not is_mask(name, kind):
            found[name] = f"integers 0..{limits[name] - 1} of the table that it indexes"
        else:
            found[name] = "integers 0 or 1"
    return found


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
    name: str, kind: ir.DataType, rank: int, limits: Mapping[str, int], like: Arrays | None
) -> likeness.Like | None:
    """How an input follows its example; None where it has none, or other things decide."""
    if not like or name not in like or name in limits or _holds_pixels(name, kind, rank):
        return None
    return likeness.of(like[name], kind)


def _holds_pixels(name: str, kind: ir.DataType, rank: int) -> bool:
    return kind == ir.DataType.UINT8 and (rank > 2 or bool(_IMAGES.search(name)))


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
    found: dict[str, int] = {}
    for name, (dtype, shape) in inputs.items():
        array = arrays[name]
        expected = ir.DataType[dtype.upper()].numpy()
        if array.dtype != expected:
            raise UsageError(
                f"input {name!r} is given as {array.dtype}, the model takes {expected}"
            )
        fits = array.ndim == len(shape) and all(
            size == (found.setdefault(dim, size) if isinstance(dim, str) else dim)
            for dim, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = "x".join(map(str, shape))
            raise UsageError(
                f"input {name!r} is given as {list(array.shape)}, the model takes {wanted}"
            )
    return found


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
    limit: int | None,
) -> np.ndarray[Any, Any]:
    if dtype.is_floating_point():
        if math.prod(sizes) > _MOST_DRAWN:
            drawn = random.standard_normal(_MOST_DRAWN, np.float32).astype(dtype.numpy())
            return np.resize(drawn, sizes)
        return random.standard_normal(sizes).astype(dtype.numpy())
    if _holds_pixels(name, dtype, len(sizes)):
        return random.integers(0, 256, sizes, np.uint8)
    mask = is_mask(name, dtype)
    array = random.integers(0, 2 if mask else limit or 2, sizes)
    if mask and array.ndim and array.size:
        # A row that is masked out as a whole makes a softmax divide by zero.
        array[..., 0] = 1
    return array.astype(dtype.numpy())


def is_mask(name: str, dtype: ir.DataType) -> bool:
    """Whether an input says which elements count: a bool, or an integer named ``*mask*``."""
    return dtype == ir.DataType.BOOL or (dtype.is_integer() and "mask" in name.lower())


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
    limits = (0, 1) if dtype == ir.DataType.BOOL else _limits(kind)
    if not limits[0] <= first <= last <= limits[1]:
        raise UsageError(f"input {name!r} is {kind}, which has no numbers from {low:g} to {high:g}")
    return np.asarray(random.integers(first, last, sizes, endpoint=True)).astype(kind)


def _limits(kind: np.dtype[Any]) -> tuple[int, int]:
    """What an integer dtype holds, as far as NumPy draws numbers."""
    import ml_dtypes

    info = ml_dtypes.iinfo(kind)  # type: ignore[no-untyped-call]
    return int(info.min), min(int(info.max), 2**63 - 1)


def _wide(
    random: np.random.Generator, dtype: ir.DataType, sizes: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    array = random.integers(1, 9, sizes)
    if dtype.is_signed():
        array = array * random.choice([-1, 1], sizes)
    return np.asarray(array).astype(dtype.numpy())


def index_limits(model: Model, inputs: Iterable[str]) -> dict[str, int]:
    """Size of the smallest table that each input indexes, where that is known."""
    limits: dict[str, int] = {}
    wanted = set(inputs)
    for value in model.ir.graph.inputs:
        if value.name not in wanted or value.dtype is None or not value.dtype.is_integer():
            continue
        found = [size for size in _table_sizes(value) if size > 0]
        if found:
            limits[value.name] = min(found)
    return limits


def _table_sizes(value: ir.Value) -> list[int]:
    sizes: list[int] = []
    pending, seen = [value], {value}
    while pending:
        for node, position in pending.pop().uses():
            if node.op_type == "Gather" and position == 1:
                sizes.extend(_table_size(node))
            elif node.op_type in _KEEP_VALUES and position == 0 and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                pending.append(node.outputs[0])
    return sizes


def _table_size(gather: ir.Node) -> list[int]:
    table = gather.inputs[0]
    if table is None or table.shape is None:
        return []
    size = table.shape[gather.attributes.get_int("axis", 0)]
    return [size] if isinstance(size, int) else []
