"""Input sizes that operators that compute need (ONNX operator specification)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx_ir as ir

from tripoint.graph.ops import ELEMENTWISE, GLOBAL_POOLS, POOLS, RECURRENT
from tripoint.shape_inference.constraints.equation import Claim
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import Element

Rule = Callable[[Context, ir.Node], Iterator[Claim]]

_CHANNELS: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "ConvTranspose": ((1, 1, 0),),
    "BatchNormalization": tuple((1, position, 0) for position in range(1, 5)),
    "InstanceNormalization": ((1, 1, 0), (1, 2, 0)),
    # Data is (length, batch, features); the initial states have the batch on axis 1. With a layout
    # of 1 it is axis 0 of all.
    "RNN": ((2, 1, 2), (1, 5, 1)),
    "GRU": ((2, 1, 2), (1, 5, 1)),
    "LSTM": ((2, 1, 2), (1, 5, 1), (1, 6, 1)),
}
"""Axis of the data, position of another operand, and its axis of the same size."""

_NOT_EMPTY: Mapping[str, Sequence[int]] = {"LSTM": (1,), "GRU": (0, 1)}
"""Axes of the data, length or batch, without which ONNX Runtime 1.23 ends the process."""


def broadcasting(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Operands that are broadcast both ways."""
    if "axis" in node.attributes or ctx.opset < 7:
        return
    yield from columns(node, [(value, dims_of(value)) for value in node.inputs])


def columns(
    node: ir.Node, operands: Sequence[tuple[ir.Value | None, Sequence[Element] | None]]
) -> Iterator[Claim]:
    """Claims that these dims, or sizes, broadcast, axis by axis from the last."""
    shaped = [(value, dims) for value, dims in operands if value is not None and dims]
    rank = max((len(dims) for _, dims in shaped), default=0)
    for axis in range(1, rank + 1):
        column = [(value, dims[-axis]) for value, dims in shaped if len(dims) >= axis]
        for index, (value, size) in enumerate(column):
            for other, another in column[:index]:
                yield Claim(
                    "broadcast",
                    another,
                    size,
                    value,
                    f"{_named(other, -axis)} is {another} and {_named(value, -axis)} is {size}; "
                    f"{node.op_type} needs them to be the same, or one to be 1",
                )


def _named(value: ir.Value | None, axis: int) -> str:
    name = value.name if value is not None else ""
    return f"axis {axis} of `{name}`"


def same(
    a: tuple[ir.Value | None, int],
    b: tuple[ir.Value | None, int],
    *,
    times: int = 1,
) -> Iterator[Claim]:
    """Claims that two axes have the same size, the second one multiplied."""
    dims, others = dims_of(a[0]), dims_of(b[0])
    if dims is None or others is None:
        return
    if not (-len(dims) <= a[1] < len(dims) and -len(others) <= b[1] < len(others)):
        return
    left, right = dims[a[1]], e.multiply(others[b[1]], times)
    yield Claim(
        "equal",
        left,
        right,
        a[0],
        f"{_named(*a)} is {left}, and {_named(*b)} asks for {right}",
    )


def matmul(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """MatMul and its integer forms: the inner sizes agree, those in front are broadcast."""
    del ctx
    left, right = node.inputs[0], node.inputs[3 if node.op_type == "QLinearMatMul" else 1]
    a, b = dims_of(left), dims_of(right)
    if not a or not b:
        return
    yield from same((left, -1), (right, -2 if len(b) > 1 else -1))
    if len(a) > 2 and len(b) > 2:
        # Counted from the last axis of what is left.
        yield from columns(node, [(left, a[:-2]), (right, b[:-2])])


def gemm(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Gemm: the inner sizes agree, and C is broadcast one way."""
    del ctx
    turned = [bool(node.attributes.get_int(name, 0)) for name in ("transA", "transB")]
    left, right, added = node.inputs[0], node.inputs[1], operand(node, 2)
    yield from same((left, 0 if turned[0] else 1), (right, 1 if turned[1] else 0))
    a, b, c = dims_of(left), dims_of(right), dims_of(added)
    if a is None or b is None or not c or len(a) != 2 or len(b) != 2:
        return
    yield from one_way(node, [a[1 if turned[0] else 0], b[0 if turned[1] else 1]], added, c)


def one_way(
    node: ir.Node, whole: Sequence[Element], value: ir.Value | None, dims: Sequence[Element]
) -> Iterator[Claim]:
    """Claims that a tensor can be broadcast to a shape."""
    for axis in range(1, min(len(whole), len(dims)) + 1):
        yield Claim(
            "expands",
            whole[-axis],
            dims[-axis],
            value,
            f"{_named(value, -axis)} is {dims[-axis]}, and {node.op_type} broadcasts it to "
            f"{whole[-axis]}",
        )


def layer_normalization(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """LayerNormalization: scale and bias are broadcast one way."""
    del ctx
    dims = dims_of(node.inputs[0])
    if dims is None:
        return
    axis = node.attributes.get_int("axis", -1)
    whole = dims[axis:] if -len(dims) <= axis < len(dims) else []
    for value in node.inputs[1:3]:
        yield from one_way(node, whole, value, dims_of(value) or [])


def channels(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Operators whose weights have an axis as long as one of the data."""
    del ctx
    batch_first = node.attributes.get_int("layout", 0) == 1
    for axis, position, other in _CHANNELS[node.op_type]:
        if batch_first and other == 1 == axis:
            axis = other = 0
        yield from same((node.inputs[0], axis), (operand(node, position), other))
    dims = dims_of(node.inputs[0]) or ()
    for axis in _NOT_EMPTY.get(node.op_type, ()):
        axis = 1 - axis if batch_first else axis
        if axis < len(dims):
            about = f"{_named(node.inputs[0], axis)} is {dims[axis]}"
            reason = f"{about}, and {node.op_type} needs 1 at least"
            yield Claim("at_least", dims[axis], 1, node.inputs[0], reason)


def windows(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Conv and pooling: there is room for one window at least."""
    data, output = node.inputs[0], node.outputs[0]
    if node.op_type.endswith("Conv") or node.op_type == "ConvInteger":
        weights = node.inputs[3 if node.op_type == "QLinearConv" else 1]
        group = node.attributes.get_int("group", 1)
        yield from same((data, 1), (weights, 1), times=group)
        kernel = node.attributes.get_ints("kernel_shape") or (dims_of(weights) or [])[2:]
    elif node.op_type == "ConvTranspose":
        yield from channels(ctx, node)
        kernel = ()
    else:
        kernel = node.attributes.get_ints("kernel_shape") or ()
    dims, output_dims = dims_of(data), dims_of(output)
    if dims is None or output_dims is None:
        return
    for axis in range(2, len(output_dims)):
        exact = _needed(node, kernel, axis - 2)
        if exact is not None:
            yield Claim(
                "at_least",
                dims[axis],
                exact,
                data,
                f"{_named(data, axis)} is {dims[axis]}, and the window of {node.op_type} covers "
                f"{exact} without padding",
            )
        else:
            yield Claim(
                "at_least",
                output_dims[axis],
                1,
                output,
                f"{_named(output, axis)} is {output_dims[axis]}, and must be 1 at least",
            )


def _needed(node: ir.Node, kernel: Sequence[Element], index: int) -> int | None:
    """The least size that one window fits in, None where the size of the output tells."""
    count = len(kernel)
    rounded_up = node.attributes.get_int("ceil_mode", 0)
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    if index >= count or rounded_up or automatic not in ("NOTSET", "VALID"):
        return None
    if not isinstance(kernel[index], int):
        return None
    dilation = (node.attributes.get_ints("dilations") or [1] * count)[index]
    pads = list(node.attributes.get_ints("pads") or [0] * 2 * count)
    if automatic == "VALID":
        pads = [0] * 2 * count
    covered: int = (kernel[index] - 1) * dilation + 1
    return covered - pads[index] - pads[index + count]


def einsum(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Einsum: axes of one letter are broadcast."""
    del ctx
    equation = (node.attributes.get_string("equation", "") or "").replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if "." in equation or len(terms) != len(node.inputs):
        return
    seen: dict[str, tuple[ir.Value | None, Element]] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        dims = dims_of(value)
        if dims is None or len(dims) != len(term):
            return
        for letter, size in zip(term, dims, strict=True):
            other, another = seen.setdefault(letter, (value, size))
            if another is not size:
                names = [each.name for each in (other, value) if each is not None]
                yield Claim(
                    "broadcast",
                    another,
                    size,
                    value,
                    f"`{letter}` is {another} in `{names[0]}` and {size} in `{names[-1]}`",
                )


def frames(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """STFT: the signal is as long as one frame at least."""
    signal, window, dims = node.inputs[0], operand(node, 2), dims_of(node.inputs[0])
    length = ctx.elements(operand(node, 3))
    sizes = list(length) if length is not None else list(dims_of(window) or ())
    if dims is not None and len(dims) > 1 and len(sizes) == 1:
        reason = f"{_named(signal, 1)} is {dims[1]}, and one frame covers {sizes[0]}"
        yield Claim("at_least", dims[1], sizes[0], signal, reason)


def steps(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Scan: one step at least. ONNX Runtime 1.32 stops at none, in some cases by a signal."""
    count = node.attributes.get_int("num_scan_inputs", 0)
    if ctx.opset < 9 or not count:
        return
    scanned = node.inputs[len(node.inputs) - count :]
    axes = node.attributes.get_ints("scan_input_axes") or [0] * count
    for value, axis in zip(scanned, axes, strict=True):
        dims = dims_of(value)
        if dims is not None and -len(dims) <= axis < len(dims):
            size = dims[axis]
            reason = f"{_named(value, axis)} is {size}, and Scan takes one step at least"
            yield Claim("at_least", size, 1, value, reason)


def averaged(ctx: Context, node: ir.Node) -> Iterator[Claim]:
    """Global pooling: there is one element at least, which ONNX Runtime insists on."""
    del ctx
    data = node.inputs[0]
    for axis, size in list(enumerate(dims_of(data) or ()))[2:]:
        reason = f"{_named(data, axis)} is {size}, and {node.op_type} needs 1 at least"
        yield Claim("at_least", size, 1, data, reason)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(GLOBAL_POOLS, averaged),
    **dict.fromkeys(ELEMENTWISE, broadcasting),
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), matmul),
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "ConvTranspose"), windows),
    **dict.fromkeys(POOLS, windows),
    **dict.fromkeys(RECURRENT | {"BatchNormalization", "InstanceNormalization"}, channels),
    "Gemm": gemm,
    "LayerNormalization": layer_normalization,
    "Einsum": einsum,
    "STFT": frames,
    "Scan": steps,
}
"""Rules of what an operator needs, by its type."""
