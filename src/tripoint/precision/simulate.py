"""Cost of a lower precision in numbers, before any engine is built.

Every result of a node in the lower type is computed in float32 and rounded to that type. ONNX
Runtime itself could not tell: on a CPU it has no bfloat16 at all, and keeps float32 between nodes
that have no float16 kernel, so an overflow there is not seen.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tripoint import model as models
from tripoint.errors import ExternalStepError
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, generate, inputs_of
from tripoint.numeric.ort import Session
from tripoint.precision import weights
from tripoint.precision.choice import LIMITS, is_float, name_of
from tripoint.precision.lower import Lowered
from tripoint.precision.rounding import rounding, watching
from tripoint.shape_inference import truth
from tripoint.tolerance.parts import Seams, seams, split

Array = npt.NDArray[Any]
_METHOD = "each result in {low} computed in float32 by ONNX Runtime and rounded"


@dataclass(frozen=True, slots=True)
class PartError:
    """Distance of an output's elements of one kind from those of the model in float32.

    Args:
        size: Typical size of these elements in float32.
        max_abs: Largest absolute difference.
    """

    size: float
    max_abs: float


@dataclass(frozen=True, slots=True)
class OutputError:
    """Distance of an output from that of the model in float32.

    Args:
        name: The output.
        max_abs: Largest absolute difference.
        max_rel: That relative to the largest number of the output in float32, which small numbers
            between large ones do not blow up; None if all of them are zero.
        finite: Whether it is finite wherever that of float32 is.
        parts: The same of each kind of numbers in the output, see :mod:`tripoint.tolerance.parts`.
    """

    name: str
    max_abs: float
    max_rel: float | None
    finite: bool
    parts: tuple[PartError, ...]


@dataclass(frozen=True, slots=True)
class PointErrors:
    """The outputs at one point.

    Args:
        sizes: Size by symbol; empty for a static model.
        outputs: Those of floating point, in the order of the model.
    """

    sizes: Mapping[str, int]
    outputs: tuple[OutputError, ...]


@dataclass(frozen=True)
class Rehearsal:
    """Measured cost of a lower precision.

    Args:
        points: Errors at every point.
        loads: Whether ONNX Runtime loads the converted model.
        note: Why it does not, though the model is right, or None.
        method: How the numbers came about.
    """

    points: tuple[PointErrors, ...]
    loads: bool
    note: str | None
    method: str

    @property
    def finite(self) -> bool:
        """Return whether all outputs are finite where they are in float32."""
        return all(output.finite for point in self.points for output in point.outputs)


@dataclass(frozen=True)
class Overflow:
    """Numbers that leave the range.

    Args:
        node: The first node, in graph order, whose result is not finite though it is in float32.
        op: Its operator.
        largest: The largest number that it makes in float32.
        sizes: Size by symbol of the point.
        beyond: All nodes that take or make numbers beyond the range there, in graph order; the
            first node alone if there is none, as where a divisor became zero.
    """

    node: str
    op: str
    largest: float
    sizes: Mapping[str, int]
    beyond: tuple[str, ...]


def rehearse(
    lowered: Lowered,
    points: Sequence[Mapping[str, int]],
    *,
    inputs: Sequence[Arrays] | None = None,
    original: Model | None = None,
    seed: int = 0,
) -> Rehearsal:
    """Compare a lowered model with its source.

    Args:
        lowered: From :func:`tripoint.precision.lower.lower`.
        points: Size by symbol, one entry for a point.
        inputs: Array by input name, one entry for a point; None generates them.
        original: The model that was lowered; its file is read where it has one, so that its
            weights need not be written again.
        seed: Seed of the first point's inputs.

    Raises:
        ExternalStepError: If ONNX Runtime cannot run the source, or refuses the converted model
            for another reason than that it has no kernel for it.
    """
    fed = list(_fed(lowered, points, inputs, seed))
    if original is not None and original.path is not None:
        wanted = _run(Session(original), fed)
    else:
        with _stored(lowered.source) as session:
            wanted = _run(session, fed)
    with _stored(rounding(lowered.model, lowered.low)) as session:
        lowest = _run(session, [_as_low(lowered, arrays) for arrays in fed])
    names = [value.name or "" for value in lowered.source.graph.outputs]
    shaped = lowered.source.clone()
    truth.annotate(shaped)
    reports = []
    for sizes, exact, low in zip(points, wanted, lowest, strict=True):
        where = seams(shaped, sizes)
        errors = (
            _error(name, a, b, where.get(name))
            for name, a, b in zip(names, exact, low, strict=True)
            if a.dtype.kind == "f"
        )
        reports.append(PointErrors(dict(sizes), tuple(errors)))
    note = _load(lowered)
    return Rehearsal(tuple(reports), note is None, note, _METHOD.format(low=name_of(lowered.low)))


def overflow(
    lowered: Lowered,
    points: Sequence[Mapping[str, int]],
    *,
    inputs: Sequence[Arrays] | None = None,
    seed: int = 0,
) -> Overflow | None:
    """Find the node that leaves the range first.

    Args:
        lowered: A model whose outputs are not finite.
        points: As :func:`rehearse`, with which the inputs are the same.
        inputs: As :func:`rehearse`.
        seed: As :func:`rehearse`.

    Returns:
        What was found at the first point that shows it, None if no result of a node does.
    """
    computed = {value.name for node in lowered.model.graph for value in node.outputs}
    nodes = [node for node in lowered.source.graph if any(map(is_float, node.outputs))]
    watched = [
        value.name or ""
        for node in nodes
        for value in node.outputs
        if is_float(value) and value.name in computed
    ]
    for sizes, fed in zip(points, _fed(lowered, points, inputs, seed), strict=True):
        with _stored(watching(lowered.source, watched)) as reference:
            exact = dict(zip(watched, _run(reference, [fed])[0][-len(watched) :], strict=True))
        with _stored(watching(rounding(lowered.model, lowered.low), watched)) as rounded:
            run = _run(rounded, [_as_low(lowered, fed)])[0][-len(watched) :]
        low = dict(zip(watched, run, strict=True))
        for node in nodes:
            names = [value.name or "" for value in node.outputs if value.name in exact]
            if all(_finite_where(exact[name], low[name]) for name in names):
                continue
            largest = max(_largest(exact[name]) for name in names)
            beyond = _beyond(nodes, {**exact, **fed}, LIMITS[lowered.low])
            return Overflow(
                node_name(node), node.op_type, largest, dict(sizes), beyond or (node_name(node),)
            )
    return None


@contextlib.contextmanager
def _stored(graph: ir.Model, *, natively: bool = False) -> Iterator[Session]:
    """A session over a file, which may be larger than a message in memory can be."""
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        yield Session(models.save(Model(graph), Path(folder, "model.onnx")), natively=natively)


def _load(lowered: Lowered) -> str | None:
    """None if ONNX Runtime loads the converted model, else what it lacks for it.

    Raises:
        ExternalStepError: If it holds the model to be wrong.
    """
    try:
        with _stored(lowered.model, natively=True):
            return None
    except ExternalStepError as error:
        if type(error.__cause__).__name__ != "NotImplemented":
            raise
        return f"ONNX Runtime has no {name_of(lowered.low)} kernels on a CPU: {error.fact}"


def _fed(
    lowered: Lowered,
    points: Sequence[Mapping[str, int]],
    inputs: Sequence[Arrays] | None,
    seed: int,
) -> Iterator[Arrays]:
    """The inputs of each point, those that are given or generated ones."""
    if inputs is not None:
        yield from inputs
        return
    source = Model(lowered.source)
    specs = inputs_of(source, named=True)
    for index, sizes in enumerate(points):
        yield generate(specs, sizes, seed + index, model=source)


def _as_low(lowered: Lowered, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs as the network takes them: rounded where its inputs are of the lower type."""
    narrow = {value.name for value in lowered.model.graph.inputs if value.dtype == lowered.low}
    return {
        name: weights.array(array, lowered.low).astype(np.float32)
        if name in narrow and array.dtype == np.float32
        else array
        for name, array in arrays.items()
    }


def _run(session: Session, fed: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    return [session.run(arrays) for arrays in fed]


def _error(name: str, exact: Array, low: Array, seams: Seams | None) -> OutputError:
    parts = split(exact, seams)
    if exact.shape != low.shape:
        lost = tuple(PartError(size, math.inf) for size in parts.scales)
        return OutputError(name, math.inf, None, finite=False, parts=lost)
    with np.errstate(invalid="ignore"):
        difference = np.abs(low.astype(np.float64) - exact.astype(np.float64))
    difference[~np.isfinite(exact)] = 0.0
    largest = _largest(exact)
    # NaN, where that of float32 has a number, is told apart.
    errors = parts.largest(np.nan_to_num(difference, nan=math.inf, posinf=math.inf))
    max_abs = float(difference.max(initial=0.0))
    max_rel = max_abs / largest if largest else None
    each = tuple(map(PartError, parts.scales, errors))
    return OutputError(name, max_abs, max_rel, finite=_finite_where(exact, low), parts=each)


def _finite_where(exact: Array, low: Array) -> bool:
    """Return whether one array is finite wherever another is."""
    return exact.shape == low.shape and bool(np.isfinite(low[np.isfinite(exact)]).all())


def _largest(array: Array) -> float:
    finite = array[np.isfinite(array)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _beyond(nodes: Sequence[ir.Node], exact: Mapping[str, Array], limit: float) -> tuple[str, ...]:
    """Nodes that take or make numbers beyond a limit."""
    far = {
        name for name, array in exact.items() if array.dtype.kind == "f" and _largest(array) > limit
    }
    return tuple(
        node_name(node)
        for node in nodes
        if any(value is not None and value.name in far for value in (*node.inputs, *node.outputs))
    )
