"""Reshape, Transpose and Reshape that only move the axes of a tensor are one Transpose.

    Reshape(Transpose(Reshape(x, s), p), t) = Transpose(x, q)

    (N, 12, S, 64) -> (12*N, S, 64) -> (12*N, 64, S) -> (N, 12, 64, S): q = [0, 1, 3, 2]

Holds where every axis between the Reshapes is a product of axes of ``x`` in a row, or a factor of
one, and where behind the Transpose the parts of every axis of ``x`` are together again, as one axis
of the result. Axes of size 1 may be anywhere. Nothing else reads the transposed tensor.

Why: sizes such as ``12*N`` cannot be told from their factors once N is unknown, so every TensorRT
loses the 12 when the axis is split again.
"""

from __future__ import annotations

import onnx_ir as ir

from tripoint.graph.ops import RESHAPING
from tripoint.rewrites.axes import permutation
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.dims import split
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim, Shape


def _find(node: ir.Node, site: Site) -> Replacement | None:  # noqa: ARG001
    transpose = _producer(node, {"Transpose"})
    reshape = _producer(transpose, RESHAPING) if transpose is not None else None
    if transpose is None or reshape is None:
        return None
    x, moved = reshape.inputs[0], transpose.outputs[0]
    if x is None or len(moved.uses()) > 1 or moved.is_graph_output():
        return None
    shape, between = shape_of(x), shape_of(reshape.outputs[0])
    wanted = shape_of(node.outputs[0])
    if shape is None or between is None or wanted is None:
        return None
    perm = _moved_axes(shape, between, permutation(transpose, len(between)), wanted)
    if perm is None:
        return None
    nodes, outputs = [reshape, transpose, node], [node.outputs[0]]
    if perm == sorted(perm):
        return Replacement(nodes, outputs, [], [x])
    new = new_node("Transpose", [x], perm=perm)
    return Replacement(nodes, outputs, [new], list(new.outputs))


def _producer(node: ir.Node, operators: frozenset[str] | set[str]) -> ir.Node | None:
    x = node.inputs[0] if node.inputs else None
    producer = x.producer() if x is not None else None
    if producer is None or producer.domain or producer.op_type not in operators:
        return None
    return producer


def _moved_axes(shape: Shape, between: Shape, perm: list[int], wanted: Shape) -> list[int] | None:
    """The axis of the input that each axis of the result is, if each is one."""
    if len(shape) != len(wanted):
        return None
    parts = _parts(shape, between)
    if parts is None:
        return None
    row = [part for axis in perm for part in parts[axis]]
    groups = split([size for size, _ in row], wanted)
    if groups is None:
        return None
    complete: dict[int, list[Dim]] = {}
    for axis_parts in parts:
        for size, axis in axis_parts:
            complete.setdefault(axis, []).append(size)
    order: list[int | None] = []
    for group in groups:
        axes = {row[index][1] for index in group}
        if not group:
            order.append(None)
        elif len(axes) == 1 and [row[index][0] for index in group] == complete[min(axes)]:
            order.append(min(axes))
        else:
            return None
    ones = iter(axis for axis in range(len(shape)) if axis not in order)
    return [axis if axis is not None else next(ones) for axis in order]


def _parts(shape: Shape, between: Shape) -> list[list[tuple[Dim, int]]] | None:
    """For each axis in between its parts: size, and the axis of the input that it is part of."""
    merged = split(shape, between)
    if merged is not None:
        return [[(shape[axis], axis) for axis in group] for group in merged]
    divided = split(between, shape)
    if divided is None:
        return None
    owner = {piece: axis for axis, group in enumerate(divided) for piece in group}
    return [[(size, owner[piece])] if piece in owner else [] for piece, size in enumerate(between)]


REWRITE = Rewrite(
    name="permuting-reshapes",
    title="Transpose the tensor itself instead of one with its axes merged or split",
    find=_find,
    may_match=lambda node: node.op_type in RESHAPING and not node.domain,
)
