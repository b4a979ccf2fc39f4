"""Importers of operators that produce, consume or change shapes, after onnx-tensorrt 7.0 to 7.2.1.

Each takes the node and returns the shape of its outputs as TensorRT 7.x prints it. A size
operand counts only as long as the parser has its values; the core evaluates none. A name that
ends in a version is for that version, and for those after it until the next such name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from tripoint.table import ViewShape
from tripoint.views.importer import core
from tripoint.views.importer.context import MOST_DIMS, UNKNOWN, RefusedError, dims_of
from tripoint.views.importer_v7.context import TYPES, Node

_INT32_MIN = -(2**31)


def constant(node: Node) -> ViewShape:
    """Stays weights. Only the attribute ``value`` is read."""
    attribute = node.onnx.attributes.get("value")
    if attribute is not None and attribute.type == ir.AttributeType.TENSOR:
        tensor: ir.TensorProtocol | None = attribute.value
    else:
        node.refuse("reads only the attribute `value` of Constant, so it stops here")
        tensor = ir.convenience.get_const_tensor(node.onnx.outputs[0])
    if tensor is None:
        raise RefusedError("knows no constants but tensors")
    if tensor.dtype not in TYPES:
        node.refuse(f"has no type for a constant of {tensor.dtype.name}, so it stops here")
    node.kept = tensor
    return dims_of(tensor)


def transpose(node: Node) -> ViewShape:
    """Per dim. Weights stay weights where they are a matrix, others are refused."""
    dims = node.shape(0)
    perm = node.attribute_ints("perm") or tuple(reversed(range(len(dims))))
    if sorted(perm) != list(range(len(dims))):
        raise RefusedError(f"cannot permute a tensor of rank {len(dims)} with {perm}")
    if node.is_weights(0):
        node.kept = node.network.weights[node.name(0)]
        if perm != (1, 0) or node.type(0) not in ("FLOAT", "HALF"):
            node.refuse(
                f"transposes only float matrices among constants, not `{node.name(0)}` "
                "(7.2.2 transposes rank 4, too), so it stops here"
            )
    return tuple(dims[axis] for axis in perm)


def shape_of(node: Node) -> ViewShape:
    """The rank of the input; a layer, so the parser does not know the values."""
    rank = len(node.shape(0))
    start, end = node.attribute_int("start", 0), node.attribute_int("end", rank)
    if len(range(rank)[start:end]) != rank:
        node.refuse("silently ignores `start` and `end` of Shape and gives all dims")
    return (rank,)


def size(node: Node) -> ViewShape:
    """A scalar."""
    node.shape(0)
    return ()


def expand_70(node: Node) -> ViewShape:
    """A slice of stride 0 whose size is ``max(a, b)`` over both shapes, which is wrong for 0."""
    return _expand(node, max)


def expand_71(node: Node) -> ViewShape:
    """A slice of stride 0 whose size is ``max(a, b) * min(a, b, 1)`` over both shapes."""
    return _expand(node, lambda a, b: max(a, b) * min(a, b, 1))


def _expand(node: Node, size_of: Callable[[int, int], int]) -> ViewShape:
    dims, length = node.shape(0), _length(node, 1)
    rank = max(len(dims), length)
    target = node.ints(1)
    if target is None:
        return node.opaque([1], rank)
    if not core.is_known(dims):
        return node.contaminated(0, rank)
    pairs = zip(core.align(dims, rank), core.align(target, rank), strict=True)
    sizes = tuple(size_of(a, b) for a, b in pairs)
    if min(sizes, default=0) < 0:
        raise RefusedError(f"cannot expand to {core.printed(target)}")
    return sizes


def reshape(node: Node) -> ViewShape:
    """Static dims where the parser has the values of the size operand, else all -1."""
    target = node.attribute_ints("shape") if node.opset < 5 else node.ints(1)
    if target is None:
        return node.opaque([1], _length(node, 1))
    if 0 in target and node.attribute_int("allowzero", 0):
        node.refuse("silently ignores `allowzero` of Reshape and copies the dim for a 0")
    result = core.reshape(node.shape(0), target)
    if UNKNOWN in target and UNKNOWN in result:
        node.unsolved(0)
    return result


def flatten(node: Node) -> ViewShape:
    """To a matrix; rank 1 and 2 are returned as they are, whatever the axis."""
    dims = node.shape(0)
    axis = node.axis(node.attribute_int("axis", 1), len(dims))
    if len(dims) <= 2:
        if (len(dims), axis) != (2, 1) and dims[:1] != (1,):
            node.refuse(
                f"silently returns `{node.name(0)}` of rank {len(dims)} as it is, "
                f"whatever the axis of Flatten"
            )
        return dims
    if not core.is_known(dims):
        return node.contaminated(0, 2)
    return math.prod(dims[:axis]), math.prod(dims[axis:])


def _axes(node: Node) -> tuple[int, ...] | None:
    """Axes of Squeeze and Unsqueeze, which 7.x reads from the attribute only."""
    axes = node.attribute_ints("axes")
    if axes is not None:
        return axes
    if node.has(1):
        node.refuse(
            f"reads the axes of {node.op} from an attribute; since opset 13 they are an input, "
            "so it stops here"
        )
        return node.ints(1)
    node.refuse(f"needs the axes of {node.op}, so it stops here")
    return None


def squeeze_70(node: Node) -> ViewShape:
    """Needs to know all dims, those that go included."""
    rest = squeeze_71(node)
    return rest if core.is_known(node.shape(0)) else node.contaminated(0, len(rest))


def squeeze_71(node: Node) -> ViewShape:
    """Needs to know the dims that stay."""
    dims, axes = node.shape(0), _axes(node)
    if axes is None:
        true = node.true_shape(0)
        if node.has(1) or true is None or len(true) != len(dims):
            raise RefusedError("does not know which dims Squeeze takes away")
        axes = tuple(axis for axis, dim in enumerate(true) if dim == 1)
    removed = {node.axis(axis, len(dims)) for axis in axes}
    if any(dims[axis] not in (1, UNKNOWN) for axis in removed):
        raise RefusedError(f"cannot squeeze the axes {sorted(removed)} of {core.printed(dims)}")
    rest = tuple(dim for axis, dim in enumerate(dims) if axis not in removed)
    return rest if core.is_known(rest) else node.contaminated(0, len(rest))


def unsqueeze(node: Node) -> ViewShape:
    """Needs to know all dims."""
    dims, axes = node.shape(0), _axes(node)
    if axes is None:
        raise RefusedError("does not know where Unsqueeze adds dims")
    rank = len(dims) + len(axes)
    added = {node.axis(axis, rank) for axis in axes}
    if not core.is_known(dims):
        return node.contaminated(0, rank)
    rest = iter(dims)
    return tuple(1 if axis in added else next(rest) for axis in range(rank))


def concat(node: Node) -> ViewShape:
    """Per dim. Constants become layers."""
    shapes = [node.shape(index) for index in node.present]
    axis = node.axis(node.attribute_int("axis", 1), len(shapes[0]))
    return core.concatenate(shapes, axis)


def gather(node: Node) -> ViewShape:
    """Per dim."""
    dims, index = node.shape(0), node.shape(1)
    axis = node.axis(node.attribute_int("axis", 0), len(dims))
    if node.is_weights(1) and len(index) <= 1 and any(i < 0 for i in node.ints(1) or ()):
        node.refuse("silently takes a wrong element for a negative index of Gather")
    return (*dims[:axis], *index, *dims[axis + 1 :])


def constant_of_shape(node: Node) -> ViewShape:
    """Always all -1: the size is a tensor even where it is constant."""
    return node.opaque([0], _length(node, 0))


def range_(node: Node) -> ViewShape:
    """Known where start, limit and delta are weights."""
    operands = [index for index in range(3) if not node.is_weights(index)]
    floating = node.type(0) in ("FLOAT", "HALF")
    if operands:
        if floating:
            node.refuse("takes FLOAT operands of Range only as constants, so it stops here")
        return node.opaque(operands, 1)
    read = node.floats if floating else node.ints
    values = [value for index in range(3) for value in read(index) or ()]
    if len(values) != 3 or not values[2]:
        raise RefusedError("takes scalars for Range, and no delta of 0")
    start, limit, delta = values
    return (max(math.ceil((limit - start) / delta), 0),)


def tile(node: Node) -> ViewShape:
    """Known where the repeats are weights and all dims are known."""
    dims, repeats = node.shape(0), node.ints(1)
    if repeats is None:
        return node.opaque([1], len(dims))
    if not core.is_known(dims):
        return node.contaminated(0, len(dims))
    if len(repeats) != len(dims):
        raise RefusedError(f"cannot tile {core.printed(dims)} by {repeats}")
    return tuple(dim * count for dim, count in zip(dims, repeats, strict=True))


def slice_71(node: Node) -> ViewShape:
    """As :func:`slice_`; no size may be 0 (NVIDIA/TensorRT#549 and #763)."""
    result = slice_(node)
    if 0 in result and 0 not in node.shape(0):
        node.refuse(
            "slices off no part of size 0 (`slice size must be positive`), so it stops here"
        )
    return result


def slice_(node: Node) -> ViewShape:
    """Known where all operands are weights and all dims are known."""
    dims = node.shape(0)
    if node.opset < 10:
        starts, ends = node.attribute_ints("starts") or (), node.attribute_ints("ends") or ()
        axes = node.attribute_ints("axes") or tuple(range(len(starts)))
        steps = (1,) * len(starts)
    else:
        if node.has(3) and not node.is_weights(3):
            raise RefusedError("takes the axes of Slice only as a constant")
        operands = [i for i in (1, 2, 4) if node.has(i) and not node.is_weights(i)]
        if operands:
            return node.opaque(operands, len(dims))
        starts, ends = node.ints(1) or (), node.ints(2) or ()
        axes = node.ints(3) or tuple(range(len(dims)))
        steps = node.ints(4) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise RefusedError("takes operands of Slice of one length, and no step of 0")
    if not core.is_known(dims):
        return node.contaminated(0, len(dims))
    result = list(dims)
    plain = all(step == 1 for step in steps)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        position = node.axis(axis, len(dims))
        result[position] = _slice_size(dims[position], start, end, step, plain)
    if min(result, default=0) < 0:
        raise RefusedError(f"computes {core.printed(tuple(result))}, which has a negative size")
    return tuple(result)


def _slice_size(dim: int, start: int, end: int, step: int, plain: bool) -> int:
    """The formula of release/7.1, which is one off for some slices that run backwards."""

    def decode(index: int) -> int:
        return min(max(index, -dim), dim) - dim * max(-1, min(0, index))

    first, last = decode(start), decode(end)
    if plain:
        return last - first
    return -((first - last) // step) + (end == _INT32_MIN)


def split(node: Node) -> list[ViewShape]:
    """Sizes from the attribute or equal ones; the input of opset 13 is never read."""
    dims = node.shape(0)
    count = len(node.onnx.outputs)
    axis = node.axis(node.attribute_int("axis", 0), len(dims))
    sizes = node.attribute_ints("split")
    numbers = node.ints(1) if node.has(1) else None
    if node.has(1) and (numbers is None or len(set(numbers)) > 1):
        node.refuse("silently ignores the sizes of Split since opset 13 and splits equally")
    if not core.is_known(dims):
        if not sizes and not node.has(1) and dims[axis] % count and dims[axis] != UNKNOWN:
            node.refuse(f"silently splits {dims[axis]} into {count} times {dims[axis] // count}")
        return [node.contaminated(0, len(dims))] * count
    sizes = sizes or (dims[axis] // count,) * count
    if len(sizes) != count:
        raise RefusedError(f"needs {count} sizes for this Split, not {len(sizes)}")
    return [(*dims[:axis], part, *dims[axis + 1 :]) for part in sizes]


def depth_to_space(node: Node) -> ViewShape:
    """Two reshapes of a tensor of rank 4."""
    block = node.attribute_int("blocksize", 1)
    n, c, h, w = _nchw(node)
    if not core.is_known((n, c, h, w)):
        return node.contaminated(0, 4)
    return n, c // (block * block), h * block, w * block


def depth_to_space_70(node: Node) -> ViewShape:
    """As :func:`depth_to_space`; an unknown batch alone is the one -1 of both reshapes."""
    batch, *rest = _nchw(node)
    if batch != UNKNOWN or UNKNOWN in rest:
        return depth_to_space(node)
    block = node.attribute_int("blocksize", 1)
    c, h, w = rest
    return batch, c // (block * block), h * block, w * block


def space_to_depth(node: Node) -> ViewShape:
    """Two reshapes of a tensor of rank 4."""
    block = node.attribute_int("blocksize", 1)
    n, c, h, w = _nchw(node)
    if not core.is_known((n, c, h, w)):
        return node.contaminated(0, 4)
    return n, c * block * block, h // block, w // block


def _nchw(node: Node) -> tuple[int, int, int, int]:
    dims = node.shape(0)
    if len(dims) != 4:
        raise RefusedError(f"imports {node.op} only for rank 4, not {len(dims)}")
    n, c, h, w = dims
    return n, c, h, w


def pad_70(node: Node) -> ViewShape:
    """As :func:`pad`, for tensors of rank 4 and more."""
    if len(node.shape(0)) < 4:
        node.refuse("pads no tensor of a rank below 4, so it stops here")
    return pad(node)


def pad(node: Node) -> ViewShape:
    """Zeros on the last two axes; a tensor of lower rank is unsqueezed to rank 4."""
    dims = node.shape(0)
    rank = len(dims)
    if node.has(3):
        raise RefusedError("does not read the axes of Pad, which are an input since opset 18")
    pads = node.attribute_ints("pads") if node.opset < 11 else node.ints(1)
    if pads is None:
        raise RefusedError("takes the pads of Pad only as a constant")
    if len(pads) != 2 * rank:
        raise RefusedError(f"needs {2 * rank} pads for rank {rank}, not {len(pads)}")
    fill = node.floats(2) if node.has(2) else (node.attribute_float("value", 0.0),)
    outer = (*pads[: rank - 2], *pads[rank : 2 * rank - 2])
    if node.attribute_text("mode", "constant") != "constant" or fill is None or any(fill):
        node.refuse("pads only with a constant 0, so it stops here")
    elif rank < 2 or any(outer):
        node.refuse("pads only the last two axes, so it stops here")
    if rank < 4 and not core.is_known(dims):
        return node.contaminated(0, rank)
    sums = (begin + end for begin, end in zip(pads[:rank], pads[rank:], strict=True))
    pairs = zip(dims, sums, strict=True)
    return tuple(dim if dim == UNKNOWN else dim + added for dim, added in pairs)


_TRANSFORMS = ("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel")


def resize_70(node: Node) -> ViewShape:
    """As :func:`resize_71`; asymmetric only."""
    return _resize(node, ("asymmetric",))


def resize_71(node: Node) -> ViewShape:
    """All -1 with sizes, even constant ones; per dim with constant scales."""
    return _resize(node, _TRANSFORMS)


def resize_72(node: Node) -> ViewShape:
    """As :func:`resize_71`; each mode has its own transformations, with sizes and with scales."""
    nearest = node.attribute_text("mode", "nearest") == "nearest"
    if node.has(3):
        return _resize(node, ("asymmetric", "align_corners") if nearest else _TRANSFORMS[1:])
    return _resize(
        node, ("asymmetric",) if nearest else ("asymmetric", "half_pixel", "pytorch_half_pixel")
    )


def _resize(node: Node, transforms: tuple[str, ...]) -> ViewShape:
    dims = node.shape(0)
    mode = node.attribute_text("mode", "nearest")
    transform = node.attribute_text("coordinate_transformation_mode", "half_pixel")
    nearest = node.attribute_text("nearest_mode", "round_prefer_floor")
    if node.opset >= 11 and (transform not in transforms or mode == "cubic"):
        node.refuse(f"has no {mode} Resize with {transform}, so it stops here")
    elif node.opset >= 11 and mode == "nearest" and nearest != "floor":
        node.refuse("has no nearest_mode of Resize but floor, so it stops here")
    if node.attribute_ints("axes") is not None:
        raise RefusedError("does not know the axes of Resize, which are there since opset 18")
    if node.opset >= 11 and node.has(3):
        if _length(node, 3) != len(dims):
            raise RefusedError("needs a size for each axis of Resize")
        return node.opaque([3], len(dims))
    result = _scaled(node, 1 if node.opset < 11 else 2, linear=mode == "linear")
    if transform == "pytorch_half_pixel" and core.is_known(result) and 1 in result[2:]:
        node.refuse("resizes to no size of 1 with pytorch_half_pixel, so it stops here")
    return result


def upsample(node: Node) -> ViewShape:
    """Per dim with scales that are constant or an attribute."""
    mode = node.attribute_text("mode", "nearest")
    if node.opset >= 9:
        return _scaled(node, 1, linear=mode == "linear")
    scales = node.attribute_floats("scales") or ()
    return _scale_dims(node, tuple(scales), linear=mode == "linear")


def _scaled(node: Node, index: int, *, linear: bool) -> ViewShape:
    scales = node.floats(index)
    if scales is None:
        raise RefusedError(f"takes the scales of {node.op} only as a constant")
    return _scale_dims(node, scales, linear=linear)


def _scale_dims(node: Node, scales: tuple[float, ...], *, linear: bool) -> ViewShape:
    dims = node.shape(0)
    if len(scales) != len(dims):
        raise RefusedError(f"needs {len(dims)} scales for this {node.op}, not {len(scales)}")
    if linear and any(scale != 1 for scale in scales[:-3]):
        node.refuse("interpolates at most the last three axes, so it stops here")
    pairs = zip(dims, scales, strict=True)
    return tuple(dim if dim == UNKNOWN else math.floor(dim * scale) for dim, scale in pairs)


def random_uniform(node: Node) -> ViewShape:
    """The shape is an attribute."""
    return node.attribute_ints("shape") or ()


def random_uniform_like(node: Node) -> ViewShape:
    """A fill layer of the input's shape."""
    dims = node.shape(0)
    return dims if core.is_known(dims) else node.contaminated(0, len(dims))


def _length(node: Node, index: int) -> int:
    """Length of a shape vector.

    Raises:
        RefusedError: If it is no vector of known length.
    """
    dims = node.shape(index)
    if len(dims) == 1 and dims[0] > MOST_DIMS:
        raise RefusedError(
            f"has at most {MOST_DIMS} dims, and `{node.name(index)}` {dims[0]} sizes"
        )
    if len(dims) != 1 or dims[0] == UNKNOWN:
        raise RefusedError(
            f"needs a vector of known length for `{node.name(index)}`, "
            f"which it sees as {core.printed(dims)}"
        )
    return dims[0]
