"""An attribute that says what holds anyway is gone, where a TensorRT refuses its mere presence.

    ScatterND<reduction="none">(x, i, u) = ScatterND(x, i, u)

Holds where the attribute has the default that the operator's schema gives it.

Why: the parsers of TensorRT 10.0 and 10.1 stop at a ``reduction`` of ScatterND whatever its value,
and PyTorch's dynamo exporter writes it always.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.views.importer import attributes


def _find(node: ir.Node, site: Site) -> Replacement | None:
    needless = [name for name in _refused(node) if attributes.says_nothing(node, name, site.opset)]
    if not needless:
        return None
    kept = [each for each in node.attributes.values() if each.name not in needless]
    new = ir.Node(node.domain, node.op_type, node.inputs, kept, num_outputs=len(node.outputs))
    return Replacement([node], node.outputs, [new], new.outputs)


def _refused(node: ir.Node) -> list[str]:
    if node.domain:
        return []
    return [name for name in node.attributes if attributes.is_ever_refused(node.op_type, name)]


REWRITE = Rewrite(
    name="default-attributes",
    title="Leave out an attribute that says nothing and that a TensorRT refuses",
    find=_find,
    may_match=lambda node: bool(_refused(node)),
)
