"""Twins of a graph: the same function computed otherwise, and faults.

All take a graph and give changed copies. A fault that changes no output is none; who calls here
measures what each does in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Trace = Mapping[str, Array]
"""What every tensor holds at one point, in float64."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Twin:
    """A changed graph.

    Args:
        kind: What kind of change it is.
        what: Where it was made.
        proto: The graph.
    """

    kind: str
    what: str
    proto: onnx.ModelProto


class Edit:
    """A copy of a graph that is changed.

    Args:
        proto: The graph; it stays as it is.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = onnx.ModelProto()
        self.proto.CopyFrom(proto)
        self.graph = self.proto.graph
        self._made = 0

    def node(self, index: int) -> onnx.NodeProto:
        """One of the nodes."""
        return self.graph.node[index]

    def constant(self, name: str) -> Array | None:
        """The value of an initializer."""
        return next(
            (numpy_helper.to_array(each) for each in self.graph.initializer if each.name == name),
            None,
        )

    def new(self, array: Array) -> str:
        """A new constant."""
        self._made += 1
        name = f"twin.c{self._made}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def replace(self, name: str, array: Array) -> None:
        """Give a constant another value."""
        tensor = next(each for each in self.graph.initializer if each.name == name)
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    def set(self, index: int, **attributes: Any) -> None:
        """Set attributes of a node."""
        node = self.node(index)
        kept = [each for each in node.attribute if each.name not in attributes]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.extend(helper.make_attribute(*each) for each in attributes.items())

    def put(self, index: int, nodes: Sequence[onnx.NodeProto]) -> None:
        """Other nodes in the place of one."""
        after = list(self.graph.node)
        after[index : index + 1] = nodes
        copies = []
        for node in after:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copies.append(copy)
        del self.graph.node[:]
        self.graph.node.extend(copies)

    def follow(self, index: int, kind: str, *inputs: str, **attributes: Any) -> None:
        """A node between another and its readers."""
        old = onnx.NodeProto()
        old.CopyFrom(self.node(index))
        target = old.output[0]
        self._made += 1
        old.output[0] = f"{target}.clean{self._made}"
        more = [helper.make_node(kind, [old.output[0], *inputs], [target], **attributes)]
        self.put(index, [old, *more])

    def precede(self, index: int, place: int, kind: str, *inputs: str, **attributes: Any) -> None:
        """A node between another and one of its inputs."""
        new = onnx.NodeProto()
        new.CopyFrom(self.node(index))
        self._made += 1
        made = f"twin.{new.name}.{kind}{self._made}"
        more = helper.make_node(kind, [new.input[place], *inputs], [made], **attributes)
        new.input[place] = made
        self.put(index, [more, new])


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute of a node."""
    for each in node.attribute:
        if each.name == name:
            value = helper.get_attribute_value(each)
            return value.decode() if isinstance(value, bytes) else value
    return default


def weights(proto: onnx.ModelProto) -> list[str]:
    """Names of the constants that are weights."""
    return [
        each.name
        for each in proto.graph.initializer
        if each.data_type in FLOATS and np.prod(each.dims) >= 4 and each.name[0] == "w"
    ]


def weight_off(proto: onnx.ModelProto, name: str, index: int, delta: float) -> onnx.ModelProto:
    """One element of a constant off."""
    edit = Edit(proto)
    before = edit.constant(name)
    assert before is not None
    array = before.copy()
    array.flat[index] = array.dtype.type(float(array.flat[index]) + delta)
    edit.replace(name, array)
    return edit.proto


# Right twins: the same function


def _nodes_of(*kinds: str) -> Callable[[onnx.ModelProto], list[int]]:
    return lambda proto: [
        index for index, node in enumerate(proto.graph.node) if node.op_type in kinds
    ]


def reversed_terms(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """Products with a weight add up their terms from the other end."""
    edit = Edit(proto)
    changed = False
    for index in reversed(_nodes_of("MatMul", "Gemm", "Conv")(proto)):
        node = edit.node(index)
        weight = edit.constant(node.input[1])
        data = edit.constant(node.input[0])
        if weight is None or data is not None or attribute(node, "group", 1) > 1:
            continue
        turned = bool(attribute(node, "transB", 0))
        axis = 1 if node.op_type == "Conv" or turned else weight.ndim - 2
        if weight.ndim < 2 or attribute(node, "transA", 0):
            continue
        order = np.arange(weight.shape[axis])[::-1].copy()
        name = edit.new(np.take(weight, order, axis))
        node.input[1] = name
        along = 1 if node.op_type in ("Conv", "Gemm") else -1
        edit.precede(index, 0, "Gather", edit.new(order), axis=along)
        changed = True
    return edit.proto if changed else None


def in_two_halves(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """Products with a weight are the sum of two products."""
    edit = Edit(proto)
    changed = False
    for index in reversed(_nodes_of("MatMul")(proto)):
        node = onnx.NodeProto()
        node.CopyFrom(edit.node(index))
        weight = edit.constant(node.input[1])
        if weight is None or weight.ndim < 2 or weight.shape[-2] < 2:
            continue
        half, size = weight.shape[-2] // 2, weight.shape[-2]
        made, parts = [], []
        for number, (low, high) in enumerate(((0, half), (half, size))):
            part = f"{node.name}.part{number}"
            at = edit.new(np.arange(low, high))
            made.append(helper.make_node("Gather", [node.input[0], at], [f"{part}.x"], axis=-1))
            held = edit.new(weight[..., low:high, :].copy())
            made.append(helper.make_node("MatMul", [f"{part}.x", held], [part]))
            parts.append(part)
        edit.put(index, [*made, helper.make_node("Add", parts, node.output)])
        changed = True
    return edit.proto if changed else None


def decomposed(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """Functions are written as the operators that they consist of."""
    edit = Edit(proto)
    changed = False
    for index in reversed(_nodes_of(*_DECOMPOSED)(proto)):
        node = onnx.NodeProto()
        node.CopyFrom(edit.node(index))
        op = _Operators(node.name)
        _DECOMPOSED[node.op_type](edit, node, op)
        if not op.made:
            continue
        op.made[-1].output[0] = node.output[0]
        edit.put(index, op.made)
        changed = True
    return edit.proto if changed else None


class _Operators:
    """Nodes in the place of one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.made: list[onnx.NodeProto] = []

    def __call__(self, kind: str, *inputs: str, **more: Any) -> str:
        """The output of a new node."""
        name = f"{self._name}.{len(self.made)}"
        self.made.append(helper.make_node(kind, inputs, [name], name=name, **more))
        return name


def _number(edit: Edit, value: float) -> str:
    return edit.new(np.array(value, np.float32))


def _as_layer_norm(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    x, axes = node.input[0], edit.new(np.array([-1]))
    off = op("Sub", x, op("ReduceMean", x, axes, keepdims=1))
    two = _number(edit, 2.0)
    variance = op("ReduceMean", op("Pow", off, two), axes, keepdims=1)
    epsilon = _number(edit, attribute(node, "epsilon", 1e-5))
    made = op("Div", off, op("Sqrt", op("Add", variance, epsilon)))
    op("Add", op("Mul", made, node.input[1]), node.input[2])


def _as_softmax(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    x, axes = node.input[0], edit.new(np.array([attribute(node, "axis", -1)]))
    powers = op("Exp", op("Sub", x, op("ReduceMax", x, axes, keepdims=1)))
    op("Div", powers, op("ReduceSum", powers, axes, keepdims=1))


def _as_gelu(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    if attribute(node, "approximate", "none") != "none":
        return
    x = node.input[0]
    bent = op("Erf", op("Div", x, _number(edit, 2**0.5)))
    op("Mul", op("Mul", x, op("Add", bent, _number(edit, 1.0))), _number(edit, 0.5))


def _as_batch_norm(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    held = [edit.constant(name) for name in node.input[1:]]
    if any(each is None for each in held):
        return
    scale, bias, mean, variance = (np.asarray(each, np.float64) for each in held)
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    shape = (-1, 1, 1)
    times = edit.new(factor.astype(np.float32).reshape(shape))
    plus = edit.new((bias - mean * factor).astype(np.float32).reshape(shape))
    op("Add", op("Mul", node.input[0], times), plus)


def _as_gemm(_: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
    if not plain or attribute(node, "transA", 0) or len(node.input) < 3:
        return
    weight = node.input[1]
    if attribute(node, "transB", 0):
        weight = op("Transpose", weight, perm=[1, 0])
    op("Add", op("MatMul", node.input[0], weight), node.input[2])


def _as_sigmoid(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    one = _number(edit, 1.0)
    op("Div", one, op("Add", one, op("Exp", op("Neg", node.input[0]))))


def _as_mean(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    op("ReduceMean", node.input[0], edit.new(np.array([2, 3])), keepdims=1)


def _as_length(_: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    x = node.input[0]
    op("Sqrt", op("ReduceSum", op("Mul", x, x), *node.input[1:], keepdims=1))


def _as_instance_norm(edit: Edit, node: onnx.NodeProto, op: _Operators) -> None:
    if edit.constant(node.input[1]) is None or "Reshape" in node.input[0]:
        return
    x, axes = node.input[0], edit.new(np.array([2, 3]))
    off = op("Sub", x, op("ReduceMean", x, axes, keepdims=1))
    variance = op("ReduceMean", op("Mul", off, off), axes, keepdims=1)
    root = op("Sqrt", op("Add", variance, _number(edit, attribute(node, "epsilon", 1e-5))))
    scale, bias = (np.asarray(edit.constant(name)).reshape(-1, 1, 1) for name in node.input[1:])
    op("Add", op("Mul", op("Div", off, root), edit.new(scale)), edit.new(bias))


_DECOMPOSED: Mapping[str, Callable[[Edit, onnx.NodeProto, _Operators], None]] = {
    "LayerNormalization": _as_layer_norm,
    "Softmax": _as_softmax,
    "Gelu": _as_gelu,
    "BatchNormalization": _as_batch_norm,
    "Gemm": _as_gemm,
    "Sigmoid": _as_sigmoid,
    "GlobalAveragePool": _as_mean,
    "ReduceL2": _as_length,
    "InstanceNormalization": _as_instance_norm,
}

REARRANGED: Mapping[str, Callable[[onnx.ModelProto], onnx.ModelProto | None]] = {
    "terms reversed": reversed_terms,
    "sums in two halves": in_two_halves,
    "decomposed": decomposed,
}
"""Right twins by what was done."""


def pick(random: np.random.Generator, items: Sequence[Any], count: int = 1) -> Iterator[Any]:
    """Some of the items, in their order."""
    chosen = random.permutation(len(items))[:count]
    return (items[index] for index in sorted(chosen))
