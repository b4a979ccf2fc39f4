"""Latencies as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tripoint.report.columns import columns
from tripoint.sanitize import clean
from tripoint.timing.results import Bench, LegTiming


def bench(model: str, result: Bench) -> Iterator[str]:
    """The table of legs, with those that were not timed and why.

    Args:
        model: How the user named the model.
        result: What was measured.
    """
    shapes = ", ".join(
        f"{name} {'x'.join(map(str, sizes)) or 'scalar'}" for name, sizes in result.shapes.items()
    )
    yield f"{clean(model)} at {clean(shapes)}"
    yield f"timed {result.timed}"
    yield (
        f"{result.rounds} rounds in which every leg has its turn, after {result.warm_up} runs to "
        "warm up; median of the rounds, spread from first to third quartile"
    )
    yield ""
    rows: list[Sequence[object]] = [
        ("leg", "device", "median ms", "spread ms", "ratio", "clock", "TF32", "how")
    ]
    rows += [_row(leg) for leg in result.legs if leg.milliseconds is not None]
    if result.reference is not None:
        yield from columns(rows)
        yield f"  ratio: median over that of {clean(result.reference)}; below 1 is faster"
    missing = [leg for leg in result.legs if leg.milliseconds is None]
    for leg in missing:
        yield f"  {clean(leg.name)}: {leg.status}: {clean(leg.reason)}"
    for note in result.notes:
        yield f"note: {clean(note)}"


def _row(leg: LegTiming) -> Sequence[object]:
    spread = leg.milliseconds
    assert spread is not None  # noqa: S101 - only legs that were timed get here
    tf32 = {True: "yes", False: "no", None: "not known"}[leg.tf32]
    return (
        leg.name,
        leg.device,
        f"{spread.median:.3f}",
        f"{spread.low:.3f} to {spread.high:.3f}",
        f"{leg.ratio:.2f}",
        leg.clock,
        tf32,
        leg.how,
    )
