"""Admissible outcomes of a decision: as good as the one that was taken, for tied numbers.

Two numbers are tied if they lie no farther apart than two correct results may, each by its own
tolerance. Where they are equal to the last bit, and no errors of the sums behind them move them, no
rounding chooses but a rule: such a tie is *exact*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import COMPARISONS, EXTREMES
from tripoint.tolerance.decisions import SUPPRESSION, TOP, Decision

Array = np.ndarray[Any, Any]

_FAR = 4
_MOST_BOXES = 1024
_CORNERS = 4


@dataclass(frozen=True)
class Numbers:
    """Numbers that a decision is taken by.

    Args:
        values: The numbers, as float64.
        allowed: How far each may lie off in another correct result, in the same shape.
        erring: The numbers that no errors of the sums behind them move, NaN for the others.
    """

    values: Array
    allowed: Array
    erring: Array


@dataclass(frozen=True, slots=True)
class Flip:
    """Another outcome of a decision.

    Args:
        decision: Number of the decision.
        at: Where, as flat indices of what is decided.
        values: What is there instead.
        gap: How far apart the tied numbers are.
        exact: Whether they are equal, and no errors of the sums behind them move them.
    """

    decision: int
    at: tuple[int, ...]
    values: tuple[float, ...]
    gap: float
    exact: bool


def flips(
    decision: Decision, own: Array, numbers: tuple[Numbers, ...], most: int
) -> list[Flip] | None:
    """Single flips of a decision.

    Args:
        decision: The decision.
        own: What is decided.
        numbers: By what, one for each operand.
        most: How many to return at most.

    Returns:
        None if there are more.
    """
    operator = decision.node.op_type
    if operator == SUPPRESSION:
        candidates = (_of_scores if decision.input_of else _of_boxes)(decision, numbers[0])
    elif operator == TOP:
        candidates = _of_top(decision, own, numbers[0])
    elif operator in EXTREMES:
        candidates = _of_largest(decision, own, numbers[0])
    elif operator in COMPARISONS:
        candidates = _of_comparison(decision, own, *numbers)
    else:
        candidates = _of_steps(decision, own, numbers[0])
    listed = list(islice(candidates, most + 1))
    return None if len(listed) > most else listed


def admitted(
    decision: Decision, own: Array, wanted: Array, numbers: tuple[Numbers, ...]
) -> tuple[Array, list[Flip]]:
    """Return the decision, with another outcome wherever that is as good.

    Args:
        decision: The decision.
        own: What is decided.
        wanted: What another leg decided, in the same shape.
        numbers: By what is decided, one for each operand.

    Returns:
        The outcome, and a flip for each element that is another one in it.
    """
    operator = decision.node.op_type
    if operator == TOP or operator in EXTREMES:
        flipped = _chosen(decision, own, wanted, numbers[0])
    elif operator in COMPARISONS:
        flipped = list(_of_comparison(decision, own, *numbers))
    elif operator == SUPPRESSION:
        flipped = []
    else:
        flipped = list(_of_steps(decision, own, numbers[0], wanted))
    taken = np.array(own)
    used = [
        flip
        for flip in flipped
        if all(wanted.flat[at] == value for at, value in zip(flip.at, flip.values, strict=True))
    ]
    for flip in used:
        taken.flat[list(flip.at)] = flip.values
    return taken, used


def rule_of(decision: Decision) -> str:
    """Describe the treatment of exact ties."""
    operator = decision.node.op_type
    if operator == TOP:
        return (
            "where they differ the values are equal (ties); ONNX takes the lower index first, "
            "torch.topk promises no order"
        )
    if operator in EXTREMES:
        last = decision.node.attributes.get_int("select_last_index", 0)
        first = "last" if last else "first"
        return f"where they differ the values are equal (ties); this {operator} takes the {first}"
    if operator in COMPARISONS:
        return f"where they differ the operands of {operator} are equal (ties)"
    if operator == SUPPRESSION:
        return "where they differ the scores are equal (ties), and ONNX promises no order of these"
    if operator == "Round":
        return (
            "where they differ a number lies halfway between two integers (ties); ONNX rounds to "
            "the even one"
        )
    return f"where they differ the operand of {operator} lies on a step (ties)"


def promises(decision: Decision) -> bool:
    """Return whether all that compute the operator agree on what becomes of equal numbers."""
    return decision.node.op_type not in (TOP, SUPPRESSION)


def _lanes(array: Array, axis: int) -> Array:
    """One row for each lane along an axis."""
    moved = np.moveaxis(array, axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _axis(decision: Decision) -> int:
    return decision.node.attributes.get_int("axis", -1 if decision.node.op_type == TOP else 0)


def _kept(decision: Decision, own: Array, rank: int) -> Array:
    """Return the decision, with the axis along which it was chosen."""
    return own if own.ndim == rank else np.expand_dims(own, _axis(decision) % rank)


def _of_top(decision: Decision, own: Array, numbers: Numbers) -> Iterator[Flip]:
    axis = _axis(decision)
    values, allowed, erring = (
        _lanes(each, axis) for each in (numbers.values, numbers.allowed, numbers.erring)
    )
    chosen, places = _lanes(own, axis), _lanes(np.arange(own.size).reshape(own.shape), axis)
    sign = -1.0 if decision.node.attributes.get_int("largest", 1) else 1.0
    for v, t, e, first, at in zip(values, allowed, erring, chosen, places, strict=True):
        rest = np.setdiff1d(np.arange(v.size), first)
        order = [*map(int, first), *map(int, rest[np.argsort(sign * v[rest], kind="stable")])]
        for p in range(len(first)):
            for q in range(p + 1, len(order)):
                a, b = order[p], order[q]
                gap = abs(v[a] - v[b])
                if not gap <= t[a] + t[b]:
                    # With flips among them they are nearly in order.
                    if not gap <= _FAR * (t[a] + t[b]):
                        break
                    continue
                exact = gap == 0 and e[a] == e[b]
                inside = q < len(first)
                where = (int(at[p]), int(at[q])) if inside else (int(at[p]),)
                yield Flip(decision.index, where, (b, a) if inside else (b,), float(gap), exact)


def _of_largest(decision: Decision, own: Array, numbers: Numbers) -> Iterator[Flip]:
    axis = _axis(decision)
    values, allowed, erring = (
        _lanes(each, axis) for each in (numbers.values, numbers.allowed, numbers.erring)
    )
    chosen = _lanes(_kept(decision, own, numbers.values.ndim), axis)
    lane = np.arange(len(values))[:, None]
    gap = np.abs(values - values[lane, chosen])
    exact = (gap == 0) & (erring == erring[lane, chosen])
    tied = gap <= allowed + allowed[lane, chosen]
    tied[lane, chosen] = False
    places = _lanes(
        _kept(decision, np.arange(own.size).reshape(own.shape), numbers.values.ndim), axis
    )
    for row, index in np.argwhere(tied):
        at = (int(places[row, 0]),)
        yield Flip(
            decision.index, at, (int(index),), float(gap[row, index]), bool(exact[row, index])
        )


def _chosen(decision: Decision, own: Array, wanted: Array, numbers: Numbers) -> list[Flip]:
    """Return flips at indices which another leg chose and which are tied with those chosen here."""
    axis, rank = _axis(decision), numbers.values.ndim
    values, allowed, erring = (
        _lanes(each, axis) for each in (numbers.values, numbers.allowed, numbers.erring)
    )
    places = np.arange(own.size).reshape(own.shape)
    before, after, at = (
        _lanes(_kept(decision, each, rank), axis) for each in (own, wanted, places)
    )
    size = values.shape[1]
    chosen = []
    for row, column in np.argwhere(before != after):
        a, b = int(before[row, column]), int(after[row, column])
        if not 0 <= b < size or np.count_nonzero(after[row] == b) > 1:
            continue
        gap = float(abs(values[row, a] - values[row, b]))
        if gap <= allowed[row, a] + allowed[row, b]:
            exact = gap == 0 and erring[row, a] == erring[row, b]
            chosen.append(Flip(decision.index, (int(at[row, column]),), (b,), gap, bool(exact)))
    return chosen


def _of_comparison(decision: Decision, own: Array, a: Numbers, b: Numbers) -> Iterator[Flip]:
    with np.errstate(invalid="ignore"):
        gap = np.broadcast_to(np.abs(a.values - b.values), own.shape)
        tied = gap <= np.broadcast_to(a.allowed + b.allowed, own.shape)
    same = np.broadcast_to(a.erring == b.erring, own.shape)
    for at in np.flatnonzero(tied):
        apart = float(gap.flat[at])
        exact = apart == 0 and bool(same.flat[at])
        yield Flip(decision.index, (int(at),), (int(not own.flat[at]),), apart, exact)


def _of_steps(
    decision: Decision, own: Array, numbers: Numbers, wanted: Array | None = None
) -> Iterator[Flip]:
    """Return the outcomes on both sides, or those that are wanted, where these lie between."""
    operator = decision.node.op_type
    x = numbers.values
    with np.errstate(invalid="ignore"):
        low, high = (_stepped(operator, x + sign * numbers.allowed, own) for sign in (-1, 1))
        # A tie needs a number between two steps, and a grid finer than rounding has nothing else.
        tied = np.isfinite(x) & ((low != own) | (high != own))
        if wanted is not None:
            between = (np.minimum(low, high) <= wanted) & (wanted <= np.maximum(low, high))
            tied &= between & (wanted != own)
    for at in np.flatnonzero(tied):
        now = float(own.flat[at])
        if wanted is not None:
            others = {float(wanted.flat[at])}
        else:
            others = {float(low.flat[at]), float(high.flat[at])} - {now}
            if operator == "Sign" and others:
                others |= {0.0} - {now}
        for other in sorted(others):
            step = _step(operator, now, other)
            gap = abs(float(x.flat[at]) - step)
            exact = gap == 0 and float(numbers.erring.flat[at]) == step
            yield Flip(decision.index, (int(at),), (other,), gap, exact)


def _stepped(operator: str, x: Array, own: Array) -> Array:
    if operator == "Cast":
        return (x != 0).astype(own.dtype) if own.dtype == np.bool_ else np.trunc(x)
    how = {"Round": np.rint, "Floor": np.floor, "Ceil": np.ceil, "Sign": np.sign}[operator]
    stepped: Array = how(x)
    return stepped


def _step(operator: str, now: float, other: float) -> float:
    """The number at which one outcome becomes the other."""
    if operator == "Round":
        return (now + other) / 2
    if operator == "Sign":
        return 0.0
    if operator == "Cast":
        return max(now, other, key=abs) if abs(now) != abs(other) else 0.0
    return max(now, other) if operator == "Floor" else min(now, other)


def _of_scores(decision: Decision, scores: Numbers) -> Iterator[Flip]:
    """Scores in the other order, or on the other side of the threshold."""
    constant = _constant(decision.node, 4)
    threshold = -np.inf if constant is None else constant
    values, allowed, erring = (
        each.reshape(-1, each.shape[-1]) for each in (scores.values, scores.allowed, scores.erring)
    )
    width = values.shape[1]
    for row, (v, t, e) in enumerate(zip(values, allowed, erring, strict=True)):
        start = row * width
        counted = np.flatnonzero(v > threshold - t)
        order = [int(i) for i in counted[np.argsort(-v[counted], kind="stable")]]
        for i in order:
            gap = abs(float(v[i]) - threshold)
            if gap <= t[i]:
                above = v[i] > threshold
                other = threshold if above else threshold + max(float(t[i]), gap)
                exact = gap == 0 and float(e[i]) == threshold
                yield Flip(decision.index, (start + i,), (other,), gap, exact)
        for p, i in enumerate(order):
            for j in order[p + 1 :]:
                gap = float(v[i] - v[j])
                if not gap <= t[i] + t[j]:
                    break
                # Equal ones are swapped by a last bit.
                high = float(v[i]) if gap else float(np.nextafter(np.float32(v[i]), np.inf))
                exact = gap == 0 and e[i] == e[j]
                at = (start + i, start + j)
                yield Flip(decision.index, at, (float(v[j]), high), gap, bool(exact))


def _of_boxes(decision: Decision, boxes: Numbers) -> Iterator[Flip]:
    """Boxes that overlap by as much as is allowed, moved together or apart as far as they may."""
    limit = _constant(decision.node, 3)
    if limit is None or boxes.values.shape[-2] > _MOST_BOXES:
        return
    centered = bool(decision.node.attributes.get_int("center_point_box", 0))
    count = boxes.values.shape[-2]
    batches = zip(
        boxes.values.reshape(-1, count, _CORNERS),
        boxes.allowed.reshape(-1, count, _CORNERS),
        strict=True,
    )
    for batch, (corners, allowed) in enumerate(batches):
        now = _overlaps(corners, corners, centered=centered)
        for sign in (-1.0, 1.0):
            for i, j in np.argwhere(np.triu(now > 0, 1) & (np.abs(now - limit) < limit / 2)):
                toward = corners[i] - corners[j]
                most = allowed[i] + allowed[j]
                with np.errstate(divide="ignore", invalid="ignore"):
                    share = np.nanmin(np.where(toward == 0, np.inf, most / np.abs(toward)))
                if not np.isfinite(share):
                    continue
                nudged = corners[j] + sign * share * toward
                then = _overlaps(corners[i : i + 1], nudged[None], centered=centered)[0, 0]
                if (then > limit) != (now[i, j] > limit):
                    start = (batch * count + int(j)) * _CORNERS
                    at = tuple(range(start, start + _CORNERS))
                    gap = abs(float(now[i, j]) - limit)
                    yield Flip(decision.index, at, tuple(map(float, nudged)), gap, False)


def _overlaps(a: Array, b: Array, *, centered: bool) -> Array:
    """Intersection over union of all pairs."""

    def corners(boxes: Array) -> tuple[Array, Array]:
        first, second = boxes[..., :2], boxes[..., 2:]
        if centered:
            return first - second / 2, first + second / 2
        return np.minimum(first, second), np.maximum(first, second)

    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    sides = np.minimum(high_a[:, None], high_b[None]) - np.maximum(low_a[:, None], low_b[None])
    both = np.prod(np.maximum(sides, 0), axis=-1)
    area_a, area_b = np.prod(high_a - low_a, axis=-1), np.prod(high_b - low_b, axis=-1)
    union = area_a[:, None] + area_b[None] - both
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap: Array = np.where(union > 0, both / union, 0.0)
    return overlap


def _constant(node: ir.Node, place: int) -> float | None:
    """A constant input of one number."""
    value = node.inputs[place] if len(node.inputs) > place else None
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return float(tensor.numpy().reshape(-1)[0]) if tensor is not None else None
