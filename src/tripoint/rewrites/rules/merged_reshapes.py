"""Operators in a row that only reshape are one Reshape.

    Reshape(Unsqueeze(Squeeze(x, a), b), s) = Reshape(x, t)

Holds for Reshape, Squeeze, Unsqueeze and Flatten where nothing else reads the tensors in between,
and where the shape of the result can be told from that of ``x`` by known sizes, copied dims (0) and
one -1.

Why: each is a layer, and each of them makes TensorRT 7.x lose all dims as soon as one is unknown.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.dims import same_shape
from tripoint.rewrites.reshaping import reshaped
from tripoint.shape_inference.truth import shape_of


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    output = node.outputs[0]
    if any(_reshapes_alone(user, output) for user, _ in output.uses()):
        # The last of them is looked at.
        return None
    nodes = [node]
    while (before := _before(nodes[0])) is not None:
        nodes.insert(0, before)
    x = nodes[0].inputs[0]
    if len(nodes) == 1 or x is None:
        return None
    if same_shape(shape_of(x), shape_of(output)):
        return Replacement(nodes, [output], [], [x])
    replacement = reshaped(x, output, nodes)
    return replacement if not isinstance(replacement, str) else None


def _before(node: ir.Node) -> ir.Node | None:
    x = node.inputs[0] if node.inputs else None
    producer = x.producer() if x is not None else None
    if x is None or producer is None or not _reshapes_alone(node, x):
        return None
    return producer if producer.op_type in RESHAPING and not producer.domain else None


def _reshapes_alone(node: ir.Node, x: ir.Value) -> bool:
    return (
        node.op_type in RESHAPING
        and not node.domain
        and node.inputs[0] is x
        and len(x.uses()) == 1
        and not x.is_graph_output()
    )


REWRITE = Rewrite(
    name="merged-reshapes",
    title="Reshape once instead of several times in a row",
    find=_find,
    may_match=lambda node: node.op_type in RESHAPING and not node.domain,
)
