"""Matching of the nodes of two graphs, and the differences between them.

Two exports of a module differ where the module was changed in between, or the file. Both are walked
in graph order: runs of the same operators in the same modules belong together
(:class:`difflib.SequenceMatcher`), as far as what they read belongs together, too.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.source_lines import source_of
from tripoint.parity.locate import contents
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.scopes import NAME_SCOPES

_ENOUGH = 0.5
"""Share of the nodes that must be found in the same modules, or these have other names today."""

_LISTED = 5
"""Operators of a sequence that are named."""


@dataclass
class Alike:
    """Corresponding nodes and tensors of two graphs.

    Args:
        values: Value of the other graph by value of the first.
        partners: Values of the other graph that stand there.
        nodes: Node of the other graph by node of the first.
        changes: What differs, in words, by node of the first.
    """

    values: dict[ir.Value, ir.Value] = field(default_factory=dict)
    partners: set[ir.Value] = field(default_factory=set)
    nodes: dict[ir.Node, ir.Node] = field(default_factory=dict)
    changes: dict[ir.Node, list[str]] = field(default_factory=dict)


def align(file: Graph, module: Graph, inputs: Sequence[tuple[ir.Value, ir.Value]]) -> Alike:
    """The nodes of two graphs that stand at the same place.

    Args:
        file: The first graph.
        module: The other one, which says what is right.
        inputs: Its inputs beside those of the first.
    """
    alike = Alike(dict(inputs), {other for _, other in inputs})
    own = [node for node in file.nodes if file.depends(node)]
    other = [node for node in module.nodes if module.depends(node)]
    for tag, first, second in _blocks(own, other):
        if tag == "equal" or len(first) == len(second):
            pairs = list(zip(first, second, strict=True))
            left = [pair for pair in pairs if not _paired(alike, file, module, *pair)]
            if tag == "equal" or not left:
                continue
        _bridge(alike, file, module, first, second)
    return alike


def _blocks(
    own: Sequence[ir.Node], other: Sequence[ir.Node]
) -> Iterator[tuple[str, Sequence[ir.Node], Sequence[ir.Node]]]:
    tokens, twins = [_token(node) for node in own], [_token(node) for node in other]
    matcher = difflib.SequenceMatcher(None, tokens, twins, autojunk=False)
    if sum(block.size for block in matcher.get_matching_blocks()) < _ENOUGH * len(own):
        plain = [[(*token[:2], "") for token in each] for each in (tokens, twins)]
        matcher = difflib.SequenceMatcher(None, plain[0], plain[1], autojunk=False)
    for tag, start, end, other_start, other_end in matcher.get_opcodes():
        yield tag, own[start:end], other[other_start:other_end]


def _token(node: ir.Node) -> tuple[str, str, str]:
    scopes = node.metadata_props.get(NAME_SCOPES, "")
    # The last of them is the FX node, whose name has a number.
    scope = scopes.rpartition(",")[0] or (node.name or "").rpartition("/")[0]
    return node.domain, node.op_type, scope


def _paired(alike: Alike, file: Graph, module: Graph, node: ir.Node, twin: ir.Node) -> bool:
    """Take two nodes for the same, if what they read is the same or is missing in one graph."""
    if len(node.outputs) != len(twin.outputs):
        return False
    changes = []
    for index, (own, other) in enumerate(itertools.zip_longest(node.inputs, twin.inputs)):
        fed = own is not None and file.is_fed(own), other is not None and module.is_fed(other)
        if fed == (True, True):
            if own is not None and alike.values.get(own) is other:
                continue
            if own in alike.values and other in alike.partners:
                return False
            changes.append(f"reads {_produced(own)} in the file, {_produced(other)} in the module")
        elif any(fed):
            words = [
                "computes" if one else "has a constant for" if value is not None else "lacks"
                for one, value in zip(fed, (own, other), strict=True)
            ]
            changes.append(f"the file {words[0]} operand {index}, the module {words[1]} it")
        else:
            changes += contents.operand(own, other)
    if (node.domain, node.op_type) != (twin.domain, twin.op_type):
        changes.append(f"{node.op_type} in the file, {_placed(twin)} in the module")
    else:
        changes += contents.attributes(node, twin)
    alike.nodes[node] = twin
    alike.values.update(zip(node.outputs, twin.outputs, strict=True))
    alike.partners.update(twin.outputs)
    if changes:
        alike.changes[node] = changes
    return True


def _bridge(
    alike: Alike, file: Graph, module: Graph, first: Sequence[ir.Node], second: Sequence[ir.Node]
) -> None:
    """Let the only tensor that leaves some nodes stand for the only one that leaves others."""
    own, other = file.leaving(first), module.leaving(second)
    if len(own) != 1 or len(other) != 1 or own[0] in alike.values:
        return
    node = own[0].producer()
    if node is None or other[0] in alike.partners:
        return
    alike.values[own[0]] = other[0]
    alike.partners.add(other[0])
    alike.changes[node] = [f"{_listed(first)} in the file, {_listed(second)} in the module"]


def _listed(nodes: Sequence[ir.Node]) -> str:
    ops = ", ".join(node.op_type for node in nodes[:_LISTED])
    return ops + (f" and {len(nodes) - _LISTED} more" if len(nodes) > _LISTED else "")


def _produced(value: ir.Value | None) -> str:
    node = value.producer() if value is not None else None
    if value is None or node is None:
        return f"{value.name}" if value is not None else "nothing"
    source = source_of(node)
    return f"the {node.op_type} {node_name(node)}" + (f" ({source})" if source else "")


def _placed(node: ir.Node) -> str:
    source = source_of(node)
    return node.op_type + (f" ({source})" if source else "")
