"""The last resort: a Reshape that changes nothing tells TensorRT the sizes that it lost.

    f(x) = Reshape(f(x), [0, 12, 0, 64])      f(x): (N, 12, S, 64), seen as (-1, -1, -1, -1)

Holds for any operator that makes a tensor of known rank with a dim that is the same integer for all
sizes and that TensorRT does not know. 0 copies every other dim. The Reshape stands behind the node
at which a loss starts, and only where it ends there: for a graph output, or for a tensor through
which a node behind it loses dims. Refused for a dim of 0, which a Reshape takes for a copy, and for
what is no tensor of numbers.

Why: the importers of all versions read a constant operand of a Reshape dim by dim.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import vector
from tripoint.rewrites.dims import same_shape
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of
from tripoint.views.importer import attributes


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    hopeless: set[ir.Value] = site.notes.setdefault("hopeless", set())
    lost = [value for value in node.inputs if value is not None and site.lost(value)]
    if not hopeless.issuperset(lost):
        # A Reshape behind another node comes first, and may be enough.
        return None
    reason = None
    for output in node.outputs:
        if site.lost(output):
            replacement = _behind(node, output, site)
            if not isinstance(replacement, str):
                return replacement
            reason = replacement
            hopeless.add(output)
    return reason


def _behind(node: ir.Node, output: ir.Value, site: Site) -> Replacement | str:
    if site.target.kind != "log":
        version = site.target.version if site.target.kind == "importer" else attributes.INSTALLED
        for name, text in attributes.misread(version, node, site.opset):
            return (
                f"TensorRT {text}; no Reshape with the true sizes fits there, because of `{name}`"
            )
    shape, users = shape_of(output) or (), [user for user, _ in output.uses()]
    if users and all(_states_sizes(user, output, site) for user in users):
        behind = users[0].outputs[0].name
        return f"{node.op_type} loses it here; a Reshape makes it known from `{behind}` on"
    if not output.is_graph_output() and not any(_loses(user, site) for user in users):
        return f"{node.op_type} loses it here, and nothing downstream of it loses a dim through it"
    if 0 in shape:
        return f"a dim of `{output.name}` is 0, which a Reshape takes for a copy"
    if not isinstance(output.type, ir.TensorType) or output.dtype == ir.DataType.STRING:
        return f"`{output.name}` is not a tensor of numbers"
    sizes = vector([dim if isinstance(dim, int) else 0 for dim in shape])
    reshape = new_node("Reshape", [output, sizes])
    return Replacement([node], [output], [reshape], list(reshape.outputs), [sizes])


def _states_sizes(user: ir.Node, output: ir.Value, site: Site) -> bool:
    return (
        user.op_type == "Reshape"
        and not user.domain
        and len(site.lost(user.outputs[0])) < len(site.lost(output))
        and same_shape(shape_of(user.outputs[0]), shape_of(output))
    )


def _loses(user: ir.Node, site: Site) -> bool:
    return any(map(site.lost, user.outputs))


REWRITE = Rewrite(
    name="materialise",
    title="Tell TensorRT the sizes that it lost, by a Reshape that changes nothing",
    find=_find,
    may_match=lambda node: node.op_type != "Constant",
    when="last",
)
