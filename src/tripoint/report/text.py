"""Results as text for people. Every function returns lines; nothing is printed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tripoint.doctor import Environment
from tripoint.engine.builder import BuildResult
from tripoint.engine.inspect import PlanInspection
from tripoint.engine.network import NetworkDescription
from tripoint.facts.compute import NodeLine
from tripoint.facts.origins import format_shape
from tripoint.facts.quantized import hints
from tripoint.facts.table import (
    INITIALIZER,
    Bound,
    Chain,
    Frozen,
    Refusal,
    Step,
    TensorFacts,
    TensorTable,
)
from tripoint.model import Model
from tripoint.report.sanitize import clean
from tripoint.rewrites.base import Applied, FixResult, Numeric, Proof, Refused
from tripoint.words import number_of, once

LONG_TABLE = 40
"""Rows up to which a summary shows the whole tensor table."""

_OFTEN = 4
"""Applications of one rewrite that are shown one by one."""

_ENDS = 12
"""Steps of a long chain that are shown at either end."""


def columns(rows: Sequence[Sequence[object]], *, indent: str = "  ") -> list[str]:
    """Align rows into columns, cleaned of control characters.

    Args:
        rows: Cells; the last cell of a row is not padded.
        indent: What each line starts with.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    count = max((len(row) for row in cells), default=0)
    widths = [max((len(row[i]) for row in cells if i < len(row)), default=0) for i in range(count)]
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append((indent + "  ".join(padded)).rstrip())
    return lines


def heading(model: Model, table: TensorTable | None = None) -> list[str]:
    """Which model, and whose view."""
    recorded = table is not None and table.target.kind == "log" and model.path is None
    name = clean(table.target.name if table and recorded else model.origin or "model in memory")
    lines = [f"{name}: opset {model.opset or 'unknown'}, {number_of(model.nodes, 'node')}"]
    if table is not None:
        lines.append(f"target: {clean(table.target)}")
    return lines


def shapes(table: TensorTable, *, lost_only: bool = False) -> list[str]:
    """The tensor table: true shape beside TensorRT's view, losses marked."""
    shown = [facts for facts in table.tensors if not lost_only or facts.lost or facts.differs]
    rows: list[Sequence[object]] = [("tensor", "op", "dtype", "true shape", "TensorRT", "")]
    origins = frozenset(table.origins)
    frozen = frozenset(entry.tensor for entry in table.frozen)
    rows += [_row(facts, origins, frozen) for facts in shown]
    lines = columns(rows) if shown else []
    return [*lines, *([""] if lines else []), *summary(table)]


def _row(facts: TensorFacts, origins: frozenset[str], frozen: frozenset[str]) -> Sequence[object]:
    notes = []
    if facts.name in origins:
        notes.append("origin")
    if facts.lost:
        notes.append(f"lost {', '.join(map(str, facts.lost))}")
    if facts.differs:
        notes.append("not the true shape")
    if facts.declared is not None:
        notes.append(f"declared {format_shape(facts.declared)}")
    if facts.name in frozen:
        notes.append("frozen")
    if facts.role == "shape":
        notes.append("shape tensor")
    elif facts.role == "both":
        notes.append("execution and shape tensor")
    return (
        facts.name,
        facts.op or "input",
        facts.dtype or "?",
        format_shape(facts.shape),
        format_shape(facts.tensorrt) if facts.tensorrt is not None else "not reached",
        "; ".join(notes),
    )


def summary(table: TensorTable) -> list[str]:
    """The counts of a table, with what was not decided."""
    counts = table.summary
    lines = [
        f"{number_of(counts.tensors, 'tensor')}, {_lost(counts.lost_dims, counts.lost_tensors)}"
    ]
    if counts.origins:
        named = ", ".join(map(clean, counts.origins[:LONG_TABLE]))
        more = len(counts.origins) - LONG_TABLE
        lines.append(f"origins: {named}{f' and {more} more' if more > 0 else ''}")
    others = [
        (counts.dynamic_dims, "dynamic"),
        (counts.data_dependent_dims, "data-dependent"),
        (counts.unresolved_dims, "not decided"),
    ]
    lines += [f"{number_of(count, 'dim')} {what}" for count, what in others if count]
    if counts.differing_tensors:
        lines.append(
            f"{number_of(counts.differing_tensors, 'tensor')} of another size than the true one"
        )
    if counts.not_seen:
        lines.append(f"{number_of(counts.not_seen, 'tensor')} that the target did not reach")
    lines += once(f"contradiction: {clean(text)}" for text in table.contradictions)
    lines += _listed("frozen sizes", (_frozen(entry) for entry in table.frozen))
    lines += _listed("sizes that values decide", (_bound(entry) for entry in table.bounds))
    lines += [f"note: {clean(note)}" for note in table.notes]
    return lines + refusals(table)


def _listed(what: str, entries: Iterable[str]) -> list[str]:
    lines = [f"  {entry}" for entry in entries]
    if len(lines) > LONG_TABLE:
        lines = [*lines[:LONG_TABLE], f"  and {len(lines) - LONG_TABLE} more"]
    return [f"{what}:", *lines] if lines else []


def _frozen(entry: Frozen) -> str:
    return clean(
        f"{entry.op} {entry.node}: axis {entry.axis} of {entry.tensor} is {entry.size}, "
        f"not {entry.expected}: {entry.reason}"
    )


def _bound(entry: Bound) -> str:
    most = "" if entry.most is None else f" to {entry.most}"
    return clean(
        f"{entry.symbol} of {entry.tensor}: {entry.least}{most or ' or more'} ({entry.op})"
    )


def parsed_or_built(table: TensorTable) -> list[str]:
    """What stops a TensorRT: nodes that it does not parse, or an installed one not build."""
    nodes = {facts.node for facts in table.tensors if facts.node}
    nodes = nodes if table.target.kind == "installed" else set()
    late = [note for note in table.notes if any(note.startswith(f"node {n!r} (") for n in nodes)]
    return [*(f"note: {clean(note)}" for note in late), *refusals(table)]


def refusals(table: TensorTable) -> list[str]:
    """Nodes that the target would refuse or read differently."""
    if not table.refusals:
        return []
    count = len({(each.op, each.node) for each in table.refusals})
    lines = [f"{table.target} refuses or misreads {number_of(count, 'node')}:"]
    reasons: dict[str, list[Refusal]] = {}
    for refusal in table.refusals:
        lead = f"{refusal.op}: " if refusal.op else ""
        reasons.setdefault(f"{lead}{refusal.reason}", []).append(refusal)
    for reason, found in reasons.items():
        first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
        source = f", {first.source}" if first.source else ""
        what = "region" if first.node.startswith("{ForeignNode[") else "model"
        where = f"node {first.node}{more}{source}" if first.op else f"{what} {first.node}"
        lines.append(f"  {clean(reason)} ({clean(where)})")
    lines.append("  the table goes on behind such a node as if it were understood")
    return [*lines, *(f"  next: {clean(step)}" for step in hints(table.refusals))]


def _lost(dims: int, tensors: int) -> str:
    return f"{number_of(dims, 'lost dim')} in {tensors} of them" if dims else "no lost dimension"


def chain(value: Chain) -> list[str]:
    """Why one tensor lost dimensions, step by step."""
    if value.misread is not None:
        where = f"that starts at {clean(value.misread)}"
        lines = [f"{clean(value.tensor)}: TensorRT gives it another shape, and {where}"]
    elif value.origin is None:
        lines = [f"{clean(value.tensor)}: no dimension is lost"]
    else:
        lines = [f"{clean(value.tensor)}: the loss starts at {clean(value.origin)}"]
    steps = [_step(step) for step in value.back]
    if len(steps) > 2 * _ENDS:
        hidden = len(steps) - 2 * _ENDS
        steps[_ENDS:-_ENDS] = [("...", "", "", f"{number_of(hidden, 'more step')}")]
    lines += columns(steps, indent="    ")
    if value.reaches:
        lines.append(f"    reaches the outputs {', '.join(map(clean, value.reaches))}")
    lines += _refused_on_the_way(value)
    lines += [f"    frozen: {_frozen(entry)}" for entry in value.frozen[:_OFTEN]]
    if len(value.frozen) > _OFTEN:
        lines.append(f"    and {number_of(len(value.frozen) - _OFTEN, 'more frozen size')}")
    return lines


def _refused_on_the_way(value: Chain) -> list[str]:
    """What the target refuses or misreads of the node of a tensor, and of those that feed it."""
    groups: dict[tuple[bool, str, str], list[str]] = {}
    told = {step.reason for step in value.back}
    for refusal in value.refusals:
        if refusal.reason in told:
            continue
        behind = refusal.node != value.node
        groups.setdefault((behind, refusal.op, refusal.reason), []).append(refusal.node)
    lines = []
    for (behind, op, reason), nodes in groups.items():
        more = f" and {len(nodes) - _OFTEN} more" if len(nodes) > _OFTEN else ""
        made_from = f"made from {op} {', '.join(nodes[:_OFTEN])}{more}, " if behind else ""
        lines.append(clean(f"    {made_from}refused or misread: {reason}"))
    return lines


def _step(step: Step) -> Sequence[object]:
    return (step.tensor, step.op or "input", step.source or "", step.reason)


def chains(table: TensorTable, *, limit: int = 5) -> list[str]:
    """The chains of the origins, the first few in full."""
    lines = [line for value in table.chains[:limit] for line in chain(value)]
    if len(table.chains) > limit:
        lines.append(f"and {number_of(len(table.chains) - limit, 'more origin')}")
    return lines


def fix(result: FixResult) -> list[str]:
    """Rewrites with their proofs, refusals, and what remains."""
    lines = _all_applied(result.applied)
    if not result.applied:
        lines.append("no rewrite applies")
    lines += _all_refused(result.refused)
    if result.proof is not None:
        lines += ["whole model", *(f"    {line}" for line in proof(result.proof))]
    lines.append(
        f"nodes {result.before.nodes} -> {result.after.nodes}, "
        f"lost dims {result.before.lost_dims} -> {result.after.lost_dims}"
    )
    if result.remaining:
        lines.append(f"{number_of(len(result.remaining), 'tensor')} with dims that are still lost:")
        rows = [(entry.tensor, f"axes {entry.lost}", entry.reason) for entry in result.remaining]
        lines += columns(rows[:LONG_TABLE], indent="    ")
        if len(rows) > LONG_TABLE:
            lines.append(f"    and {len(rows) - LONG_TABLE} more")
    return lines


def _all_refused(refused: Sequence[Refused]) -> list[str]:
    """Each reason of a rewrite once, with the first nodes at which it holds."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in refused:
        groups.setdefault((entry.rewrite, entry.reason), []).append(entry.node)
    lines = []
    for (rewrite, reason), nodes in groups.items():
        more = f" and {len(nodes) - _OFTEN} more" if len(nodes) > _OFTEN else ""
        lines.append(f"not applied: {rewrite} at {clean(', '.join(nodes[:_OFTEN]))}{more}")
        lines.append(f"    {clean(reason)}")
    return lines


def _all_applied(applied: Sequence[Applied]) -> list[str]:
    """Each application of a rewrite, or one line for a rewrite that was applied often."""
    groups: dict[str, list[Applied]] = {}
    for entry in applied:
        groups.setdefault(entry.rewrite, []).append(entry)
    lines = []
    for name, entries in groups.items():
        if len(entries) <= _OFTEN:
            lines += [line for entry in entries for line in _applied(entry)]
            continue
        proofs = Counter(line for entry in entries for line in proof(entry.proof))
        lines.append(f"{name}: {number_of(len(entries), 'place')}")
        lines += once(f"    assumes: {clean(entry.assumes)}" for entry in entries if entry.assumes)
        lines += [f"    {line} ({count})" for line, count in proofs.most_common(_OFTEN)]
    return lines


def _applied(entry: Applied) -> list[str]:
    nodes = ", ".join(map(clean, entry.nodes)) or clean(entry.tensor)
    assumes = [f"    assumes: {clean(entry.assumes)}"] if entry.assumes else []
    lines = [*assumes, *(f"    {line}" for line in proof(entry.proof))]
    return [f"{entry.rewrite}: {nodes}", *lines]


def proof(value: Proof) -> list[str]:
    """Both obligations, one line each."""
    shapes_line = {
        "holds": "shapes: the same for all sizes",
        "fails": f"shapes: {value.reason}",
        "undecided": f"shapes: not decided, {value.reason}",
        "skipped": "shapes: not compared",
    }[value.symbolic]
    return [clean(shapes_line), f"numbers: {numeric(value.numeric)}"]


def numeric(value: Numeric) -> str:
    """One sentence about the numbers."""
    if value.status == "skipped":
        return f"not compared ({clean(value.reason)})"
    if value.max_abs_error is None or value.tolerance is None:
        return f"{value.status}: {clean(value.reason)}"
    where = "; ".join(dict.fromkeys(map(point, value.points)))
    return (
        f"{'equal' if value.status == 'holds' else 'different'} in ONNX Runtime at "
        f"{number_of(len(value.points), 'point')} ({where}), max error {value.max_abs_error:.2g}, "
        f"allowed {value.tolerance:.2g}: {clean(value.reason)}"
    )


def point(bindings: object) -> str:
    """The sizes of one point, ``N=1 H=5``; for a static model, that inputs are random."""
    if not isinstance(bindings, dict) or not bindings:
        return "random inputs"
    return " ".join(f"{clean(name)}={size}" for name, size in bindings.items())


def section(title: str, lines: Iterable[str]) -> list[str]:
    """Lines under a title, with an empty line before."""
    return ["", title, *lines]


def tensor(facts: TensorFacts) -> list[str]:
    """One tensor: where it comes from, its true shape and TensorRT's view."""
    made_by = f"{facts.op} node {facts.node}" if facts.node is not None else "graph input"
    if facts.op == INITIALIZER:
        made_by = "no node: it is an initializer that the graph gives out"
    seen = format_shape(facts.tensorrt) if facts.tensorrt is not None else "not reached"
    rows = [
        ("tensor", facts.name),
        ("made by", f"{made_by}{f', {facts.source}' if facts.source else ''}"),
        ("true shape", format_shape(facts.shape)),
        ("TensorRT", seen),
    ]
    return columns(rows, indent="")


def network(value: NetworkDescription) -> list[str]:
    """Inputs and outputs in the form of TensorRT users' logs."""
    rows = [("Input ", index, each) for index, each in enumerate(value.inputs)]
    rows += [("Output", index, each) for index, each in enumerate(value.outputs)]
    width = max((len(clean(each.name)) for _, _, each in rows), default=0)
    lines = ["=== Network Description ==="]
    for kind, index, each in rows:
        shape = clean(format_shape(each.shape))
        note = "" if each.reached else "  (true shape; the target does not reach it)"
        if each.model is not None:
            note = f"  (the model: {clean(format_shape(each.model))})"
        lines.append(f"{kind} {index} | Name: {clean(each.name):{width}} | Shape: {shape}{note}")
    return lines


def nodes(listed: Iterable[NodeLine]) -> list[str]:
    """The nodes of a graph with their PyTorch lines."""
    return columns(
        [
            (f"{', '.join(line.outputs)} =", f"{line.op}({', '.join(line.inputs)})", source)
            for line in listed
            for source in [f"# {line.source}" if line.source else ""]
        ],
        indent="",
    )


def build(result: BuildResult) -> list[str]:
    """A built engine, and how to load it."""
    from tripoint.report import layers

    tensorrt, target = result.manifest["tensorrt"], result.manifest["target"]
    capabilities = target["compute_capabilities"]
    gpus = ", ".join(capabilities) if capabilities else "TensorRT's default choice"
    layers_made = number_of(result.network.layers or 0, "layer")
    lines = [
        f"wrote {clean(result.engine)}, {result.bytes} bytes, {layers_made}",
        f"wrote {clean(result.manifest_path)}",
        f"built by {tensorrt['name']} {tensorrt['version']} for compute capability {gpus}",
    ]
    lines += environment(result.manifest)
    lines += layers.precision(result.precision)
    lines.append(_timing_cache(result.manifest["timing_cache"]))
    for number, profile in enumerate(result.profiles):
        which = f" {number}" if len(result.profiles) > 1 else ""
        lines.append(f"optimization profile{which}:")
        rows = [
            (
                each.name + (" (values)" if each.values else ""),
                *("x".join(map(str, size)) for size in (each.min, each.opt, each.max)),
            )
            for each in profile.inputs
        ]
        lines += columns([("input", "min", "opt", "max"), *rows])
    lines += network(result.network)
    lines += [f"warning: {clean(text)}" for text in result.warnings]
    return lines


def _timing_cache(cache: Mapping[str, Any]) -> str:
    where = cache["location"] or f"none; {cache['reason']}"
    return f"timing cache: {clean(where)}"


def environment(manifest: Mapping[str, Any]) -> list[str]:
    """Variables without which the engine does not run."""
    needed = {n: v for n, v in (manifest.get("environment") or {}).items() if v is not None}
    return [
        f"set {clean(name)}={clean(value)} where it runs; TensorRT refuses the engine otherwise"
        for name, value in needed.items()
    ]


def plan(value: PlanInspection) -> list[str]:
    """What is known of a plan."""
    from tripoint.report import layers

    lines = [f"{clean(value.path)}: {value.bytes} bytes, sha256 {value.sha256}"]
    if value.manifest is not None:
        tensorrt = value.manifest["tensorrt"]
        lines.append(f"built by {clean(tensorrt['name'])} {clean(tensorrt['version'])}")
        lines += environment(value.manifest)
        lines += layers.of_manifest(value.manifest)
        lines += [f"may not run here: {clean(reason)}" for reason in value.differences]
        if value.rebuild is not None:
            lines.append(f"build it again: {clean(value.rebuild)}")
    else:
        lines.append("it has no manifest")
    if value.network is None:
        return [*lines, "its inputs and outputs are not known: load it on a machine with a GPU"]
    source = "read from the plan" if value.loaded else "from the manifest; the plan was not loaded"
    lines += [source, *network(value.network)]
    return lines + (layers.contents(value.contents) if value.contents is not None else [])


def doctor(value: Environment) -> list[str]:
    """This machine."""
    rows: list[Sequence[object]] = [
        ("tripoint", value.tripoint),
        ("python", value.python),
        ("platform", value.platform),
        *((name, version or "not installed") for name, version in value.packages.items()),
        ("TensorRT", ", ".join(value.tensorrt) or "not installed"),
        ("GPU", ", ".join(value.gpus) or "none"),
    ]
    legs = [(leg.name, "can run" if leg.ready else "cannot run", leg.reason) for leg in value.legs]
    return [*columns(rows, indent=""), "", *columns(legs, indent="")]
