"""Node at which a parser stopped: its errors do not always name it, but its verbose log does.

TensorRT-RTX 1.6.1 gives the node -1 and no name for what an importer refuses by itself, such as
a reduction of ScatterElements, and inside of the subgraphs of nodes as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.source_lines import source_of
from tripoint.shape_inference import truth
from tripoint.table import Refusal
from tripoint.trt import process
from tripoint.views import parser_errors as named
from tripoint.views import scopes

_NAMELESS = "node_of_"
"""With the first output after it, what the parser calls a node that has no name."""


class Watch:
    """Keeps what the child of a parse has sent, which is all there is if it crashes.

    Args:
        version: What is known of the TensorRT before it says itself.
    """

    def __init__(self, version: str = "") -> None:
        self.version = version
        self.loaded = False
        self.lines: list[str] = []

    def __call__(self, event: process.Event) -> None:
        """Take one event of the child."""
        if event["event"] == "loaded":
            self.loaded = True
            self.version = event["version"]
        elif event["event"] == "log":
            self.lines.extend(text for severity, text in event["lines"] if severity == "VERBOSE")


def refusals(
    errors: Sequence[Mapping[str, Any]], model: ir.Model, version: str, lines: Sequence[str]
) -> tuple[Refusal, ...]:
    """Read parser errors, with the log that belongs to them.

    Args:
        errors: As the child sends them, see :func:`tripoint.views.parser_errors.refusals`.
        model: The model that was parsed.
        version: Name and version of the TensorRT.
        lines: The verbose lines of the parse. An error that names no node is about the one at
            which they end.

    Raises:
        InputError: If the local functions of the model cannot be inlined.
    """
    return tuple(
        refusal if refusal.op else _of_last(error, model, version, lines)
        for error, refusal in zip(errors, named.refusals(errors, model.graph, version), strict=True)
    )


def stopped(model: ir.Model, lines: Iterable[str], reason: str) -> Refusal:
    """The node at which a parser stopped that gives none.

    Args:
        model: The model that was parsed.
        lines: The verbose lines of the parse.
        reason: What went wrong.
    """
    whole = truth.inlined(model)
    root = scopes.read(lines)
    path = scopes.unfinished(root)
    if not path:
        return Refusal(model.graph.name or "model", "", reason)
    nodes = scopes.join(root, whole.graph).nodes
    last = path[-1]
    node = nodes.get(last)
    name = last.name.removeprefix(_NAMELESS) if node is None else node_name(node)
    source = source_of(node) if node is not None else None
    return Refusal(name, last.op, reason, str(source) if source else None)


def _of_last(
    error: Mapping[str, Any], model: ir.Model, version: str, lines: Sequence[str]
) -> Refusal:
    around = scopes.unfinished(scopes.read(lines))[:-1]
    inside = ", ".join(f"{each.op} `{each.name.removeprefix(_NAMELESS)}`" for each in around)
    where = f" (inside {inside})" if inside else ""
    return stopped(model, lines, named.reason(error, version, where))
