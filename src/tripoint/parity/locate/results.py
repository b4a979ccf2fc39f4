"""Results of a search for the culprit; the fields are the keys of the JSON output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tripoint.graph.source_lines import Source
from tripoint.parity.results import LegReport, Verdict
from tripoint.tolerance.derivation import Tolerance


@dataclass(frozen=True, slots=True)
class Culprit:
    """A node that makes an error.

    Args:
        node: Its name, or that of its first output where it has none.
        op: Its operator.
        tensor: The output that is wrong.
        source: Its PyTorch line, None if the export recorded none.
        error_before: Largest absolute error of its inputs while both legs compute their outputs;
            None if they could not be compared.
        error_after: The same of its outputs.
        error_alone: Largest absolute error of its outputs if it is fed with the inputs that the
            reference has: the error that it makes itself.
        status: ``"different"``, or ``"nan"``, ``"inf"``, ``"shape"``, ``"dtype"``.
        tolerance: What was allowed for ``error_alone``.
        detail: What differs, where the status does not say it all.
        nodes: All nodes that make the error together; several where no smaller part showed it,
            or where the reference has no tensors between them.
        fused_layer: Layer of the engine that holds it, None if there is none or it is not known.
        vanishes_unfused: Whether the outputs agree once it is kept apart from its neighbours;
            None if the leg joins no nodes or could not say.
        within: The nodes in whose branches it is, the outermost first; none if it is in the main
            graph. What it is fed with is then what the reference has at the outermost of them.
        note: What was not searched: a node with a body that is named as a whole.
        changed: What the file has otherwise than the module, such as a constant with both values.
    """

    node: str
    op: str
    tensor: str
    source: Source | None
    error_before: float | None
    error_after: float | None
    error_alone: float
    status: str
    tolerance: Tolerance
    detail: str = ""
    nodes: tuple[str, ...] = ()
    fused_layer: str | None = None
    vanishes_unfused: bool | None = None
    within: tuple[str, ...] = ()
    note: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Growth:
    """The node behind which an error that no single node makes has grown the most.

    Args:
        node: Its name.
        op: Its operator.
        tensor: Its output.
        source: Its PyTorch line, None if the export recorded none.
        error_before: Largest error of its inputs, relative to a typical element.
        error_after: The same of its output.
    """

    node: str
    op: str
    tensor: str
    source: Source | None
    error_before: float
    error_after: float


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A node whose output differs only because its input does.

    Args:
        node: Its name.
        op: Its operator.
        tensor: Its output.
        error: Largest absolute error of the output.
        error_alone: The same if it is fed with the inputs that the reference has.
    """

    node: str
    op: str
    tensor: str
    error: float
    error_alone: float


@dataclass(frozen=True, slots=True)
class OutputError:
    """A graph output.

    Args:
        name: Its name.
        status: ``"equal"``, or how it differs.
        max_abs: Largest absolute error.
        tolerance: What was allowed.
        detail: What differs, where the status does not say it all.
    """

    name: str
    status: str
    max_abs: float
    tolerance: Tolerance
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """Place at which two legs part.

    Args:
        verdict: ``"different"`` if outputs differ; ``"equal"`` if all legs ran and agree at every
            point; otherwise ``"unproven"``.
        reasons: Why the verdict is not ``"equal"``, and what the search could not settle.
        pair: The two legs that were searched, the reference first; None if all agree.
        resolution: Which tensors could be compared, in words; empty if nothing was searched.
        shapes: Sizes by input name of the point that was searched.
        seed: Seed of its inputs, None where they were given.
        outputs: The outputs at this point.
        culprit: The first node in graph order that makes an error, None if none does alone.
        accumulation: Where the error grew the most, if no node makes it alone.
        passed_on: Nodes whose output differs only because their input does, in graph order.
        others: Further nodes that make an error, in graph order.
        repro: Folder with the minimal model, None if none was asked for.
        legs: Every leg, those that did not run included.
        notes: What was assumed.
        unsuited: Whether the inputs that were made up do not suit the model: a leg does not run
            on them, or both give NaN at the same places.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    pair: str | None
    resolution: str
    shapes: Mapping[str, tuple[int, ...]]
    seed: int | None
    outputs: tuple[OutputError, ...]
    culprit: Culprit | None
    accumulation: Growth | None
    passed_on: tuple[PassedOn, ...]
    others: tuple[Culprit, ...]
    repro: str | None
    legs: tuple[LegReport, ...]
    notes: tuple[str, ...] = field(default=())
    unsuited: bool = False
