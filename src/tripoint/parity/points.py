"""The inputs at which legs are compared: those of the module itself, and some that are made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.numeric.inputs import (
    MINIMUM_POINTS,
    Arrays,
    InputSpecs,
    beyond,
    bindings_of,
    generate,
    refuse_unknown,
    told,
)
from tripoint.shape_inference import shape_inputs
from tripoint.sources.pairing import pair_inputs
from tripoint.sources.python import TorchModel
from tripoint.symbols import evaluate

EXAMPLE = "the example inputs of the module are one of the points"

_APART = 500
"""How far the seeds of further inputs lie from those of the points."""


@dataclass(frozen=True)
class Point:
    """Inputs to compare at.

    Args:
        sizes: Size by symbol.
        inputs: Array by input name.
        seed: Seed that they were made from, None where they were given.
        values: Ranges by input name that they were drawn from, where those are not the usual ones.
        example: Whether they are the module's own example inputs.
        beyond: Whether they leave what operators need, so that NaN in all legs is to be expected.
    """

    sizes: Mapping[str, int]
    inputs: Arrays
    seed: int | None
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    example: bool = False
    beyond: bool = False

    @property
    def made_up(self) -> bool:
        """Return whether they are made up to suit the model."""
        return self.seed is not None and not self.beyond

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Sizes by input name."""
        return {name: tuple(array.shape) for name, array in self.inputs.items()}


@dataclass(frozen=True)
class Chosen:
    """Sizes at which legs are compared.

    Args:
        points: At least one.
        inputs: What each input is, in words, by name.
        notes: What is to be known of the example inputs.
    """

    points: tuple[Point, ...]
    inputs: Mapping[str, str]
    notes: tuple[str, ...] = ()


def examples_of(
    torch: TorchModel | None, inputs: InputSpecs, names: Sequence[str] | None = None
) -> Arrays:
    """The module's example inputs as arrays, by input name of the ONNX file.

    Args:
        torch: The module.
        inputs: Inputs of the file.
        names: What the file calls the inputs of the module, in order, if they are not the same.

    Raises:
        UsageError: As :func:`tripoint.sources.pairing.pair_inputs`.
    """
    if torch is None or not torch.example_inputs:
        return {}
    from tripoint.numeric.torch_arrays import to_array

    parameters, _ = pair_inputs(torch, list(inputs), names)
    return {
        name: to_array(torch.example_inputs[parameter])
        for name, parameter in parameters.items()
        if parameter in torch.example_inputs
    }


def of_arrays(inputs: InputSpecs, arrays: Sequence[Arrays]) -> Chosen:
    """Inputs that somebody gave, one entry for a point.

    Raises:
        UsageError: If they do not fit.
    """
    points = tuple(Point(bindings_of(inputs, each), each, None) for each in arrays)
    return Chosen(points, {name: _range([each[name] for each in arrays]) for name in inputs})


def made_up(
    model: Model,
    inputs: InputSpecs,
    bindings: Sequence[Mapping[str, int]],
    *,
    seed: int = 0,
    values: Mapping[str, tuple[float, float]] | None = None,
    examples: Arrays | None = None,
) -> Chosen:
    """Inputs that are made up, and the example, in place of one of the same sizes if there is one.

    Args:
        model: The model.
        inputs: Element type and shape by input name.
        bindings: Size of each symbol, one entry for a point; with less than three, further points
            repeat them with other seeds.
        seed: Seed of the first point.
        values: Smallest and largest value by input name.
        examples: From :func:`examples_of`; what is made up follows them.

    Raises:
        UsageError: As :func:`tripoint.numeric.inputs.generate`, or if there is no point.
    """
    if not bindings:
        raise UsageError("there is no point to compare at")
    refuse_unknown(inputs, values or {})
    count = max(MINIMUM_POINTS, len(bindings))
    sizes = [bindings[index % len(bindings)] for index in range(count)]
    points = [
        Point(
            size,
            generate(inputs, size, seed + index, model=model, values=values, like=examples),
            seed + index,
        )
        for index, size in enumerate(sizes)
    ]
    said = told(inputs, model=model, values=values, like=examples, points=sizes)
    limits = beyond(inputs, model=model, values=values, like=examples, bindings=sizes[-1])
    if limits:
        drawn = {**(values or {}), **limits}
        arrays = generate(inputs, sizes[-1], seed, model=model, values=drawn, like=examples)
        points.append(Point(sizes[-1], arrays, seed, limits, beyond=True))
    if not examples:
        return Chosen(tuple(points), said)
    example = _example(model, inputs, examples, bindings)
    if isinstance(example, str):
        return Chosen(tuple(points), said, (f"{example}, so they are none of the points",))
    same = [index for index, size in enumerate(sizes) if dict(size) == dict(example.sizes)]
    if same:
        points[same[-1]] = example
    else:
        points.append(example)
    return Chosen(tuple(points), said, (EXAMPLE,))


def beside(
    model: Model,
    inputs: InputSpecs,
    point: Point,
    count: int,
    *,
    values: Mapping[str, tuple[float, float]] | None = None,
    examples: Arrays | None = None,
) -> Iterator[Point]:
    """Further inputs of the sizes of a point, drawn as its own are; of a given one, like these.

    Args:
        model: The model.
        inputs: Element type and shape by input name.
        point: What they are to be like.
        count: How many.
        values: Smallest and largest value by input name.
        examples: From :func:`examples_of`.
    """
    by_value = shape_inputs.find(model.ir)
    own = point.inputs if point.seed is None else examples
    for number in range(1, count + 1):
        seed = (point.seed or 0) + _APART + number
        drawn = {**(values or {}), **point.values}
        arrays = generate(inputs, point.sizes, seed, model=model, values=drawn, like=own)
        arrays |= {name: point.inputs[name] for name in by_value}
        yield Point(point.sizes, arrays, seed, point.values)


def _example(
    model: Model,
    inputs: InputSpecs,
    examples: Arrays,
    bindings: Sequence[Mapping[str, int]],
) -> Point | str:
    """The point of the example inputs, or why they cannot be one."""
    missing = [name for name in inputs if name not in examples]
    if missing:
        return f"the module has no example of {', '.join(missing)}"
    sizes: dict[str, int] = {}
    by_value = shape_inputs.find(model.ir)
    for name, (_, shape) in inputs.items():
        array = examples[name]
        if len(shape) == array.ndim:
            bound = {d: n for d, n in zip(shape, array.shape, strict=True) if isinstance(d, str)}
            sizes = {**bound, **sizes}
        if name in by_value and array.size == len(by_value[name]):
            sizes |= dict(zip(by_value[name], map(int, array.ravel()), strict=True))
    limits = {
        symbol: [point[symbol] for point in bindings if symbol in point]
        for symbol in {symbol for point in bindings for symbol in point}
    }
    sizes = {symbol: size for symbol, size in sizes.items() if symbol in limits}
    for name, (dtype, shape) in inputs.items():
        array = examples[name]
        kind = ir.DataType[dtype.upper()].numpy()
        if array.dtype != kind:
            return f"the module's example of {name} is {array.dtype}, the file takes {kind}"
        wanted = tuple(evaluate(dim, sizes) for dim in shape)
        if wanted != array.shape:
            return (
                f"the module's example of {name} has the shape {list(array.shape)}, "
                f"the file takes {'x'.join(map(str, shape)) or 'a scalar'}"
            )
    for symbol, found_sizes in limits.items():
        size = sizes.get(symbol)
        if size is None or not min(found_sizes) <= size <= max(found_sizes):
            return (
                f"the module's example inputs have {symbol}={size}, which is not within "
                f"{min(found_sizes)}..{max(found_sizes)}"
            )
    return Point(sizes, examples, None, example=True)


def _range(arrays: Sequence[np.ndarray[Any, Any]]) -> str:
    filled = [array for array in arrays if array.size]
    if not filled:
        return "given, without elements"
    if any(array.dtype.kind in "bc" for array in filled):
        return "given"
    low = min(float(np.nanmin(array.astype(np.float64))) for array in filled)
    high = max(float(np.nanmax(array.astype(np.float64))) for array in filled)
    return f"given, {low:.6g}..{high:.6g}"
