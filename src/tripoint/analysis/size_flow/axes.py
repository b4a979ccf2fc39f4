"""Axes: one function for each way in which operators pass sizes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tripoint.analysis.size_flow.places import Axis, Element, Places, Site, SizeRef, positive
from tripoint.graph.ops import (
    ELEMENTWISE,
    EXTREMES,
    GLOBAL_POOLS,
    POOLS,
    READS_SIZES,
    REDUCTIONS,
    SAME_SHAPE,
)


def _aligned(at: Site) -> Places:
    """Broadcasting: the same axis of all inputs, counted from the last."""
    places: list[SizeRef] = []
    rank = at.rank()
    for position, value in enumerate(at.node.inputs):
        if value is None:
            continue
        own = at.sizes.rank(value)
        if own is None or rank is None:
            return None
        if at.index >= rank - own:
            places += at.axis_of(position, at.index - (rank - own))
    return places


def _same(at: Site) -> Places:
    """The same axis of the first input."""
    return at.axis_of(0, at.index) if at.rank(0) == at.rank() else None


def _matmul(at: Site) -> Places:
    a, b, rank = at.rank(0), at.rank(1), at.rank()
    if a is None or b is None or rank is None or min(a, b) < 2:
        return None
    if at.index == rank - 2:
        return at.axis_of(0, a - 2)
    if at.index == rank - 1:
        return at.axis_of(1, b - 1)
    return _aligned(at)


def _gemm(at: Site) -> Places:
    if at.index > 1:
        return None
    return at.axis_of(at.index, at.index ^ bool(at.integer("transB" if at.index else "transA", 0)))


def _transpose(at: Site) -> Places:
    order = at.node.attributes.get_ints("perm")
    return at.axis_of(0, order[at.index]) if order and at.index < len(order) else None


def _window(at: Site) -> Places:
    """Convolutions: the batch of the data, the channels of the weights, both in space."""
    if at.index == 0:
        return at.axis_of(0, 0)
    if at.index == 1:
        return at.axis_of(1, 1 if at.node.op_type == "ConvTranspose" else 0)
    return at.axis_of(0, at.index) + at.axis_of(1, at.index)


def _global_pool(at: Site) -> Places:
    return at.axis_of(0, at.index) if at.index < 2 else []


def _axes(at: Site) -> Sequence[int] | None:
    axes = at.node.attributes.get_ints("axes")
    return at.sizes.integers(at.input(1)) if axes is None else axes


def _reduce(at: Site) -> Places:
    if at.rank(0) == at.rank():
        return at.axis_of(0, at.index)
    arg = at.node.op_type.startswith("Arg")
    return _without(at, [at.integer("axis", 0)] if arg else _axes(at))


def _squeeze(at: Site) -> Places:
    return _without(at, _axes(at))


def _without(at: Site, axes: Sequence[int] | None) -> Places:
    rank = at.rank(0)
    if rank is None or axes is None:
        return None
    removed = {positive(each, rank) for each in axes}
    kept = [each for each in range(rank) if each not in removed]
    return at.axis_of(0, kept[at.index]) if at.index < len(kept) else None


def _unsqueeze(at: Site) -> Places:
    rank, axes = at.rank(), _axes(at)
    if rank is None or axes is None:
        return None
    added = {positive(each, rank) for each in axes}
    if at.index in added:
        return []
    return at.axis_of(0, at.index - sum(each < at.index for each in added))


def _concat(at: Site) -> Places:
    if "axis" not in at.node.attributes:
        return None
    return [Axis(value, at.index) for value in at.node.inputs if value is not None]


def _split(at: Site) -> Places:
    rank = at.rank()
    places = at.axis_of(0, at.index)
    if rank is not None and at.index == positive(at.integer("axis", 0), rank):
        places += at.element_of(1, at.position)
    return places


def _slice(at: Site) -> Places:
    starts, rank = at.input(1), at.rank()
    if starts is None:
        return at.axis_of(0, at.index)
    axes = range(at.sizes.length(starts) or 0)
    chosen = axes if at.input(3) is None else at.sizes.integers(at.input(3))
    if chosen is None or rank is None:
        return None
    sliced = [positive(each, rank) for each in chosen]
    places = at.axis_of(0, at.index)
    if at.index in sliced:
        for position in (1, 2, 4):
            places += at.element_of(position, sliced.index(at.index))
    return places


def _gather(at: Site) -> Places:
    rank, width = at.rank(0), at.rank(1)
    if rank is None or width is None or not at.node.attributes:
        return None
    first = positive(at.integer("axis", 0), rank)
    if at.index < first:
        return at.axis_of(0, at.index)
    if at.index < first + width:
        return at.axis_of(1, at.index - first)
    return at.axis_of(0, at.index - width + 1)


def _gather_elements(at: Site) -> Places:
    return at.axis_of(1, at.index)


def _flatten(at: Site) -> Places:
    rank = at.rank(0)
    if rank is None or not at.node.attributes:
        return None
    cut = positive(at.integer("axis", 1), rank)
    merged = range(cut, rank) if at.index else range(cut)
    return [place for each in merged for place in at.axis_of(0, each)]


def _reshape(at: Site) -> Places:
    operand = at.input(1)
    if operand is None:
        return None
    own = Element(operand, at.index)
    size = at.sizes.constant(own)
    if size == 0 and not at.integer("allowzero", 0):
        return at.axis_of(0, at.index)
    if size == -1:
        others = (each for each in at.sizes.elements([operand]) if each != own)
        return [
            *at.sizes.axes([at.input(0)]),
            *(each for each in others if at.sizes.constant(each) is None),
        ]
    if size is None and operand.producer() is None:
        return None  # from the caller or out of a log, so it may be a -1
    return [own] if size is None else []


def _expand(at: Site) -> Places:
    rank, own, length = at.rank(), at.rank(0), at.sizes.length(at.input(1))
    if rank is None or own is None or length is None:
        return None
    return at.axis_of(0, at.index - (rank - own)) + at.element_of(1, at.index - (rank - length))


def _tile(at: Site) -> Places:
    return at.axis_of(0, at.index) + at.element_of(1, at.index)


def _pad(at: Site) -> Places:
    rank = at.rank()
    if rank is None or at.input(3) is not None:
        return None
    pads = at.element_of(1, at.index) + at.element_of(1, at.index + rank)
    return at.axis_of(0, at.index) + pads


def _resize(at: Site) -> Places:
    if at.node.op_type == "Upsample" or len(at.node.inputs) == 2:
        return at.axis_of(0, at.index) + at.element_of(1, at.index)
    resized = at.node.attributes.get_ints("axes")
    index = at.index
    if resized is not None:
        chosen = [positive(each, at.rank() or 0) for each in resized]
        if index not in chosen:
            return at.axis_of(0, index)
        index = chosen.index(index)
    if at.input(3) is not None:
        return at.element_of(3, index)
    return at.axis_of(0, at.index) + at.element_of(2, index)


def _constant_of_shape(at: Site) -> Places:
    return at.element_of(0, at.index)


def _range(at: Site) -> Places:
    return [place for position in range(3) for place in at.element_of(position, 0)]


def _top_k(at: Site) -> Places:
    rank = at.rank()
    if rank is not None and at.index == positive(at.integer("axis", -1), rank):
        return at.element_of(1, 0)
    return _same(at)


def _one_hot(at: Site) -> Places:
    rank = at.rank()
    if rank is None:
        return None
    added = positive(at.integer("axis", -1), rank)
    if at.index == added:
        return at.element_of(1, 0)
    return at.axis_of(0, at.index - (at.index > added))


def _einsum(at: Site) -> Places:
    equation = (at.node.attributes.get_string("equation") or "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or at.index >= len(right):
        return None
    return [
        place
        for position, term in enumerate(terms)
        for index, letter in enumerate(term)
        if letter == right[at.index]
        for place in at.axis_of(position, index)
    ]


def _if(at: Site) -> Places:
    return _made_inside(at, at.position, at.index)


def _loop(at: Site) -> Places:
    states = len(at.node.inputs) - 2
    if at.position < states:
        carried = at.axis_of(at.position + 2, at.index)
        return carried + _made_inside(at, at.position + 1, at.index)
    if at.index == 0:
        return at.element_of(0, 0)  # stacked, as often as the loop runs
    return _made_inside(at, at.position + 1, at.index - 1)


def _scan(at: Site) -> Places:
    states = len(at.node.inputs) - at.integer("num_scan_inputs", 0)
    if at.position < states:
        return at.axis_of(at.position, at.index) + _made_inside(at, at.position, at.index)
    if any(f"scan_{side}_axes" in at.node.attributes for side in ("input", "output")):
        return None
    if at.index == 0:
        scanned = range(states, len(at.node.inputs))
        return [place for position in scanned for place in at.axis_of(position, 0)]
    return _made_inside(at, at.position, at.index - 1)


def _made_inside(at: Site, position: int, index: int) -> list[SizeRef]:
    return [
        Axis(body.outputs[position], index)
        for body in at.bodies
        if 0 <= position < len(body.outputs)
    ]


BY_NOTHING = READS_SIZES | {"Constant"}
"""Operators whose output size is known from the node and the rank of its input."""

_KEEPING = SAME_SHAPE - {"PRelu"} | POOLS | {"DepthToSpace", "SpaceToDepth"}
"""Operators of whose output every axis comes from the same axis of the data."""

AXES: Mapping[str, Callable[[Site], Places]] = {
    **dict.fromkeys(ELEMENTWISE, _aligned),
    **dict.fromkeys(_KEEPING, _same),
    **dict.fromkeys(REDUCTIONS | EXTREMES, _reduce),
    **dict.fromkeys(("Conv", "ConvTranspose"), _window),
    **dict.fromkeys(GLOBAL_POOLS, _global_pool),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "TopK": _top_k,
    "OneHot": _one_hot,
    "Einsum": _einsum,
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
}
