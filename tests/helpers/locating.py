"""Graphs with one fault each, and a leg that shows few of its tensors, as TensorRT does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tests.helpers.graphs import build
from tripoint.model import Model
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.locate.legs import Fusion
from tripoint.parity.locate.onnxruntime import OnnxRuntime

NET_INPUTS = (
    "float[N,3,8,8] x, float[4,3,3,3] w_a, float[4,4,3,3] w_b, float[4,4,3,3] w_c, float[8] w_s, "
    "float[8] w_t, float[8,8] w_m"
    "| int64[1] one = {1}, int64[1] two = {2}, int64[1] seven = {7}, int64[1] eight = {8}, "
    "int64[1] last = {3}, float big = {300.0}"
)
NET = """
stem = Conv<pads=[1,1,1,1]>(x, w_a);
c1 = Conv<pads=[1,1,1,1]>(stem, w_b);
a1 = Gelu(c1);
r1 = Add(a1, stem);
c2 = Conv<pads=[1,1,1,1]>(r1, w_c);
a2 = Relu(c2);
r2 = Add(a2, r1);
q = MatMul(r2, w_m);
k = Transpose<perm=[0,1,3,2]>(r2);
scores = MatMul(q, k);
p = Softmax<axis=-1>(scores);
v = MatMul(p, r2);
n = LayerNormalization<axis=-1, epsilon=0.00001>(v, w_s, w_t);
part = Slice(n, one, seven, last);
scaled = Mul(part, big);
rounded = Floor(scaled);
up = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(n, , , sizes);
positive = Abs(up);
root = Sqrt(positive);
soft = Gelu(n);
y = ReduceMean<keepdims=1>(rounded, spatial);
z = ReduceMean<keepdims=1>(root, spatial);
w = Tanh(soft)
"""
NET_TAIL = "int64[4] sizes = {2,4,16,16}, int64[2] spatial = {2,3}"


@dataclass(frozen=True)
class Fault:
    """A change to :data:`NET` and the node that it is in.

    Args:
        culprit: Name of the node.
        old: Text to replace.
        new: What to put in its place.
        change: Changes the model instead.
    """

    culprit: str
    old: str = ""
    new: str = ""
    change: Callable[[Model], None] | None = None


def _perturb(weight: str) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        value = model.ir.graph.initializers[weight]
        assert value.const_value is not None
        array = value.const_value.numpy().copy()
        array.flat[5] += 0.5
        value.const_value = ir.tensor(array, name=weight)

    return change


FAULTS: Mapping[str, Fault] = {
    "weight": Fault("c2", change=_perturb("w_c")),
    "weight of the first node": Fault("stem", change=_perturb("w_a")),
    "pads": Fault("c1", "c1 = Conv<pads=[1,1,1,1]>", "c1 = Conv<pads=[0,0,2,2]>"),
    "perm": Fault("k", "perm=[0,1,3,2]", "perm=[0,1,2,3]"),
    "axis": Fault("p", "Softmax<axis=-1>", "Softmax<axis=-2>"),
    "epsilon": Fault("n", "epsilon=0.00001", "epsilon=0.01"),
    "Gelu by tanh": Fault("soft", "Gelu(n)", 'Gelu<approximate="tanh">(n)'),
    "activation": Fault("a2", "Relu(c2)", "LeakyRelu<alpha=0.01>(c2)"),
    "rounding mode": Fault("rounded", "Floor(scaled)", "Round(scaled)"),
    "align_corners": Fault("up", '"half_pixel"', '"align_corners"'),
    "slice off by one": Fault("part", "Slice(n, one, seven, last)", "Slice(n, two, eight, last)"),
    "NaN in one branch": Fault("root", "Sqrt(positive)", "Sqrt(up)"),
    "wrong operand in a residual block": Fault("r1", "Add(a1, stem)", "Add(a1, c1)"),
    "residual block left out": Fault("r2", "Add(a2, r1)", "Add(a2, a2)"),
    "float16 overflow": Fault(
        "scaled",
        "scaled = Mul(part, big);",
        "s = Mul(part, big); large = Mul(s, big); half = Cast<to=10>(large); "
        "full = Cast<to=1>(half); scaled = Div(full, big);",
    ),
}
"""By name, each with the node that must be found."""


def net(fault: Fault | None = None) -> Model:
    """The network, with a fault or without."""
    body = NET.replace("\n", " ")
    if fault is not None and fault.old:
        assert fault.old in body
        body = body.replace(fault.old, fault.new)
    outputs = "float[N,4,a,b] y, float[N,4,c,d] z, float[N,4,8,8] w"
    model = build(f"{NET_INPUTS}, {NET_TAIL}", body, 20, outputs)
    if fault is not None and fault.change is not None:
        fault.change(model)
    return model


def chain(length: int, body: Callable[[int], str], opset: int = 20) -> Model:
    """A chain of nodes ``t1`` ... ``y``.

    Args:
        length: How many.
        body: Right side of a node by its number, with ``{}`` for its input.
        opset: Opset.
    """
    lines, before = [], "x"
    for index in range(length):
        name = "y" if index == length - 1 else f"t{index + 1}"
        lines.append(f"{name} = {body(index).format(before)}")
        before = name
    constants = "float up = {1.5}, float down = {0.6}, float one = {1.0}, float off = {1.0000005}"
    return build(f"float[N,16] x | {constants}", "; ".join(lines), opset, "float[N,16] y")


class Fused(OnnxRuntime):
    """Runs a graph with a fault under the names of the graph without, and shows few tensors.

    Args:
        graph: The graph without the fault: what the engine is believed to be.
        faulty: The graph that runs; it has the same tensors.
        shown: Names of the inner tensors that can be seen.
        only_with: The fault shows only where all these nodes are in one part.
    """

    def __init__(
        self,
        graph: Graph,
        faulty: Graph,
        shown: Sequence[str] = (),
        only_with: Sequence[str] = (),
    ) -> None:
        super().__init__(graph, name="stand-in", limit=8)
        self._faulty = faulty
        self._shown = {*shown, *graph.outputs}
        self._only_with = set(only_with)
        self.replayed: list[list[str]] = []

    def values(self, tensors: Sequence[str], feed: Any) -> Any:
        leg = OnnxRuntime(self._faulty, name="", limit=8)
        return leg.values([name for name in tensors if name in self._shown], feed)

    def replay(self, part: Part, feed: Any) -> Any:
        names = [value.name or "" for node in part.nodes for value in node.outputs]
        self.replayed.append(names)
        if not self._only_with <= set(names):
            return super().replay(part, feed)
        same = self._faulty.counterpart(part)
        assert same is not None
        return OnnxRuntime(self._faulty, name="", limit=8).replay(same, feed)

    def fusion(self, part: Part, feed: Any) -> Fusion:  # noqa: ARG002
        kept = dict(super().values(self.graph.outputs, feed))
        return Fusion(layer="fused", unfused=kept if self._only_with else self._wrong(feed))

    def _wrong(self, feed: Any) -> Any:
        return dict(OnnxRuntime(self._faulty, name="", limit=8).values(self.graph.outputs, feed))


Array = np.ndarray[Any, Any]
