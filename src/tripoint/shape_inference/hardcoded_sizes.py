"""Sizes of the export's example that stayed in the graph although an input's size is a symbol.

Two kinds are told apart. At a *contradiction* the node only runs if an expression in the symbols is
equal to a constant: a table of positions that is added to a sequence, a Reshape to constant sizes
with another volume. A *constant that does not follow* is a size of a Reshape whose ``-1`` then
takes the symbol of that axis too: the node runs, but rows of one axis end up in another.

A finding is at the node where the constant meets the expression. Behind it the constant is part of
data, and says nothing any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx_ir as ir
import sympy

from tripoint.graph.names import node_name
from tripoint.graph.ops import ELEMENTWISE, RECURRENT
from tripoint.graph.subgraphs import graphs_of
from tripoint.shape_inference.operators import layout
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import FAILURES, Context, dims_of, operand
from tripoint.shape_inference.operators.symbolic_values import Element
from tripoint.table import Frozen

_PROBES = (97, 101, 103, 107, 109, 113, 127, 131)
"""Sizes that tell an expression from a constant."""

_CHANNELS: Mapping[str, tuple[int, int, int]] = {
    "Conv": (1, 1, 1),
    "ConvTranspose": (1, 1, 0),
    "BatchNormalization": (1, 1, 0),
    "InstanceNormalization": (1, 1, 0),
    **dict.fromkeys(RECURRENT, (2, 1, 2)),
}
"""Axis of the data, position of the weights, and the axis of theirs that has the same size."""


def find(
    graph: ir.Graph, context: Context, symbols: frozenset[str], names: Mapping[ir.Value, str]
) -> tuple[Frozen, ...]:
    """Find the sizes of the example in a graph whose shapes were inferred.

    Args:
        graph: The main graph.
        context: What was inferred.
        symbols: The symbols of its inputs.
        names: Name by tensor.
    """
    if not symbols:
        return ()
    search = _Search(context, symbols, names)
    return tuple(search.through(graph))


class _Search:
    def __init__(
        self, context: Context, symbols: frozenset[str], names: Mapping[ir.Value, str]
    ) -> None:
        self.context = context
        self.symbols = symbols
        self.names = names
        self.constant: set[ir.Value] = set()

    def through(self, graph: ir.Graph) -> Iterator[Frozen]:
        self.constant.update(
            value for value in graph.initializers.values() if not value.is_graph_input()
        )
        for node in graph:
            nested = graphs_of(node)
            for inner in nested:
                yield from self.through(inner)
            if node.domain:
                continue
            if not nested and all(value in self.constant for value in node.inputs if value):
                self.constant.update(node.outputs)
            elif (check := _CHECKS.get(node.op_type)) is not None:
                # What does not fit at all was said when shapes were inferred.
                with contextlib.suppress(*FAILURES):
                    yield from check(self, node)

    # What the checks ask

    def is_expression(self, size: Element) -> bool:
        """Return whether a size is an expression in symbols of the inputs."""
        return isinstance(size, sympy.Expr) and all(
            symbol.name in self.symbols for symbol in size.free_symbols
        )

    def is_constant(self, value: ir.Value | None) -> bool:
        return value in self.constant

    def finding(
        self, node: ir.Node, value: ir.Value, axis: int, size: int, expected: Element, reason: str
    ) -> Frozen:
        return Frozen(
            tensor=self.names.get(value, value.name or ""),
            axis=axis,
            node=node_name(node),
            op=node.op_type,
            size=size,
            expected=str(expected),
            reason=reason,
        )

    def contradiction(
        self, node: ir.Node, value: ir.Value, axis: int, size: int, expected: Element
    ) -> Frozen:
        name = self.names.get(value, value.name or "")
        reason = (
            f"axis {axis} of `{name}` is {size}, and {node.op_type} needs {expected} there: "
            f"it only runs where {expected} is {size}"
        )
        return self.finding(node, value, axis, size, expected, reason)

    def meeting(
        self,
        node: ir.Node,
        operands: Sequence[tuple[ir.Value | None, Sequence[Element] | None]],
        *,
        ones: bool,
        but: int | None = None,
    ) -> Iterator[Frozen]:
        """Constants that meet expressions on the same axis, counted from the last.

        Args:
            node: Where they meet.
            operands: Tensors and their dims, or the sizes that they hold.
            ones: Whether a constant 1 is a contradiction too.
            but: An axis, counted from the first, on which any sizes fit together.
        """
        shaped = [(value, dims) for value, dims in operands if value is not None and dims]
        rank = max((len(dims) for _, dims in shaped), default=0)
        for axis in range(rank):
            if axis == but:
                continue
            column = [
                (value, dims[axis - rank + len(dims)], axis - rank + len(dims))
                for value, dims in shaped
                if axis - rank + len(dims) >= 0
            ]
            expected = next((size for _, size, _ in column if self.is_expression(size)), None)
            if expected is None:
                continue
            for value, size, own in column:
                if isinstance(size, int) and (ones or size > 1) and self.is_constant(value):
                    yield self.contradiction(node, value, own, size, expected)


def _broadcast(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    yield from search.meeting(node, [(v, dims_of(v)) for v in node.inputs], ones=False)


def _layer_normalization(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    yield from search.meeting(node, [(v, dims_of(v)) for v in node.inputs[:2]], ones=False)


def _expand(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    data, target = node.inputs[0], operand(node, 1)
    sizes = search.context.elements(target)
    yield from search.meeting(node, [(data, dims_of(data)), (target, sizes)], ones=False)


def _concat(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    shaped = [(value, dims_of(value)) for value in node.inputs]
    rank = len(dims_of(node.outputs[0]) or ())
    axis = node.attributes.get_int("axis", 1)
    if rank and all(dims is not None and len(dims) == rank for _, dims in shaped):
        yield from search.meeting(node, shaped, ones=True, but=axis % rank)


def _matmul(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    left, right = node.inputs[0], node.inputs[1]
    a, b = dims_of(left), dims_of(right)
    if left is None or right is None or not a or not b:
        return
    inner = len(a) - 1, max(len(b) - 2, 0)
    if node.op_type == "Gemm":
        turned = [node.attributes.get_int(name, 0) for name in ("transA", "transB")]
        inner = (0 if turned[0] else 1), (1 if turned[1] else 0)
    yield from _same(search, node, (left, inner[0], a[inner[0]]), (right, inner[1], b[inner[1]]))


def _channels(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    axis, position, other = _CHANNELS[node.op_type]
    data, weights = node.inputs[0], operand(node, position)
    a, b = dims_of(data), dims_of(weights)
    if data is None or weights is None or a is None or b is None:
        return
    if len(a) <= axis or len(b) <= other:
        return
    groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    yield from _same(
        search, node, (data, axis, a[axis]), (weights, other, e.multiply(b[other], groups))
    )


def _same(
    search: _Search,
    node: ir.Node,
    a: tuple[ir.Value, int, Element],
    b: tuple[ir.Value, int, Element],
) -> Iterator[Frozen]:
    for (value, axis, size), (_, _, expected) in ((a, b), (b, a)):
        constant = isinstance(size, int) and search.is_constant(value)
        if constant and search.is_expression(expected):
            yield search.contradiction(node, value, axis, size, expected)


def _reshape(search: _Search, node: ir.Node) -> Iterator[Frozen]:
    data, output = node.inputs[0], node.outputs[0]
    dims, target = dims_of(data), layout.wanted(search.context, node)
    if dims is None or target is None or not any(map(search.is_expression, (*dims, *target))):
        return
    copies = not node.attributes.get_int("allowzero", 0)
    sizes = [
        dims[axis] if size == 0 and copies and axis < len(dims) else size
        for axis, size in enumerate(target)
    ]
    if not all(map(e.is_known, (*dims, *sizes))):
        return
    rest = [axis for axis, size in enumerate(sizes) if size == -1]
    if len(rest) == 1:
        for axis, expected in _swallowed(search, dims, sizes, rest[0]):
            reason = (
                f"size {sizes[axis]} of axis {axis} is a constant, so the -1 of axis {rest[0]} "
                f"also takes {expected}, which axis {axis} had"
            )
            yield search.finding(node, output, axis, sizes[axis], expected, reason)
    elif not rest:
        yield from _volume(search, node, dims, sizes)


def _swallowed(
    search: _Search, dims: Sequence[Element], sizes: Sequence[Element], rest: int
) -> list[tuple[int, Element]]:
    """Axes whose constant size stands where the input has an expression, which -1 then takes.

    The axes on one side of the -1 are laid beside those of the input. Those on the other side must
    hold as much as what is left of the input without the axis that the -1 stands for.
    """
    after = len(sizes) - rest - 1
    own = {rest, len(dims) - after - 1} & {*range(len(dims))}
    if any(dims[axis] == 1 for axis in own):
        # (S, 1) to (1, S) changes no row, and (S, 1, N) is laid out like (S, N).
        inner = _swallowed(search, [dim for dim in dims if dim != 1], sizes, rest)
        return [(axis, dim) for axis, dim in inner if sizes[axis] != 1]
    if len(dims) > rest and e.product(dims[rest + 1 :]) == e.product(sizes[rest + 1 :]):
        pairs = list(zip(range(rest), dims, sizes, strict=False))
    elif len(dims) > after and e.product(dims[: len(dims) - after - 1]) == e.product(sizes[:rest]):
        ends = dims[len(dims) - after :], sizes[rest + 1 :]
        pairs = list(zip(range(rest + 1, len(sizes)), *ends, strict=True))
    else:
        return []
    swallowed = []
    for axis, dim, size in pairs:
        if dim == size:
            continue
        if not (isinstance(size, int) and search.is_expression(dim)):
            return []
        swallowed.append((axis, dim))
    return swallowed


def _volume(
    search: _Search, node: ir.Node, dims: Sequence[Element], sizes: Sequence[Element]
) -> Iterator[Frozen]:
    """A contradiction if the volumes are only the same where an expression is a constant."""
    data, output = node.inputs[0], node.outputs[0]
    ratio = e.divide(e.product(dims), e.product(sizes))
    if data is None or not search.is_expression(ratio) or _is_one(ratio):
        return
    numerator, denominator = sympy.fraction(sympy.together(ratio))
    # Either side may hold the constant: a table that is reshaped, or sizes that are.
    for value, held, other, missing, unit in (
        (output, sizes, dims, numerator, denominator),
        (data, dims, sizes, denominator, numerator),
    ):
        if unit.free_symbols or not missing.free_symbols:
            continue
        if value is data and not search.is_constant(data):
            continue
        axis = _frozen_axis(held, other)
        if axis is not None:
            expected = e.divide(e.multiply(held[axis], missing), int(unit))
            yield search.contradiction(node, value, axis, held[axis], expected)


def _is_one(ratio: Element) -> bool:
    """Return whether an expression may be 1 for all sizes."""
    names = sorted(ratio.free_symbols, key=lambda symbol: str(symbol.name))
    at = {symbol: _PROBES[index % len(_PROBES)] for index, symbol in enumerate(names)}
    return bool(ratio.subs(at) == 1)


def _frozen_axis(held: Sequence[Element], other: Sequence[Element]) -> int | None:
    """The first integer that has no equal on the other side, from the front or from the end."""
    candidates = [axis for axis, size in enumerate(held) if isinstance(size, int) and size > 1]
    remaining = list(other)
    unmatched = []
    for axis in candidates:
        if held[axis] in remaining:
            remaining.remove(held[axis])
        else:
            unmatched.append(axis)
    return next(iter(unmatched or candidates or [a for a, s in enumerate(held) if s == 1]), None)


_CHECKS: Mapping[str, Callable[[_Search, ir.Node], Iterator[Frozen]]] = {
    **dict.fromkeys(ELEMENTWISE, _broadcast),
    **dict.fromkeys(_CHANNELS, _channels),
    **dict.fromkeys(("MatMul", "Gemm"), _matmul),
    "LayerNormalization": _layer_normalization,
    "Expand": _expand,
    "Concat": _concat,
    "Reshape": _reshape,
}
