"""The fault kit: one deliberate mistake each, and what a comparison has to say about it.

A fault takes a good model and gives it back with the mistake in it, or wraps the leg that runs it.
``FAULTS`` is a plain list, for the comparison, for the search of the culprit, and for real engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from tests.helpers.fault_models import branches, detector, encoder
from tripoint.model import Model
from tripoint.parity.legs import Leg

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
Change = Callable[[onnx.GraphProto], None]


def nothing(model: Model) -> Model:
    """The model as it is, for faults of a leg."""
    return model


@dataclass(frozen=True)
class Fault:
    """A mistake and what must be found.

    Args:
        name: What was done.
        model: Makes the good model.
        broken: Makes the broken model of it.
        outputs: Status by the name of every output that must be reported, and no other.
        permutation: For each output that holds another's values, whose; None if it is none.
        culprit: Name of the node of the good model whose output is the first that is wrong; None
            where no node is to blame (outputs under wrong names, a leg that errs by itself).
        axes: Order of the axes that must be named, by output.
        leg: Wraps the leg that runs the broken model.
        checks: Checks without a reference that must fail on the broken leg, and no other.
        declared: Whether the broken file itself says that it computes in lower precision. Then
            its author meant it, as far as PyTorch and the file are compared.
    """

    name: str
    model: Callable[[], Model]
    broken: Callable[[Model], Model]
    outputs: Mapping[str, str]
    permutation: Mapping[str, str] | None = None
    culprit: str | None = None
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    leg: Callable[[Leg], Leg] | None = None
    checks: tuple[str, ...] = ()
    declared: bool = False

    @property
    def in_the_file(self) -> bool:
        """Whether PyTorch, on the good model, must differ from ONNX Runtime on the broken one."""
        return self.leg is None and not self.declared


# Changing graphs


def changed(change: Change) -> Callable[[Model], Model]:
    """A fault out of a function that changes a graph in place."""

    def broken(model: Model) -> Model:
        proto = ir.to_proto(model.ir)
        change(proto.graph)
        # What the graph said of inner tensors may be wrong by now.
        del proto.graph.value_info[:]
        onnx.checker.check_model(proto)
        return Model(ir.from_proto(proto))

    return broken


def node_of(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    return next(node for node in graph.node if node.name == name)


def constant(graph: onnx.GraphProto, name: str, value: object, dtype: type = np.float32) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
    return name


def renamed_outputs(names: Mapping[str, str]) -> Change:
    """Let outputs trade names; their order in the graph goes along."""

    def change(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            node.output[:] = [names.get(name, name) for name in node.output]
            node.input[:] = [names.get(name, name) for name in node.input]
        for value in graph.output:
            value.name = names.get(value.name, value.name)

    return change


def dropped_output(name: str) -> Change:
    def change(graph: onnx.GraphProto) -> None:
        graph.output.remove(next(value for value in graph.output if value.name == name))

    return change


def attribute(node: str, name: str, value: object) -> Change:
    def change(graph: onnx.GraphProto) -> None:
        found = node_of(graph, node)
        kept = [each for each in found.attribute if each.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def weight(name: str, index: tuple[int | slice, ...], factor: float) -> Change:
    """Multiply elements of an initializer."""

    def change(graph: onnx.GraphProto) -> None:
        tensor = next(each for each in graph.initializer if each.name == name)
        array = np.array(numpy_helper.to_array(tensor))
        array[index] *= factor
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return change


def initializer(*names_and_values: Any) -> Change:
    """Give constants, named and valued in turn, other values."""
    values = dict(zip(names_and_values[::2], names_and_values[1::2], strict=True))

    def change(graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            if tensor.name in values:
                dtype = numpy_helper.to_array(tensor).dtype
                array = np.array(values[tensor.name], dtype)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    return change


def replaced(node: str, make: Callable[[onnx.GraphProto, onnx.NodeProto], Sequence[Any]]) -> Change:
    """Put other nodes in the place of one; the last must write the same tensor."""

    def change(graph: onnx.GraphProto) -> None:
        old = node_of(graph, node)
        index = list(graph.node).index(old)
        new = make(graph, old)
        assert new[-1].output[0] == old.output[0]
        graph.node.remove(old)
        for offset, each in enumerate(new):
            graph.node.insert(index + offset, each)

    return change


def followed(node: str, make: Callable[[onnx.GraphProto, str, str], Sequence[Any]]) -> Change:
    """Put nodes between one and its readers: they read ``clean`` and write the old tensor."""

    def build(graph: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
        target, clean = old.output[0], f"{old.output[0]}_clean"
        copy = onnx.NodeProto()
        copy.CopyFrom(old)
        copy.output[0] = clean
        return [copy, *make(graph, clean, target)]

    return replaced(node, build)


def op(kind: str, inputs: Sequence[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{output}_{kind}", **attributes)


def gelu_tanh(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    return [op("Gelu", old.input, old.output[0], approximate="tanh")]


def round_up_halves(graph: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    half = constant(graph, "up", 0.5)
    return [op("Add", [old.input[0], half], "plus"), op("Floor", ["plus"], old.output[0])]


def floor_division(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    """Rounds towards minus infinity, as Python does, where ONNX and C round towards zero."""
    return [
        op("Cast", [old.input[0]], "above", to=onnx.TensorProto.FLOAT),
        op("Cast", [old.input[1]], "below", to=onnx.TensorProto.FLOAT),
        op("Div", ["above", "below"], "quotient"),
        op("Floor", ["quotient"], "floored"),
        op("Cast", ["floored"], old.output[0], to=onnx.TensorProto.INT64),
    ]


def leaky(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    return [op("LeakyRelu", old.input, old.output[0], alpha=0.01)]


def average_as_max(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    return [op("MaxPool", old.input, old.output[0], kernel_shape=[2, 2], strides=[2, 2])]


def in_half(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    """The same operator between tensors that are stored in float16."""
    nodes: list[onnx.NodeProto] = []

    def stored(name: str, target: str) -> str:
        half = f"{target}_stored"
        # ONNX Runtime leaves out a Cast that another undoes, and with it the rounding.
        nodes.extend(
            [
                op("Cast", [name], f"{half}_16", to=onnx.TensorProto.FLOAT16),
                op("Identity", [f"{half}_16"], half),
                op("Cast", [half], target, to=onnx.TensorProto.FLOAT),
            ]
        )
        return target

    inputs = [stored(name, f"operand_{index}") for index, name in enumerate(old.input)]
    nodes.append(op(old.op_type, inputs, "result"))
    stored("result", old.output[0])
    return nodes


def identity(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    return [op("Identity", old.input[:1], old.output[0])]


def turned(*perm: int) -> Callable[[onnx.GraphProto, str, str], Sequence[Any]]:
    return lambda _, clean, target: [op("Transpose", [clean], target, perm=list(perm))]


def leaking(graph: onnx.GraphProto, clean: str, target: str) -> Sequence[Any]:
    """Each row takes a hundredth of the sum of all rows."""
    share = constant(graph, "share", 0.01)
    axis = constant(graph, "rows", [0], np.int64)
    return [
        op("ReduceSum", [clean, axis], "all_rows", keepdims=1),
        op("Mul", ["all_rows", share], "leak"),
        op("Add", [clean, "leak"], target),
    ]


def leaking_to_the_next(graph: onnx.GraphProto, clean: str, target: str) -> Sequence[Any]:
    """Each row takes a hundredth of the row before it, the first one of the last."""
    share = constant(graph, "share", 0.01)
    axis = constant(graph, "rows", [0], np.int64)
    last = constant(graph, "last", [-1], np.int64)
    first = constant(graph, "first", [0], np.int64)
    end = constant(graph, "end", [2**31], np.int64)
    return [
        op("Slice", [clean, last, end, axis], "tail"),
        op("Slice", [clean, first, last, axis], "front"),
        op("Concat", ["tail", "front"], "rolled", axis=0),
        op("Mul", ["rolled", share], "leak"),
        op("Add", [clean, "leak"], target),
    ]


def only_at(size: int, graph_input: str = "x") -> Callable[..., Sequence[Any]]:
    """Adds a tenth where the batch has one size."""

    def make(graph: onnx.GraphProto, clean: str, target: str) -> Sequence[Any]:
        first = constant(graph, "first", 0, np.int64)
        bad = constant(graph, "bad", size, np.int64)
        tenth = constant(graph, "tenth", 0.1)
        return [
            op("Shape", [graph_input], "sizes_now"),
            op("Gather", ["sizes_now", first], "batch"),
            op("Equal", ["batch", bad], "hit"),
            op("Cast", ["hit"], "hits", to=onnx.TensorProto.FLOAT),
            op("Mul", ["hits", tenth], "error"),
            op("Add", [clean, "error"], target),
        ]

    return make


def noisy(graph: onnx.GraphProto, clean: str, target: str) -> Sequence[Any]:
    """Adds other random numbers at each run."""
    del graph
    return [
        op("RandomUniformLike", [clean], "noise", low=0.0, high=0.01),
        op("Add", [clean, "noise"], target),
    ]


# Legs that err by themselves


class Spoiled:
    """A leg whose outputs are changed after it has run.

    Args:
        leg: The leg.
        spoil: Takes the number of the run and the outputs.
    """

    def __init__(self, leg: Leg, spoil: Callable[[int, dict[str, Any]], dict[str, Any]]) -> None:
        self.name, self.version = leg.name, leg.version
        self.device, self.tf32 = leg.device, leg.tf32
        self._leg, self._spoil, self._runs = leg, spoil, 0

    def run(self, inputs: Arrays) -> Arrays:
        self._runs += 1
        return self._spoil(self._runs, {k: v.copy() for k, v in self._leg.run(inputs).items()})

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        return map(self.run, points)


def unwritten(*names: str) -> Callable[[Leg], Leg]:
    """The last elements of outputs keep the 0xFF that memory is filled with before a run."""

    def spoil(_: int, outputs: dict[str, Any]) -> dict[str, Any]:
        for name in names:
            raw = outputs[name].reshape(-1).view(np.uint8)
            raw[-outputs[name].itemsize :] = 0xFF
        return outputs

    return lambda leg: Spoiled(leg, spoil)


def stale(name: str) -> Callable[[Leg], Leg]:
    """One element is never written, and holds what happens to lie there."""

    def spoil(run: int, outputs: dict[str, Any]) -> dict[str, Any]:
        outputs[name].reshape(-1)[0] = run
        return outputs

    return lambda leg: Spoiled(leg, spoil)


ROWS = ("same row twice",)
REPEATS = ("second run repeats",)


def different(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "different")


OF_STEM = different("boxes", "anchors", "scores", "grid")

FAULTS: list[Fault] = [
    # Outputs under wrong names
    Fault(
        "swapped outputs",
        detector,
        changed(renamed_outputs({"boxes": "anchors", "anchors": "boxes"})),
        different("boxes", "anchors"),
        {"boxes": "anchors", "anchors": "boxes"},
    ),
    Fault(
        "swapped outputs of other shapes",
        detector,
        changed(renamed_outputs({"boxes": "scores", "scores": "boxes"})),
        {"boxes": "shape", "scores": "shape"},
        {"boxes": "scores", "scores": "boxes"},
    ),
    Fault(
        "rotated outputs",
        detector,
        changed(renamed_outputs({"boxes": "anchors", "anchors": "grid", "grid": "boxes"})),
        {"boxes": "shape", "anchors": "different", "grid": "shape"},
        {"anchors": "boxes", "grid": "anchors", "boxes": "grid"},
    ),
    Fault(
        "renamed output",
        detector,
        changed(renamed_outputs({"boxes": "corners"})),
        {"boxes": "missing", "corners": "extra"},
    ),
    Fault("dropped output", detector, changed(dropped_output("grid")), {"grid": "missing"}),
    # Axes
    Fault(
        "transposed output of another shape",
        detector,
        changed(attribute("grid_transpose", "perm", [0, 1, 2, 3])),
        different("grid"),
        culprit="grid_transpose",
        axes={"grid": (0, 3, 1, 2)},
    ),
    Fault(
        "transposed output of the same shape",
        detector,
        changed(followed("boxes_conv", turned(0, 1, 3, 2))),
        different("boxes"),
        culprit="boxes_conv",
        axes={"boxes": (0, 1, 3, 2)},
    ),
    Fault(
        "transposed input of a head",
        detector,
        changed(followed("slice", turned(0, 1, 3, 2))),
        different("scores", "grid"),
        culprit="slice",
        axes={"grid": (0, 2, 1, 3)},
    ),
    # Weights
    Fault(
        "one changed weight",
        detector,
        changed(weight("w_boxes", (1, 2, 0, 1), 1.01)),
        different("boxes"),
        culprit="boxes_conv",
    ),
    Fault(
        "one changed weight of the first layer",
        detector,
        changed(weight("w_stem", (2, 1, 1, 1), 1.01)),
        OF_STEM,
        culprit="stem",
    ),
    Fault(
        "a changed row of the embedding",
        encoder,
        changed(weight("w_table", (slice(None), 3), 1.001)),
        different("hidden", "attention", "logits"),
        culprit="embedding",
    ),
    # Attributes
    Fault(
        "pads at the other side",
        detector,
        changed(attribute("anchors_conv", "pads", [2, 1, 0, 1])),
        different("anchors"),
        culprit="anchors_conv",
    ),
    Fault(
        "pads left out",
        detector,
        changed(attribute("anchors_conv", "pads", [0, 0, 0, 0])),
        {"anchors": "shape"},
        culprit="anchors_conv",
    ),
    Fault(
        "softmax over the wrong axis",
        encoder,
        changed(attribute("softmax", "axis", 1)),
        different("attention", "logits"),
        culprit="softmax",
    ),
    Fault(
        "another epsilon",
        encoder,
        changed(attribute("norm", "epsilon", 1e-3)),
        different("hidden", "attention", "logits"),
        culprit="norm",
    ),
    Fault(
        "epsilon of another framework",
        encoder,
        changed(attribute("norm", "epsilon", 1e-6)),
        different("hidden", "attention", "logits"),
        culprit="norm",
    ),
    Fault(
        "scale of attention",
        encoder,
        changed(initializer("quarter", 0.2501)),
        different("attention", "logits"),
        culprit="scale",
    ),
    # Near twins
    Fault(
        "Gelu by tanh",
        encoder,
        changed(replaced("gelu", gelu_tanh)),
        different("hidden", "attention", "logits"),
        culprit="gelu",
    ),
    Fault(
        "Resize with aligned corners",
        branches,
        changed(attribute("resize", "coordinate_transformation_mode", "align_corners")),
        different("image"),
        culprit="resize",
    ),
    Fault(
        "Resize without half pixels",
        branches,
        changed(attribute("resize", "coordinate_transformation_mode", "asymmetric")),
        different("image"),
        culprit="resize",
    ),
    Fault(
        "Round of halves upwards",
        branches,
        changed(replaced("round", round_up_halves)),
        different("levels"),
        culprit="round",
    ),
    Fault(
        "integer division downwards",
        branches,
        changed(replaced("divide", floor_division)),
        different("halves"),
        culprit="divide",
    ),
    Fault(
        "LeakyRelu for Relu", detector, changed(replaced("relu", leaky)), OF_STEM, culprit="relu"
    ),
    Fault(
        "MaxPool for AveragePool",
        detector,
        changed(replaced("pool", average_as_max)),
        {**different("scores", "grid")},
        culprit="pool",
    ),
    # Numbers that leave their range
    Fault(
        "float16 overflow",
        branches,
        changed(replaced("square", in_half)),
        {"energy": "inf"},
        culprit="square",
        checks=("no NaN or Inf",),
    ),
    Fault(
        "float16 where float32 was",
        detector,
        changed(replaced("relu", in_half)),
        OF_STEM,
        culprit="relu",
        declared=True,
    ),
    Fault(
        "NaN in one branch",
        branches,
        changed(replaced("absolute", identity)),
        {"root": "nan"},
        culprit="absolute",
        checks=("no NaN or Inf",),
    ),
    # Slices
    Fault(
        "off-by-one slice",
        detector,
        changed(initializer("start", [2], "stop", [6])),
        different("scores", "grid", "best"),
        culprit="slice",
    ),
    # Batches
    Fault(
        "rows leak into each other",
        detector,
        changed(followed("stem", leaking)),
        OF_STEM,
        culprit="stem",
        checks=ROWS,
    ),
    Fault(
        "each row leaks into the next",
        detector,
        changed(followed("boxes_conv", leaking_to_the_next)),
        different("boxes"),
        culprit="boxes_conv",
        checks=("same row twice", "permuted batch"),
    ),
    *(
        Fault(
            f"wrong at a batch of {size} only",
            detector,
            changed(followed("anchors_conv", only_at(size))),
            different("anchors"),
            culprit="anchors_conv",
        )
        for size in (3, 7, 17, 31)
    ),
    # Memory and chance
    Fault(
        "random numbers in the graph",
        detector,
        changed(followed("boxes_conv", noisy)),
        different("boxes"),
        culprit="boxes_conv",
        checks=("second run repeats", "same row twice", "permuted batch"),
    ),
    Fault(
        "floats that were never written",
        detector,
        nothing,
        {"boxes": "nan"},
        leg=unwritten("boxes"),
        checks=("no NaN or Inf", "same row twice", "permuted batch"),
    ),
    Fault(
        "integers that were never written",
        detector,
        nothing,
        different("best"),
        leg=unwritten("best"),
        checks=("same row twice", "permuted batch"),
    ),
    Fault(
        "an element that holds what lies there",
        detector,
        nothing,
        different("grid"),
        leg=stale("grid"),
        checks=("second run repeats", "same row twice", "permuted batch"),
    ),
]


def relu_for_gelu(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    return [op("Relu", old.input, old.output[0])]


def leaky_by_a_tenth(_: onnx.GraphProto, old: onnx.NodeProto) -> Sequence[Any]:
    return [op("LeakyRelu", old.input, old.output[0], alpha=0.1)]


LARGER: list[Fault] = [
    # Those of the kit that are smaller than what float16 or bfloat16 costs, but larger
    Fault(
        "one negated weight",
        detector,
        changed(weight("w_boxes", (1, 2, 0, 1), -1.0)),
        different("boxes"),
        culprit="boxes_conv",
    ),
    Fault(
        "one negated weight of the first layer",
        detector,
        changed(weight("w_stem", (2, 1, 1, 1), -1.0)),
        OF_STEM,
        culprit="stem",
    ),
    Fault(
        "a row of the embedding that is a quarter too large",
        encoder,
        changed(weight("w_table", (slice(None), 3), 1.25)),
        different("hidden", "attention", "logits"),
        culprit="embedding",
    ),
    Fault(
        "a large epsilon",
        encoder,
        changed(attribute("norm", "epsilon", 0.5)),
        different("hidden", "attention", "logits"),
        culprit="norm",
    ),
    Fault(
        "attention scaled by the square root of the wrong size",
        encoder,
        changed(initializer("quarter", 0.35)),
        different("attention", "logits"),
        culprit="scale",
    ),
    Fault(
        "Relu for Gelu",
        encoder,
        changed(replaced("gelu", relu_for_gelu)),
        different("hidden", "attention", "logits"),
        culprit="gelu",
    ),
    Fault(
        "LeakyRelu of a tenth for Relu",
        detector,
        changed(replaced("relu", leaky_by_a_tenth)),
        OF_STEM,
        culprit="relu",
    ),
]
