"""Sizes that operators moving elements about need (ONNX operator specification)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from tripoint.graph.ops import EXTREMES
from tripoint.shape_inference.constraints.equation import Claim
from tripoint.shape_inference.constraints.operators import Rule, columns
from tripoint.shape_inference.operators import layout
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import Element
from tripoint.table import format_shape


def reshape(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Reshape: as many elements as before, or a -1 that comes out whole."""
    data = node.inputs[0]
    dims, target = dims_of(data), layout.wanted(ctx, node)
    if data is None or dims is None or target is None:
        return
    copies = not node.attributes.get_int("allowzero", 0)
    left, sizes, copied = list(dims), [], []
    for axis, size in enumerate(target):
        if isinstance(size, int) and size == 0 and copies:
            if axis >= len(dims):
                return
            # It is on both sides.
            left[axis] = 1
            copied.append(dims[axis])
            continue
        sizes.append(size)
    rest = [size for size in sizes if not (isinstance(size, int) and size == -1)]
    before, after = e.product(left), e.product(rest)
    shapes = f"`{data.name}` is {shape(dims)}, and its new shape {shape(target)}"
    if len(rest) == len(sizes):
        yield Claim("volume", before, after, data, shapes)
    elif len(rest) == len(sizes) - 1:
        # Beside a size of 0, copied or not, -1 could be anything.
        volume = e.product([*rest, *copied])
        yield Claim("at_least", volume, 1, data, f"{shapes}; its -1 is decided by the others")
        yield Claim("divisible", before, after, data, f"{shapes}; its -1 must come out whole")


def shape(dims: Sequence[Element]) -> str:
    """A shape in a sentence."""
    return format_shape(tuple(dim if e.is_known(dim) else "?" for dim in dims))


def expand(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Expand: broadcast both ways."""
    target = operand(node, 1)
    sizes = ctx.elements(target)
    yield from columns(node, [(node.inputs[0], dims_of(node.inputs[0])), (target, sizes)])


def concat(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Concat: all other axes agree."""
    del ctx
    shapes = [(value, dims_of(value)) for value in node.inputs]
    first, dims = shapes[0]
    if first is None or dims is None or not dims:
        return
    along = node.attributes.get_int("axis", 1) % len(dims)
    for value, others in shapes[1:]:
        if value is None or others is None or len(others) != len(dims):
            continue
        for axis, (a, b) in enumerate(zip(dims, others, strict=True)):
            if axis != along:
                yield Claim(
                    "equal",
                    a,
                    b,
                    value,
                    f"axis {axis} of `{first.name}` is {a} and that of `{value.name}` is {b}; "
                    "Concat needs the same",
                )


def split(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Split: the parts add up, or are equal; since opset 18 the last one may be smaller."""
    data, axis = node.inputs[0], node.attributes.get_int("axis", 0)
    dims, count = dims_of(data), len(node.outputs)
    if data is None or dims is None or not -len(dims) <= axis < len(dims):
        return
    whole = dims[axis]
    attribute = node.attributes.get_ints("split")
    sizes: Sequence[Element] | None = list(attribute) if attribute is not None else None
    if operand(node, 1) is not None:
        sizes = ctx.elements(node.inputs[1])
        if sizes is None:
            return
    about = f"axis {axis} of `{data.name}` is {whole}"
    if sizes is not None:
        total: Element = 0
        for size in sizes:
            total = e.add(total, size)
        yield Claim("equal", whole, total, data, f"{about}, and its parts are {shape(sizes)}")
    elif ctx.opset < 18:
        yield Claim("divisible", whole, count, data, f"{about}, and is split into {count}")
    else:
        part = e.divide_up(whole, count)
        before = e.multiply(part, count - 1)
        reason = f"{about}, and {count - 1} of {count} parts take {before}"
        yield Claim("at_least", whole, before, data, reason)


def squeeze(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Squeeze: the given axes are 1."""
    data, dims = node.inputs[0], dims_of(node.inputs[0])
    value = operand(node, 1)
    axes = ctx.integers(value) if value is not None else node.attributes.get_ints("axes")
    for axis in axes or ():
        if data is not None and dims is not None and -len(dims) <= axis < len(dims):
            reason = f"axis {axis} of `{data.name}` is {dims[axis]}, and Squeeze removes it"
            yield Claim("equal", dims[axis], 1, data, reason)


def blocks(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """DepthToSpace and SpaceToDepth: what is cut into blocks comes out whole."""
    del ctx
    data, block = node.inputs[0], node.attributes.get_int("blocksize", 0)
    dims = dims_of(data)
    if data is None or dims is None or len(dims) != 4 or not block:
        return
    deep = node.op_type == "DepthToSpace"
    for axis, divisor in ((1, block * block),) if deep else ((2, block), (3, block)):
        reason = f"axis {axis} of `{data.name}` is {dims[axis]}, and the block size is {block}"
        yield Claim("divisible", dims[axis], divisor, data, reason)


def pad(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Pad: a mirror image is not longer than the data; what is cropped is there."""
    data, dims, output_dims = node.inputs[0], dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if data is None or dims is None or output_dims is None or operand(node, 3) is not None:
        return
    for axis, size in enumerate(output_dims[: len(dims)]):
        if e.is_negative(e.subtract(size, dims[axis])) != 0:
            reason = f"axis {axis} of `{data.name}` is {dims[axis]}, and Pad makes it {size}"
            yield Claim("at_least", size, 1, data, reason)
    if node.attributes.get_string("mode", "constant") != "reflect":
        return
    attribute = node.attributes.get_ints("pads")
    pads = list(attribute) if attribute is not None else ctx.elements(operand(node, 1))
    if pads is None or len(pads) != 2 * len(dims):
        return
    for axis, dim in enumerate(dims):
        for width in (pads[axis], pads[axis + len(dims)]):
            reason = f"axis {axis} of `{data.name}` is {dim}, and {width} are mirrored"
            if width != 0:
                yield Claim("at_least", dim, e.add(width, 1), data, reason)


def resize(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Resize: nothing shrinks to nothing."""
    del ctx
    output = node.outputs[0]
    dims = dims_of(node.inputs[0]) or ()
    for size, (axis, before) in zip(dims_of(output) or (), enumerate(dims), strict=False):
        reason = f"axis {axis} of `{output.name}` is {size}, and must be 1 at least"
        # What was nothing before may stay it.
        yield Claim("at_least", size, e.minimum(before, 1), output, reason)


def topk(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """TopK: there are as many elements as are asked for."""
    data, dims = node.inputs[0], dims_of(node.inputs[0])
    axis = node.attributes.get_int("axis", -1)
    if data is None or dims is None or not -len(dims) <= axis < len(dims):
        return
    attribute = node.attributes.get_int("k", None)
    k = attribute if attribute is not None else ctx.scalar(operand(node, 1))
    reason = f"axis {axis} of `{data.name}` is {dims[axis]}, and TopK takes {k} of it"
    yield Claim("at_least", dims[axis], k, data, reason)


def extreme(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """ArgMax and ArgMin: there is one element at least."""
    del ctx
    data, dims = node.inputs[0], dims_of(node.inputs[0])
    axis = node.attributes.get_int("axis", 0)
    if data is not None and dims is not None and -len(dims) <= axis < len(dims):
        reason = f"axis {axis} of `{data.name}` is {dims[axis]}, and {node.op_type} takes one of it"
        yield Claim("at_least", dims[axis], 1, data, reason)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(EXTREMES, extreme),
    "Reshape": reshape,
    "Expand": expand,
    "Concat": concat,
    "Split": split,
    "Squeeze": squeeze,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), blocks),
    "Pad": pad,
    **dict.fromkeys(("Resize", "Upsample"), resize),
    "TopK": topk,
}
"""Rules of what an operator needs, by its type."""
