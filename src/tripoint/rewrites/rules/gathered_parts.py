"""A Slice or Split at which dims are lost is a Gather of known elements.

    Slice(x, starts=1, ends=3, axes=2) = Gather(x, [1, 2], axis=2)
    Slice(x, starts=-1, ends=end, axes=1) = Gather(x, [-1], axis=1)
    Split(x, axis=2)[1] = Gather(x, [3, 4, 5], axis=2)

Holds where TensorRT loses a dim of the result, one axis is cut, the result has a known size on it
for all sizes of the inputs (at most 1024), and begin and step are constant. Elements that are
counted from the end of a dynamic axis are refused for TensorRT before 8.2, which reads negative
indices wrongly, and so are booleans, which Gather of 7.x refuses.

Why: TensorRT 7.x makes every dim behind a Slice or Split unknown as soon as one is, and ignores the
sizes of a Split that are an input; later versions do not simplify arithmetic on the size of the
axis. The size of a Gather is that of its indices.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import decided, vector
from tripoint.rewrites.dims import same
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of

_MOST = 1024


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    x = node.inputs[0] if node.inputs else None
    if x is None or not any(map(site.lost, node.outputs)):
        return None
    if x.dtype == ir.DataType.BOOL:
        return f"`{x.name}` is boolean, which Gather of TensorRT 7.x refuses"
    if node.op_type == "Split":
        return _split(node, x)
    return _slice(node, x, site)


def _split(node: ir.Node, x: ir.Value) -> Replacement | str:
    axis = node.attributes.get_int("axis", 0)
    begin, parts = 0, []
    for output in node.outputs:
        shape = shape_of(output)
        size = shape[axis] if shape is not None else None
        if not isinstance(size, int) or size > _MOST:
            return f"the size of `{output.name}` is decided at run time, or larger than {_MOST}"
        if output.uses() or output.is_graph_output():
            parts.append((output, range(begin, begin + size)))
        begin += size
    return _gathered(node, x, axis, parts)


def _slice(node: ir.Node, x: ir.Value, site: Site) -> Replacement | str | None:
    (output,) = node.outputs
    shape, wanted = shape_of(x), shape_of(output)
    starts, axes, steps = (decided(_operand(node, position)) for position in (1, 3, 4))
    if shape is None or wanted is None or starts is None:
        return None
    axes = axes if axes is not None else list(range(len(starts)))
    cut = [
        (start, axis % len(shape), steps[index] if steps else 1)
        for index, (start, axis) in enumerate(zip(starts, axes, strict=True))
        if not same(shape[axis], wanted[axis])
    ]
    if len(cut) != 1:
        return None
    ((start, axis, step),) = cut
    size, length = wanted[axis], shape[axis]
    if not isinstance(size, int) or size > _MOST:
        return f"the size of `{output.name}` is decided at run time, or larger than {_MOST}"
    if start < 0 and isinstance(length, int):
        start = max(0, start + length)
    if start < 0 and not site.reads_negative_indices:
        return f"`{output.name}` is counted from the end, which this TensorRT reads wrongly"
    return _gathered(node, x, axis, [(output, range(start, start + size * step, step))])


def _operand(node: ir.Node, position: int) -> ir.Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _gathered(
    node: ir.Node, x: ir.Value, axis: int, parts: list[tuple[ir.Value, range]]
) -> Replacement:
    indices = [vector(elements) for _, elements in parts]
    nodes = [new_node("Gather", [x, index], axis=axis) for index in indices]
    return Replacement(
        [node],
        [output for output, _ in parts],
        nodes,
        [new.outputs[0] for new in nodes],
        indices,
    )


REWRITE = Rewrite(
    name="gathered-parts",
    title="Gather known elements of an axis instead of slicing or splitting it",
    find=_find,
    may_match=lambda node: node.op_type in ("Slice", "Split") and not node.domain,
    when="lost",
)
