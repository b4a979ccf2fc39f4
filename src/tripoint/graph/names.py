"""Names of nodes."""

from __future__ import annotations

import onnx_ir as ir


def node_name(node: ir.Node) -> str:
    """Name of a node; of one without, that of its first output that has one, else its operator."""
    named = (value.name for value in node.outputs if value.name)
    return node.name or next(named, None) or node.op_type
