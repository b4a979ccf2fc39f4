"""Nodes that cost the most at a lower precision, by measurement.

A node in the lower precision takes its float32 inputs rounded to it and rounds what it makes, while
it computes in float32 as the sums of TensorRT's products do. One session of ONNX Runtime holds the
whole graph with a switch at each node, so that any set of nodes can be rounded in one run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from tripoint import files
from tripoint.graph.names import node_name
from tripoint.graph.source_lines import Source, source_of
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.parity.locate.bisect import first
from tripoint.parity.locate.deviation import Deviation, measure
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.rounding_toggles import SWITCHES, rounds, switched
from tripoint.progress import Progress, silent
from tripoint.tolerance.derivation import Chain, Given, Tolerance, derive, override
from tripoint.words import number_of

Precision = Literal["fp16", "bf16"]
DTYPES: Mapping[Precision, ir.DataType] = {
    "fp16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
}
LIST = "keep-fp32.txt"
Outputs = Mapping[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True, slots=True)
class NodeCost:
    """Cost of one node alone in the lower precision.

    Args:
        node: Its name, as ``build --keep-fp32`` takes it.
        op: Its operator.
        source: Its PyTorch line, None if the export recorded none.
        output: The graph output that it disturbs the most.
        error: Largest absolute error of that output; infinite if it is not finite any more.
        share: That error in multiples of what is allowed.
    """

    node: str
    op: str
    source: Source | None
    output: str
    error: float
    share: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of all nodes but some in the lower precision.

    Args:
        output: The graph output that lies farthest off.
        error: Its largest absolute error.
        share: That error in multiples of what is allowed; at most 1 if it is within.
    """

    output: str
    error: float
    share: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The nodes by what the lower precision costs there.

    Args:
        precision: ``"fp16"`` or ``"bf16"``.
        goal: What is allowed by output name, at the point that the nodes were measured at.
        nodes: Every node that rounds, the costliest first.
        keep: The first of them, as few as bring the outputs within the goal at every point while
            all others are rounded.
        all_rounded: The cost with no node kept.
        kept: The cost with these kept, over all points.
        met: Whether the goal is met. It need not be where it is tighter than what ONNX Runtime
            repeats.
        points: At how many points that was checked.
        file: Where the list was written, None if it was not.
        notes: What was left out.
    """

    precision: Precision
    goal: Mapping[str, Tolerance]
    nodes: tuple[NodeCost, ...]
    keep: tuple[str, ...]
    all_rounded: Cost
    kept: Cost
    met: bool
    points: int
    file: str | None = None
    notes: tuple[str, ...] = ()


def rank(
    graph: Graph,
    precision: Precision,
    points: Sequence[Arrays],
    *,
    atol: Given = None,
    rtol: Given = None,
    progress: Progress = silent,
) -> Ranking:
    """Round one node after the other, then find how many of the costliest must be kept.

    The goal is, unless it is given, what a single rounding of the output would deserve: eight
    machine epsilons of the lower precision, relative to a typical element.

    Args:
        graph: The graph, in float32.
        precision: The lower precision.
        points: Inputs by name, at least one; nodes are measured at the second if there is one,
            which is the size to tune for, and the result is checked at all.
        atol: Absolute tolerance of outputs in place of that goal.
        rtol: Relative tolerance, likewise.
        progress: Told what goes on.

    Raises:
        ExternalStepError: If ONNX Runtime cannot run the graph.
    """
    nodes = [node for node in graph.nodes if rounds(node)]
    bench = _Bench(graph, nodes, DTYPES[precision], precision, atol, rtol)
    runs = [bench.reference(feed) for feed in points]
    chosen = runs[1] if len(runs) > 1 else runs[0]
    costs: list[NodeCost] = []
    for index, node in enumerate(nodes):
        if index % 20 == 0:
            progress(f"round node {index + 1} of {len(nodes)}")
        worst = bench.cost(chosen, {index})
        named = node_name(node), node.op_type, source_of(node)
        costs.append(NodeCost(*named, worst.output, worst.error, worst.share))
    order = sorted(range(len(nodes)), key=lambda index: -costs[index].share)
    everything = set(range(len(nodes)))

    def with_kept(count: int) -> Cost:
        progress(f"keep {count} of {number_of(len(nodes), 'node')}")
        left = everything - set(order[:count])
        return max((bench.cost(run, left) for run in runs), key=lambda cost: cost.share)

    tried: dict[int, Cost] = {}

    def enough(count: int) -> bool:
        if count not in tried:
            tried[count] = with_kept(count)
        return tried[count].share <= 1

    count = _fewest(enough, len(nodes))
    keep, unlisted = _listable([costs[index].node for index in order[:count]])
    return Ranking(
        precision=precision,
        goal=chosen.allowed,
        nodes=tuple(costs[index] for index in order),
        keep=keep,
        all_rounded=tried[0],
        kept=tried[count],
        met=tried[count].share <= 1 and not unlisted,
        points=len(points),
        notes=unlisted,
    )


def write(ranking: Ranking, folder: Path, *, force: bool = False) -> Ranking:
    """Write the list that ``build --keep-fp32 @FILE`` takes, one node on a line.

    Args:
        ranking: What was measured.
        folder: Where :data:`LIST` goes.
        force: Whether it may be replaced.

    Returns:
        The ranking, with the file in it.

    Raises:
        OutputError: If it exists without ``force``, or cannot be written.
    """
    with files.result_folder(folder):
        path = folder / LIST
        files.write_text(path, "".join(f"{name}\n" for name in ranking.keep), force=force)
    return replace(ranking, file=str(path))


def _fewest(holds: Callable[[int], bool], most: int) -> int:
    """The smallest number for which something holds, if it holds for all larger ones, too.

    Returns:
        ``most`` where it never holds.
    """
    if holds(0):
        return 0
    return first(holds, most) if holds(most) else most


def _listable(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that fit on a line of a list, and a note on those that do not."""
    good = tuple(name for name in names if name and name.isprintable())
    left = len(names) - len(good)
    note = f"no list can hold the names of {number_of(left, 'node')}" if left else ""
    return good, (note,) if note else ()


@dataclass(frozen=True)
class _Run:
    feed: Arrays
    outputs: Outputs
    allowed: Mapping[str, Tolerance]


class _Bench:
    """The graph in one session, with a switch at each node."""

    def __init__(
        self,
        graph: Graph,
        nodes: Sequence[ir.Node],
        low: ir.DataType,
        precision: Precision,
        atol: Given,
        rtol: Given,
    ) -> None:
        self._count = len(nodes)
        self._low = low
        self._precision = precision
        self._tolerances = atol, rtol
        self._session = Session(switched(graph, nodes, low))

    def reference(self, feed: Arrays) -> _Run:
        """The outputs with no node rounded, and what may be lost of them."""
        outputs = self._outputs(feed, ())
        allowed = {name: self._goal(name, array) for name, array in outputs.items()}
        return _Run(feed, outputs, allowed)

    def cost(self, run: _Run, rounded: Collection[int]) -> Cost:
        """Return the distances that the outputs move by with some nodes rounded."""
        arrays = self._outputs(run.feed, rounded)
        moved = {
            name: measure(array, arrays[name], run.allowed[name])
            for name, array in run.outputs.items()
        }
        name, worst = max(moved.items(), key=lambda item: _share(item[1]))
        return Cost(name, worst.max_abs, _share(worst))

    def _outputs(self, feed: Arrays, rounded: Collection[int]) -> Outputs:
        switches = np.zeros(self._count, bool)
        switches[list(rounded)] = True
        arrays = self._session.run({**feed, SWITCHES: switches})
        return dict(zip(self._session.outputs, arrays, strict=True))

    def _goal(self, name: str, array: np.ndarray[Any, Any]) -> Tolerance:
        if array.dtype.kind in "iub":
            return derive(Chain(), array)
        atol, rtol = (
            each.get(name) if isinstance(each, Mapping) else each for each in self._tolerances
        )
        eps = 2.0**-10 if self._low == ir.DataType.FLOAT16 else 2.0**-7
        exact = derive(Chain(variance=eps**2), array)
        goal = Tolerance(
            exact.atol, exact.rtol, f"eight roundings of the output to {self._precision}"
        )
        return override(goal, atol=atol, rtol=rtol)


def _share(deviation: Deviation) -> float:
    if not math.isfinite(deviation.max_abs):
        return math.inf
    allowed = deviation.tolerance.atol + deviation.tolerance.rtol * deviation.scale
    if not allowed:
        return 0.0 if deviation.agrees else math.inf
    # Within elementwise, it is within; a large element may be allowed more than a typical one.
    share = deviation.max_abs / allowed
    return min(share, 1.0) if deviation.agrees else max(share, math.nextafter(1.0, 2.0))
