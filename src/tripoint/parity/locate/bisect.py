"""Narrowing a part that makes an error down to the fewest nodes that still make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.graph import Part
from tripoint.parity.locate.legs import Reference, Suspect
from tripoint.parity.locate.search import Replayed, replay
from tripoint.parity.locate.tensor_cache import Shelf
from tripoint.parity.locate.tolerances import Allowed
from tripoint.progress import Progress, silent

Array = np.ndarray[Any, Any]


def narrow(
    reference: Reference,
    suspect: Suspect,
    whole: Replayed,
    feed: Arrays,
    allowed: Allowed,
    *,
    limit: int,
    progress: Progress = silent,
) -> Replayed:
    """The fewest consecutive nodes of a part that still make an error.

    The end is sought first, by halves: the shortest beginning of the part that is wrong. Then the
    start: the shortest rest of that. This takes two replays for each doubling of the nodes.

    Args:
        reference: The leg that is taken to be right; it must have the tensors within the part.
        suspect: The leg that makes the error.
        whole: The part.
        feed: Array by input name of the graph.
        allowed: Tolerances.
        limit: Tensors to have in memory at a time.
        progress: Told what goes on.

    Returns:
        The smallest part that was seen to be wrong, which may be the whole.
    """
    graph = suspect.graph
    nodes = [node for node in whole.part.nodes if graph.depends(node)]
    if len(nodes) <= 1:
        return whole
    inner = {v.name for node in nodes for v in node.outputs} & set(graph.comparable)
    wanted = [name for name in graph.values if name in inner | set(whole.part.tensors)]
    with Shelf(limit) as shelf:
        for name, array in reference.values(wanted, feed):
            shelf.put(name, array)
        trials: dict[tuple[int, int], Replayed | None] = {(0, len(nodes)): whole}

        def wrong(start: int, end: int) -> bool:
            if (start, end) not in trials:
                progress(f"bisect: nodes {start + 1} to {end} of {len(nodes)}")
                part = _usable(nodes[start:end], suspect, shelf)
                trials[start, end] = (
                    replay(suspect, part, _values(part, shelf), allowed) if part else None
                )
            trial = trials[start, end]
            return trial is not None and trial.makes

        end = first(lambda size: wrong(0, size), len(nodes))
        length = first(lambda size: wrong(end - size, end), end)
    return trials[end - length, end] or whole


def first(holds: Callable[[int], bool], most: int) -> int:
    """The smallest number above 0 for which something holds, if it holds for all larger ones, too.

    Args:
        holds: Whether it does; not asked of 0 and of ``most``.
        most: The largest number.
    """
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _usable(nodes: Sequence[ir.Node], suspect: Suspect, shelf: Shelf) -> Part | None:
    """Nodes as a part whose inputs and outputs have known values; None if it has no output."""
    graph = suspect.graph
    held = {value for value in graph.values.values() if value.name and value.name in shelf}
    outputs = [value for value in graph.leaving(nodes) if value in held]
    produced = {value for node in nodes for value in node.outputs}
    # What nodes outside make of constants alone is not known, and becomes part of it.
    return graph.between(outputs, held - produced) if outputs else None


def _values(part: Part, shelf: Shelf) -> Mapping[str, Array]:
    return {name: shelf.get(name) for name in part.tensors}
