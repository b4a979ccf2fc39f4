"""Culprits and costly nodes as text. Every function returns lines; nothing is printed here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tripoint.parity.locate.precision import Cost, Ranking
from tripoint.parity.locate.results import Culprit, Growth, Location
from tripoint.parity.results import LegReport
from tripoint.report.columns import columns
from tripoint.report.json import plain
from tripoint.sanitize import clean
from tripoint.tolerance.derivation import Tolerance
from tripoint.words import number_of

MOST = 10
"""Entries of a list that are shown; the JSON output has all."""


def location(value: Location) -> list[str]:
    """Legs, outputs, the culprit and what surrounds it, and the verdict."""
    lines = columns([_leg(leg) for leg in value.legs], indent="")
    lines += [f"note: {clean(note)}" for note in value.notes]
    if value.pair is not None:
        lines += ["", *_searched(value)]
    if value.culprit is not None:
        lines += ["", *_culprit(value.culprit)]
    if value.accumulation is not None:
        lines += ["", *_growth(value.accumulation)]
    lines += _listed(
        "further nodes that make an error",
        (
            (each.node, each.op, f"{_number(each.error_alone)} alone", "; ".join(each.changed))
            for each in value.others
        ),
    )
    lines += _listed(
        "pass the error on",
        (
            (each.node, each.op, f"{_number(each.error)}, alone {_number(each.error_alone)}")
            for each in value.passed_on
        ),
    )
    if value.repro:
        lines += ["", f"repro: {clean(value.repro)}, see README.md there"]
    return [*lines, "", *_verdict(value)]


def _leg(leg: LegReport) -> Sequence[object]:
    if leg.status != "ran":
        return (leg.name, leg.status, leg.reason or "")
    facts = [leg.version, leg.device, "TF32 on" if leg.tf32 else "TF32 off"]
    return (leg.name, "ran", ", ".join(str(fact) for fact in facts if fact))


def _searched(value: Location) -> Iterator[str]:
    sizes = " ".join(
        f"{name}:{'x'.join(map(str, shape)) or 'scalar'}" for name, shape in value.shapes.items()
    )
    yield clean(f"{value.pair} at {sizes}" + ("" if value.seed is None else f", seed {value.seed}"))
    rows = [
        (each.name, each.status, _number(each.max_abs), _allowed(each.tolerance), each.detail)
        for each in value.outputs
    ]
    yield from columns([("output", "", "max abs", "allowed", ""), *rows])
    if value.resolution:
        yield clean(f"compared {value.resolution}")


def _culprit(value: Culprit) -> Iterator[str]:
    why = f": {value.changed[0]}" if value.changed else ""
    yield clean(f"culprit: {value.node} ({value.op}){why}")
    rows: list[Sequence[object]] = []
    if value.within:
        rows.append(("inside", " > ".join(value.within)))
    if value.note:
        rows.append(("note", value.note))
    if value.source is not None:
        rows.append(("source", value.source))
    rows += [("changed", text) for text in value.changed[1:]]
    rows.append(("tensor", f"{value.tensor}: {value.status}"))
    rows.append(("error before", _number(value.error_before)))
    rows.append(("error after", _number(value.error_after)))
    alone = f"{_number(value.error_alone)}, allowed {_allowed(value.tolerance)}"
    rows.append(("fed with the reference", alone))
    rows.append(("because", value.tolerance.reason))
    if value.detail:
        rows.append(("differs", value.detail))
    if len(value.nodes) > 1:
        rows.append(("together with", ", ".join(n for n in value.nodes if n != value.node)))
    if value.fused_layer is not None:
        rows.append(("fused layer", value.fused_layer))
    if value.vanishes_unfused is not None:
        outcome = "the difference vanishes" if value.vanishes_unfused else "the difference stays"
        rows.append(("kept apart", outcome))
    yield from columns(rows)


def _growth(value: Growth) -> Iterator[str]:
    at = f", {value.source}" if value.source else ""
    yield clean(
        f"no node alone produces the error; it grows the most at {value.node} ({value.op}){at}"
    )
    before, after = _number(value.error_before), _number(value.error_after)
    yield clean(f"  {value.tensor}: from {before} to {after} of a typical element")


def _verdict(value: Location) -> Iterator[str]:
    ran = [leg for leg in value.legs if leg.status == "ran"]
    if len(ran) > 1 and len(ran) == len(value.legs):
        left = "all legs agree, but not everything is a number"
    else:
        left = "not all legs ran; those that did agree" if ran[1:] else "nothing was compared"
    what = {
        "equal": "all legs agree",
        "unproven": left,
        "different": f"{value.pair} differ",
    }
    yield clean(f"verdict: {value.verdict} ({what[value.verdict]})")
    yield from (f"  {clean(reason)}" for reason in value.reasons)


def ranking(value: Ranking) -> list[str]:
    """The costliest nodes, and those to keep."""
    rows: list[Sequence[object]] = [
        ("node", "op", "source", "output", "max abs", "of what is allowed")
    ]
    rows += [
        (
            each.node,
            each.op,
            each.source or "",
            each.output,
            _number(each.error),
            _share(each.share),
        )
        for each in value.nodes[: max(MOST, len(value.keep))]
    ]
    lines = [f"each node alone in {value.precision}, the costliest first:", *columns(rows)]
    more = len(value.nodes) - len(rows) + 1
    lines += [f"  and {more} more"] if more > 0 else []
    lines += [f"note: {clean(note)}" for note in value.notes]
    lines += ["", f"all nodes in {value.precision}: {_cost(value.all_rounded)}"]
    if value.keep:
        lines.append(f"with {number_of(len(value.keep), 'node')} in float32: {_cost(value.kept)}")
    if not value.met:
        lines.append("the goal is not met by any of these sets")
    lines += [
        clean(f"goal for {name}: {_allowed(tolerance)}, {tolerance.reason}")
        for name, tolerance in value.goal.items()
    ]
    if value.file:
        lines.append(f"nodes to keep: {clean(value.file)}, for `tripoint build --keep-fp32 @FILE`")
    elif value.keep:
        lines += _listed("nodes to keep", ((name,) for name in value.keep), most=len(value.keep))
    return lines


def _cost(value: Cost) -> str:
    off = f"output {value.output} {_number(value.error)} off"
    return clean(f"{off}, {_share(value.share)} of what is allowed")


def _listed(what: str, rows: Iterable[Sequence[object]], most: int = MOST) -> list[str]:
    entries = list(rows)
    lines = ["", f"{what}:", *columns(entries[:most])] if entries else []
    return [*lines, *([f"  and {len(entries) - most} more"] if len(entries) > most else [])]


def _allowed(tolerance: Tolerance) -> str:

    return f"{tolerance.atol:.2g} + {tolerance.rtol:.2g} rel"


def _number(value: float | None) -> str:
    return "not compared" if value is None else f"{value:.2g}"


def _share(value: float) -> str:
    return "no finite multiple" if value == math.inf else f"{value:.2g} times"


def location_document(result: Location) -> dict[str, Any]:
    """Return the document of the place at which two legs part."""
    return dict(plain(result))


def ranking_document(result: Ranking) -> dict[str, Any]:
    """Return the document of the cost of a lower precision, node by node."""
    return dict(plain(result))
