"""Nodes that draw random numbers: no two legs draw the same, nor one leg twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.ops import RANDOM
from tripoint.graph.source_lines import source_of
from tripoint.graph.subgraphs import read_by
from tripoint.numeric.inputs import Arrays
from tripoint.parity.compare import OutputComparison
from tripoint.parity.results import PointReport

NEXT = (
    "to compare what is downstream of random numbers, make these an input of the model, or export "
    "it without them (dropout in evaluation mode, noise left out)"
)
_NAMED = 3


def draws(node: ir.Node) -> bool:
    """Return whether a node, or one in its subgraphs, draws random numbers whenever it runs."""
    return any(each.op_type in RANDOM or _drops(each) for each in (node, *_inner(node)))


def by_output(model: ir.Model) -> dict[str, str]:
    """Describe the source of the random numbers that an output depends on, by output name."""
    drawn: dict[ir.Value, dict[ir.Node, None]] = {}
    functions = {key for key, each in model.functions.items() if any(map(draws, each.all_nodes()))}
    for node in model.graph:
        behind: dict[ir.Node, None] = {}
        for value in read_by([node]):
            behind |= drawn.get(value, {})
        if draws(node) or node.op_identifier() in functions:
            behind[node] = None
        if behind:
            drawn |= dict.fromkeys(node.outputs, behind)
    return {
        value.name or "": _worded(drawn[value]) for value in model.graph.outputs if value in drawn
    }


def excused(
    entries: Iterable[OutputComparison], drawn: Mapping[str, str]
) -> list[OutputComparison]:
    """Comparisons, of which those behind random numbers say so where they differ.

    Args:
        entries: The comparisons.
        drawn: From :func:`by_output`.
    """
    return [
        replace(
            entry,
            status="random",
            detail=f"depends on random numbers that {drawn[entry.name]} draws",
            visible=None,
        )
        if entry.wrong and entry.name in drawn and entry.status not in ("missing", "extra", "dtype")
        else entry
        for entry in entries
    ]


def repeated(before: Arrays, after: Arrays, drawn: Collection[str]) -> frozenset[str]:
    """The outputs downstream of random numbers that a leg gives twice."""
    return frozenset(
        name
        for name in drawn
        if name in before and name in after and before[name].tobytes() == after[name].tobytes()
    )


def accused(
    point: PointReport, repeats: Mapping[str, Collection[str]], drawn: Mapping[str, str]
) -> PointReport:
    """A point, of which those outputs differ that one leg draws for and the other does not.

    Args:
        point: The point.
        repeats: By leg the outputs that it gives twice.
        drawn: From :func:`by_output`.
    """
    outputs = []
    for entry in point.outputs:
        steady = [leg for leg in entry.pair.split(" / ") if entry.name in repeats.get(leg, ())]
        if entry.status == "random" and steady:
            detail = f"{drawn[entry.name]} draws random numbers, {' and '.join(steady)} none"
            entry = replace(entry, status="different", detail=detail)
        outputs.append(entry)
    return replace(point, outputs=tuple(outputs))


def _worded(nodes: Iterable[ir.Node]) -> str:
    every = list(nodes)
    named = [_placed(node) for node in every[:_NAMED]]
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return f"{', '.join(named)}{more}"


def _placed(node: ir.Node) -> str:
    source = source_of(node)
    return f"{node_name(node)} ({source or node.op_type})"


def _drops(node: ir.Node) -> bool:
    """Return whether it is a Dropout in training mode (ONNX operator specification, Dropout-12)."""
    if node.op_type != "Dropout" or node.domain or len(node.inputs) < 3:
        return False
    mode = node.inputs[2]
    if mode is None:
        return False
    constant = ir.convenience.get_const_tensor(mode)
    return constant is None or bool(constant.numpy().reshape(-1)[0])


def _inner(node: ir.Node) -> Iterator[ir.Node]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                yield from graph.all_nodes()
