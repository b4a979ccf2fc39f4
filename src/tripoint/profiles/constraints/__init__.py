"""Check of the sizes of an optimization profile against what the graph needs.

A profile is a box: every axis of every input may take any size between its min and its max,
whatever the others are. TensorRT works the graph out at all min, all opt and all max sizes while
it builds, so these three must satisfy every equation. What lies between may not: neither
``N == M`` nor ``H % 32 == 0`` is a box. Such sizes are refused or misread when they are used, so
they are up to whoever calls the engine, and are noted.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tripoint.profiles.constraints import nearest
from tripoint.shape_inference.constraints import Equation
from tripoint.shape_inference.constraints.decide import surely_holds
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds
from tripoint.spec import ENDS, Range

Status = Literal["holds", "partly", "violated", "undecided"]

_MOST = 20_000
"""Sizes of a box up to which all are tried; of a larger one as many are drawn."""
_MOST_OF_ONE = 200_000
"""The same where an equation is about one symbol."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one equation in one profile.

    Args:
        equation: The equation.
        status: ``"holds"`` for all sizes of the box, ``"partly"`` at min, opt and max but not at
            all sizes between them, ``"violated"`` at one of the three, or ``"undecided"``.
        at: Which of the three violates it.
        sizes: Sizes of its symbols that violate it.
        rule: What legal sizes have in common, such as ``"H must be a multiple of 32"``.
        nearest: Legal sizes near those.
        why_undecided: What keeps it from being decided.
        meant: The sizes that its node is meant for, such as ``"T = 5"``, where a size of the
            export's example stayed in it and it runs at others too.
    """

    equation: Equation
    status: Status
    at: str | None = None
    sizes: Mapping[str, int] | None = None
    rule: str | None = None
    nearest: tuple[Mapping[str, int], ...] = ()
    why_undecided: str | None = None
    meant: str | None = None


def check(
    equations: Sequence[Equation], ranges: Mapping[str, Range], meant: Sequence[Equation] = ()
) -> tuple[Finding, ...]:
    """Try every equation at the sizes of a profile.

    Args:
        equations: In graph order.
        ranges: Range by symbol. Equations in other symbols are undecided.
        meant: What holds only at the sizes that nodes are meant for; no others are told as legal
            ones near by.
    """
    decided = [each for each in equations if each.decided and each.symbols <= ranges.keys()]
    return tuple(_finding(equation, decided, ranges, meant) for equation in equations)


def _finding(
    equation: Equation,
    decided: Sequence[Equation],
    ranges: Mapping[str, Range],
    meant: Sequence[Equation],
) -> Finding:
    if not equation.decided:
        inside = equation.symbols <= ranges.keys()
        why = (
            "it is located in a branch or loop that may not run"
            if inside
            else "tensor values decide it"
        )
        return Finding(equation, "undecided", why_undecided=why)
    if missing := sorted(equation.symbols - ranges.keys()):
        return Finding(equation, "undecided", why_undecided=f"{missing[0]} has no sizes")
    try:
        for end in ENDS:
            at = {name: getattr(size, end) for name, size in ranges.items()}
            if not holds(equation, at):
                own = [each for each in meant if each.symbols <= at.keys()]
                own = [each for each in own if each.node == equation.node]
                changes = nearest.legal(decided, equation, at)
                stayed = not all(_all_hold(own, {**at, **change}) for change in changes)
                if stayed:
                    changes = nearest.legal([*decided, *own], equation, at)
                    changes = [each for each in changes if _all_hold(own, {**at, **each})]
                return Finding(
                    equation,
                    "violated",
                    end,
                    {name: at[name] for name in sorted(equation.symbols)},
                    nearest.rule(equation),
                    tuple(changes),
                    meant=_sizes(own) if stayed else None,
                )
        between, all_tried = _counterexample(equation, ranges)
    except UndecidedError as error:
        return Finding(equation, "undecided", why_undecided=f"{error} is not worked out")
    if between is not None:
        return Finding(equation, "partly", None, between, nearest.rule(equation))
    if all_tried or surely_holds(equation, ranges):
        return Finding(equation, "holds")
    return Finding(
        equation, "undecided", why_undecided=f"holds at {_MOST} sizes; not all were tried"
    )


def _all_hold(equations: Sequence[Equation], sizes: Mapping[str, int]) -> bool:
    return all(bool(holds(each, sizes)) for each in equations)


def _sizes(equations: Sequence[Equation]) -> str:
    return " and ".join(f"{each.left} = {each.right}" for each in equations)


def _counterexample(
    equation: Equation, ranges: Mapping[str, Range]
) -> tuple[Mapping[str, int] | None, bool]:
    """Sizes of the box at which an equation does not hold, and whether all were tried."""
    own = {name: ranges[name] for name in sorted(equation.symbols)}
    if not own:
        return None, True
    spans = [range(size.min, size.max + 1) for size in own.values()]
    complete = math.prod(map(len, spans)) <= (_MOST if len(spans) > 1 else _MOST_OF_ONE)
    if complete:
        tried = list(itertools.product(*spans))
    else:
        source = random.Random(0)  # noqa: S311 - sizes to try, not secrets
        ends = list(itertools.product(*((span[0], span[-1]) for span in spans)))
        tried = [
            *ends,
            *(tuple(source.choice(span) for span in spans) for _ in range(_MOST - len(ends))),
        ]
    columns = np.array(tried, dtype=object).reshape(len(tried), len(spans)).T
    good = holds(equation, dict(zip(own, columns, strict=True)))
    if np.all(good):
        return None, complete
    first = tried[int(np.argmin(good))]
    return dict(zip(own, map(int, first), strict=True)), True
