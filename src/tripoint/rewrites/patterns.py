"""Tries the onnxscript rules of a rewrite at a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchingTracer, MatchStatus

from tripoint.rewrites.base import Replacement, Site


def look(rules: Sequence[Any], node: ir.Node, site: Site) -> Replacement | str | None:
    """What the first rule that fits makes of a node, as :data:`tripoint.rewrites.base.Find`.

    Args:
        rules: onnxscript rewrite rules.
        node: The last node of the pattern.
        site: The rest of the graph.
    """
    reason = None
    for rule in rules:
        tracer = _Reasons()
        delta = rule.try_rewrite(site.model, site.model.graph, node, tracer=tracer)
        if delta is not None:
            return Replacement(
                [*(other for other in delta.match.nodes if other is not node), node],
                delta.match.outputs,
                delta.new_nodes,
                delta.new_outputs,
                delta.new_initializers,
            )
        reason = tracer.reason or reason
    return reason


class _Reasons(MatchingTracer):  # type: ignore[misc]
    """Keeps the reason of a check that failed behind a pattern that fit."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = ""

    def log(self, rule: Any, container: Any, node: Any, match_result: Any, status: Any) -> None:  # noqa: ARG002
        if status is MatchStatus.CONDITION_FAILED:
            self.reason = str(match_result.reason)
