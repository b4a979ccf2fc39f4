"""From what was searched to what is reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.source_lines import Source, source_of
from tripoint.numeric import trials
from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.changes import Changes
from tripoint.parity.locate.deviation import Deviation
from tripoint.parity.locate.fx import FX_NODE
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.locate.results import Culprit, Growth, Location, OutputError, PassedOn
from tripoint.parity.locate.search import Found, Replayed, excess, partition
from tripoint.parity.locate.subgraphs import Spot
from tripoint.parity.results import LegReport
from tripoint.words import number_of

_BY_FAR = 4.0
"""Times what is allowed."""


@dataclass(frozen=True)
class Graphs:
    """Graphs from which the names of nodes are taken.

    Args:
        suspect: The graph whose nodes are suspected.
        reference: That of the other leg, None if it has none. It is the one that the user knows,
            so a node is called by the name that it has there.
        again: Whether the reference is an export of today, and the user knows the other one.
    """

    suspect: Graph
    reference: Graph | None
    again: bool = False

    def node_of(self, tensor: str) -> ir.Node | None:
        """The node that produces a tensor, as the user knows it."""
        if self.reference is None or self.again:
            return self.suspect.node_of(tensor)
        return self.reference.node_of(tensor) or self.suspect.node_of(tensor)

    def source_of(self, tensor: str) -> Source | None:
        """The PyTorch line of a tensor, from whichever graph recorded one."""
        for graph in (self.reference, self.suspect):
            node = graph.node_of(tensor) if graph is not None else None
            source = source_of(node) if node is not None else None
            if source is not None:
                return source
        return None


@dataclass(frozen=True)
class Outputs:
    """The outputs of two legs at one point.

    Args:
        expected: Those of the reference, by name.
        actual: Those of the other.
        deviations: By name of those that both have.
    """

    expected: Arrays
    actual: Arrays
    deviations: Mapping[str, Deviation]

    @property
    def missing(self) -> list[str]:
        """Outputs that the other leg lacks."""
        return [name for name in self.expected if name not in self.actual]

    @property
    def extra(self) -> list[str]:
        """Outputs that the reference lacks."""
        return [name for name in self.actual if name not in self.expected]

    @property
    def holes(self) -> list[str]:
        """Outputs of numbers of which some are NaN in both."""
        return [
            name
            for name, array in self.expected.items()
            if name in self.actual and trials.holes([array]) and trials.holes([self.actual[name]])
        ]

    @property
    def ties(self) -> list[str]:
        """Notes on outputs that agree but for ties."""
        return [
            f"output {name}: {each.detail}"
            for name, each in self.deviations.items()
            if each.agrees and each.detail
        ]

    @property
    def differ(self) -> bool:
        """Return whether anything is wrong."""
        wrong = any(not deviation.agrees for deviation in self.deviations.values())
        return wrong or bool(self.missing) or bool(self.extra)


@dataclass
class Findings:
    """State of the search for one pair at one point; filled step by step.

    Args:
        pair: The two legs, the reference first.
        inputs: Inputs of the point.
        seed: Their seed.
        outputs: Deviation by output name.
    """

    pair: str
    inputs: Arrays
    seed: int | None
    outputs: Mapping[str, Deviation]
    missing: Sequence[str] = ()
    extra: Sequence[str] = ()
    resolution: str = ""
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    culprit: Culprit | None = None
    accumulation: Growth | None = None
    passed_on: list[PassedOn] = field(default_factory=list)
    others: list[Culprit] = field(default_factory=list)
    repro: str | None = None

    def take(
        self,
        graphs: Graphs,
        scanned: Mapping[str, Deviation],
        result: Found,
        spot: Spot | None,
        layer: str | None,
        vanishes: bool | None,
        changes: Changes,
    ) -> None:
        """Take in the result of a search.

        Args:
            graphs: Where names come from.
            scanned: Deviation by tensor while both legs compute their outputs.
            result: What the search found.
            spot: The first part that makes an error, narrowed down.
            layer: Layer of the engine that holds it.
            vanishes: Whether the outputs agree once it is kept apart.
            changes: What the nodes have otherwise than the module.
        """
        told = [node for each in result.makers for node in each.part.nodes]
        self.notes += changes.others(told)
        first = None
        if spot is not None:
            there = Graphs(spot.suspect.graph, spot.twin, graphs.again)
            first = _wide(spot.first, there, spot.scanned)
            if first is None:
                culprit = _culprit(spot.first, there, spot.scanned, layer, vanishes)
                changed = changes.of(told[: len(result.makers[0].part.nodes)])
                self.culprit = replace(culprit, within=spot.within, note=spot.note, changed=changed)
        wide = [_wide(each, graphs, scanned) for each in result.makers[1:]]
        self.reasons += [text for text in (first, *wide) if text is not None]
        self.others = [
            replace(_culprit(each, graphs, scanned), changed=changes.of(each.part.nodes))
            for each, text in zip(result.makers[1:], wide, strict=True)
            if text is None
        ]
        self.passed_on = [_passed_on(each, graphs, scanned) for each in result.passing]
        if result.unknown:
            example = result.unknown[0]
            self.reasons.append(
                f"{len(result.unknown)} parts could not be run alone, such as the one that ends at "
                f"{node_name(example.part.nodes[-1])}: {example.reason}"
            )
        if result.left and spot is None:
            self.reasons.append(f"{result.left} parts were not run alone, since that takes long")
        if spot is None:
            self.accumulation = _growth(graphs, scanned)
            whole = _only_in_the_whole(result, scanned)
            if whole is not None:
                self.reasons.append(
                    f"{node_name(whole.nodes[-1])} is the first that differs although all that it "
                    "reads agrees, and run alone it agrees too: it takes the rest of the engine "
                    "to make the error, its fusion or its range of sizes"
                )
            elif not result.unknown and not result.left:
                self.reasons.append(
                    "no node alone is beyond its tolerance: the error comes from accumulation"
                )

    def location(self, legs: tuple[LegReport, ...], notes: Sequence[str]) -> Location:
        """All of it, as it is reported."""
        reasons = [
            f"{self.pair}: output {name} is {deviation.status}"
            for name, deviation in self.outputs.items()
            if not deviation.agrees
        ]
        reasons += [f"{self.pair}: output {name} is missing" for name in self.missing]
        reasons += [f"{self.pair}: output {name} is extra" for name in self.extra]
        return Location(
            verdict="different",
            reasons=(*reasons, *self.reasons),
            pair=self.pair,
            resolution=self.resolution,
            shapes={name: tuple(array.shape) for name, array in self.inputs.items()},
            seed=self.seed,
            outputs=tuple(
                OutputError(name, each.status, each.max_abs, each.tolerance, each.detail)
                for name, each in self.outputs.items()
            ),
            culprit=self.culprit,
            accumulation=self.accumulation,
            passed_on=tuple(self.passed_on),
            others=tuple(self.others),
            repro=self.repro,
            legs=legs,
            notes=tuple(dict.fromkeys([*notes, *self.notes])),
        )


def _wide(replayed: Replayed, graphs: Graphs, scanned: Mapping[str, Deviation]) -> str | None:
    """Return the reason for which a part of several nodes has no culprit; None if it has one.

    Where the reference has a graph, all tensors inside are known, and the part is as small as it
    gets. Nodes of one FX node are named after it.
    """
    nodes = [node for node in replayed.part.nodes if graphs.suspect.depends(node)]
    if graphs.reference is not None or len(nodes) <= 1 or _of_one_fx_node(nodes):
        return None
    ends = " and ".join(value.name or "" for value in replayed.part.outputs)
    computed = [value.name or "" for value in replayed.part.inputs if value.producer() is not None]
    count = number_of(len(nodes), "node")
    if scanned.keys() <= set(graphs.suspect.outputs):
        verb = "lies" if len(nodes) == 1 else "lie"
        before = "it" if len(graphs.suspect.outputs) == 1 else ends
        return f"not narrowed: only the outputs are known, {count} {verb} before {before}"
    start = " and ".join(computed) or "the inputs"
    return f"not narrowed: {count} lie between {start} and {ends}, and no tensor there is known"


def _of_one_fx_node(nodes: Sequence[ir.Node]) -> bool:
    texts = {node.metadata_props.get(FX_NODE, "") for node in nodes}
    return len(texts) == 1 and bool(texts.pop())


def _culprit(
    replayed: Replayed,
    graphs: Graphs,
    scanned: Mapping[str, Deviation],
    layer: str | None = None,
    vanishes: bool | None = None,
) -> Culprit:
    tensor, alone = replayed.worst
    node = graphs.node_of(tensor) or replayed.part.nodes[-1]
    outputs = [value.name or "" for value in replayed.part.outputs]
    return Culprit(
        node=node_name(node),
        op=node.op_type,
        tensor=tensor,
        source=graphs.source_of(tensor),
        error_before=_before(replayed.part, scanned),
        error_after=max((scanned[n].max_abs for n in outputs if n in scanned), default=None),
        error_alone=alone.max_abs,
        status=alone.status,
        tolerance=alone.tolerance,
        detail=alone.detail,
        nodes=tuple(node_name(n) for n in replayed.part.nodes if graphs.suspect.depends(n)),
        fused_layer=layer,
        vanishes_unfused=vanishes,
    )


def _only_in_the_whole(result: Found, scanned: Mapping[str, Deviation]) -> Part | None:
    """The first part that makes an error where it stands, and none alone.

    What piles up crosses its tolerance by a little; an error that is made there, by far.
    """
    for each in result.passing:
        read, produced = (
            [scanned[name] for value in values if (name := value.name or "") in scanned]
            for values in (each.part.inputs, each.part.outputs)
        )
        if not all(deviation.agrees for deviation in read):
            continue
        if max(map(excess, produced), default=0.0) > _BY_FAR:
            return each.part
    return None


def _before(part: Part, scanned: Mapping[str, Deviation]) -> float | None:
    """Largest error of the inputs of a part; None if they could not be compared."""
    computed = [value.name or "" for value in part.inputs if value.producer() is not None]
    if any(name not in scanned for name in computed):
        return None
    # Inputs of the graph are the same for both.
    return max((scanned[name].max_abs for name in computed), default=0.0)


def _passed_on(replayed: Replayed, graphs: Graphs, scanned: Mapping[str, Deviation]) -> PassedOn:
    tensor, alone = replayed.worst
    node = graphs.node_of(tensor) or replayed.part.nodes[-1]
    return PassedOn(node_name(node), node.op_type, tensor, scanned[tensor].max_abs, alone.max_abs)


def _growth(graphs: Graphs, scanned: Mapping[str, Deviation]) -> Growth | None:
    """Return the node at which the error, relative to a typical element, grows the most."""
    best: tuple[float, Part, str, float] | None = None
    for part in partition(graphs.suspect, list(scanned)):
        before = max(
            (scanned[v.name or ""].relative for v in part.inputs if v.name in scanned), default=0.0
        )
        for value in part.outputs:
            after = scanned[value.name or ""].relative
            grown = after - before
            if math.isfinite(grown) and grown > 0 and (best is None or grown > best[0]):
                best = grown, part, value.name or "", before
    if best is None:
        return None
    _, part, tensor, before = best
    node = graphs.node_of(tensor) or part.nodes[-1]
    return Growth(
        node_name(node),
        node.op_type,
        tensor,
        graphs.source_of(tensor),
        before,
        scanned[tensor].relative,
    )
