"""Choice of the nodes that stay in float32, with reasons."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import onnx
import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.graph.names import node_name
from tripoint.graph.ops import ACCUMULATING, NORMALIZATIONS, RESHAPING

FRAGILE = {
    **dict.fromkeys(
        NORMALIZATIONS - {"BatchNormalization"},  # whose mean and variance are constants
        "it reduces over squares",
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "it reduces over exponentials"),
    **dict.fromkeys(
        ("ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        "it reduces over squares, exponentials or products",
    ),
    **dict.fromkeys(ACCUMULATING, "each element adds to the error of the one before"),
    **dict.fromkeys(("Exp", "Pow"), "its results leave the range soon"),
    **dict.fromkeys(("Log",), "its operand may round to zero"),
    **dict.fromkeys(("Sin", "Cos", "Tan"), "a rounded angle is another angle"),
    **dict.fromkeys(
        ("GridSample", "AffineGrid", "RoiAlign", "MaxRoiPool", "Upsample", "NonMaxSuppression"),
        "it reads coordinates",
    ),
    **dict.fromkeys(("TopK",), "rounded values change places"),
    **dict.fromkeys(("Range", "DFT", "STFT"), "it counts or measures in its operands"),
}
"""Operators that stay in float32, with the reason. Everything else follows the rules of
:func:`kept`."""

LIMITS = {ir.DataType.FLOAT16: 65504.0, ir.DataType.BFLOAT16: float.fromhex("0x1.FEp127")}
"""Largest finite number by type."""

_ROUNDERS = frozenset({"Floor", "Ceil", "Round"})
_MAKERS = frozenset({"Cast", "Constant", "ConstantOfShape"})
_TO_A_BOUND = frozenset({"Clip", "Min", "Max", "Where", "Pad"})
"""Operators to which a constant beyond the range means the same once it is the largest number."""
_OF_A_VARIANCE = frozenset(
    {"Add", "Mul", "Div", "Pow", "ReduceMean", "ReduceSum", "Clip", "Max", "Abs", "Unsqueeze"}
)
_MOVES = frozenset(
    {
        *(*RESHAPING, "Identity", "Transpose", "Expand", "Tile", "Concat", "Split", "Slice"),
        *("Gather", "GatherElements", "GatherND", "Relu", "Neg"),
    }
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A node that stays in float32.

    Args:
        node: Its name, or that of its first output where it has none.
        op: Its operator.
        reason: Why.
    """

    node: str
    op: str
    reason: str


def is_float(value: ir.Value | None) -> bool:
    """Return whether a value is a tensor of float32."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def touches_float(node: ir.Node) -> bool:
    """Return whether a node takes or makes float32."""
    return any(map(is_float, (*node.inputs, *node.outputs)))


def kept(model: ir.Model, low: ir.DataType, patterns: Sequence[str]) -> dict[ir.Node, str]:
    """Decide which nodes of the main graph stay in float32.

    ================================================  =========================================
    the node's name fits a pattern                    as asked
    it is one of :data:`FRAGILE`                      it loses more than others
    it is part of a variance that was written out     squares leave the range
    it computes sizes, indices or angles              from integers, that must stay exact
    a constant of it is beyond the range              it would change (see below)
    its operator does not exist in that type          by the ONNX schema at the model's opset
    it is of another domain, or its types unknown     nothing says what it accepts
    it holds graphs (If, Loop, Scan)                  what is inside is left alone
    it only moves what such nodes pass to each other  casts there and back would round for nothing
    ================================================  =========================================

    A constant beyond the range becomes the largest number of the type where that means the same:
    as a bound, a mask or a filling (Clip, Min, Max, Where, Pad), and wherever it is negative, as
    masks that are added are. A positive one elsewhere keeps its node in float32.

    Args:
        model: Flat, with the types on its values and its constants as initializers.
        low: FLOAT16 or BFLOAT16.
        patterns: Names of nodes, or patterns with ``*``, ``?`` and ``[...]``.

    Returns:
        The reason by node, in graph order.

    Raises:
        UsageError: If a pattern fits no node.
    """
    nodes = [node for node in model.graph if touches_float(node) or _holds_graphs(node)]
    asked = _asked(model, patterns)
    exact = _exact(nodes)
    variances = _variances(nodes)
    reasons: dict[ir.Node, str] = {}
    for node in nodes:
        if node in asked:
            reasons[node] = f"--keep-fp32 {asked[node]}"
        elif (reason := _inherent(node, model, low)) is not None:
            reasons[node] = reason
        elif node in exact:
            reasons[node] = exact[node]
        elif node in variances:
            reasons[node] = "it is part of a variance, which reduces over squares"
        elif (constant := _beyond(node, low)) is not None:
            reasons[node] = f"its constant {constant!r} is beyond the range of {name_of(low)}"
    _surround(nodes, reasons)
    return {node: reasons[node] for node in nodes if node in reasons}


def name_of(low: ir.DataType) -> str:
    """NumPy's name of a type, as messages use it."""
    return str(low.numpy().name)


def _asked(model: ir.Model, patterns: Sequence[str]) -> dict[ir.Node, str]:
    names = {node: node_name(node) for node in model.graph.all_nodes()}
    main = set(model.graph)
    matched: dict[ir.Node, str] = {}
    for pattern in patterns:
        # An exact name first: names of nodes may hold the characters of patterns.
        fits = [node for node, name in names.items() if name == pattern]
        fits = fits or [node for node, name in names.items() if fnmatchcase(name, pattern)]
        if not fits:
            near = difflib.get_close_matches(pattern, names.values(), n=3)
            raise UsageError(
                f"--keep-fp32 {pattern!r} fits no node of the model",
                hint=f"did you mean {', '.join(near)}?"
                if near
                else "`tripoint inspect MODEL --layers` lists the nodes",
            )
        # What is inside of If, Loop and Scan stays in float32 anyhow.
        matched.update((node, pattern) for node in fits if node in main)
    return matched


def _inherent(node: ir.Node, model: ir.Model, low: ir.DataType) -> str | None:
    """Return why a node cannot or should not be of the lower type, whatever its neighbours are."""
    operands = [value for value in (*node.inputs, *node.outputs) if value is not None]
    if node.domain:
        return f"it is an operator of {node.domain}, whose types nothing says"
    if _holds_graphs(node):
        return "it holds graphs, which are left in float32"
    if any(value.name and value.type is None for value in operands):
        return "the type of one of its tensors is not known"
    if any(not isinstance(value.type, ir.TensorType) for value in operands if value.name):
        return "it works on sequences"
    if node.op_type in FRAGILE:
        return FRAGILE[node.op_type]
    if node.op_type not in _MAKERS and not any(map(is_float, node.inputs)):
        return "it makes numbers, of a type that an attribute decides"
    return _schema(node, model, low)


def _holds_graphs(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def _schema(node: ir.Node, model: ir.Model, low: ir.DataType) -> str | None:
    opset = model.opset_imports.get("", 0)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return f"opset {opset} does not define its operator"
    wanted = f"tensor({low.name.lower()})"
    sides = ((node.inputs, schema.inputs), (node.outputs, schema.outputs))
    for values, formals in sides:
        for position, value in enumerate(values):
            if not is_float(value) or (node.op_type == "Resize" and position > 0):
                continue
            if wanted not in formals[min(position, len(formals) - 1)].types:
                return f"opset {opset} does not define it for {name_of(low)}"
    return None


def _exact(nodes: Sequence[ir.Node]) -> dict[ir.Node, str]:
    """Nodes that compute sizes, indices or angles from integers."""
    counted: set[ir.Value] = set()
    for node in nodes:
        if all(_is_counted(value, counted) for value in node.inputs if value is not None):
            counted.update(filter(is_float, node.outputs))
    reasons: dict[ir.Node, str] = {}
    pending: list[ir.Value] = []
    for node in nodes:
        to_integer = node.op_type == "Cast" and not is_float(node.outputs[0])
        position = slice(1, None) if node.op_type == "Resize" else slice(None)
        angle = node.op_type in ("Sin", "Cos", "Tan", "Range", "Resize")
        if to_integer or angle or node.op_type in _ROUNDERS:
            pending += [each for each in node.inputs[position] if each in counted]
            if to_integer and node.inputs[0] in counted:
                reasons[node] = _COUNTS
    while pending:
        producer = pending.pop().producer()
        if producer is not None and producer not in reasons and touches_float(producer):
            reasons[producer] = _COUNTS
            pending += [value for value in producer.inputs if value in counted]
    return reasons


_COUNTS = "it computes sizes, indices or angles from integers"


def _is_counted(value: ir.Value, counted: Collection[ir.Value]) -> bool:
    return not is_float(value) or value in counted or value.is_initializer()


def _variances(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """The operators between a square and its root, of a normalization that was written out."""
    parts: set[ir.Node] = set()
    for root in nodes:
        if root.op_type != "Sqrt":
            continue
        chain, pending = {root}, [root]
        while pending:
            node = pending.pop()
            if _is_square(node):
                continue
            for value in node.inputs:
                producer = value.producer() if value is not None else None
                if producer and producer not in chain and producer.op_type in _OF_A_VARIANCE:
                    chain.add(producer)
                    pending.append(producer)
        if any(map(_is_square, chain)):
            parts |= chain
    return parts


def _is_square(node: ir.Node) -> bool:
    if node.op_type == "Mul":
        return node.inputs[0] is node.inputs[1]
    return node.op_type == "Pow"


def _beyond(node: ir.Node, low: ir.DataType) -> float | None:
    """A constant of a node that the lower type cannot stand for."""
    if node.op_type in _TO_A_BOUND:
        return None
    for value in node.inputs:
        if is_float(value) and value is not None and value.const_value is not None:
            if value.const_value.size > 1:
                continue  # of weights it is the rehearsal that tells
            number = float(np.asarray(value.const_value.numpy()).reshape(-1)[:1].sum())
            if np.isfinite(number) and number > LIMITS[low]:
                return number
    return None


def _surround(nodes: Sequence[ir.Node], reasons: dict[ir.Node, str]) -> None:
    """Add what only moves data from kept nodes to kept nodes."""
    changed = True
    while changed:
        changed = False
        for node in nodes:
            if node in reasons or node.op_type not in _MOVES:
                continue
            before = [value.producer() for value in node.inputs if is_float(value) and value]
            after = [user for value in node.outputs for user, _ in value.uses()]
            real = [each for each in before if each is not None]
            if real and after and all(each in reasons for each in (*real, *after)):
                reasons[node] = (
                    "it passes on what nodes upstream and downstream of it have in float32"
                )
                changed = True
