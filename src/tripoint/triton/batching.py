"""Batching of requests by Triton along a model's first axis, and its largest size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tripoint.errors import UsageError
from tripoint.symbols import Shape, is_plain
from tripoint.triton.interface import Interface, Profile


@dataclass(frozen=True, slots=True)
class TrueShapes:
    """True shapes, by which a varying first axis is told from another.

    Args:
        by_name: True shape by tensor name; None where it is not known.
        unknown: Why there are none, None if there are.
    """

    by_name: Mapping[str, Shape | None]
    unknown: str | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """Value of ``max_batch_size`` and the reason for it.

    Args:
        max_batch_size: The value; 0 is no batching.
        reason: One sentence.
    """

    max_batch_size: int
    reason: str


def largest(interface: Interface, used: Sequence[int] = ()) -> int | None:
    """The largest batch that a plan takes; None where no profile bounds it.

    Triton takes the smallest of the inputs within a profile and the largest of the profiles.

    Args:
        interface: What the plan takes.
        used: The profiles that count, all by default.
    """
    profiles = [interface.profiles[index] for index in used] or list(interface.profiles)
    sizes = [min(_first_axes(profile)) for profile in profiles if _first_axes(profile)]
    return max(sizes, default=None)


def decide(interface: Interface, shapes: TrueShapes, wanted: int | None) -> Batching:
    """Decide on ``max_batch_size``.

    Triton batches along the first axis if every input and output has it. That an axis varies does
    not make it the batch: its true size has to be one and the same symbol everywhere.

    Args:
        interface: What the model takes and gives.
        shapes: True shapes.
        wanted: The value that was asked for, None to derive it.

    Raises:
        UsageError: If a value was asked for that the model does not allow.
    """
    if wanted == 0:
        return Batching(0, "asked for")
    refusal = _not_batchable(interface)
    if refusal is None and shapes.unknown is None:
        refusal = _several_sizes(interface, shapes.by_name)
    most = largest(interface)
    if wanted is not None:
        return _as_wanted(wanted, refusal, most, shapes)
    refusal = refusal or shapes.unknown
    if refusal is None and most is None:
        refusal = "no profile says how large a batch may be; --max-batch-size does"
    if refusal is not None or most is None:
        return Batching(0, f"no batching: {refusal}")
    symbol = _first(shapes.by_name[interface.inputs[0].name])
    return Batching(
        most, f"axis 0 of every input and output is {symbol}, at most {most} by the profile"
    )


def smallest(interface: Interface) -> int | None:
    """The smallest batch that some profile takes, None where none bounds it."""
    sizes = [max(_first_axes(p, "min")) for p in interface.profiles if _first_axes(p, "min")]
    return min(sizes, default=None)


def _as_wanted(wanted: int, refusal: str | None, most: int | None, shapes: TrueShapes) -> Batching:
    if refusal is not None:
        raise UsageError(
            f"--max-batch-size {wanted}: {refusal}",
            hint="give --max-batch-size 0, or export and build with a varying batch axis",
        )
    if most is not None and wanted > most:
        raise UsageError(
            f"--max-batch-size {wanted}: the profiles take at most {most}",
            hint=f"give at most {most}, or build with a larger range",
        )
    reason = "asked for"
    if shapes.unknown is not None:
        reason += f"; not proven that axis 0 is the batch everywhere: {shapes.unknown}"
    return Batching(wanted, reason)


def _not_batchable(interface: Interface) -> str | None:
    """Return the reason that the first axis is not one that varies in all tensors."""
    if not interface.inputs:
        return "the model has no input"
    for kind, tensors in (("input", interface.inputs), ("output", interface.outputs)):
        for tensor in tensors:
            if tensor.shape_tensor:
                return (
                    f"{kind} {tensor.name!r} is a shape tensor, and Triton would take its first "
                    "value for the size of the batch"
                )
            if tensor.shape is None:
                return f"the shape of {kind} {tensor.name!r} is not known"
            if not tensor.shape:
                return f"{kind} {tensor.name!r} is a scalar"
            if tensor.shape[0] != -1:
                return f"axis 0 of {kind} {tensor.name!r} is always {tensor.shape[0]}"
    return None


def _several_sizes(interface: Interface, shapes: Mapping[str, Shape | None]) -> str | None:
    """Return the reason that the first axes are not one and the same size."""
    symbol = _first(shapes.get(interface.inputs[0].name))
    if not isinstance(symbol, str) or not is_plain(symbol):
        name = interface.inputs[0].name
        return f"axis 0 of input {name!r} is {symbol if symbol is not None else 'not known'}"
    for tensor in interface.tensors:
        first = _first(shapes.get(tensor.name))
        if first != symbol:
            size = "not known" if first is None else first
            return (
                f"axis 0 of {tensor.name!r} is {size}, that of "
                f"{interface.inputs[0].name!r} is {symbol}"
            )
    return None


def _first(shape: Shape | None) -> int | str | None:
    return shape[0] if shape else None


def _first_axes(profile: Profile, end: str = "max") -> list[int]:
    sizes = [getattr(entry, end) for entry in profile.values()]
    return [size[0] for size in sizes if size]
