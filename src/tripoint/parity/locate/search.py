"""Telling the part that makes an error from those that pass it on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import ExternalStepError
from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.deviation import Deviation, measure
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.locate.legs import Reference, Suspect
from tripoint.parity.locate.tensor_cache import Shelf
from tripoint.parity.locate.tied import settled
from tripoint.parity.locate.tolerances import Allowed
from tripoint.progress import Progress, silent
from tripoint.shape_inference import truth
from tripoint.tolerance.decisions import decides

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Replayed:
    """A part that was run alone, fed with values of the reference.

    Args:
        part: The part.
        deviations: By output name; empty if it could not be run.
        reason: Why it could not be run.
    """

    part: Part
    deviations: Mapping[str, Deviation]
    reason: str = ""

    @property
    def makes(self) -> bool:
        """Return whether it makes an error beyond its own tolerance."""
        return any(not deviation.agrees for deviation in self.deviations.values())

    @property
    def ties_only(self) -> bool:
        """Return whether it makes no error but to choose another one of equal numbers."""
        return all(each.agrees or each.tied for each in self.deviations.values())

    @property
    def worst(self) -> tuple[str, Deviation]:
        """The output that lies farthest off, in multiples of what is allowed for it."""
        return max(self.deviations.items(), key=lambda item: excess(item[1]))


@dataclass(frozen=True)
class Found:
    """Outcome of the search.

    Args:
        makers: Parts that make an error, in graph order, those last that only choose another one
            of equal numbers.
        passing: Parts whose output differs although, fed with the reference, it agrees.
        unknown: Parts that could not be run alone.
        left: Parts that were not replayed, because that takes too long.
    """

    makers: tuple[Replayed, ...]
    passing: tuple[Replayed, ...]
    unknown: tuple[Replayed, ...]
    left: int


def search(
    reference: Reference,
    suspect: Suspect,
    scanned: Mapping[str, Deviation],
    feed: Arrays,
    allowed: Allowed,
    *,
    limit: int,
    progress: Progress = silent,
) -> Found:
    """Replay the parts behind which outputs differ.

    First those whose own output differs. If none of them makes an error, those before them: an
    error can be too large for one node and still small beside what the whole graph may deviate.

    Args:
        reference: The leg that is taken to be right.
        suspect: The leg whose parts are replayed.
        scanned: Deviation by tensor, from :func:`tripoint.parity.locate.compare_tensors.scan`.
        feed: Array by input name.
        allowed: Tolerances.
        limit: Tensors to have in memory at a time.
        progress: Told what goes on.
    """
    parts = partition(suspect.graph, list(scanned))
    relevant = _behind_outputs(suspect.graph, parts, scanned)
    differing = [part for part in relevant if not _agree(part, scanned)]
    rest = [part for part in relevant if _agree(part, scanned)]
    batches = [relevant] if suspect.replays is None else [differing, rest]
    done: list[Replayed] = []
    budget = suspect.replays
    for batch in batches:
        chosen = batch if budget is None else batch[:budget]
        for replayed in _replay_all(reference, suspect, chosen, feed, allowed, limit):
            done.append(replayed)
            part = replayed.part
            progress(f"replay {len(done)}: {part.nodes[-1].name or part.tensors[-1]}")
        if budget is not None:
            budget -= len(chosen)
        if any(replayed.makes for replayed in done):
            break
    makers = [each for each in done if each.makes]
    return Found(
        # Who chooses another one of equal numbers is not what else differs comes from.
        tuple(sorted(makers, key=lambda each: each.ties_only)),
        tuple(
            each
            for each in done
            if each.deviations and not each.makes and not _agree(each.part, scanned)
        ),
        tuple(each for each in done if not each.deviations),
        len(relevant) - len(done),
    )


def partition(graph: Graph, names: Sequence[str]) -> list[Part]:
    """The parts of a graph between tensors that both legs have, in graph order.

    Args:
        graph: The graph.
        names: Names of these tensors. Graph inputs are known anyway.
    """
    stops = {graph.values[name] for name in names} | set(graph.inputs)
    parts: dict[tuple[ir.Node, ...], list[Part]] = {}
    for value in (graph.values[name] for name in names):
        if value.producer() is not None:
            part = graph.between([value], stops)
            parts.setdefault(part.nodes, []).append(part)
    merged = [
        graph.part(nodes, [value for part in same for value in part.outputs])
        for nodes, same in parts.items()
    ]
    return sorted(merged, key=lambda part: graph.position[part.nodes[-1]])


def replay(suspect: Suspect, part: Part, values: Mapping[str, Array], allowed: Allowed) -> Replayed:
    """Run a part alone and compare its outputs.

    Args:
        suspect: The leg.
        part: The part.
        values: Those of the reference, by name of its inputs and outputs.
        allowed: Tolerances.
    """
    feed = {value.name or "": values[value.name or ""] for value in part.inputs}
    expected = {value.name or "": values[value.name or ""] for value in part.outputs}
    try:
        outputs = suspect.replay(part, feed)
    except ExternalStepError as error:
        return Replayed(part, {}, error.fact)
    tolerances = allowed.across(part, expected)
    deviations = {
        name: measure(array, outputs[name], tolerances[name]) for name, array in expected.items()
    }
    if any(not each.agrees for each in deviations.values()) and decides(part.nodes):
        graph = suspect.graph.cut(part, feed).ir
        truth.annotate(graph)
        deviations = settled(
            graph, feed, {}, allowed.products, (expected, outputs), deviations,
            lambda name, array, _: allowed.across(part, {**expected, name: array})[name],
        )  # fmt: skip
    return Replayed(part, deviations)


def _replay_all(
    reference: Reference,
    suspect: Suspect,
    parts: Sequence[Part],
    feed: Arrays,
    allowed: Allowed,
    limit: int,
) -> Iterator[Replayed]:
    """Replay parts while the reference computes what they are fed with."""
    uses: dict[str, int] = {}
    for part in parts:
        for name in part.tensors:
            uses[name] = uses.get(name, 0) + 1
    names = [name for name in suspect.graph.values if name in uses]
    pending = list(parts)
    with Shelf(limit) as shelf:
        for name, array in reference.values(names, feed):
            shelf.put(name, array)
            # Parts become ready in their own order, so that results come in graph order.
            while pending and all(needed in shelf for needed in pending[0].tensors):
                part = pending.pop(0)
                values = {needed: shelf.get(needed) for needed in part.tensors}
                for needed in part.tensors:
                    uses[needed] -= 1
                    if not uses[needed]:
                        shelf.drop(needed)
                yield replay(suspect, part, values, allowed)
        for part in pending:
            missing = [needed for needed in part.tensors if needed not in shelf]
            if missing:
                yield Replayed(part, {}, f"{reference.name} does not give {missing[0]}")
            else:
                values = {needed: shelf.get(needed) for needed in part.tensors}
                yield replay(suspect, part, values, allowed)


def _behind_outputs(
    graph: Graph, parts: Sequence[Part], scanned: Mapping[str, Deviation]
) -> list[Part]:
    """The parts that a differing output of the graph depends on, in graph order."""
    wrong = [
        graph.values[name]
        for name in graph.outputs
        if name in scanned and not scanned[name].agrees and name in graph.values
    ]
    behind = set(graph.between(wrong, ()).nodes)
    return [part for part in parts if behind.issuperset(part.nodes)]


def _agree(part: Part, scanned: Mapping[str, Deviation]) -> bool:
    return all(scanned[value.name or ""].agrees for value in part.outputs)


def excess(deviation: Deviation) -> float:
    """Largest difference in multiples of what is allowed for an element of the largest size."""
    allowed = deviation.tolerance.atol + deviation.tolerance.rtol * deviation.scale
    return deviation.max_abs / allowed if allowed else deviation.max_abs
