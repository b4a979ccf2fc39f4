"""Importers of recurrent operators, after onnx-tensorrt release/7.0 to 7.2.1.

Each is a loop. The loop's length is a tensor, as are the sizes of most slices inside, so most
dims are -1 even where all is static; what other layers know comes through elementwise layers.
"""

from __future__ import annotations

from tripoint.table import Reason, ViewShape
from tripoint.views.importer import core
from tripoint.views.importer.context import UNKNOWN, RefusedError
from tripoint.views.importer_v7.context import Node

_OPAQUE = (UNKNOWN,) * 3


def lstm(node: Node) -> list[ViewShape]:
    """Gates are slices whose size is a tensor; the initial states keep their dims."""
    cell = _initial(node, 6)
    peephole = [(_directions(node), 1, _hidden_size(node))] if node.has(7) else []
    state = core.broadcast([_OPAQUE, cell, *peephole])
    return _outputs(node, state, [_initial(node, 5), cell])


def gru(node: Node) -> list[ViewShape]:
    """The weights are sliced with a size that is a tensor, the recurrence weights are not."""
    hidden = _initial(node, 5)
    directions, batch = _step(node)
    read = (core.broadcast([(directions,), (UNKNOWN,)])[0], batch, UNKNOWN)
    kept = _recurrence(node, core.broadcast([_OPAQUE, hidden]))
    candidate = core.broadcast([_OPAQUE, core.broadcast([read, kept])])
    state = core.broadcast([candidate, core.broadcast([_OPAQUE, hidden])])
    return _outputs(node, state, [hidden])


def rnn(node: Node) -> list[ViewShape]:
    """Two products, of which that with the state has its dims."""
    hidden = _initial(node, 5)
    directions, batch = _step(node)
    ways = core.broadcast([(directions,), (_directions(node),)])
    read = (*ways, batch, _hidden_size(node))
    return _outputs(node, core.broadcast([read, _recurrence(node, hidden)]), [hidden])


def _step(node: Node) -> tuple[int, int]:
    """Directions and batch of one element of the sequence, which is unsqueezed."""
    dims = _operand(node, 0)
    return (_directions(node), dims[1]) if core.is_known(dims[1:]) else (UNKNOWN, UNKNOWN)


def _recurrence(node: Node, state: ViewShape) -> ViewShape:
    """The product of a state with the recurrence weights."""
    (ways,) = core.broadcast([state[:1], (_directions(node),)])
    return ways, state[1], _hidden_size(node)


def _initial(node: Node, index: int) -> ViewShape:
    """An initial state as it is given, else a constant whose size is a tensor."""
    return _operand(node, index) if node.has(index) else _OPAQUE


def _operand(node: Node, index: int) -> ViewShape:
    dims = node.shape(index)
    if len(dims) != 3:
        raise RefusedError(
            f"takes rank 3 for `{node.name(index)}` of {node.op}, not {core.printed(dims)}"
        )
    return dims


def _directions(node: Node) -> int:
    return 2 if node.attribute_text("direction", "forward") == "bidirectional" else 1


def _hidden_size(node: Node) -> int:
    return node.attribute_int("hidden_size", UNKNOWN)


def _outputs(node: Node, state: ViewShape, last: list[ViewShape]) -> list[ViewShape]:
    core.check_activations(node)
    for index in range(3):
        _operand(node, index)
    node.reason = Reason(
        f"{node.network.version} imports {node.op} as a loop whose length and sizes are "
        "tensors, and evaluates none while the network is built",
        (node.name(0),),
    )
    # Both directions are cut apart again before they are joined.
    sequence = (UNKNOWN, *(state if _directions(node) == 1 else _OPAQUE))
    return [sequence, *last][: len(node.onnx.outputs)]
