"""Importers of Resize and Upsample, after onnx-tensorrt release/10.1.

Each takes the node and gives the dims of its output, or a list of those of all outputs. A version
in the name of a function is the newest one that does so.
"""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.views.importer.context import RefusedError
from tripoint.views.importer_v8 import layers
from tripoint.views.importer_v8.algebra import Dim, Dims, Expression
from tripoint.views.importer_v8.context import Node

_TRANSFORMS = (
    *("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn"),
)


def resize(node: Node) -> Dims:
    """To sizes, or by scales: ``floor(dim * scale)``; both along axes that may be given."""
    return _resize(node, axes=_resize_axes(node), modes=("nearest", "linear", "cubic"))


def resize_86(node: Node) -> Dims:
    """As :func:`resize`, without axes."""
    _refuse_axes(node)
    return _resize(node, axes=None, modes=("nearest", "linear", "cubic"))


def resize_84(node: Node) -> Dims:
    """Not cubic."""
    _refuse_axes(node)
    return _resize(node, axes=None, modes=("nearest", "linear"))


def resize_82(node: Node) -> Dims:
    """Only constant scales."""
    _refuse_axes(node)
    index = 2 if node.opset >= 11 else 1
    if not (node.opset >= 11 and node.has(3)) and not node.is_weights(index):
        raise RefusedError("takes the scales of Resize only as a constant; 8.4 and later any")
    return resize_84(node)


def _refuse_axes(node: Node) -> None:
    if node.attribute_ints("axes") is not None:
        raise RefusedError("does not read the axes of Resize, which are there since opset 18")


def _resize_axes(node: Node) -> tuple[int, ...] | None:
    axes = node.attribute_ints("axes")
    rank = len(node.dims(0))
    if not axes:
        return None
    return tuple(node.axis(axis, rank) for axis in axes)


def _resize(node: Node, *, axes: tuple[int, ...] | None, modes: Sequence[str]) -> Dims:
    dims = node.dims(0)
    if not dims:
        raise RefusedError("resizes no scalar")
    mode = node.attribute_text("mode", "nearest")
    transform = node.attribute_text("coordinate_transformation_mode", "half_pixel")
    if mode not in modes or (node.opset >= 11 and transform not in _TRANSFORMS):
        node.refuse(f"has no {mode} Resize with {transform}, so it stops here")
    rounding = node.attribute_text("nearest_mode", "round_prefer_floor")
    if transform == "tf_half_pixel_for_nn" and rounding != "round_prefer_floor":
        node.refuse(f"has no tf_half_pixel_for_nn with {rounding} in Resize, so it stops here")
    places = tuple(range(len(dims))) if axes is None else axes
    result = list(dims)
    if node.opset >= 11 and node.has(3):
        sizes = node.vector(3)
        _check_count(node, len(sizes), len(places))
        for axis, asked in zip(places, sizes, strict=True):
            result[axis] = asked
        return tuple(result)
    index = 2 if node.opset >= 11 else 1
    for axis, scaled in zip(places, _scaled(node, index, [dims[p] for p in places]), strict=True):
        result[axis] = scaled
    _check_interpolation(node, index, mode)
    return tuple(result)


def _check_interpolation(node: Node, index: int, mode: str) -> None:
    scales = node.floats(index)
    outermost = {"linear": 3, "cubic": 2}.get(mode)
    if scales and outermost and any(scale != 1 for scale in scales[:-outermost]):
        node.refuse(f"interpolates at most the last {outermost} axes, so it stops here")


def _check_count(node: Node, count: int, needed: int) -> None:
    if count != needed:
        raise RefusedError(f"needs {needed} sizes or scales for this {node.op}, not {count}")


def _scaled(node: Node, index: int, dims: Sequence[Dim]) -> list[Dim]:
    if not node.has(index):
        raise RefusedError(f"needs the scales of {node.op}")
    if not node.is_weights(index) and node.values(index) is None and node.dims(index) == ():
        raise RefusedError(f"takes a vector for the scales of {node.op}")
    scales = node.elements(index).reshape(-1)
    _check_count(node, scales.size, len(dims))
    return [
        node.algebra.size("scaled", dim, scale)
        if isinstance(scale, Expression)
        else layers.scaled(node.algebra, dim, float(scale))
        for dim, scale in zip(dims, scales, strict=True)
    ]


def upsample(node: Node) -> Dims:
    """By scales that are an input since opset 9."""
    dims = node.dims(0)
    if node.opset >= 9:
        return tuple(_scaled(node, 1, dims))
    scales = node.attribute_floats("scales") or ()
    _check_count(node, len(scales), len(dims))
    return tuple(
        layers.scaled(node.algebra, dim, scale) for dim, scale in zip(dims, scales, strict=True)
    )


def upsample_82(node: Node) -> Dims:
    """Only constant scales."""
    if node.opset >= 9 and not node.is_weights(1):
        raise RefusedError("takes the scales of Upsample only as a constant; 8.4 and later any")
    return upsample(node)
