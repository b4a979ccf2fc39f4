"""Graphs by hand, in the element type that is asked for; weights are drawn from their names."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from tripoint.model import Model

Array = np.ndarray[Any, Any]
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
FLOATS = (*(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE),)
OPSET = 20
DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}


class Net:
    """A graph in the making; tensors are their names.

    Args:
        name: Of the graph; weights are drawn from it.
        opset: Of the graph.
    """

    def __init__(self, name: str, opset: int = OPSET) -> None:
        self.name, self._opset = name, opset
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: list[onnx.TensorProto] = []

    def x(self, *shape: int | str, name: str = "x", dtype: int = FLOAT) -> str:
        """An input."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def w(self, *shape: int, scale: float | None = None, shift: float = 0.0) -> str:
        """A weight; by default such that what a layer gives is as large as what it takes."""
        if scale is None:
            fans = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
            scale = 0.1 if len(shape) == 1 else float(fans) ** -0.5
        name = f"w{len(self._constants)}"
        random = np.random.default_rng(zlib.crc32(f"{self.name}.{name}".encode()))
        return self.c((shift + scale * random.standard_normal(shape)).astype(np.float32), name)

    def c(self, value: Any, name: str | None = None) -> str:
        """A constant; integers are int64, other numbers float32."""
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = name or f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The first output of a new node."""
        return self.ops(1, kind, *inputs, **attributes)[0]

    def ops(self, count: int, kind: str, *inputs: str, **attributes: Any) -> list[str]:
        """All outputs of a new node."""
        number = len(self._nodes)
        names = [f"{kind}_{number}" + (f"_{index}" if index else "") for index in range(count)]
        self._nodes.append(
            helper.make_node(kind, inputs, names, name=f"{kind}_{number}", **attributes)
        )
        return names

    def out(self, *values: str, dtype: int = FLOAT, rank: int | None = None) -> Net:
        """Give tensors out."""
        for value in values:
            shape = None if rank is None else [None] * rank
            self._outputs.append(helper.make_tensor_value_info(value, dtype, shape))
        return self

    # Layers

    def conv(self, x: str, cin: int, cout: int, k: int = 3, group: int = 1, **more: Any) -> str:
        """A 2-D convolution with a bias that keeps the size."""
        weight = self.w(cout, cin // group, k, k)
        more.setdefault("pads", [k // 2] * 4)
        return self.op("Conv", x, weight, self.w(cout), group=group, **more)

    def norm(self, x: str, size: int, epsilon: float = 1e-5) -> str:
        """A layer normalization with scale and bias."""
        scale, bias = self.w(size, shift=1.0), self.w(size)
        return self.op("LayerNormalization", x, scale, bias, epsilon=epsilon, axis=-1)

    def batch_norm(self, x: str, size: int) -> str:
        """A batch normalization with statistics."""
        scale, bias, mean = self.w(size, shift=1.0), self.w(size), self.w(size)
        return self.op(
            "BatchNormalization", x, scale, bias, mean, self.w(size, shift=1.0, scale=0.05)
        )

    def rms(self, x: str, size: int, epsilon: float = 1e-6) -> str:
        """A root mean square normalization as exporters write it."""
        mean = self.op("ReduceMean", self.op("Mul", x, x), self.c([-1]), keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.c(np.float32(epsilon))))
        return self.op("Mul", self.op("Div", x, root), self.w(size, shift=1.0))

    def linear(self, x: str, before: int, after: int, *, bias: bool = True) -> str:
        """A product with a weight."""
        made = self.op("MatMul", x, self.w(before, after))
        return self.op("Add", made, self.w(after)) if bias else made

    def heads(self, x: str, size: int, count: int, order: Sequence[int] = (0, 2, 1, 3)) -> str:
        """Rows split into heads: ``(N, L, size)`` to ``(N, heads, L, size / heads)``."""
        split = self.op("Reshape", x, self.c([0, 0, count, size // count]))
        return self.op("Transpose", split, perm=list(order))

    def attention(
        self,
        x: str,
        size: int,
        count: int = 2,
        *,
        mask: str | None = None,
        other: str | None = None,
        scale: float | None = None,
        inverse: bool = False,
    ) -> str:
        """Multi-head attention; the mask is added to the scores."""
        other = other or x
        query = self.heads(self.linear(x, size, size), size, count)
        key = self.heads(self.linear(other, size, size), size, count, (0, 2, 3, 1))
        value = self.heads(self.linear(other, size, size), size, count)
        scores = self.op("MatMul", query, key)
        factor = (size // count) ** -0.5 if scale is None else scale
        if inverse:
            scores = self.op("Div", scores, self.c(np.float32(1 / factor)))
        else:
            scores = self.op("Mul", scores, self.c(np.float32(factor)))
        if mask is not None:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        joined = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.linear(self.op("Reshape", joined, self.c([0, 0, size])), size, size)

    def feed_forward(self, x: str, size: int, kind: str = "Gelu") -> str:
        """Two products with an activation between."""
        return self.linear(self.op(kind, self.linear(x, size, 2 * size)), 2 * size, size)

    def block(self, x: str, size: int, **more: Any) -> str:
        """A transformer layer, normalized before."""
        x = self.op("Add", x, self.attention(self.norm(x, size), size, **more))
        return self.op("Add", x, self.feed_forward(self.norm(x, size), size))

    def proto(self) -> onnx.ModelProto:
        """The graph in float32."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, self._constants
        )
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=10
        )
        onnx.checker.check_model(made)
        return made


def model_of(proto: onnx.ModelProto) -> Model:
    """A model for tripoint."""
    return Model(ir.from_proto(proto))


def converted(proto: onnx.ModelProto, target: int) -> onnx.ModelProto:
    """A copy whose floating-point numbers are of another type.

    ONNX Runtime has next to no kernels of bfloat16 on a CPU: every operator then computes in
    float32 between casts, and what is stored is rounded.

    Args:
        proto: The graph.
        target: Element type.
    """
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    kept = {
        node.input[2] for node in graph.node if node.op_type == "Resize" and len(node.input) > 2
    }
    _convert(graph, target, kept)
    if target == TensorProto.BFLOAT16:
        inferred = onnx.shape_inference.infer_shapes(proto).graph
        types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        } | {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
        floats = {name for name, dtype in types.items() if dtype == FLOAT} - kept
        _between_casts(graph, floats)
    del graph.value_info[:]
    return made


def _convert(graph: onnx.GraphProto, target: int, kept: set[str]) -> None:
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = target
    for tensor in graph.initializer:
        if tensor.data_type in FLOATS and tensor.name not in kept:
            tensor.CopyFrom(cast(tensor, target))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOATS:
                attribute.i = target
            if attribute.HasField("t") and attribute.t.data_type in FLOATS:
                attribute.t.CopyFrom(cast(attribute.t, target))
            if attribute.HasField("g"):
                _convert(attribute.g, target, kept)


def cast(tensor: onnx.TensorProto, target: int) -> onnx.TensorProto:
    """A tensor of another floating-point type."""
    array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(target))
    return numpy_helper.from_array(array, tensor.name)


def _between_casts(graph: onnx.GraphProto, floats: set[str]) -> None:
    made: list[onnx.NodeProto] = []
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        # What a Cast reads is rounded already, and what it writes is of the right type.
        for place, name in enumerate(node.input):
            if name in floats and node.op_type != "Cast":
                wide = f"{node.name}.in{place}"
                made.append(helper.make_node("Cast", [name], [wide], name=wide, to=FLOAT))
                copy.input[place] = wide
        made.append(copy)
        for place, name in enumerate(node.output):
            if name in floats and node.op_type != "Cast":
                copy.output[place] = f"{node.name}.out{place}"
                made.append(
                    helper.make_node(
                        "Cast",
                        [copy.output[place]],
                        [name],
                        name=copy.output[place],
                        to=TensorProto.BFLOAT16,
                    )
                )
    del graph.node[:]
    graph.node.extend(made)
