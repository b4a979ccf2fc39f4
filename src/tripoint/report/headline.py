"""Conclusion of a verification in one sentence: the first line that a person reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tripoint.parity.compare import OutputComparison, Status
from tripoint.parity.results import Verification
from tripoint.sanitize import clean
from tripoint.sources.pairing import moved
from tripoint.words import number_of

_APART = 10.0
"""How far the sharpness of outputs lies apart where the worst is named."""
_NAMED = 3
_WIDTH = 80


def headline(value: Verification) -> list[str]:
    """One line, or more where it is long; all but the first are indented.

    ``equal: 3 outputs, 8 points, faults above 0.02 % of an element would have been seen``; of
    outputs that differ, which is worst and by how much; of what is unproven, the cause.
    """
    names = dict.fromkeys(entry.name for point in value.points for entry in point.outputs)
    count = f"{number_of(len(names), 'output')}, {number_of(len(value.points), 'point')}"
    if value.verdict == "different":
        return [clean(f"different: {_difference(value, len(names))}")]
    seen = sharpness(value)
    if value.verdict == "equal":
        return [clean(f"equal: {count}, {seen}" if seen else f"equal: {count}")]
    first = f"unproven: {'; '.join(_causes(value))}"
    compared = [leg.name for leg in value.legs if leg.status == "ran"]
    if len(compared) < 2 or not names:
        return [clean(first)]
    lines = [first]
    for part in (_rest(value, list(names), count), seen):
        between = "; " if len(lines) == 1 else ", "
        if part and len(lines[-1]) + len(between) + len(part) <= _WIDTH:
            lines[-1] += between + part
        elif part:
            lines.append(f"  {part}")
    return [clean(line) for line in lines]


def sharpness(value: Verification) -> str:
    """The smallest fault that would have been seen, of the least sharp output."""
    shares = {
        name: share for name, share in value.visible.items() if name not in set(value.vacuous)
    }
    floats = {name: share for name, share in shares.items() if share}
    if not shares:
        return ""
    if not floats:
        return "any change of an element would have been seen"
    name, worst = max(floats.items(), key=lambda pair: pair[1])
    others = [share for share in floats.values() if share * _APART <= worst]
    most = _percent(max(others, default=worst))
    apart = f" ({_percent(worst)} of {name})" if others else ""
    return f"faults above {most} of an element{apart} would have been seen"


def _difference(value: Verification, count: int) -> str:
    wrong = [entry for point in value.points for entry in point.outputs if entry.wrong]
    if value.permutation is not None:
        return f"outputs changed places ({moved(value.permutation.outputs)})"
    if not wrong:
        return value.reasons[0] if value.reasons else "legs differ"
    names = list(dict.fromkeys(entry.name for entry in wrong))
    worst = max(wrong, key=lambda entry: entry.excess or 0.0)
    which = f"{len(names)} of {number_of(count, 'output')} ({_some(names)})"
    return f"{which}, {_how(worst, names)}"


def _how(entry: OutputComparison, names: Sequence[str]) -> str:
    name = f"{entry.name} " if len(names) > 1 else ""
    if entry.agreement is not None:
        return f"{name}agrees in {entry.agreement:.4g} of its elements, {entry.pair}"
    if entry.excess is None or math.isinf(entry.excess) or entry.status != "different":
        detail = f" ({entry.detail})" if entry.detail else ""
        return f"{name}{_WORDS.get(entry.status, entry.status)}{detail}, {entry.pair}"
    return f"{name}by {entry.excess:.3g} times what is allowed, {entry.pair}"


_WORDS = {
    "shape": "of another shape",
    "dtype": "of another dtype",
    "nan": "NaN in one leg only",
    "inf": "infinite in one leg only",
}


def _of_status(value: Verification, status: Status) -> list[str]:
    """Return the names of the outputs that have a status at some point."""
    entries = (entry for point in value.points for entry in point.outputs)
    return list(dict.fromkeys(entry.name for entry in entries if entry.status == status))


def _causes(value: Verification) -> Iterator[str]:
    """Yield the reasons for which nothing is proven, those in the outputs first."""
    said = False
    if value.vacuous:
        one = len(value.vacuous) == 1
        verb, them = ("output {} says", "it") if one else ("outputs {} say", "them")
        yield f"{verb.format(_some(value.vacuous))} nothing, no inputs move {them}"
        said = True
    covered = _of_status(value, "covered")
    if covered:
        verb = "agrees" if len(covered) == 1 else "agree"
        yield f"{_some(covered)} {verb} only within a tolerance as large as the numbers"
        said = True
    random = _of_status(value, "random")
    if random:
        verb = "depends" if len(random) == 1 else "depend"
        yield f"{_some(random)} {verb} on random numbers"
        said = True
    if value.unsuited:
        yield "the made-up inputs do not suit the model"
        said = True
    for status, verb in (("failed", "failed"), ("not run", "was not run")):
        legs = [leg.name for leg in value.legs if leg.status == status]
        if legs:
            many = verb.replace("was", "were") if len(legs) > 1 else verb
            yield f"{' and '.join(legs)} {many}"
            said = True
    if not said and value.reasons:
        yield value.reasons[0]


def _rest(value: Verification, names: Sequence[str], count: str) -> str:
    """Describe the outputs that agree."""
    statuses: dict[str, set[str]] = {}
    for point in value.points:
        for entry in point.outputs:
            statuses.setdefault(entry.name, set()).add(entry.status)
    equal = [name for name in names if statuses[name] == {"equal"}]
    if not equal:
        return ""
    if len(equal) == len(names):
        return f"what was compared is equal: {count}"
    points = number_of(len(value.points), "point")
    return f"equal: {len(equal)} of {number_of(len(names), 'output')}, {points}"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _percent(share: float) -> str:
    """Two digits, rounded up, without an exponent."""
    percent = 100.0 * share
    digits = 1 - math.floor(math.log10(percent))
    up = math.ceil(percent * 10.0**digits * (1 - 1e-12)) / 10.0**digits
    text = f"{up:.{max(0, digits)}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
