"""Times of every leg; the fields are the keys of the JSON output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tripoint.timing.interleave import Summary


@dataclass(frozen=True, slots=True)
class LegTiming:
    """One leg, whether or not it could be timed.

    Args:
        name: As reports call it.
        status: ``"timed"``, ``"failed"`` if it started and raised, or ``"not run"``.
        reason: Why it was not timed.
        version: Version of its library.
        device: Where it ran.
        clock: ``"CUDA events"`` on the device, or ``"wall clock"``.
        tf32: Whether it may round float32 products to TF32; None if not known.
        how: How it ran, in a few words.
        runs: Runs in a turn.
        milliseconds: Of one run, over the rounds.
        ratio: Its median over that of the reference; None if it was not timed.
    """

    name: str
    status: Literal["timed", "failed", "not run"]
    reason: str | None = None
    version: str | None = None
    device: str | None = None
    clock: str | None = None
    tf32: bool | None = None
    how: str | None = None
    runs: int | None = None
    milliseconds: Summary | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """Times of every leg.

    Args:
        shapes: Sizes by input name.
        copies: Whether a run begins and ends in host memory.
        timed: What is timed, in one sentence.
        rounds: Number of turns of each leg.
        warm_up: Runs before the first turn.
        reference: Name of the leg that ratios refer to, the first that was timed; None if none.
        legs: All legs, in order.
        notes: What was assumed to make them comparable.
    """

    shapes: Mapping[str, tuple[int, ...]]
    copies: bool
    timed: str
    rounds: int
    warm_up: int
    reference: str | None
    legs: tuple[LegTiming, ...]
    notes: tuple[str, ...] = ()


def with_ratios(legs: Sequence[LegTiming]) -> tuple[tuple[LegTiming, ...], str | None]:
    """The legs with their ratios to the first that was timed, and the name of that one."""
    reference, base = next(
        ((leg.name, leg.milliseconds.median) for leg in legs if leg.milliseconds is not None),
        (None, 0.0),
    )
    return tuple(
        dataclasses.replace(leg, ratio=leg.milliseconds.median / base)
        if leg.milliseconds is not None
        else leg
        for leg in legs
    ), reference
