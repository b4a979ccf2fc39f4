"""Rules of the core library: the shape of a layer from the shapes of its inputs."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from tripoint.table import ViewShape
from tripoint.views.importer.context import UNKNOWN, NodeContext, RefusedError

UNARY = frozenset(
    (
        *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf"),
        *("Exp", "Floor", "Log", "Neg", "Reciprocal", "Sin", "Sinh", "Sqrt", "Tan"),
    )
)


ACTIVATIONS = frozenset(
    (
        *("Elu", "HardSigmoid", "LeakyRelu", "ParametricSoftplus", "Relu", "ScaledTanh", "Selu"),
        *("Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"),
    )
)


ARITHMETIC = frozenset(
    ("Add", "Div", "Equal", "Greater", "Less", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
)


def is_known(shape: ViewShape) -> bool:
    """Return whether a shape has no -1."""
    return UNKNOWN not in shape


def volume(shape: ViewShape) -> int:
    """Number of elements, or -1 if a dim is unknown."""
    return math.prod(shape) if is_known(shape) else UNKNOWN


def printed(shape: ViewShape) -> str:
    """A shape as Python and the logs of TensorRT print it."""
    return str(tuple(shape))


def broadcast(shapes: Sequence[ViewShape]) -> ViewShape:
    """Elementwise and Select layers on operands of one rank, per dim.

    Raises:
        RefusedError: If sizes do not fit together.
    """
    return tuple(functools.reduce(_broadcast_dim, dims) for dims in zip(*shapes, strict=True))


def _broadcast_dim(a: int, b: int) -> int:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if UNKNOWN in (a, b):
        # The other can only be 1 or equal, so the result is known unless that is 1 or 0.
        return max(a, b) if max(a, b) > 1 else UNKNOWN
    raise RefusedError(f"cannot broadcast a dim of {a} with one of {b}")


def align(shape: ViewShape, rank: int) -> ViewShape:
    """A shape with leading ones up to a rank."""
    return (1,) * (rank - len(shape)) + shape


def concatenate(shapes: Sequence[ViewShape], axis: int) -> ViewShape:
    """Concatenation layer: other axes are known if any input knows them.

    Raises:
        RefusedError: If ranks or sizes do not fit together.
    """
    if len({len(shape) for shape in shapes}) > 1:
        raise RefusedError(f"cannot concatenate {', '.join(map(printed, shapes))}")
    result = []
    for position, dims in enumerate(zip(*shapes, strict=True)):
        integers = {dim for dim in dims if dim != UNKNOWN}
        if position == axis:
            result.append(sum(dims) if UNKNOWN not in dims else UNKNOWN)
        elif len(integers) > 1:
            raise RefusedError(f"cannot concatenate {', '.join(map(printed, shapes))}")
        else:
            result.append(integers.pop() if integers else UNKNOWN)
    return tuple(result)


def matrix_multiply(a: ViewShape, b: ViewShape) -> ViewShape:
    """MatrixMultiply layer on operands of one rank; two vectors give a scalar.

    Raises:
        RefusedError: If sizes do not fit together.
    """
    if len(a) == 1:
        check_equal(a[0], b[0])
        return ()
    check_equal(a[-1], b[-2])
    return (*broadcast([a[:-2], b[:-2]]), a[-2], b[-1])


def check_equal(a: int, b: int) -> None:
    """Two sizes that are multiplied away must agree where both are known.

    Raises:
        RefusedError: If they do not.
    """
    if a != b and UNKNOWN not in (a, b):
        raise RefusedError(f"cannot match a dim of {a} with one of {b}")


def reshape(dims: ViewShape, target: Sequence[int]) -> ViewShape:
    """Shuffle layer with static dims: 0 copies, one -1 is solved if all else is known.

    Raises:
        RefusedError: If the number of elements does not fit.
    """
    if any(size == 0 and axis >= len(dims) for axis, size in enumerate(target)):
        raise RefusedError(f"cannot reshape {printed(dims)} to {printed(tuple(target))}")
    result = tuple(dims[axis] if size == 0 else size for axis, size in enumerate(target))
    wildcards = [axis for axis, size in enumerate(target) if size == UNKNOWN]
    total = volume(dims)
    rest = volume(tuple(size for axis, size in enumerate(result) if axis not in wildcards))
    if UNKNOWN in (total, rest) or (not wildcards and total == rest):
        return result
    if len(wildcards) == 1 and rest and total % rest == 0:
        (place,) = wildcards
        return (*result[:place], total // rest, *result[place + 1 :])
    raise RefusedError(f"cannot reshape {printed(dims)} to {printed(tuple(target))}")


def window(node: NodeContext, spatial: ViewShape, kernel: Sequence[int]) -> ViewShape:
    """Spatial dims of Convolution and Pooling layers, per dim.

    Raises:
        RefusedError: If the kernel is larger than the padded input.
    """
    count = len(spatial)
    strides = per_axis(node, "strides", count)
    dilations = per_axis(node, "dilations", count)
    padding = paddings(node, count)
    same = node.attribute_text("auto_pad", "NOTSET").startswith("SAME")
    up = bool(node.attribute_int("ceil_mode", 0)) and node.opset >= 10
    if len(kernel) != count or min((*strides, *dilations, *kernel), default=1) < 1:
        raise RefusedError(f"takes no such kernel, strides or dilations for {node.op}")
    result = []
    for axis, size in enumerate(spatial):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        free = size + padding[axis] - reach
        if size == UNKNOWN:
            result.append(UNKNOWN)
        elif same:
            result.append(-(-size // strides[axis]))
        elif free < 0:
            raise RefusedError(f"cannot lay a window of {reach} over a dim of {size}")
        else:
            result.append((-(-free // strides[axis]) if up else free // strides[axis]) + 1)
    return tuple(result)


def deconvolution(node: NodeContext, spatial: ViewShape, kernel: Sequence[int]) -> ViewShape:
    """Spatial dims of a Deconvolution layer, per dim."""
    count = len(spatial)
    asked, extra = asked_of_deconvolution(node, count)
    strides = per_axis(node, "strides", count)
    dilations = per_axis(node, "dilations", count)
    padding = paddings(node, count)
    same = node.attribute_text("auto_pad", "NOTSET").startswith("SAME")
    result = []
    for axis, size in enumerate(spatial):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if size == UNKNOWN:
            result.append(UNKNOWN)
        elif asked is not None:
            grown = (size - 1) * strides[axis] + reach + extra[axis]
            check_output_shape(node, asked[axis - count], grown)
            result.append(asked[axis - count])
        elif same:
            result.append(size * strides[axis])
        else:
            grown = (size - 1) * strides[axis] + reach
            result.append(grown - padding[axis] + extra[axis])
    return tuple(result)


def check_activations(node: NodeContext) -> None:
    """Note a bidirectional operator whose directions have different activation functions."""
    activations = [each.lower() for each in node.onnx.attributes.get_strings("activations") or ()]
    half = len(activations) // 2
    both = node.attribute_text("direction", "forward") == "bidirectional"
    if both and activations[:half] != activations[half:]:
        node.refuse(
            f"takes only one choice of `activations` for both directions of {node.op}, so it "
            "stops here"
        )


def asked_of_deconvolution(
    node: NodeContext, count: int
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """``output_shape`` and ``output_padding``, which are read only without ``auto_pad``."""
    if node.attribute_text("auto_pad", "NOTSET") != "NOTSET":
        return None, (0,) * count
    return node.attribute_ints("output_shape"), per_axis(node, "output_padding", count, 0)


def check_output_shape(node: NodeContext, asked: int, grown: int) -> None:
    """Note an ``output_shape`` that is larger than what the strides give without padding."""
    if asked > grown:
        node.refuse(
            f"takes no `output_shape` of {asked} where the strides give {grown}, since the padding "
            "would be negative, so it stops here"
        )


def per_axis(node: NodeContext, name: str, count: int, default: int = 1) -> tuple[int, ...]:
    """An attribute with a number for each spatial axis; missing ones have a default."""
    numbers = node.attribute_ints(name) or ()
    return (*numbers[:count], *(default,) * (count - len(numbers)))


def paddings(node: NodeContext, count: int) -> tuple[int, ...]:
    """Padding of each spatial axis, begin and end together."""
    pads = node.attribute_ints("pads") or ()
    half = len(pads) // 2
    sums = tuple(a + b for a, b in zip(pads[:half], pads[half:], strict=False))
    return (*sums[:count], *(0,) * (count - len(sums)))


def scan_operands(node: NodeContext) -> tuple[range, range]:
    """Positions of the states and of the scan inputs of a Scan.

    Raises:
        RefusedError: If there are sequence lengths (opset 8), or no scan inputs.
    """
    first = 1 if node.opset == 8 else 0
    if first and node.has(0):
        raise RefusedError("takes no sequence lengths for Scan, so it stops here")
    inputs = range(first, len(node.onnx.inputs))
    scanned = node.attribute_int("num_scan_inputs", 0)
    if not 1 <= scanned <= len(inputs):
        raise RefusedError("needs num_scan_inputs of Scan, at least 1")
    carried = len(inputs) - scanned
    return inputs[:carried], inputs[carried:]
