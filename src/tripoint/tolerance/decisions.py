"""Nodes whose output jumps where a number is rounded another way, and how they are overruled.

The index of a largest element, the outcome of a comparison, an integer next to a number: where
two numbers are as good as tied, rounding decides. A graph of which each such *decision* can be
overruled is used twice: :mod:`tripoint.tolerance.sensitivity` holds all of them, so that what it
measures is how far numbers move and not that another one was chosen; and
:mod:`tripoint.parity.ties` tries the other outcome. ``QuantizeLinear`` is none of them, since
almost every tensor that it rounds to its grid holds numbers between two steps; nor are nodes in the
body of another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import COMPARISONS, EXTREMES, READS_SIZES, RESHAPING
from tripoint.graph.subgraphs import read_by

Array = np.ndarray[Any, Any]

STEPS = frozenset({"Ceil", "Floor", "Round", "Sign", "Cast"})
TOP = "TopK"
SUPPRESSION = "NonMaxSuppression"

_PREFIX = "tripoint"
_CHOICE = f"{_PREFIX}.choice."
_OPSET = 11
"""The first one with GatherElements and all dtypes of Where that are needed."""
_KEEP_INTEGERS = RESHAPING | {
    *("Abs", "Clip", "Concat", "Expand", "Identity", "Max", "Min", "Neg", "Relu", "Slice"),
    "Transpose",
}
"""What gives integers for integers."""
_NUMBERS = {"Expand": 1, "Reshape": 1, "Slice": 1, "Squeeze": 1, "Unsqueeze": 1}
"""How many of the inputs are numbers, where the others are sizes and axes."""
_FEW = 64
"""Elements of a constant up to which it is read."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One value that can be overruled.

    Args:
        index: Its number, in graph order.
        node: The node that decides, in the prepared graph.
        operands: Which of its inputs are the numbers that it decides by.
        input_of: The input of the node that is replaced, where its output cannot be written down
            without deciding anew, as that of NonMaxSuppression; None where the output is.
        wide: The dtype in which it is given.
        name: The name of the value in the original graph.
    """

    index: int
    node: ir.Node
    operands: tuple[int, ...]
    input_of: int | None
    wide: ir.DataType
    name: str

    @property
    def own(self) -> str:
        """Name of the output that holds what is decided unless it is overruled."""
        return f"{_PREFIX}.own.{self.index}"

    def operand(self, place: int) -> str:
        """Name of the output that holds what it is decided by."""
        return f"{_PREFIX}.operand.{self.index}.{place}"

    def read(self, place: int) -> str:
        """Name of what it is decided by."""
        value = self.node.inputs[place]
        return self.name if self.input_of is not None else (value and value.name) or ""

    @property
    def outcome(self) -> str:
        """Name of the input that overrules it."""
        return f"{_PREFIX}.given.{self.index}"

    @property
    def overruled(self) -> str:
        """Name of the input that says whether it is."""
        return f"{_PREFIX}.overruled.{self.index}"


@dataclass(frozen=True)
class Prepared:
    """A copy of a graph with decisions that can be overruled.

    Args:
        model: The copy; what is decided, and by what, are further outputs of it.
        decisions: In graph order.
        outputs: Names of the outputs of the original.
    """

    model: ir.Model
    decisions: tuple[Decision, ...]
    outputs: tuple[str, ...]

    def feed(self, overruled: Mapping[int, Array]) -> dict[str, Array]:
        """The further inputs.

        Args:
            overruled: What is decided, by number of the decision; the others are left alone.
        """
        fed: dict[str, Array] = {}
        for each in self.decisions:
            array = overruled.get(each.index, np.zeros((), np.int64))
            fed[each.outcome] = np.asarray(array).astype(each.wide.numpy())
            fed[each.overruled] = np.asarray(each.index in overruled)
        return fed


def prepare(graph: ir.Model) -> Prepared:
    """Copy a graph so that its decisions can be overruled.

    Args:
        graph: Its values carry their true shapes and dtypes; it is not changed.
    """
    names = tuple(value.name or "" for value in graph.graph.outputs)
    model = graph.clone()
    places = [place for node in model.graph for place in _places(node)]
    if not places or model.opset_imports.get("", 0) < _OPSET:
        return Prepared(model, (), names)
    fed = _behind_numbers(model.graph)
    whole = _whole(model.graph)
    decisions: list[Decision] = []
    for node, operands, input_of in places:
        if node.op_type in STEPS and node.inputs[0] in whole:
            continue
        if any(node.inputs[place] in fed for place in operands):
            decisions.append(_overrulable(model.graph, node, operands, input_of, len(decisions)))
    return Prepared(model, tuple(decisions), names)


def chooses(node: ir.Node) -> bool:
    """Return whether a node was added to overrule a decision."""
    return bool(node.outputs) and (node.outputs[0].name or "").startswith(_CHOICE)


def decides(nodes: Iterable[ir.Node]) -> bool:
    """Return whether there is a decision among nodes."""
    return any(_places(node) for node in nodes)


def _places(node: ir.Node) -> list[tuple[ir.Node, tuple[int, ...], int | None]]:
    """A node with what it decides by, and which of its inputs to replace, if it decides."""
    if node.domain not in ("", "ai.onnx"):
        return []
    if node.op_type == SUPPRESSION:
        return [(node, (0,), 0), (node, (1,), 1)]
    if node.op_type == "Cast" and _is(node.outputs[0], ir.DataType.is_floating_point):
        return []
    operands = (0, 1) if node.op_type in COMPARISONS else (0,)
    decides = node.op_type in COMPARISONS | STEPS | EXTREMES or node.op_type == TOP
    if not decides or not all(_is(node.inputs[i], ir.DataType.is_floating_point) for i in operands):
        return []
    return [(node, operands, None)]


def _is(value: ir.Value | None, kind: Any) -> bool:
    return value is not None and value.dtype is not None and bool(kind(value.dtype))


def _behind_numbers(graph: ir.Graph) -> set[ir.Value]:
    """Return the values that depend on the elements of an input, and not on its size alone."""
    fed = {value for value in graph.inputs if value.name not in graph.initializers}
    for node in graph:
        if node.op_type not in READS_SIZES and any(value in fed for value in read_by([node])):
            fed.update(node.outputs)
    return fed


def _whole(graph: ir.Graph) -> set[ir.Value]:
    """Return the values of floats that hold integers whatever the inputs: no step lies near."""
    whole: set[ir.Value] = set()
    for node in graph:
        read = [value for value in node.inputs if value is not None]
        numbers = read[: _NUMBERS.get(node.op_type)]
        if (
            node.op_type in STEPS - {"Cast"}
            or (node.op_type == "Cast" and _is(read[0], ir.DataType.is_integer))
            or (
                node.op_type in _KEEP_INTEGERS
                and all(value in whole or _holds_integers(value) for value in numbers)
            )
        ):
            whole.update(node.outputs)
    return whole


def _holds_integers(value: ir.Value) -> bool:
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size > _FEW or not _is(value, ir.DataType.is_floating_point):
        return False
    array = tensor.numpy()
    return bool((array == np.trunc(array)).all())


def _overrulable(
    graph: ir.Graph, node: ir.Node, operands: Sequence[int], input_of: int | None, index: int
) -> Decision:
    value = _input(node, input_of) if input_of is not None else node.outputs[node.op_type == TOP]
    dtype = value.dtype or (ir.DataType.INT64 if node.op_type == TOP else ir.DataType.FLOAT)
    wide = ir.DataType.INT64
    if dtype.is_floating_point():
        wide = ir.DataType.DOUBLE if dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    decision = Decision(index, node, tuple(operands), input_of, wide, value.name or "")
    for place in operands:
        operand = _input(node, place)
        shown = _node("Identity", [operand], decision.operand(place), operand.dtype, operand.shape)
        graph.insert_before(node, shown)
        graph.outputs.append(shown.outputs[0])
    outcome = ir.Value(name=decision.outcome, type=ir.TensorType(wide))
    overruled = ir.Value(
        name=decision.overruled, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([])
    )
    graph.inputs.extend([outcome, overruled])
    prefix = f"{_CHOICE}{index}"
    own = _node("Cast", [value], f"{prefix}.0", wide, value.shape, to=int(wide))
    taken = _node("Where", [overruled, outcome, own.outputs[0]], f"{prefix}.1", wide, value.shape)
    back = _node("Cast", [taken.outputs[0]], f"{prefix}.2", dtype, value.shape, to=int(dtype))
    shown = _node("Identity", [value], decision.own, dtype, value.shape)
    added = [own, taken, back, shown]
    graph.outputs.append(shown.outputs[0])
    if input_of is not None:
        graph.insert_before(node, added)
        node.replace_input_with(input_of, back.outputs[0])
        return decision
    replaced = [(value, back.outputs[0])]
    values = node.outputs[0]
    if node.op_type == TOP:
        axis = node.attributes.get_int("axis", -1)
        read = [node.inputs[0], back.outputs[0]]
        taken = _node("GatherElements", read, f"{prefix}.3", values.dtype, values.shape, axis=axis)
        added.append(taken)
        replaced.append((values, taken.outputs[0]))
    graph.insert_after(node, added)
    for before, after in replaced:
        _replace(graph, before, after, added)
    return decision


def _input(node: ir.Node, place: int) -> ir.Value:
    """An input that is there."""
    value = node.inputs[place]
    if value is None:
        raise ValueError(f"{node.op_type} has no input {place}")
    return value


def _replace(graph: ir.Graph, before: ir.Value, after: ir.Value, but: Sequence[ir.Node]) -> None:
    """Let all read another value under the same name, some nodes excepted."""
    for user, place in [*before.uses()]:
        if user not in but:
            user.replace_input_with(place, after)
    for place, output in enumerate(graph.outputs):
        if output is before:
            graph.outputs[place] = after
    name = before.name
    before.name = f"{name}.{_PREFIX}"
    after.name = name


def _node(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    output: str,
    dtype: ir.DataType | None,
    shape: ir.Shape | None,
    **attributes: Any,
) -> ir.Node:
    node = ir.node(op_type, list(inputs), attributes)
    value = node.outputs[0]
    value.name, value.shape = output, shape
    value.type = ir.TensorType(dtype) if dtype is not None else None
    return node
