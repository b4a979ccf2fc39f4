"""Optimization profiles as text and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tripoint.profiles.constraints import Finding, Status
from tripoint.profiles.constraints.profiles import Examined, sentence, shown
from tripoint.profiles.export_formats import Spellings
from tripoint.profiles.profile import InputProfile
from tripoint.profiles.proposal import ProfileResult, Proposal
from tripoint.report.columns import columns
from tripoint.sanitize import clean, clean_lines
from tripoint.spec import ENDS
from tripoint.symbols import symbols_of
from tripoint.words import number_of, once

_WIDEST = 72
"""Characters of an equation behind which it goes on in the next line, at a blank."""

_WORDS: Mapping[Status, str] = {
    "holds": "holds",
    "partly": "not for all sizes between min and max",
    "violated": "VIOLATED",
    "undecided": "not decided",
}


def lines(result: ProfileResult) -> list[str]:
    """Everything that ``tripoint profile`` prints."""
    if not result.proposals:
        return ["all inputs have a fixed shape: the engine needs no profile"]
    output: list[str] = []
    several = len(result.proposals) > 1
    for index, proposal in enumerate(result.proposals):
        output += [f"profile {index}:" if several else "profile:", *_profile(proposal), ""]
    output += [*_equations(result), *(f"warning: {clean(text)}" for text in result.warnings), ""]
    if result.spellings is not None:
        output += _spellings(result.spellings)
    return output


def _profile(proposal: Proposal) -> Iterator[str]:
    rows: list[Sequence[object]] = [("input", *ENDS, "")]
    rows += [
        (
            each.name,
            *(_sizes(each, end) for end in ENDS),
            "values of a shape tensor" if each.values else "",
        )
        for each in proposal.profile.inputs
    ]
    yield from columns(rows)
    if proposal.ranges:
        yield ""
        yield from columns(
            [
                (symbol, proposal.ranges[symbol], proposal.sources[symbol])
                for symbol in proposal.ranges
            ]
        )


def _sizes(each: InputProfile, end: str) -> str:
    sizes = getattr(each, end)
    if each.values:
        return f"[{','.join(map(str, sizes))}]"
    return "x".join(map(str, sizes)) or "scalar"


def _equations(result: ProfileResult) -> Iterator[str]:
    equations = result.needed.equations
    if not equations:
        empty = any(size.min == 0 for each in result.proposals for size in each.ranges.values())
        least = "" if empty else " but that they are 1 at least"
        yield f"the graph needs nothing of these sizes{least}"
        return
    statuses = [tuple(e.findings[i].status for e in result.examined) for i in range(len(equations))]
    yield "what the graph needs:"
    rows: list[Sequence[object]] = []
    for index, equation in enumerate(equations):
        first, *rest = textwrap.wrap(equation.text, _WIDEST, break_long_words=False)
        said = ", ".join(dict.fromkeys(_WORDS[status] for status in statuses[index]))
        rows.append((first, equation.op, equation.node, equation.source or "", said))
        rows += [(f"  {line}",) for line in rest]
    yield from columns(rows)
    yield ""
    for index, examined in enumerate(result.examined):
        which = f"profile {index}: " if len(result.examined) > 1 else ""
        yield from (f"{which}{line}" for line in _findings(examined))


def _findings(examined: Examined) -> Iterator[str]:
    counts = Counter(finding.status for finding in examined.findings)
    said = ", ".join(
        f"{counts[status]} {'hold' if status == 'holds' and counts[status] > 1 else word}"
        for status, word in _WORDS.items()
        if counts[status]
    )
    yield f"{number_of(counts.total(), 'equation')}: {said}"
    yield from once(_faults(examined))


def _faults(examined: Examined) -> Iterator[str]:
    for finding in examined.findings:
        if finding.status == "violated":
            yield f"error: {clean(sentence(finding))}"
        elif finding.status == "partly":
            yield f"note: {clean(_note(finding))}"
        elif finding.status == "undecided":
            why = f"{finding.equation.text}: {finding.why_undecided}"
            yield f"not decided: {clean(f'node {finding.equation.node!r}: {why}')}"


def _note(finding: Finding) -> str:
    sizes = ", ".join(f"{name} = {size}" for name, size in (finding.sizes or {}).items())
    needs = finding.rule or f"{finding.equation.text} must hold"
    return (
        f"a profile cannot say that {needs}, and {sizes} lies in this one; "
        f"whoever calls the engine must see to it (node {finding.equation.node!r})"
    )


def _spellings(spellings: Spellings) -> Iterator[str]:
    yield "trtexec:"
    yield f"  {clean(spellings.trtexec)}"
    yield "Polygraphy:"
    yield f"  {clean(spellings.polygraphy)}"
    yield "ONNX Runtime:"
    for provider, options in spellings.onnxruntime.items():
        yield f"  ({provider!r}, {clean(dict(options))})"
    yield "Torch-TensorRT:"
    for inputs in spellings.torch_tensorrt:
        yield from (f"  {line}" for line in clean_lines(inputs).splitlines())
    yield from (f"note: {clean(note)}" for note in spellings.notes)


def document(result: ProfileResult) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "profile": [_proposal(result, proposal) for proposal in result.proposals],
        "equations": [_equation(result, index) for index in range(len(result.needed.equations))],
        "spellings": {
            "trtexec": result.spellings.trtexec,
            "polygraphy": result.spellings.polygraphy,
            "onnxruntime": result.spellings.onnxruntime,
            "torch_tensorrt": result.spellings.torch_tensorrt,
            "notes": result.spellings.notes,
        }
        if result.spellings is not None
        else None,
        "warnings": result.warnings,
        "summary": dict(
            Counter(f.status for examined in result.examined for f in examined.findings)
        ),
    }


def _proposal(result: ProfileResult, proposal: Proposal) -> dict[str, Any]:
    return {
        "inputs": [
            {
                "name": each.name,
                "dtype": result.dtypes[each.name],
                "min": each.min,
                "opt": each.opt,
                "max": each.max,
                "values": each.values,
                "source": _source(result, proposal, each),
            }
            for each in proposal.profile.inputs
        ],
        "dims": [
            {"symbol": symbol, **_range(size), "source": proposal.sources[symbol]}
            for symbol, size in proposal.ranges.items()
        ],
    }


def _source(result: ProfileResult, proposal: Proposal, each: InputProfile) -> str:
    if each.values:
        return "given"
    used = dict.fromkeys(
        s for dim in result.needed.inputs[each.name] for s in sorted(symbols_of(dim))
    )
    return "; ".join(f"{symbol}: {proposal.sources[symbol]}" for symbol in used) or "fixed"


def _range(size: Any) -> Mapping[str, int]:
    return {end: getattr(size, end) for end in ENDS}


def _equation(result: ProfileResult, index: int) -> dict[str, Any]:
    equation = result.needed.equations[index]
    findings = [examined.findings[index] for examined in result.examined]
    worst = max(findings, key=lambda finding: _SEVERITY[finding.status], default=None)
    return {
        "kind": equation.kind,
        "text": equation.text,
        "left": equation.left,
        "right": equation.right,
        "node": equation.node,
        "op": equation.op,
        "tensor": equation.tensor,
        "source": equation.source,
        "reason": equation.reason,
        "status": worst.status if worst is not None else "undecided",
        "profiles": [_finding(finding) for finding in findings],
    }


_SEVERITY = {"holds": 0, "undecided": 1, "partly": 2, "violated": 3}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status,
        "at": finding.at,
        "sizes": finding.sizes,
        "rule": finding.rule,
        "nearest": finding.nearest,
        "nearest_text": shown(finding.nearest),
        "why_undecided": finding.why_undecided,
    }
