"""A node that nothing consumes is removed, and so is an initializer.

Holds for every node none of whose outputs a node, a nested graph or the caller reads. Graph inputs
stay.

Why: TensorRT reads them nonetheless, and refuses a model for an operator that is of no use.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.transaction import is_read


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    if is_read(node):
        return None
    dead = {node: None}
    pending = [node]
    while pending:
        producers = (value.producer() for value in pending.pop().inputs if value is not None)
        for producer in producers:
            if producer is not None and producer not in dead and _serves(producer, dead):
                dead[producer] = None
                pending.append(producer)
    return Replacement(list(dead)[::-1], [], [], [])


def _serves(node: ir.Node, dead: Mapping[ir.Node, None]) -> bool:
    """Return whether nothing else reads a node."""
    return not any(value.is_graph_output() for value in node.outputs) and all(
        user in dead for value in node.outputs for user, _ in value.uses()
    )


REWRITE = Rewrite(
    name="unread",
    title="Remove what nothing consumes",
    find=_find,
    clean_up=True,
    initializers=True,
)
