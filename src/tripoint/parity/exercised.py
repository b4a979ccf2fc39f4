"""Parts of a graph that no point exercises: branches, rows of tables, limits of clamps, masks.

A fault there is in no output, however small the tolerance. So ONNX Runtime computes, of a copy of
the graph that is cut down to what is asked for, what decides: conditions, indices of tables, and
the smallest and the largest number that reaches a clamp or a mask. Nodes inside the bodies of If,
Loop and Scan are not watched.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.parity.results import Exercised, Part, Unexercised
from tripoint.rewrites.constants import elements
from tripoint.shape_inference import truth
from tripoint.tolerance.derivation import adds_up

Array = np.ndarray[Any, Any]
Range = tuple[float, float]

_PREFIX = "tripoint.seen"
_MOST_BYTES = 1 << 27
"""Of the weights behind what is watched, which are handed over as a copy."""
_POINTS = 2
"""Points at which a graph is run that adds up anything; a cheaper one is run at all of them."""
_UNLIMITED = 1e30
_CLAMPS: Mapping[str, Callable[[ir.Node], Range]] = {
    "Relu": lambda _: (0.0, math.inf),
    "HardSwish": lambda _: (-3.0, 3.0),
    "HardSigmoid": lambda node: _hard_sigmoid(node),
    "ThresholdedRelu": lambda node: (node.attributes.get_float("alpha", 1.0), math.inf),
    "Clip": lambda node: _clip(node),
    "Max": lambda node: (_constant(node, max, -math.inf), math.inf),
    "Min": lambda node: (-math.inf, _constant(node, min, math.inf)),
}


class _Watched(ABC):
    """Something that inputs may exercise or not.

    Args:
        part: What kind of thing it is.
        node: The node.
        values: What is asked of the graph, in order.
        whole: Whether all elements are wanted, not the smallest and the largest.
    """

    def __init__(
        self, part: Part, node: ir.Node, values: Sequence[ir.Value], *, whole: bool = False
    ) -> None:
        self.part = part
        self.values = values
        self.whole = whole
        self.name = node.name or node.outputs[0].name or node.op_type
        self.op = node.op_type

    @abstractmethod
    def see(self, results: Sequence[Sequence[Array]]) -> None:
        """Take in the numbers of one point: for each value its elements, or both ends."""

    @abstractmethod
    def missing(self) -> Iterator[str]:
        """Describe the parts that were not exercised; nothing if all were."""

    def entries(self) -> Iterator[Unexercised]:
        """The same for a report."""
        for what in self.missing():
            yield Unexercised(self.part, self.name, self.op, what)


class _Sides(_Watched):
    """A condition, or a mask."""

    _seen = (False, False)

    def see(self, results: Sequence[Sequence[Array]]) -> None:
        low, high = _ends(results[0])
        self._seen = (self._seen[0] or high > 0, self._seen[1] or low == 0)

    def missing(self) -> Iterator[str]:
        words = ("then", "else") if self.op == "If" else ("true", "false")
        yield from (word for word, seen in zip(words, self._seen, strict=True) if not seen)


class _Entered(_Watched):
    """The body of a Loop."""

    _seen = False

    def see(self, results: Sequence[Sequence[Array]]) -> None:
        self._seen |= all(_ends(each)[1] > 0 for each in results)

    def missing(self) -> Iterator[str]:
        yield from () if self._seen else ("body",)


class _Limits(_Watched):
    """A clamp."""

    def __init__(self, node: ir.Node, value: ir.Value, limits: Range) -> None:
        super().__init__("limits", node, [value])
        self._limits = limits
        self._below = limits[0] <= -_UNLIMITED
        self._above = limits[1] >= _UNLIMITED
        self._within = False

    def see(self, results: Sequence[Sequence[Array]]) -> None:
        low, high = _ends(results[0])
        self._below |= low < self._limits[0]
        self._above |= high > self._limits[1]
        self._within |= high > self._limits[0] and low < self._limits[1]

    def missing(self) -> Iterator[str]:
        if not self._below:
            yield f"below {self._limits[0]:g}"
        if not self._above:
            yield f"above {self._limits[1]:g}"
        if not self._within:
            yield "between its limits"


class _Rows(_Watched):
    """The rows of a table that are read."""

    def __init__(self, node: ir.Node, indices: ir.Value, table: str, rows: int) -> None:
        super().__init__("rows", node, [indices], whole=True)
        self.name = table
        self._read = np.zeros(rows, np.bool_)

    def see(self, results: Sequence[Sequence[Array]]) -> None:
        rows = results[0][0].ravel()
        rows = np.where(rows < 0, rows + self._read.size, rows)
        self._read[rows[(rows >= 0) & (rows < self._read.size)]] = True

    def missing(self) -> Iterator[str]:
        if not self._read.all():
            yield f"{self._read.size - int(self._read.sum())} of {self._read.size}"

    def entries(self) -> Iterator[Unexercised]:
        for what in self.missing():
            share = float(self._read.mean())
            yield Unexercised(self.part, self.name, self.op, what, share)


def exercised(model: Model, points: Sequence[Arrays]) -> Exercised | None:
    """Return the parts that the inputs of all points leave untouched.

    Args:
        model: The graph.
        points: Array by input name, one entry for a point.

    Returns:
        None if there is nothing that could be left, or the graph does not run.
    """
    graph = truth.inlined(model.ir)
    every = [*_watched(graph.graph)]
    if not every or not points:
        return None
    small = [each for each in every if each.whole or each.part == "branches"]
    wanted, extended = every, _cut(graph, every)
    if _bytes(extended) > _MOST_BYTES:
        wanted, extended = small, _cut(graph, small)
        if not small or _bytes(extended) > _MOST_BYTES:
            return None
    counts = Counter(each.part for each in wanted)
    looked: Counter[Part] = Counter()
    todo, session, ran = wanted, None, 0
    for inputs in points:
        try:
            session = session or Session(Model(extended))
            outputs = dict(zip(session.outputs, session.run(inputs), strict=True))
        except TripointError:
            continue
        ran += 1
        looked.update({watched.part for watched in todo})
        for index, watched in enumerate(todo):
            ends = [_names(index, place, watched) for place in range(len(watched.values))]
            watched.see([[outputs[name] for name in names] for names in ends])
        left = [watched for watched in todo if any(watched.missing())]
        if ran == 1 and len(left) < len(todo):
            # Of most models little is left, and less of the graph leads to it.
            todo, extended, session = left, _cut(graph, left), None
        if ran == _POINTS and any(adds_up(node) for node in extended.graph):
            todo = [watched for watched in todo if watched.whole]
            extended, session = _cut(graph, todo), None
            todo = [] if any(adds_up(node) for node in extended.graph) else todo
        if not any(any(watched.missing()) for watched in todo):
            break
    if not ran:
        return None
    missing = tuple(entry for watched in wanted for entry in watched.entries())
    return Exercised(dict(looked), dict(counts), missing)


def _watched(graph: ir.Graph) -> Iterator[_Watched]:
    """Yield the parts that may be exercised or not, in graph order."""
    varying = _varying(graph)
    tables: set[tuple[ir.Value, ir.Value]] = set()
    for node in graph:
        if node.domain not in ("", "ai.onnx"):
            continue
        inputs = [value for value in node.inputs if value is not None and value in varying]
        if node.op_type == "If" and inputs:
            yield _Sides("branches", node, inputs)
        elif node.op_type == "Where" and node.inputs[0] in varying:
            yield _Sides("masks", node, inputs[:1])
        elif node.op_type == "Loop":
            steps = [value for value in node.inputs[:2] if value is not None and value in varying]
            if steps:
                yield _Entered("branches", node, steps)
        elif node.op_type == "Gather" and len(node.inputs) == 2 and node.inputs[1] in varying:
            table, indices = node.inputs
            rows = _rows(node)
            if table is None or indices is None or table in varying or rows < 2:
                continue
            if (table, indices) not in tables:
                tables.add((table, indices))
                yield _Rows(node, indices, table.name or node.name or "table", rows)
        elif node.op_type in _CLAMPS and len(inputs) == 1:
            limits = _CLAMPS[node.op_type](node)
            if limits[0] > -_UNLIMITED or limits[1] < _UNLIMITED:
                yield _Limits(node, inputs[0], limits)


def _varying(graph: ir.Graph) -> set[ir.Value]:
    """The values that inputs move, by their values or sizes."""
    varying = {value for value in graph.inputs if value.name not in graph.initializers}
    for node in graph:
        read = list(node.inputs)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                for inner in attribute.as_graph().all_nodes():
                    read += inner.inputs
        if any(value in varying for value in read if value is not None):
            varying.update(node.outputs)
    return varying


def _rows(node: ir.Node) -> int:
    table = node.inputs[0]
    shape = table.shape if table is not None else None
    axis = node.attributes.get_int("axis", 0)
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return size if isinstance(size, int) else 0


def _number(value: ir.Value | None, default: float) -> float:
    """A constant of one element; the default where there is none, NaN where it is no such."""
    if value is None:
        return default
    array = elements(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else math.nan


def _clip(node: ir.Node) -> Range:
    low = node.attributes.get_float("min", -math.inf)
    high = node.attributes.get_float("max", math.inf)
    bounds = [*node.inputs[1:], None, None]
    low, high = _number(bounds[0], low), _number(bounds[1], high)
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def _constant(node: ir.Node, which: Callable[[list[float]], float], default: float) -> float:
    limits = [_number(value, default) for value in node.inputs]
    numbers = [number for number in limits if not math.isnan(number)]
    return which(numbers) if numbers else default


def _hard_sigmoid(node: ir.Node) -> Range:
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    return (-beta / alpha, (1 - beta) / alpha) if alpha > 0 else (-math.inf, math.inf)


def _cut(model: ir.Model, watched: Sequence[_Watched]) -> ir.Model:
    """A copy that computes nothing but what is watched."""
    names = [[value.name for value in each.values] for each in watched]
    copy = model.clone()
    graph = copy.graph
    values = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    values |= {value.name: value for node in graph for value in node.outputs}
    graph.outputs.clear()
    for index, each in enumerate(watched):
        for place, name in enumerate(names[index]):
            for node, output in _asked(values[name], _names(index, place, each)):
                graph.append(node)
                if output:
                    graph.outputs.append(node.outputs[0])
    RemoveUnusedNodesPass()(copy)
    return copy


def _names(index: int, place: int, watched: _Watched) -> list[str]:
    ends = ("all",) if watched.whole else ("low", "high")
    return [f"{_PREFIX}.{index}.{place}.{end}" for end in ends]


def _asked(value: ir.Value, names: Sequence[str]) -> Iterator[tuple[ir.Node, bool]]:
    """The nodes that compute all elements as integers, or the smallest and the largest."""

    def node_of(
        op_type: str, operand: ir.Value, name: str, dtype: ir.DataType, **attributes: int
    ) -> ir.Node:
        node = ir.node(op_type, [operand], attributes)
        node.outputs[0].name = name
        node.outputs[0].type = ir.TensorType(dtype)
        return node

    if len(names) == 1:
        yield node_of("Cast", value, names[0], ir.DataType.INT64, to=int(ir.DataType.INT64)), True
        return
    kind = ir.DataType.FLOAT
    if value.dtype != kind:
        cast = node_of("Cast", value, f"{names[0]}.float", kind, to=int(kind))
        yield cast, False
        value = cast.outputs[0]
    for op_type, name in zip(("ReduceMin", "ReduceMax"), names, strict=True):
        yield node_of(op_type, value, name, kind, keepdims=0), True


def _bytes(model: ir.Model) -> int:
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _ends(ends: Sequence[Array]) -> Range:
    low, high = (float(each.reshape(-1)[0]) for each in ends)
    return low, high
