"""Movement of a graph's outputs by roundings of their actual size, measured.

:mod:`tripoint.tolerance.derivation` bounds what two implementations may differ by without running
anything, and has to be far above what most do. Here ONNX Runtime runs the graph with noise: what
each operator that rounds reads or gives is multiplied by random factors around 1, as wide as the
error that it makes on a CPU (:mod:`tripoint.tolerance.arithmetic`, :func:`likely`). The noise is
enlarged so that the rounding of these runs themselves does not matter, and what it moves is divided
by as much. That holds only where outputs move in proportion, so two sizes of noise are tried, and
what does not is not said. For TF32, the products alone are too small by their error once more.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.tolerance.arithmetic import Kind, kind_of, own_variance, steep_operands
from tripoint.tolerance.derivation import Products, multiplies, product_variance, sums_of
from tripoint.tolerance.measure import is_exact
from tripoint.tolerance.sharpen import Moved

Array = np.ndarray[Any, Any]
SIZE = "tripoint.noise"
"""Name of a further input: how much the noise is enlarged."""
SHORT = "tripoint.short"
"""Name of another: by how much of their noise products are too small."""
SIZES = (64.0, 256.0)
"""How much the noise of each run is enlarged."""
TF32_SIZES = (2.0, 8.0)
"""The same where products are of TF32; more would be no small change."""
SHORT_TYPES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
"""What they cost, :mod:`tripoint.parity.rounded` measures."""
_EPS = {ir.DataType.FLOAT: 2.0**-23, ir.DataType.DOUBLE: 2.0**-52}
_ROUNDING = 0.3
"""Deviation of one rounding, in epsilons."""
_FUNCTION = 0.7
"""The same of a function that is approximated."""
_HUGE = 1e30
"""Numbers from which on noise would make infinities."""
_SEEDS = 1 << 20
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Sqrt", "Reciprocal", "BatchNormalization"})


class Noise:
    """Measures one graph.

    Args:
        graph: Its values carry their true shapes; it is not changed.
    """

    def __init__(self, graph: ir.Model) -> None:
        self._graph = graph
        self._sessions: dict[tuple[frozenset[tuple[str, int]], Products], Session] = {}
        self._measurable = all(
            kind_of(node) not in (Kind.BODIES, Kind.DRAWS)
            and not any(value.dtype in SHORT_TYPES for value in node.outputs)
            for node in graph.graph
        )

    def at(
        self, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> dict[str, Moved]:
        """Return the movement of outputs by noise, by name; absent where it could not be measured.

        Args:
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.
        """
        if not self._measurable or products is Products.TENSOR_CORES:
            return {}
        cut = products is not Products.ROUNDED
        sizes = TF32_SIZES if cut else SIZES
        wanted = [(0.0, 0.0), *((size, 0.0) for size in sizes), *([(0.0, 1.0)] if cut else [])]
        try:
            session = self._session(bindings, products)
            runs = [
                session.run({**inputs, SIZE: np.asarray(size), SHORT: np.asarray(short)})
                for size, short in wanted
            ]
        except TripointError:
            return {}
        exact, *others = (dict(zip(session.outputs, each, strict=True)) for each in runs)
        moves = {}
        for name, array in exact.items():
            arrays = [other[name] for other in others]
            if is_exact(array.dtype) or any(other.shape != array.shape for other in arrays):
                continue
            moved = [_moved(array, other) for other in arrays]
            if any(each is None for each in moved):
                continue
            near, far, *short = (each for each in moved if each is not None)
            moves[name] = Moved(near / sizes[0], far / sizes[1], short[0] if short else None)
        return moves

    def _session(self, bindings: Mapping[str, int], products: Products) -> Session:
        key = (frozenset(bindings.items()), products)
        if key not in self._sessions:
            # Of weights, only one copy is held.
            self._sessions = {key: Session(Model(_noisy(self._graph, bindings, products)))}
        return self._sessions[key]


def likely(
    node: ir.Node, bindings: Mapping[str, int], products: Products = Products.ROUNDED
) -> tuple[float, float]:
    """Deviation of the relative error of what a node reads first, and of what it gives.

    Args:
        node: Its values carry their true shapes.
        bindings: Size of each input symbol.
        products: How float32 products are computed.
    """
    kind, output = kind_of(node), node.outputs[0]
    eps = _EPS.get(output.dtype or ir.DataType.FLOAT, 0.0)
    if kind in (Kind.MOVES, Kind.EXACT, Kind.GRID, Kind.DRAWS, Kind.BODIES):
        return 0.0, 0.0
    sums = sums_of(node, bindings)
    variance = (own_variance(node, bindings) + sum(count for _, count in sums) / 24) * eps**2
    if output.dtype == ir.DataType.FLOAT:
        variance += sum(product_variance(*each, bindings, products) for each in sums)
    simple = node.op_type in _ARITHMETIC or kind in (Kind.PRODUCTS, Kind.COORDINATES)
    before = _ROUNDING * eps if kind is Kind.STEEP else math.sqrt(variance)
    return before, (_ROUNDING if simple else _FUNCTION) * eps


def _moved(exact: Array, other: Array) -> Array | None:
    """Absolute differences; None where NaN or infinities are not the same."""
    a, b = exact.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(a)
    if (finite != np.isfinite(b)).any():
        return None
    with np.errstate(invalid="ignore"):
        moved: Array = np.where(finite, np.abs(a - b), 0.0)
    return moved


def _noisy(graph: ir.Model, bindings: Mapping[str, int], products: Products) -> ir.Model:
    """A copy with noise as large as its further inputs say."""
    spreads = [likely(node, bindings, products) for node in graph.graph]
    model = graph.clone()
    own = model.graph
    size, short = (
        ir.Value(name=name, type=ir.TensorType(ir.DataType.DOUBLE), shape=ir.Shape([]))
        for name in (SIZE, SHORT)
    )
    own.inputs.extend([size, short])
    huge = _huge(own)
    for number, (node, (before, after)) in enumerate(zip(list(own), spreads, strict=True)):
        for place in steep_operands(node) or (0,):
            value = node.inputs[place] if place < len(node.inputs) else None
            if before and value is not None and value.dtype in _EPS:
                cut = short if multiplies(node) and products is not Products.ROUNDED else None
                name = f"{number}.{place}"
                nodes = _factor(value, size, before, name, guard=value in huge, short=cut)
                own.insert_before(node, nodes)
                node.replace_input_with(place, nodes[-1].outputs[0])
        value = node.outputs[0]
        if after and value.dtype in _EPS:
            readers = [(usage.node, usage.idx) for usage in value.uses()]
            nodes = _factor(value, size, after, f"{number}", guard=value in huge)
            own.insert_after(node, nodes)
            _replace(own, value, nodes[-1].outputs[0], readers)
    return model


def _replace(
    graph: ir.Graph, old: ir.Value, new: ir.Value, readers: Sequence[tuple[ir.Node, int]]
) -> None:
    """Let a value be read in the place of another, and take over its name if it is given out."""
    for reader, place in readers:
        reader.replace_input_with(place, new)
    if old not in graph.outputs:
        return
    old.name, new.name = f"{SIZE}.{old.name}", old.name
    for index, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[index] = new


def _factor(
    value: ir.Value,
    size: ir.Value,
    spread: float,
    name: str,
    *,
    guard: bool,
    short: ir.Value | None = None,
) -> list[ir.Node]:
    """``x`` times random factors of a deviation around 1, or around a little less."""
    nodes: list[ir.Node] = []

    def add(op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        node.outputs[0].name = f"{SIZE}.{name}.{len(nodes)}"
        nodes.append(node)
        return node.outputs[0]

    def number(of: float) -> ir.Value:
        return add("Constant", value=ir.tensor(np.asarray(of, dtype.numpy())))

    dtype = value.dtype or ir.DataType.FLOAT
    width = math.sqrt(3) * spread
    seed = float(zlib.crc32(name.encode()) % _SEEDS)
    random = add("RandomUniformLike", value, low=-width, high=width, seed=seed, dtype=int(dtype))
    middle = number(1.0)
    if short is not None:
        lost = add("Mul", add("Cast", short, to=int(dtype)), number(spread))
        middle = add("Sub", middle, lost)
    factor = add("Add", add("Mul", random, add("Cast", size, to=int(dtype))), middle)
    moved = add("Mul", value, factor)
    if guard:
        fits = add("Less", add("Abs", value), number(_HUGE))
        moved = add("Where", fits, moved, value)
    moved.type, moved.shape = value.type, value.shape
    return nodes


def _huge(graph: ir.Graph) -> set[ir.Value]:
    """Values that may be next to the largest number, since a constant of a mask is."""
    huge = {value for value in graph.initializers.values() if _is_huge(value)}
    huge |= {
        value
        for node in graph
        if node.op_type in ("Constant", "ConstantOfShape")
        for value in node.outputs
    }
    for node in graph:
        if any(value in huge for value in node.inputs):
            huge.update(node.outputs)
    return huge


def _is_huge(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or value.dtype not in _EPS:
        return False
    return bool((np.abs(tensor.numpy()) > _HUGE).any())
