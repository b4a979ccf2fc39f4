"""A verification as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tripoint.parity.compare import OutputComparison
from tripoint.parity.metamorphic import MetamorphicCheck
from tripoint.parity.results import (
    Exercised,
    LegReport,
    Part,
    PointReport,
    Unexercised,
    Variation,
    Verification,
)
from tripoint.report.columns import columns
from tripoint.report.headline import headline
from tripoint.report.json import plain
from tripoint.sanitize import clean
from tripoint.sources.pairing import moved
from tripoint.words import number_of

_TOLD = 0.25
"""Share of the elements from which it is said that they never changed; of a Relu, three inputs
leave one in eight at zero."""

_NAMED = 3
_WIDTH = 80
_PARTS: Mapping[Part, tuple[str, str]] = {
    "branches": ("branches not taken", "{} of {} If and Loop"),
    "rows": ("rows of tables not read", "{} of {} tables"),
    "limits": ("limits of clamps not reached", "{} of {} clamps"),
    "masks": ("sides of masks not chosen", "{} of {} Where"),
}


def verification(value: Verification) -> list[str]:
    """The headline, legs, sizes, comparisons, permutation, checks of one leg, and the verdict."""
    lines = [*headline(value), ""]
    lines += columns([_leg(leg) for leg in value.legs], indent="")
    lines += [f"note: {clean(note)}" for note in value.notes]
    lines += [f"sizes tried: {clean(_tried(value.points))}"] if value.points else []
    lines += [f"input {clean(name)}: {clean(text)}" for name, text in value.inputs.items()]
    lines += ["", *columns(list(_comparisons(value)), indent="")]
    lines += [
        f"output {clean(name)}: {text}"
        for name, variation in value.variation.items()
        if (text := _moved(variation)) is not None
    ]
    if value.permutation is not None:
        pair = clean(value.permutation.pair)
        lines += ["", f"permutation ({pair}): {clean(moved(value.permutation.outputs))}"]
    checks = list(_checks(value.metamorphic))
    lines += ["", *columns(checks, indent="")] if checks else []
    if value.exercised is not None and value.exercised.missing:
        lines += ["", *_not_exercised(value.exercised, len(value.points))]
    return [*lines, "", *verdict(value)]


def verdict(value: Verification) -> list[str]:
    """The verdict, what it does not cover, where a failing case lies, and what to run next."""
    ran = [clean(leg.name) for leg in value.legs if leg.status == "ran"]
    compared = f"compared {', '.join(ran)} at {number_of(len(value.points), 'point')}"
    if len(ran) < 2:
        compared = f"nothing was compared: {f'only {ran[0]}' if ran else 'no leg'} ran"
    if value.verdict == "unproven" and len(ran) > 1:
        compared += f", {_agreed(value)}"
    lines = [f"verdict: {value.verdict} ({compared})"]
    lines += [f"  {clean(reason)}" for reason in value.reasons]
    if value.failing is not None:
        lines.append(f"failing case: {clean(value.failing.folder)}")
        if value.failing.command:
            lines.append(f"  repeat it: {clean(value.failing.command)}")
    if value.next is not None:
        lines.append(f"next: {clean(value.next)}")
    return lines


def _moved(variation: Variation) -> str | None:
    """Describe an output of which some elements never change; None if few do so."""
    if variation.depends != "values":
        what = {"sizes": "depends on sizes only", "nothing": "is constant"}[variation.depends]
        return f"{what}, no value of an input changes it"
    share = variation.unchanged
    if share is None or not _TOLD <= share < 1.0:
        return None
    count = number_of(variation.inputs, "input")
    return f"{share:.0%} of its elements are the same for all {count} of the same sizes"


def _not_exercised(value: Exercised, points: int) -> list[str]:
    """Counts by part of the graph, each with a few names."""
    lines = ["not exercised, so that a fault there is not seen:"]
    for part, (label, counted) in _PARTS.items():
        missing = [each for each in value.missing if each.part == part]
        if not missing:
            continue
        nodes = len({(each.node, each.op) for each in missing})
        names = [_missed(each) for each in missing[:_NAMED]]
        more = len(missing) - len(names)
        names += [f"and {more} more"] if more else []
        count = counted.format(nodes, value.watched[part])
        at = value.points[part]
        count += f", at {at} of {points} points" if at < points else ""
        said = clean(f"{label} ({count}): {', '.join(names)}")
        lines += textwrap.wrap(
            said,
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _missed(value: Unexercised) -> str:
    if value.read is not None:
        return f"{value.what} of {value.node}"
    return f"{value.what} of {value.node}"


def _agreed(value: Verification) -> str:
    """``all equal``, or how many outputs are and what the others are."""
    statuses: dict[str, set[str]] = {}
    for point in value.points:
        for entry in point.outputs:
            statuses.setdefault(entry.name, set()).add(entry.status)
    equal = [name for name, seen in statuses.items() if seen == {"equal"}]
    if len(equal) == len(statuses):
        return "all equal"
    others: dict[str, int] = {}
    for seen in statuses.values():
        for status in sorted(seen - {"equal"})[:1]:
            others[status] = others.get(status, 0) + 1
    said = ", ".join(f"{count} {status}" for status, count in others.items())
    return f"{len(equal)} of {number_of(len(statuses), 'output')} equal, {said}"


def _leg(leg: LegReport) -> Sequence[object]:
    if leg.status != "ran":
        return (leg.name, leg.status, leg.reason or "")
    tf32 = "TF32 on" if leg.tf32 else "TF32 off"
    return (leg.name, "ran", f"{leg.version}, {leg.device}, {tf32}")


def _tried(points: Sequence[PointReport]) -> str:
    """``N=1, 2, 8``; with several symbols ``N=1 L=4, N=2 L=7``."""
    sizes = [point.sizes for point in points]
    if not any(sizes):
        return f"those of the model, with {len(points)} sets of inputs"
    symbols = list(sizes[0])
    if len(symbols) == 1:
        values = dict.fromkeys(str(point.get(symbols[0])) for point in sizes)
        return f"{symbols[0]}={', '.join(values)}"
    each = dict.fromkeys(" ".join(f"{s}={n}" for s, n in point.items()) for point in sizes)
    return ", ".join(each)


def _comparisons(value: Verification) -> Iterator[Sequence[object]]:
    """One line for an output that is equal everywhere, else one for each point."""
    groups: dict[tuple[str, str], list[tuple[PointReport, OutputComparison]]] = {}
    for at in value.points:
        for entry in at.outputs:
            groups.setdefault((entry.pair, entry.name), []).append((at, entry))
    yield ("legs", "output", "", "max abs", "max rel", "of allowed", "agree", "allowed", "because")
    for entries in groups.values():
        statuses = {entry.status for _, entry in entries}
        if len(statuses) == 1 and statuses <= {"equal", "vacuous"}:
            _, worst = max(entries, key=lambda pair: (pair[1].excess or 0.0, pair[1].max_abs or 0))
            agree = _agree([entry for _, entry in entries])
            tied = max((entry for _, entry in entries), key=lambda entry: entry.ties)
            ties = f" ({tied.detail})" if tied.ties else ""
            status = f"{worst.status} at {number_of(len(entries), 'point')}{ties}"
            yield _comparison(worst, status, agree)
        else:
            for at, entry in entries:
                status = f"{entry.status} at {at.place}"
                status += f" ({entry.detail})" if entry.detail else ""
                yield _comparison(entry, status, _agree([entry]))


def _comparison(entry: OutputComparison, status: str, agree: str) -> Sequence[object]:
    allowed = because = ""
    if entry.tolerance is not None:
        each = dict.fromkeys(f"{atol:.2g}" for atol in sorted(entry.tolerance.each))
        allowed = (
            f"{' to '.join([*each][:: max(1, len(each) - 1)])} + {entry.tolerance.rtol:.2g} rel"
        )
        because = entry.tolerance.reason
    numbers = (_number(entry.max_abs), _number(entry.max_rel), _share(entry.excess))
    return (entry.pair, entry.name, status, *numbers, agree, allowed, because)


def _share(excess: float | None) -> str:
    if excess is None:
        return ""
    return f"{excess:.1%}" if excess <= 1.0 else f"{excess:.3g} times"


def _agree(entries: Sequence[OutputComparison]) -> str:
    """The smallest share of equal elements, or of equal choices of a classifier."""
    exact = [entry.agreement for entry in entries if entry.agreement is not None]
    if exact:
        return f"{min(exact):.2%}"
    tops = [entry.top for entry in entries if entry.top is not None]
    if not tops:
        return ""
    text = f"top-1 {min(top.top1 for top in tops):.2%}"
    fives = [top.top5 for top in tops if top.top5 is not None]
    return f"{text}, top-5 {min(fives):.2%}" if fives else text


def _checks(checks: Sequence[MetamorphicCheck]) -> Iterator[Sequence[object]]:
    """One line for all legs that fare the same."""
    first = list(dict.fromkeys(check.check for check in checks))
    legs: dict[tuple[str, str, str], list[str]] = {}
    for check in sorted(checks, key=lambda check: first.index(check.check)):
        legs.setdefault((check.check, check.status, check.reason), []).append(check.leg)
    for (name, status, reason), concerned in legs.items():
        yield (name, status, ", ".join(leg for leg in concerned if leg), reason)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def verification_document(result: Verification) -> dict[str, Any]:
    """The verdict with all that it rests on."""
    said = "; ".join(line.strip() for line in headline(result))
    return {"headline": said, **plain(result)}
