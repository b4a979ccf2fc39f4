"""The step before a build: a model in the precision that was asked for, or a refusal."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tripoint import model as models
from tripoint.errors import ExternalStepError
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.precision.lower import LOW, Io, Lowered, Precision, lower
from tripoint.precision.simulate import Overflow, Rehearsal, overflow, rehearse
from tripoint.progress import Progress, silent
from tripoint.shape_inference.dim_names import distinct, file_for_tensorrt
from tripoint.words import number_of

_MOST_ROUNDS = 8
_MOST_NAMED = 100
_LOWER = frozenset(LOW.values())


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be built in a precision.

    Args:
        requested: What was asked for, None for the model as it is.
        lowered: The converted model, None where the graph stays as it is.
        rehearsal: What the conversion costs, None without one or if that was left out.
    """

    requested: Precision | None = None
    lowered: Lowered | None = None
    rehearsal: Rehearsal | None = None


def prepare(
    model: Model,
    requested: Precision | None,
    *,
    keep: Sequence[str] = (),
    io: Io = "keep",
    points: Sequence[Mapping[str, int]] | None = None,
    inputs: Sequence[Arrays] | None = None,
    on_progress: Progress | None = None,
) -> Prepared:
    """Convert a model where the precision takes that, and measure what it costs.

    Args:
        model: It is not changed.
        requested: ``"fp32"`` and ``"tf32"`` leave the graph as it is.
        keep: As :func:`tripoint.precision.lower.lower`.
        io: Likewise.
        points: Size by symbol at each point to compare at, None leaves that out.
        inputs: Array by input name at each of them; None generates some.
        on_progress: Called with one line for each stage.

    Raises:
        UsageError: If one of ``keep`` fits no node.
        ExternalStepError: If the model cannot have that precision: no node can, the model itself
            holds a lower one than fp32, or numbers leave the range; then the message names the
            first node and the list to keep in float32.
    """
    progress = on_progress or silent
    if requested == "fp32":
        _refuse_lower(model)
    if requested is None or requested not in LOW:
        return Prepared(requested)
    progress(f"precision: converting to {requested}")
    lowered = lower(model, requested, keep=keep, io=io)
    if points is None:
        return Prepared(requested, lowered)
    progress(f"precision: comparing {requested} with float32 at {number_of(len(points), 'point')}")
    try:
        rehearsal = rehearse(lowered, points, inputs=inputs, original=model)
    except ExternalStepError as error:
        raise error.within(hint="--no-numeric-proof leaves the comparison out") from error
    if not rehearsal.finite:
        raise _refusal(model, requested, keep, io, points, inputs, lowered)
    return Prepared(requested, lowered, rehearsal)


@contextlib.contextmanager
def source_of(model: Model, prepared: Prepared | None) -> Iterator[Path]:
    """A path at which TensorRT can read what is to be built.

    Args:
        model: The model that was asked for.
        prepared: The same in its precision.
    """
    if prepared is None or prepared.lowered is None:
        with file_for_tensorrt(model) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        name = model.path.name if model.path else "model.onnx"
        path = Path(folder, name).with_suffix(".onnx")
        models.save(distinct(Model(prepared.lowered.model)), path)
        yield path


def _refuse_lower(model: Model) -> None:
    for node in model.ir.graph.all_nodes():
        for value in (*node.inputs, *node.outputs):
            if value is not None and value.dtype in _LOWER:
                raise ExternalStepError(
                    f"the model itself has {value.dtype.name.lower()}, first at node "
                    f"{node_name(node)!r} ({node.op_type}), so its engine cannot be fp32",
                    hint="leave --precision out, or export the model in float32",
                )


def _refusal(
    model: Model,
    requested: Precision,
    keep: Sequence[str],
    io: Io,
    points: Sequence[Mapping[str, int]],
    inputs: Sequence[Arrays] | None,
    lowered: Lowered,
) -> ExternalStepError:
    """Say where numbers leave the range, and which nodes to keep in float32 against it."""
    first = overflow(lowered, points, inputs=inputs)
    if first is None:
        return ExternalStepError(
            f"outputs are not finite in {requested} though they are in float32, "
            "and no node makes them so: the graph inputs are beyond the range",
            hint="--precision bf16 has the range of float32",
        )
    fact = (
        f"node {first.node!r} ({first.op}) is the first whose result is not finite in {requested}"
        f"{_at(first.sizes)}; in float32 its largest is {first.largest:.3g}"
    )
    needed = _needed(model, requested, keep, io, points, inputs, first)
    other = None if requested == "bf16" else "--precision bf16, which has the range of float32"
    if needed is None:
        return ExternalStepError(f"{fact}; keeping nodes in float32 does not help", hint=other)
    names, rehearsal = needed
    worst = max(out.max_abs for point in rehearsal.points for out in point.outputs)
    shown = " ".join(f"--keep-fp32 {shlex.quote(name)}" for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ExternalStepError(
        fact,
        hint=f"{shown}{more} keeps {number_of(len(names), 'node')} in float32, "
        f"with which the largest error is {worst:.2g}{f'; or {other}' if other else ''}",
    )


def _needed(
    model: Model,
    requested: Precision,
    keep: Sequence[str],
    io: Io,
    points: Sequence[Mapping[str, int]],
    inputs: Sequence[Arrays] | None,
    overflowing: Overflow | None,
) -> tuple[list[str], Rehearsal] | None:
    """Nodes with which all outputs are finite, tried out; None if no such list was found."""
    names: dict[str, None] = {}
    for _ in range(_MOST_ROUNDS):
        if overflowing is None or not set(overflowing.beyond) - set(names):
            return None
        names.update(dict.fromkeys(overflowing.beyond))
        try:
            lowered = lower(model, requested, keep=[*keep, *names], io=io)
        except ExternalStepError:
            return None  # nothing would be left in the lower type
        rehearsal = rehearse(lowered, points, inputs=inputs, original=model)
        if rehearsal.finite:
            return list(names), rehearsal
        overflowing = overflow(lowered, points, inputs=inputs)
    return None


def _at(sizes: Mapping[str, int]) -> str:
    return f" at {' '.join(f'{name}={size}' for name, size in sizes.items())}" if sizes else ""
