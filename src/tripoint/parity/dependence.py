"""Dependence of a graph's outputs: on values of its inputs, on their sizes alone, on nothing.

Where the graph says nothing else, an operator passes on what each of its inputs depends on. Of a
tensor, Shape and Size read the sizes alone, unless these follow from values, as those of NonZero
do. Some operators give one number whatever comes in: a product with zeros, a number less itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from tripoint.graph.ops import COMPARISONS, COUNTING, RANDOM, READS_SIZES
from tripoint.rewrites.constants import elements
from tripoint.shape_inference import shape_inputs, truth

Depends = Literal["values", "sizes", "nothing"]

_SHAPED_BY = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Slice", "Pad", "Resize", "TopK", "Split"), 1),
    **dict.fromkeys(("Range", "ConstantOfShape", "EyeLike"), 0),
    "OneHot": 1,
    "Upsample": 1,
}
"""The first operand whose values are sizes."""
_SAME_TWICE = COMPARISONS | {"Sub", "Div", "Mod", "Xor", "BitwiseXor"}
"""What gives one number where both operands are the same tensor."""
_ABSORBS = {"Mul": 0, "And": 0, "BitwiseAnd": 0, "Or": 1}
"""What gives one number where an operand is this one."""


@dataclass(frozen=True, slots=True)
class _State:
    """Dependence of a tensor.

    Args:
        values: Its elements depend on values of an input.
        shape: So does its shape.
        sizes: Its elements or its shape depend on sizes.
        random: It is drawn.
    """

    values: bool = False
    shape: bool = False
    sizes: bool = False
    random: bool = False

    def __or__(self, other: _State) -> _State:
        return _State(
            self.values or other.values,
            self.shape or other.shape,
            self.sizes or other.sizes,
            self.random or other.random,
        )


_NOTHING = _State()


def of_outputs(model: ir.Model) -> dict[str, Depends]:
    """Return the dependence of each output, by name; without those that hold random draws.

    An input whose values are sizes, as TensorRT's shape tensors are, counts as sizes.

    Args:
        model: It is not changed.
    """
    by_value = shape_inputs.find(model)
    graph = truth.inlined(model).graph
    states: dict[ir.Value, _State] = {}
    for value in graph.inputs:
        if value.name in graph.initializers:
            continue
        static = value.shape is not None and value.shape.is_static()
        states[value] = _State(values=value.name not in by_value, sizes=not static)
        if value.name in by_value:
            states[value] = _State(sizes=True)
    _walk(graph, states)
    dependences: dict[str, Depends] = {}
    for value in graph.outputs:
        state = states.get(value, _NOTHING)
        if not state.random:
            dependences[value.name or ""] = (
                "values" if state.values else "sizes" if state.sizes else "nothing"
            )
    return dependences


def _walk(nodes: Iterable[ir.Node], states: dict[ir.Value, _State]) -> None:
    for node in nodes:
        state = _state(node, states)
        states.update(dict.fromkeys(node.outputs, state))


def _state(node: ir.Node, states: dict[ir.Value, _State]) -> _State:
    read = [states.get(value, _NOTHING) if value is not None else _NOTHING for value in node.inputs]
    together = _NOTHING
    for each in read:
        together |= each
    if node.op_type in READS_SIZES:
        static = node.inputs[0] is not None and _is_static(node.inputs[0])
        return _State(values=together.shape, shape=False, sizes=together.sizes and not static)
    if node.op_type in RANDOM:
        return _State(shape=together.shape, sizes=together.sizes, random=True)
    bodies = [
        attribute.as_graph()
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
    ]
    if node.op_type == "If":
        outputs = _NOTHING
        for body in bodies:
            _walk(body, states)
            for result in body.outputs:
                outputs |= states.get(result, _NOTHING)
        return together | outputs | _State(shape=together.values)
    for body in bodies:
        for inner in body.all_nodes():
            for operand in inner.inputs:
                together |= states.get(operand, _NOTHING) if operand is not None else _NOTHING
    if bodies:
        return together | _State(shape=together.values)
    if _is_one_number(node):
        # Of as many elements as its operands.
        return _State(shape=together.shape, sizes=together.sizes, random=together.random)
    chosen = _chosen(node)
    if chosen is not None:
        return states.get(chosen, _NOTHING)
    first = _SHAPED_BY.get(node.op_type, len(read))
    counted = node.op_type in COUNTING and together.values
    if counted or any(each.values for each in read[first:]):
        together |= _State(shape=True)
    return together


def _is_static(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and value.shape.is_static()


def _is_one_number(node: ir.Node) -> bool:
    """Return whether a node gives one number whatever its operands hold, if they are finite."""
    inputs = [_behind(value) for value in node.inputs]
    if node.op_type in _SAME_TWICE:
        return len(inputs) == 2 and inputs[0] is not None and inputs[0] is inputs[1]
    if node.op_type == "Pow":
        return _all(inputs[1], 0)
    if node.op_type in _ABSORBS:
        return any(_all(value, _ABSORBS[node.op_type]) for value in inputs)
    if node.op_type == "Clip" and len(inputs) == 3:
        low, high = (elements(value) for value in inputs[1:])
        return low is not None and high is not None and bool((low >= high).all())
    return False


def _chosen(node: ir.Node) -> ir.Value | None:
    """The operand that a Where with a constant condition gives everywhere."""
    if node.op_type != "Where":
        return None
    if _all(node.inputs[0], 1):
        return node.inputs[1]
    return node.inputs[2] if _all(node.inputs[0], 0) else None


def _all(value: ir.Value | None, number: int | None) -> bool:
    array = elements(value, 1 << 20)
    return array is not None and array.size > 0 and bool((array == number).all())


def _behind(value: ir.Value | None) -> ir.Value | None:
    """The tensor that Identity and Dropout pass on as it is."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type != "Identity":
            return value
        value = node.inputs[0]
    return None
