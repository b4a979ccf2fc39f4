"""Importers of operators that hold graphs, after onnx-tensorrt release/8.0 to 10.1."""

from __future__ import annotations

import onnx_ir as ir

from tripoint.views.importer import walk
from tripoint.views.importer.context import Entry, RefusedError
from tripoint.views.importer.core import scan_operands
from tripoint.views.importer_v8 import layers
from tripoint.views.importer_v8.algebra import Dim, Dims
from tripoint.views.importer_v8.context import Node, view_of

_NO_TRIP_COUNT = 1024
"""Length of a scan output for which the parser knows no trip count."""


def if_(node: Node) -> list[Dims | None]:
    """Return one branch where the condition is a constant, else a conditional."""
    taken = _taken(node)
    if taken is not None:
        return _only(node, taken)
    first, second = _both(node)
    return [
        None if a is None or b is None else _joined(node, a, b)
        for a, b in zip(first, second, strict=False)
    ]


def if_80(node: Node) -> list[Dims | None]:
    """Return one branch where the condition is a constant, else both and a Select layer."""
    taken = _taken(node)
    if taken is not None:
        return _only(node, taken)
    first, second = _both(node)
    return [
        None if a is None or b is None else layers.broadcast(node, [node.dims(0), a, b])
        for a, b in zip(first, second, strict=False)
    ]


def _taken(node: Node) -> str | None:
    if not node.is_weights(0):
        return None
    condition = node.ints(0)
    if condition is None or len(condition) != 1:
        return None
    return "then_branch" if condition[0] == 1 else "else_branch"


def _only(node: Node, taken: str) -> list[Dims | None]:
    graph = node.branch(taken)
    result = _enter(node, graph, [])
    for index, value in enumerate(graph.outputs[: len(node.onnx.outputs)]):
        name = node.network.name_of(value)
        if name in node.network.weights and node.output_name(index):
            node.network.weights[node.output_name(index)] = node.network.weights[name]
        if name in node.state.values:
            node.results[index] = node.state.values[name]
    return result


def _both(node: Node) -> tuple[list[Dims | None], list[Dims | None]]:
    node.dims(0)
    first, second = node.branch("then_branch"), node.branch("else_branch")
    if len(first.outputs) != len(second.outputs):
        raise RefusedError("needs branches of If with the same outputs")
    return _enter(node, first, []), _enter(node, second, [])


def _joined(node: Node, a: Dims, b: Dims) -> Dims:
    """Dims that differ are selected by the condition, which the core may know."""
    if len(a) != len(b):
        raise RefusedError(
            f"joins no branches of If with outputs {node.printed(a)} and {node.printed(b)}"
        )
    condition = node.scalar(0)
    result: list[Dim] = []
    for x, y in zip(a, b, strict=True):
        size = x if x == y else node.algebra.select(condition, x, y)
        if isinstance(size, float):
            raise RefusedError("takes no number for the condition of If")
        result.append(size)
    return tuple(result)


def loop(node: Node) -> list[Dims | None]:
    """States keep their dims; scan outputs get the trip count as first dim."""
    body = node.branch("body")
    if len(node.onnx.inputs) < 2:
        raise RefusedError("needs a trip count and a condition for Loop")
    for index in (0, 1):
        if node.has(index) and any(dim != 1 for dim in node.dims(index)):
            raise RefusedError(f"takes only a scalar for `{node.name(index)}` of Loop")
    trips = _trips(node)
    states = [node.dims(index) for index in range(2, len(node.onnx.inputs))]
    kinds = [node.type(index) for index in range(2, len(node.onnx.inputs))]
    counter = node.type(0) or ("INT64" if node.rules.int64 else "INT32")
    feeds = [((), counter), ((), "BOOL"), *zip(states, kinds, strict=True)]
    results = _enter(node, body, feeds)
    scans: list[Dims | None] = [
        None if dims is None else (trips, *dims) for dims in results[1 + len(states) :]
    ]
    return [*states, *scans]


def _trips(node: Node) -> Dim:
    if not node.has(0):
        return _NO_TRIP_COUNT
    count = node.scalar(0)
    if isinstance(count, float):
        raise RefusedError("takes an integer trip count for Loop")
    if isinstance(count, int) and count >= 2**31 - 1:
        return _NO_TRIP_COUNT if node.rules.int64 else count
    return node.algebra.maximum(count, 0) if isinstance(count, int) else count


def scan(node: Node) -> list[Dims | None]:
    """States keep their dims, scan inputs lose an axis; outputs get its length."""
    body = node.branch("body")
    carried, scanned = scan_operands(node)
    axes = _scan_axes(node, "scan_input_axes", len(scanned), carried.start)
    states = [node.dims(index) for index in carried]
    slices = []
    trips: Dim = 0
    for index, axis in zip(scanned, axes, strict=True):
        dims = node.dims(index)
        place = node.axis(axis, len(dims))
        trips = dims[place]
        slices.append((*dims[:place], *dims[place + 1 :]))
    kinds = [node.type(index) for index in (*carried, *scanned)]
    results = _enter(node, body, list(zip([*states, *slices], kinds, strict=True)))[len(carried) :]
    places = _scan_axes(node, "scan_output_axes", len(results), carried.start)
    scans: list[Dims | None] = []
    for result, axis in zip(results, places, strict=True):
        if result is None:
            scans.append(None)
            continue
        place = node.axis(axis, len(result) + 1)
        scans.append((*result[:place], trips, *result[place:]))
    return [*states, *scans]


def _scan_axes(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    axes = node.attribute_ints(name) or (default,) * count
    if len(axes) != count:
        raise RefusedError(f"needs {count} axes for `{name}` of Scan")
    return axes


def _enter(node: Node, graph: ir.Graph, inputs: list[tuple[Dims, str | None]]) -> list[Dims | None]:
    """Import a nested graph whose inputs have these dims and types."""
    network, state = node.network, node.state
    for value, (dims, _) in zip(graph.inputs, inputs, strict=False):
        state.dims[network.name_of(value)] = dims
    entries = [Entry(view_of(dims), kind) for dims, kind in inputs]
    shapes = walk.enter(node, graph, entries)
    results: list[Dims | None] = []
    for value, shape in zip(graph.outputs, shapes, strict=True):
        results.append(None if shape is None else node.dims_of(network.name_of(value), shape))
    return results
