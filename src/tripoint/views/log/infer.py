"""True sizes of a printed -1, as far as a log without attributes and weights decides them.

For one operator all settings of its attributes that agree with the sizes that were printed are
looked at. A size is decided if it is the same in each of them. The rules are those of the ONNX
operator specification; inferring with a model's own attributes is not possible here, because the
default of an attribute that was not printed would be taken for its value.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tripoint.graph.ops import BROADCASTING, EXTREMES, GLOBAL_POOLS, POOLS, REDUCTIONS, SAME_SHAPE
from tripoint.symbols import Dim, Shape
from tripoint.table import ViewShape
from tripoint.views.log.grammar import Kernel

Guess = tuple[Dim | None, ...]
"""A possible shape; None where this setting does not decide a size."""

_MOST_SETTINGS = 4096
_MOST_AXES = 16
"""TensorRT has at most 8; what prints more is not looked at."""


@dataclass(frozen=True, slots=True)
class Call:
    """Shapes, values and printed outputs of one node, as far as they are known.

    Args:
        shapes: True shape of each input, None where it is absent or not known.
        values: The elements of each input that holds sizes, None where they are not known.
        printed: The shape that was printed for the output.
        kernel: What a convolution uses.
    """

    shapes: Sequence[Shape | None]
    values: Sequence[Shape | None]
    printed: ViewShape
    kernel: Kernel | None

    def shape(self, index: int) -> Shape | None:
        """True shape of an input."""
        return self.shapes[index] if index < len(self.shapes) else None

    def value(self, index: int) -> Shape | None:
        """Elements of an input."""
        return self.values[index] if index < len(self.values) else None


Rule = Callable[[Call], Iterable[Guess]]


def decide(op: str, call: Call) -> Guess:
    """The true size of each axis of an output, None where the log does not decide it."""
    printed: Guess = tuple(dim if dim != -1 else None for dim in call.printed)
    rule = RULES.get(op)
    ranks = (len(printed), *(len(shape) for shape in call.shapes if shape is not None))
    if rule is None or None not in printed or max(ranks) > _MOST_AXES:
        return printed
    possible = [
        guess
        for guess in itertools.islice(rule(call), _MOST_SETTINGS + 1)
        if _agrees(guess, call.printed)
    ]
    if not possible or len(possible) > _MOST_SETTINGS:
        return printed
    return tuple(
        seen if seen is not None else _common([guess[axis] for guess in possible])
        for axis, seen in enumerate(printed)
    )


def value_of(op: str, call: Call) -> Shape | None:
    """The elements of an output that holds sizes, None where they are not known."""
    if op == "Shape":
        shape = call.shape(0)
        # With start or end the vector is shorter than the rank.
        return shape if shape is not None and call.printed == (len(shape),) else None
    if op in ("Identity", "Cast"):
        return call.value(0)
    if op == "Concat":
        values = [value for value in call.values if value is not None]
        return tuple(itertools.chain(*values)) if len(values) == len(call.values) else None
    return None


def _agrees(guess: Guess, printed: ViewShape) -> bool:
    return len(guess) == len(printed) and all(
        seen == -1 or not isinstance(dim, int) or dim == seen
        for dim, seen in zip(guess, printed, strict=True)
    )


def _common(dims: Sequence[Dim | None]) -> Dim | None:
    first = dims[0]
    return first if all(dim == first for dim in dims) else None


def _broadcast(shapes: Sequence[Shape]) -> Guess | None:
    """Shape of an elementwise result; None if the shapes do not fit together."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[Dim | None] = []
    for dims in zip(*padded, strict=True):
        sizes = {dim for dim in dims if isinstance(dim, int) and dim != 1}
        names = {dim for dim in dims if isinstance(dim, str)}
        if len(sizes) > 1:
            return None
        if sizes:
            result.append(next(iter(sizes)))
        elif len(names) > 1:
            result.append(None)
        else:
            result.append(next(iter(names), 1))
    return tuple(result)


def _elementwise(call: Call) -> Iterable[Guess]:
    shapes = [shape for shape in call.shapes if shape is not None]
    if shapes and len(shapes) == len(call.shapes) and (result := _broadcast(shapes)) is not None:
        yield result


def _same(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is not None:
        yield shape


def _expand(call: Call) -> Iterable[Guess]:
    shape, size = call.shape(0), call.value(1)
    if shape is None:
        return
    if size is not None:
        if (result := _broadcast([shape, size])) is not None:
            yield result
        return
    lead = (None,) * (len(call.printed) - len(shape))
    # A size other than 1 stays; what a 1 becomes the operand decides.
    yield lead + tuple(dim if isinstance(dim, int) and dim != 1 else None for dim in shape)


def _reshape(call: Call) -> Iterable[Guess]:
    shape, size = call.shape(0), call.value(1)
    if size is not None and 0 not in size:
        yield size
        return
    if shape is not None and call.printed.count(-1) == 1:
        rest = math.prod(dim for dim in call.printed if dim != -1)
        solved = _divided(shape, rest)
        if solved is not None:
            yield tuple(solved if dim == -1 else dim for dim in call.printed)


def _divided(shape: Shape, rest: int) -> Dim | None:
    """The volume of a shape by the other sizes of a Reshape's output."""
    size = math.prod(dim for dim in shape if isinstance(dim, int))
    names = [dim for dim in shape if isinstance(dim, str)]
    if not rest or size % rest or len(names) > 1:
        return None
    factor = size // rest
    if not names:
        return factor
    return names[0] if factor == 1 else f"{factor}*({names[0]})" if factor else None


def _flatten(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is not None:
        for axis in range(len(shape) + 1):
            yield (_product(shape[:axis]), _product(shape[axis:]))


def _product(dims: Shape) -> Dim | None:
    others = [dim for dim in dims if dim != 1]
    if all(isinstance(dim, int) for dim in others):
        return math.prod(dim for dim in others if isinstance(dim, int))
    return others[0] if len(others) == 1 else None


def _constant_of_shape(call: Call) -> Iterable[Guess]:
    size = call.value(0)
    if size is not None:
        yield size


def _transpose(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is None or len(shape) != len(call.printed):
        return
    left = Counter(shape)
    left.subtract(dim for dim in call.printed if dim != -1)
    if min(left.values(), default=0) < 0:
        return
    dims = [dim for dim, count in left.items() if count]
    if len(dims) == 1:
        yield tuple(dims[0] if seen == -1 else seen for seen in call.printed)


def _squeeze(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is None or len(call.printed) > len(shape):
        return
    ones = [axis for axis, dim in enumerate(shape) if dim == 1 or isinstance(dim, str)]
    for removed in itertools.combinations(ones, len(shape) - len(call.printed)):
        yield tuple(dim for axis, dim in enumerate(shape) if axis not in removed)


def _unsqueeze(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is None or len(call.printed) < len(shape):
        return
    rank = len(call.printed)
    for new in itertools.combinations(range(rank), rank - len(shape)):
        dims = iter(shape)
        yield tuple(1 if axis in new else next(dims) for axis in range(rank))


def _concat(call: Call) -> Iterable[Guess]:
    shapes = [shape for shape in call.shapes if shape is not None]
    if len(shapes) != len(call.shapes) or len({len(shape) for shape in shapes}) != 1:
        return
    for joined in range(len(shapes[0])):
        dims: list[Dim | None] = []
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            if axis == joined:
                numbers = [size for size in sizes if isinstance(size, int)]
                dims.append(sum(numbers) if len(numbers) == len(sizes) else None)
            else:
                # All are equal here, or this is not the axis.
                numbers = sorted({size for size in sizes if isinstance(size, int)})
                if len(numbers) > 1:
                    break
                dims.append(numbers[0] if numbers else sizes[0])
        else:
            yield tuple(dims)


def _gather(call: Call) -> Iterable[Guess]:
    data, indices = call.shape(0), call.shape(1)
    if data is not None and indices is not None:
        for axis in range(len(data)):
            yield (*data[:axis], *indices, *data[axis + 1 :])


def _gather_elements(call: Call) -> Iterable[Guess]:
    indices = call.shape(1)
    if indices is not None:
        yield indices


def _reduce(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is None:
        return
    rank = len(call.printed)
    if rank == len(shape):
        yield tuple(1 if dim == 1 else None for dim in shape)
    if rank < len(shape):
        yield from itertools.combinations(shape, rank)


def _split(call: Call) -> Iterable[Guess]:
    shape = call.shape(0) or ()
    for axis in range(len(shape)):
        yield (*shape[:axis], None, *shape[axis + 1 :])


def _mat_mul(call: Call) -> Iterable[Guess]:
    a, b = call.shape(0), call.shape(1)
    if not a or not b:
        return
    left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    batch = _broadcast([left[:-2], right[:-2]])
    if batch is not None:
        rows = () if len(a) == 1 else (left[-2],)
        columns = () if len(b) == 1 else (right[-1],)
        yield (*batch, *rows, *columns)


def _gemm(call: Call) -> Iterable[Guess]:
    a, b = call.shape(0), call.shape(1)
    if a is not None and b is not None and len(a) == len(b) == 2:
        for row, column in itertools.product((0, 1), (0, 1)):
            if _may_be_equal(a[1 - row], b[1 - column]):
                yield (a[row], b[column])


def _may_be_equal(a: Dim, b: Dim) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))


def _batch(call: Call) -> Iterable[Guess]:
    """Only the first axis is passed on."""
    shape = call.shape(0)
    if shape and call.printed:
        yield (shape[0], *[None] * (len(call.printed) - 1))


def _channels(call: Call) -> Iterable[Guess]:
    """The first two axes are passed on."""
    shape = call.shape(0)
    if shape is not None and len(shape) >= 2:
        yield (*shape[:2], *[None] * (len(shape) - 2))


def _global_pool(call: Call) -> Iterable[Guess]:
    shape = call.shape(0)
    if shape is not None and len(shape) >= 2:
        yield (*shape[:2], *[1] * (len(shape) - 2))


def _conv(call: Call) -> Iterable[Guess]:
    shape, weights = call.shape(0), call.shape(1)
    if shape is None or len(shape) < 3 or len(shape) != len(call.printed):
        return
    channels = weights[0] if weights else None
    yield (shape[0], channels, *_windowed(shape[2:], call.printed[2:], call.kernel))


def _windowed(dims: Shape, printed: ViewShape, kernel: Kernel | None) -> Guess:
    """Sizes behind a window, if what was printed of it is all that there is to know.

    Of ``auto_pad`` the log shows no padding. Where no padding is printed, another axis must
    confirm that there is none, or the window must not need any.
    """
    nothing = (None,) * len(dims)
    if kernel is None or min(map(len, _parts(kernel))) < len(dims):
        return nothing
    # A 1-D convolution is printed with a second axis.
    result = tuple(_window(dim, axis, kernel) for axis, dim in enumerate(dims))
    pairs = [(a, b) for a, b in zip(result, printed, strict=True) if b != -1 and a is not None]
    if any(a != b for a, b in pairs):
        return nothing
    explicit = any((*kernel.before, *kernel.after))
    trivial = set(kernel.size) == {1} and set(kernel.strides) == {1}
    return result if explicit or trivial or pairs else nothing


def _parts(kernel: Kernel) -> tuple[ViewShape, ...]:
    return (kernel.size, kernel.strides, kernel.before, kernel.after, kernel.dilations)


def _window(dim: Dim, axis: int, kernel: Kernel) -> int | None:
    size, stride, before, after, dilation = (part[axis] for part in _parts(kernel))
    if not isinstance(dim, int) or stride < 1:
        return None
    length = (dim + before + after - dilation * (size - 1) - 1) // stride + 1
    return length if length > 0 else None


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(SAME_SHAPE - {"DynamicQuantizeLinear", "EyeLike", "TensorScatter"}, _same),
    **dict.fromkeys(BROADCASTING, _elementwise),
    **dict.fromkeys(REDUCTIONS | EXTREMES, _reduce),
    **dict.fromkeys(POOLS, _channels),
    **dict.fromkeys(GLOBAL_POOLS, _global_pool),
    **dict.fromkeys(("ConvTranspose", "DepthToSpace", "SpaceToDepth"), _batch),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "MatMul": _mat_mul,
    "Reshape": _reshape,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
