"""Random graphs: whatever is in them, a fix changes no number and is final."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.fixing import check
from tripoint import model as models
from tripoint import rewrites
from tripoint.rewrites.base import Replacement, Rewrite, Site

Array = np.ndarray[Any, Any]
Sizes = tuple[int, ...]
"""The size of one axis at each of the points."""

POINTS: Sequence[Mapping[str, int]] = (
    {"N": 2, "M": 1, "S": 7, "fed": 2},
    {"N": 1, "M": 1, "S": 3, "fed": 3},
    {"N": 5, "M": 5, "S": 4, "fed": 1},
    {"N": 3, "M": 1, "S": 1, "fed": 2},
)
"""Size of each symbol, and the integer that is fed. M broadcasts with N, and is not always N."""

INPUTS: Sequence[Sequence[int | str]] = (
    ("N", 4, 6),
    ("N", "S", 12),
    ("N", 3, "S", 4),
    ("M", 6),
    ("S", 4),
    (2, 3, 4),
    (1, 6, 5, 5),
    ("N", 8, 1, "S"),
)
OPSETS = (12, 13, 17, 18)
MOST_ELEMENTS = 20_000


class UnfitError(Exception):
    """What was drawn is not possible here."""


@dataclass
class Growing:
    """A graph that grows node by node, with the elements of each tensor at each point.

    Args:
        draw: Hypothesis' own.
        opset: Version of the default operator set.
    """

    draw: st.DrawFn
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    arrays: dict[str, tuple[Array, ...]] = field(default_factory=dict)

    def input(self, shape: Sequence[int | str]) -> None:
        """Add a graph input."""
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        random = np.random.default_rng(len(self.inputs))
        self.arrays[name] = tuple(
            random.standard_normal([at.get(str(dim), dim) for dim in shape]).astype(np.float32)
            for at in POINTS
        )

    def fed(self) -> str:
        """The graph input that is a vector of one integer."""
        if "fed" not in self.arrays:
            self.inputs.append(helper.make_tensor_value_info("fed", TensorProto.INT64, [1]))
            self.arrays["fed"] = tuple(np.array([at["fed"]]) for at in POINTS)
        return "fed"

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; the name of its first output.

        Raises:
            UnfitError: If ONNX Runtime does not run it at all points.
        """
        names = [f"t{len(self.nodes)}{'abc'[i] if i else ''}" for i in range(outputs)]
        node = helper.make_node(op, inputs, names, name=f"{op.lower()}_{len(self.nodes)}")
        node.attribute.extend(helper.make_attribute(*each) for each in attributes.items())
        results = list(self._run(node))
        self.nodes.append(node)
        for name, arrays in zip(names, zip(*results, strict=True), strict=True):
            self.arrays[name] = arrays
        return names[0]

    def _run(self, node: onnx.NodeProto) -> Sequence[Sequence[Array]]:
        """The outputs of a node at each point."""
        given = [name for name in dict.fromkeys(node.input) if name]
        values = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(self.arrays[name][0].dtype), None
            )
            for name in given
        ]
        graph = helper.make_graph(
            [node], "g", values, [onnx.ValueInfoProto(name=name) for name in node.output]
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            results = [
                session.run(None, {name: self.arrays[name][at] for name in given})
                for at in range(len(POINTS))
            ]
        except Exception as error:
            raise UnfitError(str(error)) from error
        arrays = [array for result in results for array in result]
        if any(array.size == 0 or array.size > MOST_ELEMENTS for array in arrays):
            raise UnfitError("no elements, or too many")
        if any(len({result[i].ndim for result in results}) > 1 for i in range(len(node.output))):
            raise UnfitError("a rank that varies")
        return results

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        """A constant, as an initializer or made by a node."""
        array = np.asarray(values, dtype)
        name = f"c{len(self.initializers) + len(self.nodes)}"
        tensor = numpy_helper.from_array(array, name)
        if self.draw(st.booleans()):
            self.initializers.append(tensor)
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        self.arrays[name] = (array,) * len(POINTS)
        return name

    def axes(self, op: str, x: str, axes: Sequence[int], **attributes: Any) -> str:
        """A node with axes, an input from some opset on and an attribute before."""
        since = 18 if op.startswith("Reduce") and op != "ReduceSum" else 13
        if self.opset >= since:
            return self.add(op, x, self.constant(axes), **attributes)
        return self.add(op, x, axes=axes, **attributes)

    # What is there

    def pick(self, wanted: Callable[[Array], bool]) -> str:
        """One of the tensors of floats whose arrays are as wanted at all points."""
        found = [
            name
            for name, arrays in self.arrays.items()
            if arrays[0].dtype == np.float32 and all(map(wanted, arrays)) and name[0] != "c"
        ]
        if not found:
            raise UnfitError("no such tensor")
        # The latest first, so that graphs grow long rather than wide.
        return self.draw(st.sampled_from(found[::-1]))

    def any(self, least: int = 0, most: int = 5) -> str:
        """One of the tensors of a rank in a range."""
        return self.pick(lambda array: least <= array.ndim <= most)

    def sizes(self, name: str) -> list[Sizes]:
        """The sizes of each axis of a tensor."""
        return list(zip(*[array.shape for array in self.arrays[name]], strict=True))

    def rank(self, name: str) -> int:
        """The rank of a tensor."""
        return self.arrays[name][0].ndim

    def number(self, least: int, most: int) -> int:
        """An integer from a range."""
        return self.draw(st.integers(least, most))

    def one_of(self, values: Sequence[Any]) -> Any:
        """One of some values."""
        return self.draw(st.sampled_from(values))


# Size operands


def size(graph: Growing, wanted: Sizes) -> str:
    """A vector of one element, which is the size of some axis."""
    places = [
        (name, axis)
        for name, arrays in graph.arrays.items()
        if arrays[0].dtype == np.float32 and name[0] != "c"
        for axis, sizes in enumerate(graph.sizes(name))
        if sizes == wanted
    ]
    if not places or (len(set(wanted)) == 1 and graph.draw(st.booleans())):
        if len(set(wanted)) > 1:
            raise UnfitError("no such axis")
        return graph.constant([wanted[0]])
    name, axis = graph.one_of(places[::-1])
    axis -= graph.rank(name) * graph.draw(st.booleans())
    form = graph.one_of(["vector", "scalar", "slice", "arithmetic", "part"])
    if form == "part" and graph.opset >= 15:
        ends = {"end": axis + 1} if axis != -1 else {}
        return graph.add("Shape", name, start=axis, **ends)
    shape = graph.add("Shape", name)
    if form == "slice":
        end = axis + 1 if axis != -1 else np.iinfo(np.int64).max
        return graph.add("Slice", shape, graph.constant([axis]), graph.constant([end]))
    if form == "scalar":
        scalar = graph.add("Gather", shape, graph.constant(axis), axis=0)
        if graph.draw(st.booleans()):
            scalar = graph.add("Cast", scalar, to=graph.one_of([TensorProto.INT64] * 2))
        return graph.axes("Unsqueeze", scalar, [0])
    found = graph.add("Gather", shape, graph.constant([axis]), axis=0)
    if form == "arithmetic":
        doubled = graph.add("Mul", found, graph.constant(graph.one_of([[2], 2])))
        found = graph.add("Div", doubled, graph.constant([2]))
    return found


def operand(graph: Growing, wanted: Sequence[Sizes]) -> str:
    """A vector of sizes, put together in one of the ways of exporters."""
    for name, arrays in graph.arrays.items():
        is_whole = arrays[0].dtype == np.float32 and graph.sizes(name) == list(wanted)
        if is_whole and name[0] != "c" and graph.draw(st.booleans()):
            return graph.add("Shape", name)
    pieces = [size(graph, sizes) for sizes in wanted]
    found = graph.add("Concat", *pieces, axis=0) if pieces else graph.constant([])
    if pieces and graph.draw(st.integers(0, 3)) == 0:
        # An Expand by -1, as the TorchScript exporter writes it.
        ones = graph.add("ConstantOfShape", graph.constant([len(pieces)]), value=tensor_of(1))
        minus = graph.add("Mul", ones, graph.constant(-1))
        found = graph.add("Where", graph.add("Equal", found, minus), ones, found)
    return found


def tensor_of(number: float) -> TensorProto:
    dtype = np.int64 if isinstance(number, int) else np.float32
    return numpy_helper.from_array(np.array([number], dtype))


# One function an operator, or a few that stand together


def unary(graph: Growing) -> None:
    op = graph.one_of(["Relu", "Identity", "Sigmoid", "Neg", "Abs", "Tanh", "Identity"])
    graph.add(op, graph.any())


def cast(graph: Growing) -> None:
    to = graph.one_of([TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32])
    graph.add("Cast", graph.add("Cast", graph.any(), to=to), to=TensorProto.FLOAT)


def binary(graph: Growing) -> None:
    op = graph.one_of(["Add", "Mul", "Sub", "Div", "Max"])
    x = graph.any()
    last = graph.sizes(x)[-1:]
    if graph.draw(st.booleans()):
        other = graph.any()
    else:
        number = graph.one_of([0.0, 1.0, 0.5])
        wide = last and len(set(last[0])) == 1 and graph.draw(st.booleans())
        shape = graph.one_of([(last[0][0],), (1, last[0][0])]) if wide else graph.one_of([(), (1,)])
        other = graph.constant(np.full(shape, number), np.float32)
    pair = (x, other) if graph.draw(st.booleans()) else (other, x)
    graph.add(op, *pair)


def transpose(graph: Growing) -> None:
    x = graph.any(2)
    perm = graph.draw(st.permutations(range(graph.rank(x))))
    graph.add("Transpose", x, perm=perm)


def squeeze(graph: Growing) -> None:
    x = graph.any(1)
    ones = [axis for axis, sizes in enumerate(graph.sizes(x)) if set(sizes) == {1}]
    varying = any(len(set(sizes)) > 1 and 1 in sizes for sizes in graph.sizes(x))
    if not ones:
        raise UnfitError("nothing to squeeze")
    if not varying and graph.draw(st.booleans()):
        graph.add("Squeeze", x)
    else:
        axes = graph.draw(st.lists(st.sampled_from(ones), min_size=1, unique=True))
        graph.axes("Squeeze", x, sorted(axes))


def unsqueeze(graph: Growing) -> None:
    x = graph.any(0, 4)
    count = graph.number(1, 2 if graph.rank(x) < 4 else 1)
    places = st.integers(0, graph.rank(x) + count - 1)
    axes = graph.draw(st.lists(places, min_size=count, max_size=count, unique=True))
    graph.axes("Unsqueeze", x, sorted(axes))


def groupings(graph: Growing, x: str) -> list[Sizes]:
    """The sizes of a tensor after two axes became one, or one of them two."""
    sizes = graph.sizes(x)
    if len(sizes) >= 2 and graph.draw(st.booleans()):
        axis = graph.number(0, len(sizes) - 2)
        merged = tuple(a * b for a, b in zip(sizes[axis], sizes[axis + 1], strict=True))
        return [*sizes[:axis], merged, *sizes[axis + 2 :]]
    fixed = [axis for axis, each in enumerate(sizes) if len(set(each)) == 1 and each[0] > 1]
    if not fixed or len(sizes) > 4:
        raise UnfitError("no axis to split")
    axis = graph.one_of(fixed)
    whole = sizes[axis][0]
    part = graph.one_of([n for n in range(1, whole + 1) if whole % n == 0])
    halves = [(part,) * len(POINTS), (whole // part,) * len(POINTS)]
    return [*sizes[:axis], *halves, *sizes[axis + 1 :]]


def reshape(graph: Growing) -> None:
    x = graph.any(1)
    given, wanted = graph.sizes(x), groupings(graph, x)
    open_axis = graph.one_of([None, *range(len(wanted))])
    pieces: list[int | None] = []
    for axis, sizes in enumerate(wanted):
        if axis == open_axis:
            pieces.append(-1)
        elif axis < len(given) and given[axis] == sizes and graph.draw(st.booleans()):
            pieces.append(0)
        else:
            pieces.append(sizes[0] if len(set(sizes)) == 1 and graph.draw(st.booleans()) else None)
    if all(piece is not None for piece in pieces):
        graph.add("Reshape", x, graph.constant(pieces))
        return
    parts = [
        size(graph, sizes) if piece is None else graph.constant([piece])
        for piece, sizes in zip(pieces, wanted, strict=True)
    ]
    graph.add("Reshape", x, graph.add("Concat", *parts, axis=0))


def flatten(graph: Growing) -> None:
    x = graph.any(1)
    graph.add("Flatten", x, axis=graph.number(0, graph.rank(x)))


def expand(graph: Growing) -> None:
    x, like = graph.any(), graph.any()
    if graph.draw(st.booleans()):
        grown = graph.add("Expand", x, graph.add("Shape", like))
    else:
        grown = graph.add("Expand", x, operand(graph, graph.sizes(like)))
    if graph.draw(st.booleans()):
        graph.add(graph.one_of(["Mul", "Add"]), grown, like)


def cut(graph: Growing) -> None:
    x = graph.any(1)
    axis = graph.number(0, graph.rank(x) - 1)
    sizes = graph.sizes(x)[axis]
    start = graph.number(-2, 2)
    step = graph.one_of([1, 1, 1, 2, -1])
    if step < 0:
        begin, end = graph.constant([-1]), graph.constant([np.iinfo(np.int64).min])
    elif graph.draw(st.booleans()):
        begin = graph.constant([start])
        end = graph.constant([graph.one_of([np.iinfo(np.int64).max, min(sizes), -1])])
    else:
        begin, end = graph.constant([0]), size(graph, graph.one_of(graph.sizes(graph.any(1))))
    given = axis - graph.rank(x) * graph.draw(st.booleans())
    graph.add("Slice", x, begin, end, graph.constant([given]), graph.constant([step]))


def tile(graph: Growing) -> None:
    x = graph.any(1, 4)
    repeats = [graph.number(1, 2) for _ in graph.sizes(x)]
    if graph.draw(st.booleans()):
        graph.add("Tile", x, graph.constant(repeats))
    else:
        pieces = [
            graph.constant([each]) if graph.draw(st.booleans()) else size(graph, sizes)
            for each, sizes in zip(repeats, graph.sizes(x), strict=True)
        ]
        graph.add("Tile", x, graph.add("Concat", *pieces, axis=0))


def concat(graph: Growing) -> None:
    x = graph.any(1)
    shapes = graph.sizes(x)
    axis = graph.number(0, len(shapes) - 1)
    others = [
        name
        for name, arrays in graph.arrays.items()
        if arrays[0].dtype == np.float32
        and name[0] != "c"
        and graph.sizes(name)[:axis] == shapes[:axis]
        and graph.sizes(name)[axis + 1 :] == shapes[axis + 1 :]
        and graph.rank(name) == len(shapes)
    ]
    count = graph.number(1, 2)
    graph.add("Concat", x, *(graph.one_of(others) for _ in range(count)), axis=axis)


def split(graph: Growing) -> None:
    x = graph.any(1)
    even = [axis for axis, sizes in enumerate(graph.sizes(x)) if not any(n % 2 for n in sizes)]
    if not even:
        raise UnfitError("no axis with halves")
    extra = {"num_outputs": 2} if graph.opset >= 18 else {}
    graph.add("Split", x, outputs=2, axis=graph.one_of(even), **extra)


def gather(graph: Growing) -> None:
    x = graph.any(1)
    axis = graph.number(0, graph.rank(x) - 1)
    least = min(graph.sizes(x)[axis])
    indices = graph.one_of([0, -1, [0], [least - 1, 0], list(range(least))])
    graph.add("Gather", x, graph.constant(indices), axis=axis)


def softmax(graph: Growing) -> None:
    x = graph.any(1)
    graph.add("Softmax", x, axis=graph.number(-1, graph.rank(x) - 1))


def matmul(graph: Growing) -> None:
    x = graph.any(2)
    if graph.draw(st.booleans()):
        graph.add("MatMul", x, graph.any(1))
        return
    (inner,) = {sizes for sizes in graph.sizes(x)[-1:] if len(set(sizes)) == 1} or {None}
    if inner is None:
        raise UnfitError("the columns vary")
    weights = np.random.default_rng(5).standard_normal((inner[0], graph.number(1, 6)))
    graph.add("MatMul", x, graph.constant(weights, np.float32))


def attention(graph: Growing) -> None:
    """Heads split off, as exporters write it."""
    x = graph.pick(lambda array: array.ndim == 3 and array.shape[2] % 2 == 0)
    batch, length, width = graph.sizes(x)
    if len(set(width)) > 1:
        raise UnfitError("the width varies")
    heads, each = graph.constant([2]), graph.constant([width[0] // 2])
    sizes = graph.add("Concat", size(graph, batch), size(graph, length), heads, each, axis=0)
    parts = graph.add("Reshape", x, sizes)
    q = graph.add("Transpose", parts, perm=[0, 2, 1, 3])
    k = graph.add("Transpose", parts, perm=[0, 2, 3, 1])
    weights = graph.add("Softmax", graph.add("MatMul", q, k), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, q), perm=[0, 2, 1, 3])
    if graph.draw(st.booleans()):
        ends = [size(graph, batch), size(graph, length), graph.constant([-1])]
        graph.add("Reshape", mixed, graph.add("Concat", *ends, axis=0))
    else:
        graph.add("Reshape", mixed, operand(graph, [batch, length, width]))


def between_squeezes(graph: Growing) -> None:
    """Operators along one axis between a squeeze and an unsqueeze."""
    x = graph.pick(lambda array: array.ndim == 4)
    ones = [axis for axis, sizes in enumerate(graph.sizes(x)) if set(sizes) == {1}]
    if not ones:
        x = graph.add("GlobalAveragePool", x)
        ones = [2, 3]
    narrow = graph.axes("Squeeze", x, [graph.one_of(ones)])
    for _ in range(graph.number(1, 2)):
        if graph.draw(st.booleans()):
            narrow = graph.add("Transpose", narrow, perm=graph.draw(st.permutations(range(3))))
        narrow = along_one_axis(graph, narrow)
    if graph.draw(st.booleans()):
        narrow = graph.add("Transpose", narrow, perm=graph.draw(st.permutations(range(3))))
    graph.axes("Unsqueeze", narrow, [graph.number(0, 3)])


def along_one_axis(graph: Growing, x: str) -> str:
    """A convolution, pooling or normalization of a tensor of rank 3."""
    channels, *others = graph.sizes(x)[1]
    if set(others) - {channels}:
        raise UnfitError("the channels vary")
    kernel = graph.one_of([1, 3])
    window: dict[str, Any] = {"pads": [kernel // 2, graph.number(0, kernel // 2)]}
    if graph.draw(st.booleans()):
        window = {"auto_pad": graph.one_of(["SAME_UPPER", "SAME_LOWER", "VALID"])}
    window["strides"] = [graph.one_of([1, 1, 2])]
    random = np.random.default_rng(6)
    op = graph.one_of(["Conv", "Conv", "ConvTranspose", "Pool", "Normalization", "Relu"])
    if op in ("Conv", "ConvTranspose"):
        group = graph.one_of([1, channels])
        shape = (group * graph.number(1, 2), channels // group, kernel)
        if op == "ConvTranspose":
            shape = (channels, graph.number(1, 2), kernel)
        outputs = shape[0] if op == "Conv" else shape[1] * group
        weights = graph.constant(random.standard_normal(shape), np.float32)
        bias = [graph.constant(random.standard_normal(outputs), np.float32)]
        return graph.add(op, x, weights, *bias[: graph.number(0, 1)], group=group, **window)
    if op == "Pool":
        kind = graph.one_of(["MaxPool", "AveragePool"])
        return graph.add(kind, x, kernel_shape=[kernel], **window)
    if op == "Normalization":
        kind, count = graph.one_of([("InstanceNormalization", 2), ("BatchNormalization", 4)])
        rows = [graph.constant(random.uniform(0.5, 2.0, channels), np.float32)] * count
        return graph.add(kind, x, *rows)
    return graph.add(op, x)


def reduce(graph: Growing) -> None:
    x = graph.any(1)
    op = graph.one_of(["ReduceMean", "ReduceMax", "ReduceSum"])
    axis = graph.number(-1, graph.rank(x) - 1)
    graph.axes(op, x, [axis], keepdims=graph.number(0, 1))


def where(graph: Growing) -> None:
    a, b = graph.any(), graph.any()
    condition = graph.add(graph.one_of(["Greater", "Equal", "Less"]), a, b)
    graph.add("Where", condition, graph.any(), graph.one_of([a, graph.constant(0, np.float32)]))


def filled(graph: Growing) -> None:
    like = graph.any(1)
    made = graph.add(
        "ConstantOfShape",
        operand(graph, graph.sizes(like)),
        value=tensor_of(graph.one_of([0.0, 1.0, 2.0])),
    )
    if graph.draw(st.booleans()):
        graph.add(graph.one_of(["Add", "Mul"]), like, made)


def positions(graph: Growing) -> None:
    x = graph.any(2)
    axis = graph.number(0, graph.rank(x) - 1)
    stop = graph.axes("Squeeze", size(graph, graph.sizes(x)[axis]), [0])
    steps = graph.add("Range", graph.constant(0), stop, graph.constant(1))
    floats = graph.add("Cast", steps, to=TensorProto.FLOAT)
    if axis < graph.rank(x) - 1:
        floats = graph.axes("Unsqueeze", floats, list(range(1, graph.rank(x) - axis)))
    graph.add("Add", x, floats)


def data_dependent(graph: Growing) -> None:
    """A size that is fed, and not only by the sizes of an input."""
    count, ends = graph.fed(), np.iinfo(np.int64).max
    form = graph.one_of(["ConstantOfShape", "Slice", "Tile", "Range", "Expand"])
    if form == "ConstantOfShape":
        sizes = graph.add("Concat", count, graph.constant([graph.number(1, 3)]), axis=0)
        graph.add(form, sizes, value=tensor_of(1.0))
    elif form == "Slice":
        x = graph.any(1)
        axis = graph.number(0, graph.rank(x) - 1)
        bounds = (graph.constant([0]), count) if graph.draw(st.booleans()) else None
        bounds = bounds or (count, graph.constant([ends]))
        graph.add(form, x, *bounds, graph.constant([axis]))
    elif form == "Tile":
        x = graph.any(1, 4)
        ones = graph.constant([1] * (graph.rank(x) - 1))
        graph.add(form, x, graph.add("Concat", count, ones, axis=0))
    elif form == "Range":
        stop = graph.axes("Squeeze", count, [0])
        steps = graph.add(form, graph.constant(0), stop, graph.constant(1))
        graph.add("Cast", steps, to=TensorProto.FLOAT)
    else:
        x = graph.any(1)
        wide = [size(graph, sizes) for sizes in graph.sizes(x)]
        graph.add(form, x, graph.add("Concat", count, *wide, axis=0))


def again(graph: Growing) -> None:
    """A node that is there already, once more."""
    nodes = [node for node in graph.nodes if node.op_type != "Constant"]
    if not nodes:
        raise UnfitError("no node yet")
    node = graph.one_of(nodes[::-1])
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    graph.add(node.op_type, *node.input, outputs=len(node.output), **attributes)


STEPS = (
    *(unary, cast, binary, transpose, squeeze, unsqueeze, reshape, flatten, expand, cut, tile),
    *(concat, split, gather, softmax, matmul, attention, between_squeezes, reduce, where, filled),
    *(positions, data_dependent, again, attention, between_squeezes, reshape, expand, binary),
)
"""What may come next; some of it twice, because it is what there are most rewrites of."""


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """A model that ONNX Runtime runs at all points."""
    graph = Growing(draw, draw(st.sampled_from(OPSETS)))
    for shape in draw(st.lists(st.sampled_from(INPUTS), min_size=1, max_size=2)):
        graph.input(shape)
    for _ in range(draw(st.integers(2, 14))):
        nodes, constants = len(graph.nodes), len(graph.initializers)
        names, inputs = list(graph.arrays), len(graph.inputs)
        try:
            draw(st.sampled_from(STEPS))(graph)
        except UnfitError:
            del graph.nodes[nodes:], graph.initializers[constants:]
            graph.arrays = {name: graph.arrays[name] for name in names}
            del graph.inputs[inputs:]
    return finished(graph)


def finished(graph: Growing) -> onnx.ModelProto:
    """The model, with some of its tensors as outputs and nothing that none of them needs."""
    made = [n for node in graph.nodes if node.op_type != "Constant" for n in node.output]
    if not made:
        made = [graph.add("Identity", "x0")]
    chosen = [made[-1], *graph.draw(st.lists(st.sampled_from(made), max_size=2))]
    outputs = list(dict.fromkeys(graph.draw(st.permutations(chosen))))
    rows = []
    for name in outputs:
        arrays = graph.arrays[name]
        dtype = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
        rows.append(helper.make_tensor_value_info(name, dtype, [None] * arrays[0].ndim))
    proto = helper.make_graph(graph.nodes, "random", graph.inputs, rows, graph.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", graph.opset)])
    model.ir_version = 8
    return model


def feeds(model: onnx.ModelProto) -> list[tuple[Mapping[str, int], Mapping[str, Array]]]:
    """Inputs at each point."""
    random = np.random.default_rng(11)
    rows: list[tuple[Mapping[str, int], Mapping[str, Array]]] = []
    for point in POINTS:
        arrays = {}
        for value in model.graph.input:
            dims = [d.dim_value or point[d.dim_param] for d in value.type.tensor_type.shape.dim]
            if value.type.tensor_type.elem_type == TensorProto.INT64:
                arrays[value.name] = np.full(dims, point["fed"])
            else:
                arrays[value.name] = random.standard_normal(dims).astype(np.float32)
        rows.append((point, arrays))
    return rows


def faults(proto: onnx.ModelProto, target: str) -> list[str]:
    """What a fix of a model does wrong.

    A rewrite that its proof keeps out is none. Nor is a whole that stays undecided where values
    decide sizes: "could not decide" is not equal, and then nothing is kept.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "model.onnx")
        onnx.save(proto, path)
        model = models.load(path)
        result, found = check(model, feeds(proto), Path(name), target=target)
    allowed = {"refused"}
    by_values = bool(result.facts_before.table.data_dependent)
    if by_values and result.proof is not None and result.proof.symbolic == "undecided":
        allowed.add("unproven")
    return [f"{each.kind}: {each.text}" for each in found if each.kind not in allowed]


def drawing(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what runs a test on so many random graphs, the same ones every time."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )(given(proto=graphs())(test))

    return decorate


@pytest.mark.parametrize("target", ["7.1", "8.6", "10.1"])
@drawing(25)
def test_a_fix_changes_no_number_and_is_final(proto: onnx.ModelProto, target: str) -> None:
    note(onnx.printer.to_text(proto))
    assert faults(proto, target) == []


@pytest.mark.slow
@pytest.mark.parametrize("target", ["7.1", "8.6", "10.1"])
@drawing(80)
def test_a_fix_of_many_graphs_changes_no_number(proto: onnx.ModelProto, target: str) -> None:
    note(onnx.printer.to_text(proto))
    assert faults(proto, target) == []


def wrong(node: ir.Node, site: Site) -> Replacement | None:
    """Abs in place of Neg: the shape is right, the numbers are not."""
    del site
    new = ir.node("Abs", node.inputs)
    return Replacement([node], node.outputs[:1], [new], new.outputs)


def test_a_wrong_rewrite_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Rewrite("wrong", "", find=wrong, may_match=lambda node: node.op_type == "Neg")
    monkeypatch.setattr(rewrites, "all_rewrites", lambda: (known,))
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,4,6] x) => (float[N,4,6] y)'
        "{ a = Relu(x) y = Neg(a) }"
    )
    assert [text.partition(" at ")[0] for text in faults(proto, "8.6")] == [
        "changed: `y` differs"
    ] * len(POINTS)
