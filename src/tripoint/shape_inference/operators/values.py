"""The elements of shape tensors: one function an operator, from known operands to known outputs.

A tensor of at most ``LARGEST`` elements is an object array of
:data:`~tripoint.shape_inference.operators.symbolic_values.Element`; numpy does what is about axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import READS_SIZES
from tripoint.shape_inference.operators import moving
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.moving import Array, Compute, Found, scalar, vector
from tripoint.shape_inference.operators.symbolic_values import LARGEST, UNKNOWN, Element

_FAILURES = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)


class Elements(Protocol):
    """Elements by tensor, of which more and more are learnt."""

    def array(self, value: ir.Value | None) -> Array | None:
        """Return the elements of a small tensor, None if nothing is known of them."""

    def learn(self, value: ir.Value, elements: Array) -> None:
        """Remember the elements of a tensor."""


def read(tensor: ir.TensorProtocol) -> Array | None:
    """The elements of a constant, None if it is too large for a shape or has no numbers."""
    if not _fits(tensor.shape) or tensor.dtype == ir.DataType.STRING:
        return None
    try:
        numbers = tensor.numpy()
    except Exception:  # noqa: BLE001 - its file may be missing, its bytes may be anything
        return None
    elements = np.empty(numbers.shape, dtype=object)
    for index, number in enumerate(numbers.flat):
        elements.flat[index] = _number(number)
    return elements


def _number(number: Any) -> Element:
    if isinstance(number, np.bool_ | np.integer):
        return int(number)
    try:
        exact = Fraction(float(number))
    except (ValueError, TypeError, OverflowError):
        try:
            return int(number)
        except (ValueError, TypeError, OverflowError):
            return UNKNOWN
    return int(exact) if exact.denominator == 1 else exact


def _fits(shape: ir.ShapeProtocol | None) -> bool:
    if shape is None:
        return False
    dims = list(shape)
    sizes = [dim for dim in dims if isinstance(dim, int)]
    return len(sizes) == len(dims) and math.prod(sizes) <= LARGEST


def propagate(ctx: Elements, node: ir.Node) -> None:
    """Work out the elements of a node's outputs, where that is possible.

    Args:
        ctx: It knows the operands, and learns the outputs.
        node: A node whose outputs have their shapes.
    """
    compute = COMPUTE.get(node.op_type)
    if compute is None:
        return
    shapes = [value.shape for value in node.outputs]
    if not any(map(_fits, shapes)):
        return
    operands = _operands(ctx, node)
    if operands is None:
        return
    try:
        result = compute(node, operands)
    except _FAILURES:
        return
    for value, array in zip(
        node.outputs, [result] if _is_array(result) else result or (), strict=False
    ):
        if value.shape is None or not _fits(value.shape):
            continue
        whole = np.asarray(array, dtype=object)
        some = not whole.size or any(element is not UNKNOWN for element in whole.flat)
        if some and whole.shape == tuple(value.shape):
            ctx.learn(value, whole)


def _is_array(result: Any) -> bool:
    return not isinstance(result, list | tuple) and result is not None


def _operands(ctx: Elements, node: ir.Node) -> list[Array | None] | None:
    """Return the known elements of each input; None if they are not worth a computation."""
    if node.op_type in READS_SIZES:
        (value,) = node.inputs[:1]
        if value is None or value.shape is None:
            return None
        return [vector([e.from_dim(dim) for dim in value.shape])]
    # Weights are only read if the other operand is known, as it is not for data.
    present = [value for value in node.inputs if value is not None]
    computed = [value for value in present if value.const_value is None]
    others = [
        value for value in present if value.const_value is not None and _is_of_integers(value)
    ]
    if computed and all(ctx.array(value) is None for value in (*computed, *others)):
        return None
    return [_operand(ctx, value) for value in node.inputs]


def _is_of_integers(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_integer()


def _operand(ctx: Elements, value: ir.Value | None) -> Array | None:
    if value is None:
        return None
    array = ctx.array(value)
    if array is None and value.shape is not None and _fits(value.shape):
        return np.full(tuple(value.shape), UNKNOWN, dtype=object)
    return array


# Element by element


def _elementwise(function: Callable[..., Element], operands: int) -> Compute:
    ufunc: Any = np.frompyfunc(function, operands, 1)

    def compute(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
        return _held(node, ufunc(*inputs[:operands]))

    return compute


def _held(node: ir.Node, elements: Any) -> Array:
    """Return some elements as the output of a node holds them: floats are rounded."""
    dtype = node.outputs[0].dtype
    if dtype is None or not (dtype.is_floating_point() or dtype.is_integer()):
        return np.asarray(elements, dtype=object)
    rounded = e.wrapped if dtype.is_integer() else e.rounded
    return np.asarray(np.frompyfunc(lambda x: rounded(x, dtype), 1, 1)(elements), dtype=object)


def _variadic(function: Callable[[Element, Element], Element]) -> Compute:
    ufunc: Any = np.frompyfunc(function, 2, 1)

    def compute(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
        result = inputs[0]
        for other in inputs[1:]:
            result = _held(node, ufunc(result, other))
        return result

    return compute


_DIVIDE_INTEGERS = _elementwise(e.divide_integers, 2)
_DIVIDE = _elementwise(e.divide, 2)
_REMAINDER = _elementwise(e.remainder, 2)
_TRUNCATE = _elementwise(e.truncate, 1)
_IS_SET = _elementwise(lambda x: e.invert(e.is_equal(x, 0)), 1)


def _divide(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    return (_DIVIDE_INTEGERS if _is_integer(node) else _DIVIDE)(node, inputs)


def _mod(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    numbers = (element for array in inputs if array is not None for element in array.flat)
    # fmod gives the remainder the sign of the dividend: the same thing where none is negative.
    if node.attributes.get_int("fmod", 0) and any(e.is_negative(x) != 0 for x in numbers):
        return None
    return _REMAINDER(node, inputs)


def _cast(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    dtype = node.outputs[0].dtype
    if dtype is None or dtype == ir.DataType.STRING:
        return None
    if dtype == ir.DataType.BOOL:
        return _IS_SET(node, inputs)
    return _TRUNCATE(node, inputs) if dtype.is_integer() else _held(node, inputs[0])


def _root(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    dtype = node.outputs[0].dtype
    return np.asarray(np.frompyfunc(lambda x: e.root(x, dtype), 1, 1)(inputs[0]), dtype=object)


def _power(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    """Powers that are products, and roots; what else a library makes of a power is not decided."""
    dtype = node.outputs[0].dtype
    whole = dtype is not None and dtype.is_integer()

    def power(a: Element, b: Element) -> Element:
        if b == Fraction(1, 2):
            return UNKNOWN if whole else e.root(a, dtype)
        exact = e.power(a, b)
        rounded = e.rounded(exact, dtype)
        return rounded if rounded == exact or b == 2 else UNKNOWN

    ufunc: Any = np.frompyfunc(power, 2, 1)
    return _held(node, ufunc(*inputs[:2]))


def _clip(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    result = inputs[0]
    for position, limit in ((1, e.maximum), (2, e.minimum)):
        bound = inputs[position] if len(inputs) > position else None
        if bound is None and position >= len(node.inputs):
            attribute = node.attributes.get_float("min" if position == 1 else "max")
            bound = None if attribute is None else scalar(_number(np.float32(attribute)))
        elif bound is None and node.inputs[position] is not None:
            return None
        if bound is not None:
            result = np.frompyfunc(limit, 2, 1)(result, bound)
    return result


def _is_integer(node: ir.Node) -> bool:
    dtype = next(
        (v.dtype for v in (*node.outputs, *node.inputs) if v is not None and v.dtype), None
    )
    return dtype is not None and dtype.is_integer()


# What is made of several elements


def _reduce(function: Callable[[Element, Element], Element], start: Element) -> Compute:
    def compute(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
        data, shape = inputs[0], node.outputs[0].shape
        if data is None or shape is None:
            return None
        axes = list(node.attributes.get_ints("axes") or ())
        if len(inputs) > 1 and inputs[1] is not None:
            axes = [int(axis) for axis in inputs[1].flat]
        if not axes and node.attributes.get_int("noop_with_empty_axes", 0) != 0:
            return data
        keep = node.attributes.get_int("keepdims", 1) != 0
        # Object arrays have no reduction over several axes at once.
        result = data
        for axis in sorted((axis % data.ndim for axis in axes or range(data.ndim)), reverse=True):
            result = _fold(function, start, result, axis, keep)
        # Where floats are rounded on the way the order matters, which is not fixed.
        held = _held(node, result)
        agreed: Any = np.frompyfunc(lambda a, b: a if a == b else UNKNOWN, 2, 1)
        return np.asarray(agreed(result, held), dtype=object)

    return compute


def _fold(
    function: Callable[[Element, Element], Element],
    start: Element,
    data: Array,
    axis: int,
    keep: bool,
) -> Array:
    moved = np.moveaxis(data, axis, 0)
    result = np.full(moved.shape[1:], start, dtype=object)
    ufunc: Any = np.frompyfunc(function, 2, 1)
    for index, part in enumerate(moved):
        result = np.asarray(part if not index else ufunc(result, part), dtype=object)
    return np.expand_dims(result, axis) if keep else result


def _cumulate(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    data, axis = inputs[:2]
    if data is None or axis is None or data.ndim != 1:
        return None
    reverse = node.attributes.get_int("reverse", 0)
    exclusive = node.attributes.get_int("exclusive", 0)
    sums, total = [], 0
    for element in reversed(list(data)) if reverse else list(data):
        after = e.add(total, element)
        sums.append(total if exclusive else after)
        total = after
    return vector(sums[::-1] if reverse else sums)


def _range(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    start, _, delta = (array.flat[0] if array is not None else UNKNOWN for array in inputs[:3])
    shape = node.outputs[0].shape
    count = shape[0] if shape is not None else None
    if not isinstance(count, int):
        return None
    return _agreed(
        node,
        [e.add(start, e.multiply(delta, index)) for index in range(count)],
        [start] * bool(count) + [delta] * (count - 1),
    )


def _agreed(node: ir.Node, exact: Sequence[Element], terms: Sequence[Element]) -> Array:
    """Sums, as far as adding the terms one by one rounds none of them."""
    dtype = node.outputs[0].dtype
    sums, total = [], 0
    for index, term in enumerate(terms):
        total = e.rounded(e.add(total, term), dtype)
        sums.append(total if total == exact[index] else UNKNOWN)
    return vector(sums)


def _constant_of_shape(node: ir.Node, _: Sequence[Array | None]) -> Found:
    fill, shape = node.attributes.get_tensor("value"), node.outputs[0].shape
    if shape is None:
        return None
    return np.full(tuple(shape), _number(fill.numpy().item()) if fill else 0, dtype=object)


def _shape(node: ir.Node, inputs: Sequence[Array | None]) -> Found:
    dims = inputs[0]
    if dims is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end")
    return dims[start:end]


def _size(_: ir.Node, inputs: Sequence[Array | None]) -> Found:
    return scalar(e.product(inputs[0])) if inputs[0] is not None else None


COMPUTE: dict[str, Compute] = {
    **moving.COMPUTE,
    **{
        op: _elementwise(function, count)
        for op, function, count in (
            ("Add", e.add, 2),
            ("Sub", e.subtract, 2),
            ("Mul", e.multiply, 2),
            ("Neg", e.negate, 1),
            ("Abs", e.absolute, 1),
            ("Sign", e.sign, 1),
            ("Floor", e.floor, 1),
            ("Ceil", e.ceiling, 1),
            ("Round", e.round_even, 1),
            ("Reciprocal", lambda x: e.divide(1, x), 1),
            ("Relu", lambda x: e.maximum(x, 0), 1),
            ("Not", e.invert, 1),
            ("And", e.both, 2),
            ("Or", e.either, 2),
            ("Xor", lambda a, b: e.invert(e.is_equal(a, b)), 2),
            ("Equal", e.is_equal, 2),
            ("Less", e.is_less, 2),
            ("Greater", lambda a, b: e.is_less(b, a), 2),
            ("LessOrEqual", lambda a, b: e.invert(e.is_less(b, a)), 2),
            ("GreaterOrEqual", lambda a, b: e.invert(e.is_less(a, b)), 2),
            ("Where", e.choose, 3),
        )
    },
    **{op: _variadic(f) for op, f in (("Max", e.maximum), ("Min", e.minimum), ("Sum", e.add))},
    "Div": _divide,
    "Pow": _power,
    "Sqrt": _root,
    "Mod": _mod,
    "Cast": _cast,
    "CastLike": _cast,
    "Clip": _clip,
    "ReduceSum": _reduce(e.add, 0),
    "ReduceProd": _reduce(e.multiply, 1),
    "ReduceMax": _reduce(e.maximum, UNKNOWN),
    "ReduceMin": _reduce(e.minimum, UNKNOWN),
    "CumSum": _cumulate,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
    "Size": _size,
}
"""Functions that work out the elements of each operator's outputs."""
