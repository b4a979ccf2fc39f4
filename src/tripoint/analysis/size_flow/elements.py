"""Elements: one function for each way in which operators pass values on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tripoint.analysis.size_flow.places import Element, Places, Site, positive
from tripoint.graph.ops import ELEMENTWISE, POINTWISE, RESHAPING


def _same(at: Site) -> Places:
    """Elementwise: the same element of each input, or its only one."""
    lengths = [(value, at.sizes.length(value)) for value in at.node.inputs if value is not None]
    return [
        Element(value, 0 if length == 1 else at.index)
        for value, length in lengths
        if length is not None
    ]


def _moved(at: Site) -> Places:
    """Only the shape changes."""
    return at.element_of(0, 0 if at.sizes.length(at.input(0)) == 1 else at.index)


def any_element(at: Site) -> Places:
    """Every element of every input that may hold sizes."""
    return list(at.sizes.elements(at.node.inputs))


def _shape(at: Site) -> Places:
    rank = at.rank(0)
    if rank is None:
        return []
    return at.axis_of(0, max(0, positive(at.integer("start", 0), rank)) + at.index)


def _size(at: Site) -> Places:
    return list(at.sizes.axes(at.node.inputs))


def _gather(at: Site) -> Places:
    chosen, length = at.sizes.integers(at.input(1)), at.sizes.length(at.input(0))
    if chosen is None or length is None or at.index >= len(chosen):
        return any_element(at)
    return at.element_of(0, positive(chosen[at.index], length))


def _slice(at: Site) -> Places:
    length = at.sizes.length(at.input(0))
    bounds = [_bound(at, "starts", 1), _bound(at, "ends", 2)]
    steps = (1,) if at.input(4) is None else at.sizes.integers(at.input(4))
    singles = [each[0] for each in (*bounds, steps) if each is not None and len(each) == 1]
    if length is None or len(singles) != 3 or singles[2] == 0:
        return any_element(at)
    taken = range(length)[slice(*singles)]
    return at.element_of(0, taken[at.index]) if at.index < len(taken) else []


def _bound(at: Site, attribute: str, position: int) -> Sequence[int] | None:
    if len(at.node.inputs) > 1:
        return at.sizes.integers(at.input(position))
    return at.node.attributes.get_ints(attribute)


def _concat(at: Site) -> Places:
    index = at.index
    for position, value in enumerate(at.node.inputs):
        length = at.sizes.length(value)
        if length is None:
            return any_element(at)
        if index < length:
            return at.element_of(position, index)
        index -= length
    return []


def _split(at: Site) -> Places:
    index = at.index
    for value in at.node.outputs[: at.position]:
        length = at.sizes.length(value)
        if length is None:
            return any_element(at)
        index += length
    return at.element_of(0, index)


def _if(at: Site) -> Places:
    position = at.position
    return [
        Element(body.outputs[position], at.index)
        for body in at.bodies
        if position < len(body.outputs)
    ]


CONSTANT = frozenset({"Constant", "ConstantOfShape"})
"""Operators whose values do not depend on those of their inputs."""

COPYING = frozenset(
    {
        *(*RESHAPING, "Expand", "Identity", "Cast"),
        *("Gather", "Slice", "Concat", "Split"),
    }
)
"""Operators whose output elements are elements of an input, moved."""

ELEMENTS: Mapping[str, Callable[[Site], Places]] = {
    **dict.fromkeys(ELEMENTWISE | POINTWISE, _same),
    **dict.fromkeys(RESHAPING | {"Expand"}, _moved),
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Split": _split,
    "If": _if,
}
