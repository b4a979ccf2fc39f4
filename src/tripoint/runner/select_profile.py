"""Choice of the optimization profile that holds a set of inputs, or the reason that none does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tripoint.errors import InputError
from tripoint.runner.tensors import UNKNOWN, Limits, Shape, Signature, Tensor

Values = tuple[float, ...] | None
"""The values of a shape tensor, None for any other input."""

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Misfit:
    """The first number of an input that a profile does not allow."""

    tensor: Tensor
    place: str
    number: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.place} of input {self.tensor.name!r} is {self.number}"

    @property
    def allowed(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def choose(signature: Signature, shapes: Sequence[Shape], values: Sequence[Values]) -> int:
    """The optimization profile to run with.

    Of several that hold the inputs it is the one that allows the fewest sizes, because it was
    tuned for the least; the first of equals. The same inputs always get the same profile.

    Args:
        signature: The inputs of the engine.
        shapes: Shape of each input, in order.
        values: Values of each input that is a shape tensor.

    Returns:
        Index of the profile.

    Raises:
        InputError: If an input has another number of axes, or no profile holds all inputs; the
            message names input, axis, size and what is allowed.
    """
    for tensor, shape in zip(signature.inputs, shapes, strict=True):
        if len(shape) != len(tensor.shape):
            raise InputError(
                f"input {tensor.name!r} has {len(shape)} axes, {_spell(shape)}; "
                f"the engine takes {len(tensor.shape)}, {_spell(tensor.shape)}"
            )
    misfits: list[_Misfit] = []
    holding: list[tuple[float, int]] = []
    for profile in range(signature.profiles):
        misfit = next(_misfits(signature, profile, shapes, values), None)
        if misfit is None:
            holding.append((_room(signature, profile), profile))
        else:
            misfits.append(misfit)
    if holding:
        return min(holding)[1]
    raise _refusal(misfits)


def _misfits(
    signature: Signature, profile: int, shapes: Sequence[Shape], values: Sequence[Values]
) -> Iterator[_Misfit]:
    for tensor, shape, numbers in zip(signature.inputs, shapes, values, strict=True):
        yield from _outside(tensor, "axis", shape, tensor.sizes[profile])
        limits = tensor.values[profile] if tensor.values else None
        if numbers is not None and limits is not None:
            yield from _outside(tensor, "value", numbers, limits)


def _outside(
    tensor: Tensor, what: str, numbers: Sequence[float], limits: Limits
) -> Iterator[_Misfit]:
    # The profile of a shape tensor may hold its values as one row where it has no axis.
    for place, (number, low, high) in enumerate(zip(numbers, limits.min, limits.max, strict=False)):
        if not low <= number <= high:
            yield _Misfit(tensor, f"{what} {place}", number, low, high)


def _room(signature: Signature, profile: int) -> float:
    return sum(
        math.log1p(high - low)
        for tensor in signature.inputs
        for low, high in zip(tensor.sizes[profile].min, tensor.sizes[profile].max, strict=True)
    )


def _refusal(misfits: Sequence[_Misfit]) -> InputError:
    first = misfits[0]
    if len(misfits) == 1:
        return InputError(f"{first}; the engine takes {first.allowed} there")
    if len({(misfit.tensor.name, misfit.place) for misfit in misfits}) == 1:
        ranges = ", ".join(misfit.allowed for misfit in misfits[:_SHOWN])
        more = ", ..." if misfits[_SHOWN:] else ""
        return InputError(f"{first}; the profiles of the engine take {ranges}{more} there")
    reasons = "; ".join(
        f"profile {index}: {misfit}, it takes {misfit.allowed}"
        for index, misfit in enumerate(misfits[:_SHOWN])
    )
    more = "; ..." if misfits[_SHOWN:] else ""
    return InputError(f"no profile of the engine holds these inputs: {reasons}{more}")


def _spell(shape: Shape) -> str:
    if not shape:
        return "a scalar"
    return "x".join("?" if size == UNKNOWN else str(size) for size in shape)
