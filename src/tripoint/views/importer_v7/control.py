"""Importers of operators that hold graphs, after onnx-tensorrt release/7.0 to 7.2.1."""

from __future__ import annotations

from tripoint.table import Reason, ViewShape
from tripoint.views.importer import walk
from tripoint.views.importer.context import UNKNOWN, Entry, RefusedError
from tripoint.views.importer.core import scan_operands
from tripoint.views.importer_v7.context import Node


def if_(node: Node) -> list[ViewShape | None]:
    """Return one branch where the condition is a constant, else refused."""
    condition = node.ints(0)
    if condition is None or len(condition) != 1:
        raise RefusedError("takes the condition of If only as a constant, so it stops here")
    graph = node.branch("then_branch" if condition == (1,) else "else_branch")
    shapes = walk.enter(node, graph)
    network = node.network
    for index, value in enumerate(graph.outputs[: len(node.onnx.outputs)]):
        weights = network.weights.get(network.name_of(value))
        if weights is not None and node.output_name(index):
            network.weights[node.output_name(index)] = weights
    return shapes


def loop_70(node: Node) -> list[ViewShape | None]:
    """The subgraph gets the trip count for the iteration number."""
    if _counts(node) and node.has(0):
        node.refuse("silently gives the body of a Loop the trip count for the iteration number")
    elif _counts(node):
        _refuse_counting(node)
    return _loop(node, counter=())


def loop_71(node: Node) -> list[ViewShape | None]:
    """The subgraph gets no iteration number; a loop must carry a state."""
    _needs_state(node, len(node.onnx.inputs) - 2)
    if _counts(node):
        _refuse_counting(node)
    return _loop(node, counter=())


def loop_72(node: Node) -> list[ViewShape | None]:
    """As :func:`loop_71`; with a trip count there is a number, a vector of one element."""
    _needs_state(node, len(node.onnx.inputs) - 2)
    if _counts(node) and not node.has(0):
        _refuse_counting(node)
    elif _counts(node):
        node.refuse("silently gives the body of a Loop an iteration number of shape (1,)")
    return _loop(node, counter=(1,))


def _counts(node: Node) -> bool:
    return any(value.uses() for value in node.branch("body").inputs[:1])


def _refuse_counting(node: Node) -> None:
    node.refuse("gives the body of a Loop no iteration number, which it reads, so it stops here")


def _loop(node: Node, *, counter: ViewShape) -> list[ViewShape | None]:
    """States keep their initial dims; scan outputs get a length that is a tensor."""
    body = node.branch("body")
    if len(node.onnx.inputs) < 2:
        raise RefusedError("needs a trip count or a condition for Loop")
    for index in (0, 1):
        if node.has(index) and any(dim != 1 for dim in node.shape(index)):
            raise RefusedError(f"takes only a scalar for `{node.name(index)}` of Loop")
    feeds = [Entry(counter, "INT32"), Entry((), "BOOL")]
    carried = range(2, len(node.onnx.inputs))
    states = [Entry(node.shape(index), node.type(index)) for index in carried]
    shapes = walk.enter(node, body, [*feeds, *states])
    scans = [_grown(shape, 0) for shape in shapes[1 + len(states) :]]
    _note_lengths(node, len(states))
    return [*(state.shape for state in states), *scans]


def scan_70(node: Node) -> list[ViewShape | None]:
    """States keep their dims, scan inputs lose an axis; the length of outputs is a tensor."""
    body = node.branch("body")
    carried, scanned = scan_operands(node)
    axes = _scan_axes(node, "scan_input_axes", len(scanned), carried.start)
    states = [Entry(node.shape(index), node.type(index)) for index in carried]
    slices = [
        Entry(_without(node, node.shape(index), axis), node.type(index))
        for index, axis in zip(scanned, axes, strict=True)
    ]
    shapes = walk.enter(node, body, [*states, *slices])[len(carried) :]
    grown = [
        _grown(shape, axis)
        for shape, axis in zip(
            shapes, _scan_axes(node, "scan_output_axes", len(shapes), carried.start), strict=True
        )
    ]
    _note_lengths(node, len(carried))
    return [*(state.shape for state in states), *grown]


def scan_71(node: Node) -> list[ViewShape | None]:
    """As :func:`scan_70`; a scan must carry a state."""
    inputs = len(node.onnx.inputs) - (1 if node.opset == 8 else 0)
    _needs_state(node, inputs - node.attribute_int("num_scan_inputs", 0))
    return scan_70(node)


def _scan_axes(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    axes = node.attribute_ints(name) or (default,) * count
    if len(axes) != count or min(axes, default=0) < 0:
        raise RefusedError(f"needs {count} axes counted from the front for `{name}` of Scan")
    return axes


def _without(node: Node, dims: ViewShape, axis: int) -> ViewShape:
    place = node.axis(axis, len(dims))
    return (*dims[:place], *dims[place + 1 :])


def _grown(shape: ViewShape | None, axis: int) -> ViewShape | None:
    if shape is None:
        return None
    return (*shape[:axis], UNKNOWN, *shape[axis:])


def _needs_state(node: Node, count: int) -> None:
    if count < 1:
        node.refuse(f"imports no {node.op} that carries no state, so it stops here")


def _note_lengths(node: Node, states: int) -> None:
    for index in range(states, len(node.onnx.outputs)):
        node.reasons[index] = Reason(
            f"the length of the scan output `{node.output_name(index)}` is a tensor in "
            f"{node.network.version}, so it is -1",
            (),
        )
