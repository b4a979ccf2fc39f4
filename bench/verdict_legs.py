"""Other implementations of a graph: in float64, in other kernels, in another order of sums.

A graph is run node by node. Where PyTorch has the operator, it computes it; else ONNX Runtime does,
or the reference implementation of ONNX where that has no kernel of the element type.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor
from torch.nn import functional

from tripoint.numeric import ort_values
from verdict_net import converted

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Attributes = Mapping[str, Any]
TF32_BITS = 13
"""Bits that TF32 has less than float32."""


class How(enum.Enum):
    """How products and sums are computed."""

    KERNELS = "kernels of PyTorch"
    SEQUENTIAL = "one term after the other"
    TF32 = "operands rounded to TF32"
    CUT = "operands cut off to TF32"


class Leg:
    """A leg for tripoint out of a function.

    Args:
        compute: From inputs to outputs.
        tf32: Whether products are of TF32.
    """

    name, version, device = "TensorRT", "stand-in", "cpu"

    def __init__(self, compute: Callable[[Arrays], Arrays], *, tf32: bool = False) -> None:
        self.run, self.tf32 = compute, tf32

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        """The outputs at several points."""
        return map(self.run, points)


class Runtime:
    """A graph or a file in ONNX Runtime, with all its fusions and layouts, or with none."""

    def __init__(self, proto: onnx.ModelProto | Path, *, optimized: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        )
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(proto) if isinstance(proto, Path) else proto.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )
        self.outputs = [output.name for output in self._session.get_outputs()]
        self._by_value = ort_values.needed(self._session)

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """The outputs by name."""
        if self._by_value:
            found = ort_values.run(self._session, dict(inputs))
        else:
            found = self._session.run(None, dict(inputs))
        return dict(zip(self.outputs, found, strict=True))


class NodeByNode:
    """A graph, run node by node.

    Args:
        proto: The graph.
        double: Whether all floating-point numbers are float64.
        how: How products and sums are computed.
    """

    def __init__(
        self, proto: onnx.ModelProto, *, double: bool = False, how: How = How.KERNELS
    ) -> None:
        self._double, self._how = double, how
        self._proto = converted(proto, TensorProto.DOUBLE) if double else proto
        graph = self._proto.graph
        self._opset = self._proto.opset_import[0].version
        self._constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self._outputs = [value.name for value in graph.output]
        self._attributes = [
            {each.name: helper.get_attribute_value(each) for each in node.attribute}
            for node in graph.node
        ]
        self._whole = (
            Runtime(self._proto, optimized=False)
            if any(each.HasField("g") for node in graph.node for each in node.attribute)
            else None
        )

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """The outputs by name, in float64 if that is asked for."""
        if self._whole is not None:
            if self._double:
                inputs = {name: _double(array) for name, array in inputs.items()}
            return self._whole(inputs)
        known = self.trace(inputs)
        return {name: known[name] for name in self._outputs}

    def trace(self, inputs: Arrays) -> dict[str, Array]:
        """All tensors by name."""
        if self._double:
            inputs = {name: _double(array) for name, array in inputs.items()}
        known = {**self._constants, **inputs, "": np.zeros(0)}
        for index, node in enumerate(self._proto.graph.node):
            read = [known[name] for name in node.input]
            made = self._run(index, node, read)
            known.update(zip(node.output, made, strict=False))
        return known

    def _run(self, index: int, node: onnx.NodeProto, read: list[Array]) -> list[Array]:
        function = TORCH.get(node.op_type)
        floats = bool(read) and read[0].dtype in (np.float16, np.float32, np.float64)
        if function is not None and floats:
            present = [name != "" for name in node.input]
            tensors = [
                torch.from_numpy(np.array(array)) if here else None
                for array, here in zip(read, present, strict=True)
            ]
            with torch.no_grad():
                made = function(self._how, self._attributes[index], *tensors)
            return [np.asarray(made.numpy(), read[0].dtype)]
        if node.op_type == "Cast":
            to = helper.tensor_dtype_to_np_dtype(self._attributes[index]["to"])
            if read[0].dtype.kind != "f" or to.kind != "i":
                return [read[0].astype(to)]
        return self._single(node, read)(read)

    def _single(
        self, node: onnx.NodeProto, read: list[Array]
    ) -> Callable[[list[Array]], list[Array]]:
        """One node as a function, the same one for nodes that are alike."""
        node = _renamed(node)
        ranks = tuple((str(array.dtype), array.ndim) for array in read)
        key = (node.SerializeToString(), ranks, self._opset)
        if key not in _FUNCTIONS:
            _FUNCTIONS[key] = self._made(node, read)
        return _FUNCTIONS[key]

    def _made(
        self, node: onnx.NodeProto, read: list[Array]
    ) -> Callable[[list[Array]], list[Array]]:
        names = list(dict.fromkeys(name for name in node.input if name))
        arrays = dict(zip(node.input, read, strict=True))
        single = node.op_type == "NonMaxSuppression"
        inputs = [
            helper.make_tensor_value_info(
                name,
                TensorProto.FLOAT
                if single and arrays[name].dtype == np.float64
                else helper.np_dtype_to_tensor_dtype(arrays[name].dtype),
                [None] * arrays[name].ndim,
            )
            for name in names
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        proto = helper.make_model(
            helper.make_graph([node], "node", inputs, outputs),
            opset_imports=[helper.make_opsetid("", self._opset)],
            ir_version=10,
        )

        def feed(given: list[Array]) -> dict[str, Array]:
            found = {name: each for name, each in zip(node.input, given, strict=True) if name}
            if single:
                found = {
                    name: each.astype(np.float32) if each.dtype == np.float64 else each
                    for name, each in found.items()
                }
            return found

        try:
            runtime = Runtime(proto, optimized=False)
            runtime(feed(read))
        except Exception:  # noqa: BLE001, ONNX Runtime has a class of its own for each failure
            evaluator = ReferenceEvaluator(proto)
            return lambda given: list(evaluator.run(None, feed(given)))
        return lambda given: list(runtime(feed(given)).values())


_FUNCTIONS: dict[tuple[bytes, Any, int], Callable[[list[Array]], list[Array]]] = {}


def _renamed(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node whose tensors are named by their places."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.name = ""
    made.input[:] = [f"i{place}" if name else "" for place, name in enumerate(node.input)]
    made.output[:] = [f"o{place}" if name else "" for place, name in enumerate(node.output)]
    return made


def _double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" or _short(array) else array


def _short(array: Array) -> bool:
    return array.dtype.name == "bfloat16"


# Operators of PyTorch. Each takes how sums are computed, attributes and tensors.

Function = Callable[..., Tensor]


def _short_operands(how: How, *operands: Tensor) -> tuple[Tensor, ...]:
    """Operands as the multiplier takes them."""
    if how not in (How.TF32, How.CUT):
        return operands
    return tuple(_rounded(each, up=how is How.TF32) for each in operands)


def _rounded(x: Tensor, *, up: bool) -> Tensor:
    """Float32 numbers with the mantissa of TF32, rounded to the nearest or cut off."""
    if x.dtype != torch.float32:
        return x
    bits = x.view(torch.int32)
    half = (1 << (TF32_BITS - 1)) - 1 + ((bits >> TF32_BITS) & 1) if up else 0
    made = ((bits + half) >> TF32_BITS << TF32_BITS).view(torch.float32)
    return torch.where(torch.isfinite(x) & torch.isfinite(made), made, x)


def _product(how: How, a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices."""
    a, b = _short_operands(how, a, b)
    if how is not How.SEQUENTIAL or a.dim() < 2 or b.dim() < 2 or a.dtype != torch.float32:
        return torch.matmul(a, b)
    total = a[..., :, 0:1] * b[..., 0:1, :]
    for term in range(1, a.shape[-1]):
        total = total + a[..., :, term : term + 1] * b[..., term : term + 1, :]
    return total


def _matmul(how: How, _: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return _product(how, a, b)


def _gemm(
    how: How, attributes: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None
) -> Tensor:
    a = a.T if attributes.get("transA") else a
    b = b.T if attributes.get("transB") else b
    made = _product(how, a, b) * attributes.get("alpha", 1.0)
    return made if c is None else made + c * attributes.get("beta", 1.0)


def _conv(
    how: How, attributes: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None
) -> Tensor:
    dims = x.dim() - 2
    pads = attributes.get("pads", [0] * 2 * dims)
    x = functional.pad(
        x, [pads[axis + side * dims] for axis in reversed(range(dims)) for side in (0, 1)]
    )
    steps, gaps = attributes.get("strides", 1), attributes.get("dilations", 1)
    group = attributes.get("group", 1)
    x, w = _short_operands(how, x, w)
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]
    if how is not How.SEQUENTIAL or group > 1 or x.dtype != torch.float32:
        return function(x, w, b, stride=steps, dilation=gaps, groups=group)
    total = None
    for channel in range(w.shape[1]):
        one = (x[:, channel : channel + 1], w[:, channel : channel + 1])
        made = function(*one, stride=steps, dilation=gaps)
        total = made if total is None else total + made
    assert total is not None
    return total if b is None else total + b.reshape(1, -1, *[1] * dims)


def _conv_transpose(
    how: How, attributes: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None
) -> Tensor:
    assert not any(attributes.get("pads", [0])), "pads are not done here"
    x, w = _short_operands(how, x, w)
    return functional.conv_transpose2d(x, w, b, stride=attributes.get("strides", 1))


def _added(how: How, x: Tensor, axes: tuple[int, ...], *, keep: bool) -> Tensor:
    if how is not How.SEQUENTIAL or x.dtype != torch.float32:
        return x.sum(axes, keepdim=keep)
    for axis in axes:
        total = torch.zeros_like(x.select(axis, 0))
        for term in range(x.shape[axis]):
            total = total + x.select(axis, term)
        x = total.unsqueeze(axis)
    kept = axes if not keep else ()
    return x if keep else x.reshape([n for at, n in enumerate(x.shape) if at not in kept])


def _reduce(mean: bool) -> Function:
    def function(how: How, attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        given = range(x.dim()) if axes is None else axes.tolist()
        over = tuple(axis % x.dim() for axis in given)
        total = _added(how, x, over, keep=bool(attributes.get("keepdims", 1)))
        count = int(np.prod([x.shape[axis] for axis in over]))
        return total / count if mean else total

    return function


def _average(how: How, _: Attributes, x: Tensor) -> Tensor:
    over = tuple(range(2, x.dim()))
    count = int(np.prod(x.shape[2:]))
    return _added(how, x, over, keep=True) / count


def _average_pool(_: How, attributes: Attributes, x: Tensor) -> Tensor:
    pads = attributes.get("pads", [0] * 4)
    return functional.avg_pool2d(
        x,
        attributes["kernel_shape"],
        attributes.get("strides", 1),
        pads[:2],
        count_include_pad=bool(attributes.get("count_include_pad", 0)),
    )


def _layer_norm(
    how: How, attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor:
    epsilon = attributes.get("epsilon", 1e-5)
    if how is not How.SEQUENTIAL or x.dtype != torch.float32:
        return functional.layer_norm(x, scale.shape, scale, bias, epsilon)
    mean = _added(how, x, (x.dim() - 1,), keep=True) / x.shape[-1]
    off = x - mean
    variance = _added(how, off * off, (x.dim() - 1,), keep=True) / x.shape[-1]
    made = off / (variance + epsilon).sqrt() * scale
    return made if bias is None else made + bias


def _softmax(how: How, attributes: Attributes, x: Tensor) -> Tensor:
    axis = attributes.get("axis", -1) % x.dim()
    if how is not How.SEQUENTIAL or x.dtype != torch.float32:
        return functional.softmax(x, axis)
    powers = (x - x.amax(axis, keepdim=True)).exp()
    return powers / _added(how, powers, (axis,), keep=True)


def _instance_norm(_: How, attributes: Attributes, x: Tensor, s: Tensor, b: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=s, bias=b, eps=attributes.get("epsilon", 1e-5))


def _batch_norm(
    _: How, attributes: Attributes, x: Tensor, s: Tensor, b: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    return functional.batch_norm(x, mean, var, s, b, eps=attributes.get("epsilon", 1e-5))


def _gelu(_: How, attributes: Attributes, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=attributes.get("approximate", b"none").decode())


def _elementwise(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda _, __, x: function(x)


def _two(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda _, __, x, y: function(x, y)


def _einsum(how: How, attributes: Attributes, *operands: Tensor) -> Tensor:
    short = _short_operands(how, *operands)
    return torch.einsum(attributes["equation"].decode(), *short)


def _hard_sigmoid(_: How, attributes: Attributes, x: Tensor) -> Tensor:
    return (x * attributes.get("alpha", 0.2) + attributes.get("beta", 0.5)).clamp(0, 1)


TORCH: Mapping[str, Function] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "ReduceSum": _reduce(mean=False),
    "ReduceMean": _reduce(mean=True),
    "GlobalAveragePool": _average,
    "AveragePool": _average_pool,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": lambda _, a, x: functional.log_softmax(x, a.get("axis", -1)),
    "Gelu": _gelu,
    "LRN": lambda _, a, x: functional.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    ),
    "Add": _two(torch.add),
    "Sub": _two(torch.sub),
    "Mul": _two(torch.mul),
    "Transpose": lambda _, a, x: x.permute(a["perm"]).contiguous(),
    "Relu": _elementwise(torch.relu),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _elementwise(functional.hardswish),
    "LeakyRelu": lambda _, a, x: functional.leaky_relu(x, a.get("alpha", 0.01)),
    "Elu": lambda _, a, x: functional.elu(x, a.get("alpha", 1.0)),
    "Erf": _elementwise(torch.erf),
    "Exp": _elementwise(torch.exp),
    "Log": _elementwise(torch.log),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Tanh": _elementwise(torch.tanh),
    "Softplus": _elementwise(functional.softplus),
    "Sin": _elementwise(torch.sin),
    "Cos": _elementwise(torch.cos),
    "Sqrt": _elementwise(torch.sqrt),
}
"""By operator; those that are missing are left to ONNX Runtime."""

reference = functools.partial(NodeByNode, double=True)
"""A graph in float64."""
