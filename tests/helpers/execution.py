"""True shapes against what ONNX Runtime computes, tensor by tensor."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric import ort
from tripoint.numeric.inputs import Arrays, generate, inputs_of
from tripoint.shape_inference import truth
from tripoint.shape_inference.truth import Truth
from tripoint.symbols import Dim, Shape, evaluate, symbols_of
from tripoint.table import Bound

Kind = Literal["integer", "expression", "data-dependent", "undecided"]
Sizes = Mapping[str, tuple[int, ...]]
"""Shape by tensor name, as it was in one run."""

POINTS = 3
_BATCH = ("n", "b", "batch", "batch_size")
_IMAGE = ("h", "w", "height", "width")
_BATCHES = (2, 3, 5)
_LENGTHS = ((7, 9, 10), (11, 17, 13), (16, 12, 19))
_SIDES = ((97, 131, 89), (150, 413, 77), (224, 61, 64))
_MULTIPLES = ((64, 96, 160), (160, 64, 96), (96, 160, 224))


def with_weights(model: ir.Model, seed: int = 0) -> None:
    """Give weights whose file is missing random values, scaled so that signals stay finite."""
    random = np.random.default_rng(seed)
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _weights(value.const_value, random)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if isinstance(attribute.value, ir.ExternalTensor):
                    tensor = _weights(attribute.value, random)
                    node.attributes[name] = ir.AttrTensor(name, tensor)


def _weights(tensor: ir.ExternalTensor, random: np.random.Generator) -> ir.TensorProtocol:
    sizes = [int(size) for size in tensor.shape]
    if not tensor.dtype.is_floating_point():
        return ir.Tensor(np.zeros(sizes, tensor.dtype.numpy()), name=tensor.name)
    if len(sizes) < 2:
        array = np.asarray(random.uniform(0.5, 1.5, sizes))
    else:
        spread = math.sqrt(math.prod(sizes[1:]) or 1)
        array = np.asarray(random.standard_normal(sizes, np.float32) / spread)
    return ir.Tensor(array.astype(tensor.dtype.numpy()), name=tensor.name)


class Executed:
    """A model that tells the shape of every tensor of its main graph when it runs.

    Args:
        model: The model, without local functions; it is not changed.
        tensors: Names of the tensors to tell; sequences and optionals have no shape.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load it.
    """

    def __init__(self, model: ir.Model, tensors: Sequence[str]) -> None:
        self.tensors = tuple(tensors)
        probed = model.clone()
        probed.ir_version = max(probed.ir_version or 0, 4)
        made = {value.name: value for value in truth.values(probed)}
        graph = probed.graph
        graph.outputs.clear()
        for index, name in enumerate(self.tensors):
            shape = ir.node("Shape", [made[name]], name=f"tripoint.shape.{index}")
            shape.outputs[0].name = f"tripoint.shape.{index}.output"
            shape.outputs[0].type = ir.TensorType(ir.DataType.INT64)
            graph.append(shape)
            graph.outputs.append(shape.outputs[0])
        # What the exporter declared may be wrong, and ONNX Runtime would check it.
        for value in truth.values(probed):
            if value.producer() is not None:
                value.shape = None
        self._session = ort.Session(Model(probed))

    def run(self, feed: Arrays) -> Sizes:
        """The shapes in one run.

        Raises:
            ExternalStepError: If the model does not run on these inputs.
        """
        found = self._session.run(feed)
        return {
            name: tuple(map(int, array)) for name, array in zip(self.tensors, found, strict=True)
        }


def tensors_of(model: ir.Model) -> list[str]:
    """The tensors of the main graph, in order."""
    made = (value for node in model.graph for value in node.outputs)
    return [
        value.name
        for value in (*model.graph.inputs, *made)
        if value.name and (value.type is None or isinstance(value.type, ir.TensorType))
    ]


def points(symbols: Sequence[str]) -> Iterator[Mapping[str, int]]:
    """Sizes of the symbols to try: lengths or the sides of images, then multiples of 32."""
    others = [name for name in symbols if name.lower() not in _BATCH]
    images = any(name.lower() in _IMAGE for name in others)
    for sizes in (
        *((_SIDES, _LENGTHS) if images else (_LENGTHS, _SIDES) if others else (_LENGTHS,)),
        *((_MULTIPLES,) if others else ()),
    ):
        for batch, row in zip(_BATCHES, sizes, strict=True):
            point = {name: row[i % len(row)] + i // len(row) for i, name in enumerate(others)}
            yield {name: point.get(name, batch) for name in symbols}


@dataclass
class Agreement:
    """How true shapes compare with runs of a model.

    Args:
        tensors: Number of tensors that were executed.
        points: Sizes of the symbols in each run.
        kinds: Number of dims of each kind, each counted once.
        disagreements: One sentence for each tensor that is not as predicted.
        without_rank: Executed tensors whose rank is not known.
        failed: Why the model did not run, for sizes at which it did not.
        agreeing: Number of dims that were as predicted in each run.
        runs: Shapes in each run.
    """

    tensors: int = 0
    points: list[Mapping[str, int]] = field(default_factory=list)
    kinds: dict[Kind, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("integer", "expression", "data-dependent", "undecided"), 0
        )
    )
    disagreements: list[str] = field(default_factory=list)
    without_rank: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    agreeing: int = 0
    runs: list[Sizes] = field(default_factory=list)

    @property
    def dims(self) -> int:
        """Number of dims that were compared."""
        return sum(self.kinds.values())


def agreement(model: ir.Model, *, wanted: int = POINTS) -> Agreement:
    """Infer a model, run it at several sizes, and compare.

    Args:
        model: The model; it is not changed.
        wanted: Number of runs, if the model has symbols; else one is all there is.
    """
    flat = truth.inlined(model)
    annotated = flat.clone()
    known = truth.annotate(annotated)
    tensors = tensors_of(annotated)
    result = Agreement(tensors=len(tensors))
    names = sorted(known.symbols)
    try:
        executed = Executed(flat, tensors)
    except TripointError as error:
        result.failed.append(str(error))
        return result
    inputs = inputs_of(Model(flat))
    for seed, point in enumerate(points(names) if names else [{}]):
        try:
            feed = generate(inputs, point, seed, model=Model(flat))
            result.runs.append(executed.run(feed))
            result.points.append(point)
        except TripointError as error:
            result.failed.append(f"{dict(point)}: {error}")
        if len(result.points) == wanted:
            break
    compare(known, result)
    return result


def compare(known: Truth, result: Agreement) -> None:
    """Check what was inferred against each run, and count."""
    bounds = {bound.symbol: bound for bound in known.bounds}
    wrong: dict[tuple[str, int], str] = {}
    for point, sizes in zip(result.points, result.runs, strict=True):
        for name, axis, text in _wrong(known, bounds, point, sizes):
            wrong.setdefault((name, axis), f"{name}: {text} at {dict(point)}")
    result.disagreements.extend(dict.fromkeys(wrong.values()))
    for name in result.runs[0] if result.runs else ():
        shape = known.shapes.get(name)
        if shape is None:
            result.without_rank.append(name)
        for axis, dim in enumerate(shape or ()):
            result.kinds[kind(known, dim)] += 1
            result.agreeing += (name, axis) not in wrong


def kind(known: Truth, dim: Dim) -> Kind:
    """Which kind of dim it is."""
    used = symbols_of(dim)
    if isinstance(dim, int):
        return "integer"
    if used <= known.symbols:
        return "expression"
    return "data-dependent" if used & known.data_dependent else "undecided"


def _wrong(
    known: Truth, bounds: Mapping[str, Bound], point: Mapping[str, int], sizes: Sizes
) -> Iterator[tuple[str, int, str]]:
    """Tensor, axis and a sentence for each dim that is not as predicted."""
    bound = dict(point)
    for name, seen in sizes.items():
        for dim, size in zip(known.shapes.get(name) or (), seen, strict=False):
            if isinstance(dim, str) and dim not in bound and symbols_of(dim) == {dim}:
                bound[dim] = size
    at = tuple(sorted(bound.items()))
    for name, seen in sizes.items():
        shape = known.shapes.get(name)
        if shape is None:
            continue
        if len(shape) != len(seen):
            yield from ((name, a, f"{_text(shape)} is {_text(seen)}") for a in range(len(shape)))
            continue
        expected = [_evaluated(dim, at) for dim in shape]
        for axis, (told, other) in enumerate(zip(expected, seen, strict=True)):
            if told not in (None, other):
                yield name, axis, f"{_text(shape)}, so {_text(expected)}, is {_text(seen)}"
    for symbol, limit in bounds.items():
        at_run = bound.get(symbol)
        most = None if limit.most is None else evaluate(limit.most, bound)
        if at_run is not None and (at_run < limit.least or (most is not None and at_run > most)):
            text = f"{symbol} is {at_run}, not in {limit.least}..{limit.most}"
            yield limit.tensor, -1, text


_EVALUATED: dict[Any, int | None] = {}


def _evaluated(dim: Dim, bound: tuple[tuple[str, int], ...]) -> int | None:
    if isinstance(dim, int):
        return dim
    key = dim, bound
    if key not in _EVALUATED:
        if len(_EVALUATED) > 100_000:
            _EVALUATED.clear()
        _EVALUATED[key] = evaluate(dim, dict(bound))
    return _EVALUATED[key]


def _text(shape: Sequence[Any] | Shape) -> str:
    return f"({', '.join(map(str, shape))})"


# The node tests of the onnx package

MODES = ("fed", "constant", "symbolic")


@dataclass(frozen=True, slots=True)
class NodeCase:
    """A model of one node (or of what its function expands to), and what it takes and gives."""

    name: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]


def node_cases() -> Iterator[NodeCase]:
    """The node tests that the onnx package makes."""
    from onnx.backend.test.case.node import collect_testcases

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        sets = case.data_sets() if callable(case.data_sets) else case.data_sets
        if case.model is not None and sets:
            yield NodeCase(case.name, case.model, *sets[0])


def node_agreement(case: NodeCase, mode: str) -> tuple[Counter[Kind], list[str]]:
    """Infer the outputs of a node test and compare them with the expected ones.

    Args:
        case: The test.
        mode: ``"fed"``: sizes are integers and values are not known. ``"constant"``: the inputs
            are constants. ``"symbolic"``: every size is a symbol, short integers are constants.

    Returns:
        The number of dims of each kind, and sentences about those that differ.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    point: dict[str, int] = {}
    for index, (value, array) in enumerate(zip(list(proto.graph.input), case.inputs, strict=False)):
        if not isinstance(array, np.ndarray | np.generic) or not value.type.HasField("tensor_type"):
            continue
        short = array.ndim <= 1 and array.size <= 8 and array.dtype.kind in "iub"
        if mode == "constant" or (mode == "symbolic" and short):
            proto.graph.initializer.append(
                onnx.numpy_helper.from_array(np.asarray(array), value.name)
            )
            proto.graph.input.remove(value)
            continue
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for axis, size in enumerate(array.shape):
            if mode == "symbolic" and size:
                point[f"s{index}_{axis}"] = size
                dims.add().dim_param = f"s{index}_{axis}"
            else:
                dims.add().dim_value = size
    for value in proto.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    known = truth.infer(ir.from_proto(proto))
    runs = {
        value.name: array.shape
        for value, array in zip(proto.graph.output, case.outputs, strict=False)
        if isinstance(array, np.ndarray | np.generic)
    }
    result = Agreement(points=[point], runs=[runs])
    compare(known, result)
    return Counter(result.kinds), [*result.disagreements, *known.contradictions]
