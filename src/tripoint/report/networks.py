"""Inputs and outputs of networks, and nodes, as text."""

from __future__ import annotations

from collections.abc import Iterable

from tripoint.analysis.facts import NodeLine
from tripoint.engine.network import NetworkDescription
from tripoint.report.columns import columns
from tripoint.sanitize import clean
from tripoint.table import format_shape


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
