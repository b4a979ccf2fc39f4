"""Differences between the views of one model by two targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tripoint.symbols import Shape
from tripoint.table import Target, TensorFacts, TensorTable, ViewShape

Kind = Literal["lost_in_a", "lost_in_b", "lost_in_both", "another_size", "only_in_a", "only_in_b"]
"""Kind of a difference between two views of a tensor; of several kinds the first that applies."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A tensor that two targets see differently.

    Args:
        name: ONNX tensor name.
        op: Operator that produces it, None for a graph input.
        node: Name of the node that produces it, None for a graph input.
        kind: How the views differ: a size lost by one target only, by both but not on the same
            axes, sizes or ranks that are not the same, or a tensor that one never reached.
        shape: True shape.
        a: What the first target prints, None where it never reached the tensor.
        b: What the second one prints.
        lost_a: Axes that the first target loses.
        lost_b: Axes that the second one loses.
    """

    name: str
    op: str | None
    node: str | None
    kind: Kind
    shape: Shape | None
    a: ViewShape | None
    b: ViewShape | None
    lost_a: tuple[int, ...]
    lost_b: tuple[int, ...]


@dataclass(frozen=True)
class Differences:
    """Differences between the views of two targets.

    Args:
        a: The first target.
        b: The second one.
        tensors: The tensors that they see differently, in graph order.
        same: Number of tensors that both see alike.
        lost_dims_a: Lost dims in the whole table of the first target.
        lost_dims_b: Lost dims in the whole table of the second one.
    """

    a: Target
    b: Target
    tensors: tuple[Difference, ...]
    same: int
    lost_dims_a: int
    lost_dims_b: int

    @cached_property
    def counts(self) -> Mapping[Kind, int]:
        """Number of tensors by kind of difference."""
        return Counter(difference.kind for difference in self.tensors)


def compare(a: TensorTable, b: TensorTable) -> Differences:
    """Compare two views of one model.

    Args:
        a: The table of one target.
        b: That of the other, for the same model. A tensor that only one table lists, as a log
            may, counts as not reached by the other.
    """
    names = list(dict.fromkeys([*a.by_name, *b.by_name]))
    tensors = tuple(
        difference
        for name in names
        if (difference := _difference(a.by_name.get(name), b.by_name.get(name))) is not None
    )
    return Differences(
        a=a.target,
        b=b.target,
        tensors=tensors,
        same=len(names) - len(tensors),
        lost_dims_a=a.summary.lost_dims,
        lost_dims_b=b.summary.lost_dims,
    )


def _difference(a: TensorFacts | None, b: TensorFacts | None) -> Difference | None:
    seen_a, seen_b = (facts.tensorrt if facts is not None else None for facts in (a, b))
    either = a or b
    if either is None or seen_a == seen_b:
        return None
    lost_a, lost_b = (facts.lost if facts is not None else () for facts in (a, b))
    return Difference(
        name=either.name,
        op=either.op,
        node=either.node,
        kind=_kind(seen_a, seen_b, lost_a, lost_b),
        shape=either.shape,
        a=seen_a,
        b=seen_b,
        lost_a=lost_a,
        lost_b=lost_b,
    )


def _kind(
    seen_a: ViewShape | None,
    seen_b: ViewShape | None,
    lost_a: tuple[int, ...],
    lost_b: tuple[int, ...],
) -> Kind:
    if seen_a is None:
        return "only_in_b"
    if seen_b is None:
        return "only_in_a"
    sizes = list(zip(seen_a, seen_b, strict=False))
    clash = len(seen_a) != len(seen_b) or any(x != y and -1 not in (x, y) for x, y in sizes)
    if clash or lost_a == lost_b:
        return "another_size"
    if not lost_b:
        return "lost_in_a"
    return "lost_in_both" if lost_a else "lost_in_b"
