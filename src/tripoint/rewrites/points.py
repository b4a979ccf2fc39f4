"""Points of the input range at which numbers are compared.

Where nobody gave a range, sizes are made up that satisfy what the graph needs of them
(:mod:`tripoint.shape_inference.constraints`), small ones first: a proof is as good at three rows as
at sixty, and what runs holds all that is alive at once in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import onnx_ir as ir

from tripoint.graph.subgraphs import read_by
from tripoint.numeric.feed import Feed
from tripoint.numeric.inputs import MINIMUM_POINTS
from tripoint.shape_inference import constraints as needs
from tripoint.shape_inference import shape_inputs, truth
from tripoint.shape_inference.constraints import Equation
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds
from tripoint.symbols import Dim, evaluate, symbols_of

Sizes = Mapping[str, int]
"""A size by symbol."""

SIZES = (1, 2, 5, 8, 16, 31, 32, 64, 128, 224)
"""Sizes that are tried without a range."""

_LONE = (16, 64, 224, 512)
"""Sizes of one symbol that are tried where all others are 1."""

_BATCHES = 3
"""Sizes of a leading dim that are tried: 1, 2 and 3. Larger ones only take longer."""

_LARGER = 3
"""Times a size that had to be raised that it is tried with at most."""

_ROUNDS = 32
"""Violated equations that are mended one after the other at most."""

_CHEAP = 1 << 28
"""Bytes that a point may take before cheaper ones are tried first."""


@dataclass(frozen=True)
class Points:
    """Points of the input range at which numbers are compared.

    Args:
        candidates: Size of each symbol, point by point.
        guessed: Whether nobody gave a range. Candidates at which the original does not run are
            then passed over, and three that do are enough.
        ranges: Smallest and largest size by symbol, where somebody gave them.
        feed: What is said of the inputs of the whole model. Inputs that are given belong to the
            candidates, in order.
    """

    candidates: Sequence[Sizes]
    guessed: bool = False
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    feed: Feed = field(default_factory=Feed)

    @classmethod
    def guess(cls, names: Sequence[str], *, batches: Iterable[str] = ()) -> Points:
        """Sizes to try without a range: distinct per symbol first, then all alike.

        Args:
            names: The symbols.
            batches: Those among them that number rows.
        """
        if not names:
            return cls(({},) * MINIMUM_POINTS)
        rows = set(batches)
        distinct, alike = (
            [
                {
                    name: 1 + index % _BATCHES if name in rows else size + step * place
                    for place, name in enumerate(names)
                }
                for index, size in enumerate(SIZES)
            ]
            for step in (1, 0)
        )
        return cls(tuple(distinct + alike if len(names) > 1 else alike), guessed=True)

    def without_ones(self, dims: Iterable[Dim]) -> Points:
        """The points at which none of these dims is 1; all, if there are no others."""
        dims = tuple(dims)
        if not dims:
            return self
        kept = [each for each in self.candidates if 1 not in [evaluate(d, each) for d in dims]]
        return dataclasses.replace(self, candidates=kept) if kept else self

    @classmethod
    def fitting(cls, model: ir.Model, annotated: ir.Model) -> Points:
        """Sizes that a model takes, as far as equations between them decide it.

        Args:
            model: The model.
            annotated: The same with true shapes on its values.

        Returns:
            Its candidates are worked out when the first one is asked for.
        """
        names = _symbols(model, annotated)
        if not names:
            return cls.guess([])
        return cls(_Later(lambda: _fitting(model, annotated, names)), guessed=True)


class _Later(Sequence[Sizes]):
    """A sequence that is made when it is needed."""

    def __init__(self, make: Callable[[], Sequence[Sizes]]) -> None:
        self._make = make

    @functools.cached_property
    def _points(self) -> Sequence[Sizes]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> Sizes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sizes]: ...
    def __getitem__(self, index: int | slice) -> Sizes | Sequence[Sizes]:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)


def _symbols(model: ir.Model, annotated: ir.Model) -> list[str]:
    """The symbols of the inputs, and of the values of those that are shape tensors."""
    dims = (dim for value in annotated.graph.inputs for dim in truth.shape_of(value) or ())
    values = itertools.chain.from_iterable(shape_inputs.find(model).values())
    return list(dict.fromkeys([*(s for dim in dims for s in symbols_of(dim)), *values]))


def _fitting(model: ir.Model, annotated: ir.Model, names: Sequence[str]) -> Sequence[Sizes]:
    shapes = [truth.shape_of(value) or () for value in annotated.graph.inputs]
    rows = {str(shape[0]) for shape in shapes if len(shape) > 1 and shape[0] in names}
    rows = rows if rows != set(names) else set()
    guessed = Points.guess(names, batches=rows).candidates
    needed = [each for each in needs.collect(model) if each.symbols <= set(names)]
    decided = [each for each in needed if each.decided]
    # What a branch or a loop needs that may not run is satisfied, too, where that can be.
    likely = [each for each in needed if "?" not in (each.left, each.right)]
    fitting = [
        point
        for escape, equations in ((False, likely), (False, decided), (True, decided))
        for index, each in enumerate(guessed)
        if (point := _fitted(equations, each, index, escape=escape)) is not None
    ]
    # Those in which equations are broken come last: an equation may ask for more than is needed.
    fitting += [*guessed, *_lone(names, rows)]
    candidates: list[Sizes] = [dict(p) for p in dict.fromkeys(tuple(p.items()) for p in fitting)]
    cost = _Cost(annotated)
    # Stable, so that cheap ones stay in the order in which they were made up.
    return sorted(candidates, key=lambda point: max(1, math.ceil(cost.of(point) / _CHEAP)))


def _lone(names: Sequence[str], rows: Collection[str]) -> Iterator[Sizes]:
    """One size after the other that is large, where all others are 1; none that numbers rows."""
    for size in _LONE:
        for name in names:
            if name not in rows:
                yield {**dict.fromkeys(names, 1), name: size}


def _fitted(equations: Sequence[Equation], at: Sizes, index: int, *, escape: bool) -> Sizes | None:
    """As :func:`_mended`, but not the least that the graph takes each time.

    At these, much of a graph computes on maps of one element, where many mistakes do not show.
    """
    least = _mended(equations, at, escape=escape)
    if least is None:
        return None
    times = 1 + index % _LARGER
    larger = {name: size * times if size > at[name] else size for name, size in least.items()}
    return _mended(equations, larger, escape=escape) or least


def _mended(equations: Sequence[Equation], at: Sizes, *, escape: bool) -> Sizes | None:
    """Sizes near others that satisfy all equations; None if none are found.

    Args:
        equations: Decided ones.
        at: The size of every symbol.
        escape: Whether a size of 1, which broadcasts, may take the place of an equal one.
    """
    from tripoint.profiles.constraints import nearest

    sizes = dict(at)
    for _ in range(_ROUNDS):
        broken = next((each for each in equations if not _holds(each, sizes)), None)
        if broken is None:
            return sizes
        changes = [{**sizes, **new} for new in nearest.legal(equations, broken, sizes)]
        if not changes:
            return None
        sizes = min(changes, key=lambda new: _distance(broken, new, sizes, escape=escape))
    return None


def _distance(
    equation: Equation, new: Sizes, old: Sizes, *, escape: bool
) -> tuple[bool, int, int, int]:
    """Return how far sizes moved, and whether they satisfy an equation by broadcasting alone."""
    escapes = False
    if equation.kind in ("broadcast", "expands"):
        escapes = evaluate(equation.left, new) != evaluate(equation.right, new)
    moves = [abs(size - old[name]) for name, size in new.items()]
    ones = sum(size == 1 < old[name] for name, size in new.items())
    return escapes != escape, ones, sum(moves), sum(new.values())


def _holds(equation: Equation, at: Sizes) -> bool:
    with contextlib.suppress(UndecidedError):
        return bool(holds(equation, at))
    return True


class _Cost:
    """Estimate of the bytes of tensors that are alive at once when a graph runs."""

    def __init__(self, annotated: ir.Model) -> None:
        nodes = list(annotated.graph)
        last = {value: index for index, node in enumerate(nodes) for value in read_by([node])}
        self._nodes = len(nodes)
        self._tensors = [
            (value, index, last.get(value, index))
            for index, node in enumerate(nodes)
            for value in node.outputs
        ]

    def of(self, point: Sizes) -> int:
        """Bytes at some sizes; those that are not known count as 1."""
        sizes: dict[Dim, int] = {}
        change = [0] * (self._nodes + 1)
        for value, born, last in self._tensors:
            size = value.dtype.itemsize if value.dtype is not None else 4
            for dim in truth.shape_of(value) or ():
                if dim not in sizes:
                    sizes[dim] = _size(dim, point)
                size *= sizes[dim]
            change[born] += int(size)
            change[last + 1] -= int(size)
        return max(itertools.accumulate(change))


def _size(dim: Dim, point: Sizes) -> int:
    with contextlib.suppress(ValueError):  # a declared dim that is no expression, such as "?"
        return max(evaluate(dim, point) or 1, 1)
    return 1
