"""A Squeeze without axes names them.

    Squeeze(x) = Squeeze(x, [axes of size 1])

Holds where each dim of ``x`` is a known integer, or cannot be 1: the sizes that were given exclude
it, or the rest of the graph could not run, since it needs the rank that ``x`` has without its
known dims of 1. Where nothing but a declared shape says that rank, it holds for other sizes than 1;
the result names the assumption, and the proof leaves the size 1 out.

Why: TensorRT needs the axes; 7.x throws without them, 8.x fails as soon as one dim is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.ops import (
    ELEMENTWISE,
    EXTREMES,
    POINTWISE,
    POOLS,
    RECURRENT,
    REDUCTIONS,
    SOFTMAX,
)
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import decided, vector
from tripoint.rewrites.reshaping import new_node
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Dim, is_plain

_AXES_ARE_INPUT = 13
"""Opset since which Squeeze takes its axes as an input (ONNX operator specification)."""

_EXACT = {"Gemm": 2, **dict.fromkeys(RECURRENT, 3)}
"""The rank that an operator takes in its first input."""

_ONE_AXIS = {
    **dict.fromkeys(EXTREMES | {"Concat", "Split", "Gather", "GatherElements"}, 0),
    **dict.fromkeys(SOFTMAX, -1),
}
"""Operators with an axis, and which it is where none is given."""

_MANY_AXES = REDUCTIONS | {"Squeeze"}
"""Operators whose axes are an attribute or, later, their second input."""


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    x = node.inputs[0]
    has_axes = "axes" in node.attributes or any(value is not None for value in node.inputs[1:])
    if x is None or has_axes:
        return None
    shape = shape_of(x)
    if shape is None:
        return f"the rank of `{x.name}` is not known"
    dynamic = tuple(dict.fromkeys(dim for dim in shape if not isinstance(dim, int)))
    free = [dim for dim in dynamic if not _more_than_one(dim, site)]
    why = _why_not_one(node, sum(dim != 1 for dim in shape), free, site) if free else ""
    if why is None:
        return f"{free[0]} may be 1, and the rank of the result changes then"
    dims = " and ".join(map(str, free))
    assumes = f"{dims} {'are' if len(free) > 1 else 'is'} not 1: {why}" if why else ""
    axes = [axis for axis, dim in enumerate(shape) if dim == 1]
    if not axes:
        return Replacement([node], [node.outputs[0]], [], [x], assumes=assumes, not_one=dynamic)
    operands = [] if site.opset < _AXES_ARE_INPUT else [vector(axes)]
    new = new_node("Squeeze", [x, *operands], **({} if operands else {"axes": axes}))
    return Replacement(
        [node],
        [node.outputs[0]],
        [new],
        list(new.outputs),
        operands,
        assumes=assumes,
        not_one=dynamic,
    )


def _more_than_one(dim: Dim, site: Site) -> bool:
    """Return whether the sizes that were given exclude that a dim is 1."""
    return isinstance(dim, str) and is_plain(dim) and site.ranges.get(dim, (1, 1))[0] > 1


def _why_not_one(node: ir.Node, rank: int, free: Sequence[Dim], site: Site) -> str | None:
    """Return why a Squeeze's result has this rank, the largest possible; None if it may not.

    Args:
        node: The Squeeze.
        rank: Number of dims of its input that are not known to be 1.
        free: The dims that might be 1.
        site: Where it is.
    """
    output = node.outputs[0]
    reader = _needing(output, rank)
    if reader is not None:
        return f"{reader.op_type} `{node_name(reader)}` needs rank {rank}"
    # At a size of 1 that was asked for, the graph may well mean another rank.
    asked = [dim for dim in free if dim in site.ranges]
    declared = site.declared.get(output.name or "")
    if declared is not None and len(declared) == rank and not asked:
        return f"`{output.name}` is declared with rank {rank}"
    return None


def _needing(value: ir.Value, rank: int) -> ir.Node | None:
    """A node that can run only if a tensor, or what has its rank, has this rank or more."""
    pending, seen = [value], {value}
    while pending:
        current = pending.pop()
        for user, index in current.uses():
            if user.domain or user.graph is not value.graph:
                continue
            if _least_rank(user, index) >= rank:
                return user
            if _passes_on(user, index, rank) and user.outputs[0] not in seen:
                seen.add(user.outputs[0])
                pending.append(user.outputs[0])
    return None


def _passes_on(node: ir.Node, index: int, rank: int) -> bool:
    """Return whether the result of a node has a rank of at least this only if its input has."""
    if node.op_type in POINTWISE:
        return index == 0
    if node.op_type not in ELEMENTWISE or len(node.inputs) != 2:
        return False
    other = node.inputs[1 - index]
    fed = other is not None and (other.is_initializer() or other.is_graph_input())
    shape = shape_of(other) if other is not None and fed else None
    return shape is not None and len(shape) < rank


def _least_rank(node: ir.Node, index: int) -> int:
    """The rank that a node needs of an input at least, 0 if it takes any."""
    kind = node.op_type
    if kind == "Transpose":
        return len(node.attributes.get_ints("perm") or ())
    if index == 0 and kind in _EXACT:
        return _EXACT[kind]
    if kind in ("Conv", "ConvTranspose") and index == 0:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        return len(shape_of(weight) or ()) if weight is not None else 0
    if kind in ("Pad", "Tile") and index == 0:
        pads = node.attributes.get_ints("pads")
        if pads is None and len(node.inputs) > 1:
            pads = decided(node.inputs[1])
        # A Pad with axes pads these only; it takes no fewer than it names.
        return len(pads or ()) // (2 if kind == "Pad" else 1)
    if kind in POOLS:
        return 2 + len(node.attributes.get_ints("kernel_shape") or ())
    if kind == "Concat":
        others = [
            shape_of(other)
            for other in node.inputs
            if other is not None and (other.is_initializer() or other.is_graph_input())
        ]
        if ranks := [len(shape) for shape in others if shape is not None]:
            return max(ranks)
    if kind in _ONE_AXIS and (index == 0 or kind == "Concat"):
        return _reached(node.attributes.get_int("axis", _ONE_AXIS[kind]))
    if kind in _MANY_AXES and index == 0:
        return max(map(_reached, _axes(node, 1)), default=0)
    if kind == "Slice" and index == 0:
        return max(map(_reached, _axes(node, 3)), default=0)
    if kind == "Unsqueeze" and index == 0:
        axes = _axes(node, 1)
        return max(map(_reached, axes), default=0) - len(axes)
    return 0


def _axes(node: ir.Node, position: int) -> Sequence[int]:
    numbers = node.attributes.get_ints("axes")
    if numbers is None and len(node.inputs) > position:
        operand = node.inputs[position]
        numbers = decided(operand) if operand is not None else None
    return numbers or ()


def _reached(axis: int) -> int:
    """The smallest rank that has an axis."""
    return axis + 1 if axis >= 0 else -axis


REWRITE = Rewrite(
    name="squeeze-axes",
    title="Name the axes that a Squeeze removes",
    find=_find,
    may_match=lambda node: node.op_type == "Squeeze" and not node.domain,
)
