"""Operators on a tensor (N, C, L) as operators on the tensor (N, C, L, 1), one function each.

A tensor of rank 3 is *lifted* by a last axis of size 1. A function of this module is given a node
and makes the node that computes the lifted outputs from the lifted inputs. Axes count from the
front, so they stay what they are. No number is changed: weights only get an axis more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from tripoint.graph import ops
from tripoint.graph.ops import ELEMENTWISE, POINTWISE, REDUCTIONS
from tripoint.rewrites import constants
from tripoint.rewrites.axes import normalized
from tripoint.shape_inference import truth
from tripoint.symbols import Shape

RANK = 3
"""Of the tensors that are lifted."""

_IN_ORDER = (0, 1, 2, 3)
_SOURCE = "tripoint.reshaped_from"


@dataclass(frozen=True, slots=True)
class Lifted:
    """A lifted tensor as ``Transpose(value, perm)``, which is made only where it is needed."""

    value: ir.Value
    perm: tuple[int, ...] = _IN_ORDER


class Tape:
    """Records new nodes and constants, and the lifted tensors by those that they stand for.

    Args:
        initializers: Those of the graph, so that what was reshaped already is used again.
    """

    def __init__(self, initializers: Iterable[ir.Value]) -> None:
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []
        self._lifted: dict[ir.Value, Lifted] = {}
        self._reshaped = {
            id(value.const_value.meta[_SOURCE]): value
            for value in initializers
            if value.const_value is not None and _SOURCE in value.const_value.meta
        }

    def __getitem__(self, value: ir.Value) -> Lifted:
        return self._lifted[value]

    def __setitem__(self, value: ir.Value, lifted: Lifted) -> None:
        self._lifted[value] = lifted

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        outputs: int = 1,
    ) -> Sequence[ir.Value]:
        """Add a node with so many outputs."""
        converted = ir.convenience.convert_attributes(attributes)
        self.nodes.append(ir.Node("", op_type, inputs, converted, num_outputs=outputs))
        return self.nodes[-1].outputs

    def like(
        self,
        node: ir.Node,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        perm: tuple[int, ...] = _IN_ORDER,
    ) -> list[Lifted]:
        """Add a node with the operator, attributes and number of outputs of another.

        Args:
            node: The other one.
            inputs: Inputs of the new one.
            attributes: Its attributes, None for the same.
            perm: In which order the axes of its outputs are.
        """
        taken = node.attributes if attributes is None else attributes
        values = self.node(node.op_type, inputs, taken, len(node.outputs))
        return [Lifted(value, perm) for value in values]

    def transposed(self, lifted: Lifted, perm: Sequence[int] = _IN_ORDER) -> ir.Value:
        """The lifted tensor with its axes permuted, by one Transpose or none."""
        whole = [lifted.perm[axis] for axis in perm]
        if whole == sorted(whole):
            return lifted.value
        return self.node("Transpose", [lifted.value], {"perm": whole})[0]

    def in_order(self, value: ir.Value) -> ir.Value:
        """The lifted tensor with its axes where they belong; transposed at most once."""
        ordered = self.transposed(self[value])
        self[value] = Lifted(ordered)
        return ordered

    def vector(self, numbers: Sequence[int]) -> ir.Value:
        """A new constant."""
        self.initializers.append(constants.vector(numbers))
        return self.initializers[-1]

    def with_last_axis(self, value: ir.Value) -> ir.Value:
        """A constant with a last axis of size 1; the same one each time for one constant."""
        tensor = constants.constant(value)
        if tensor is None:
            raise ValueError(f"{value.name} is not constant")
        if id(tensor) not in self._reshaped:
            reshaped = _with_last_axis(tensor, value.name or "constant")
            reshaped.meta[_SOURCE] = tensor
            widened = ir.Value(
                name=reshaped.name,
                const_value=reshaped,
                shape=ir.Shape((*tensor.shape.numpy(), 1)),
                type=ir.TensorType(tensor.dtype),
            )
            self.initializers.append(widened)
            self._reshaped[id(tensor)] = widened
        return self._reshaped[id(tensor)]


@dataclass(frozen=True, slots=True)
class Operator:
    """Rule to lift an operator.

    Args:
        lift: Makes the lifted outputs.
        data: The inputs that are lifted, too.
        refusal: Why this node cannot be lifted; empty if it can. Shapes are not its concern.
    """

    lift: Callable[[Tape, ir.Node], Sequence[Lifted]]
    data: Callable[[ir.Node], list[ir.Value]]
    refusal: Callable[[ir.Node], str]


# Which inputs are lifted


def _first(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs[:1] if value is not None]


def _computed(node: ir.Node) -> list[ir.Value]:
    """All that are neither constants nor scalars."""
    operands = (value for value in node.inputs if value is not None)
    return [value for value in operands if not _is_constant(value) and _dims(value) != ()]


# Why a node cannot be lifted


def _one_output(node: ir.Node) -> str:
    """Refuse an operator that computes more than one output, as indices and statistics."""
    return "" if len(node.outputs) == 1 else f"{_label(node)} has {len(node.outputs)} outputs"


def _window_refusal(node: ir.Node) -> str:
    """Attributes must be those of one spatial axis."""
    for name, length in _LENGTHS.items():
        if len(node.attributes.get_ints(name, [0] * length)) != length:
            return f"`{name}` of {_label(node)} is not that of a 1-D operator"
    if _auto_pad(node) not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        return f"{_label(node)} has an unknown auto_pad"
    return _one_output(node)


def _convolution_refusal(node: ir.Node) -> str:
    weight = node.inputs[1] if _has_input(node, 1) else None
    if weight is None:
        return f"{_label(node)} has no weight"
    if not _is_constant(weight):
        return f"the weight `{weight.name}` is computed at run time"
    if len(_dims(weight) or ()) != RANK:
        return f"the weight `{weight.name}` is not that of a 1-D convolution"
    return _window_refusal(node)


def _pool_refusal(node: ir.Node) -> str:
    if "kernel_shape" not in node.attributes:
        return f"{_label(node)} has no kernel_shape"
    return _window_refusal(node)


def _batch_norm_refusal(node: ir.Node) -> str:
    if not node.attributes.get_int("spatial", 1):
        return f"{_label(node)} has statistics of each position"
    return _one_output(node)


def _broadcast_refusal(node: ir.Node) -> str:
    if "broadcast" in node.attributes:
        return f"{_label(node)} broadcasts as before opset 7"
    return _one_output(node)


def _transpose_refusal(node: ir.Node) -> str:
    if sorted(node.attributes.get_ints("perm", (2, 1, 0))) != [0, 1, 2]:
        return f"{_label(node)} does not permute three axes"
    return ""


def _axes_refusal(node: ir.Node) -> str:
    if node.op_type.startswith("Reduce") and not node.attributes.get_int("keepdims", 1):
        return f"{_label(node)} drops the axes that it reduces"
    if axes_of(node) is None and _has_input(node, _axes_input(node)):
        return f"the axes of {_label(node)} are computed at run time"
    return _one_output(node)


def _pad_refusal(node: ir.Node) -> str:
    if not _has_input(node, 1) and "pads" not in node.attributes:
        return f"{_label(node)} has no pads"
    if _has_input(node, 1) and not _has_input(node, 3) and _ints(node.inputs[1]) is None:
        return f"the pads of {_label(node)} are computed at run time"
    if _has_input(node, 3) and _ints(node.inputs[3]) is None:
        return f"the axes of {_label(node)} are computed at run time"
    return _one_output(node)


# How a node is lifted


def _window(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Conv, ConvTranspose and pools: a kernel of size 1 along the last axis, without padding.

    ``auto_pad`` and ``output_shape`` pad nothing there either.
    """
    attributes: dict[str, Any] = dict(node.attributes)
    for name in _LENGTHS.keys() & attributes.keys():
        attributes[name] = _extended(name, node.attributes.get_ints(name, ()))
    if _auto_pad(node) == "NOTSET":
        attributes.pop("auto_pad", None)
    else:
        attributes.pop("pads", None)
    weights = [tape.with_last_axis(value) for value in node.inputs[1:2] if value is not None]
    inputs = [tape.in_order(*_first(node)), *weights, *node.inputs[2:]]
    return tape.like(node, inputs, attributes)


def _spatial(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Global pools and normalizations: over all spatial axes, of which the last has size 1."""
    inputs = [tape.in_order(*_first(node)), *node.inputs[1:]]
    return tape.like(node, inputs)


def _pointwise(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Element by element, in whatever order the axes are."""
    (data,) = _first(node)
    inputs = [tape[data].value, *node.inputs[1:]]
    return tape.like(node, inputs, perm=tape[data].perm)


def _broadcast(tape: Tape, node: ir.Node) -> list[Lifted]:
    """As pointwise; constants get the last axis, too, since broadcasting aligns last axes."""
    data = _computed(node)
    perms = {tape[value].perm for value in data}
    operands = [value for value in node.inputs if value is not None]
    if len(perms) == 1 and all(value in data or _is_single(value) for value in operands):
        inputs = [tape[value].value if value in data else value for value in operands]
        return tape.like(node, inputs, perm=perms.pop())
    inputs = [_operand(tape, value) for value in operands]
    return tape.like(node, inputs)


def _operand(tape: Tape, value: ir.Value) -> ir.Value:
    if _dims(value) == ():
        return value
    return tape.with_last_axis(value) if _is_constant(value) else tape.in_order(value)


def _transpose(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Only noted: permutations become one where the order of the axes matters."""
    lifted = tape[_first(node)[0]]
    perm = (*node.attributes.get_ints("perm", (2, 1, 0)), RANK)
    return [Lifted(lifted.value, tuple(lifted.perm[axis] for axis in perm))]


def _concat(tape: Tape, node: ir.Node) -> list[Lifted]:
    inputs = [_operand(tape, value) for value in node.inputs if value is not None]
    return tape.like(node, inputs, {"axis": _axis(node, 1)})


def _split(tape: Tape, node: ir.Node) -> list[Lifted]:
    attributes = {**node.attributes, "axis": _axis(node, 0)}
    inputs = [tape.in_order(*_first(node)), *node.inputs[1:]]
    return tape.like(node, inputs, attributes)


def _softmax(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Before opset 13 over all axes from ``axis`` on, of which the last has size 1."""
    attributes = {**node.attributes, "axis": _axis(node, 1 if _opset(node) < 13 else -1)}
    return tape.like(node, [tape.in_order(*_first(node))], attributes)


def _with_axes(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Reduce operators and Slice."""
    attributes: dict[str, Any] = dict(node.attributes)
    inputs = [tape.in_order(*_first(node)), *node.inputs[1:]]
    axes = axes_of(node) or ()
    if min(axes, default=0) < 0:
        axes = tuple(normalized(axis, RANK) for axis in axes)
        if "axes" in attributes:
            attributes["axes"] = axes
        else:
            inputs[_axes_input(node)] = tape.vector(axes)
    return tape.like(node, inputs, attributes)


def _pad(tape: Tape, node: ir.Node) -> list[Lifted]:
    """Adds nothing along the last axis."""
    attributes: dict[str, Any] = dict(node.attributes)
    inputs = [tape.in_order(*_first(node)), *node.inputs[1:]]
    if _has_input(node, 3):
        axes = [normalized(axis, RANK) for axis in _ints(node.inputs[3]) or ()]
        inputs[3] = tape.vector(axes)
    elif _has_input(node, 1):
        inputs[1] = tape.vector(_extended("pads", _ints(node.inputs[1]) or ()))
    else:
        attributes["pads"] = _extended("pads", node.attributes.get_ints("pads", ()))
    return tape.like(node, inputs, attributes)


_CONV = Operator(_window, _first, _convolution_refusal)
_POOL = Operator(_window, _first, _pool_refusal)
_GLOBAL = Operator(_spatial, _first, _one_output)
_POINTWISE = Operator(_pointwise, _first, _one_output)
_BROADCAST = Operator(_broadcast, _computed, _broadcast_refusal)
_AXES = Operator(_with_axes, _first, _axes_refusal)
_SOFTMAX = Operator(_softmax, _first, _one_output)

CONVOLUTIONS = frozenset({"Conv"})
TRANSPOSED_CONVOLUTIONS = frozenset({"ConvTranspose"})
POOLS = ops.POOLS | ops.GLOBAL_POOLS
NORMALIZATIONS = frozenset({"BatchNormalization", "InstanceNormalization"})

OPERATORS: Mapping[str, Operator] = {
    **dict.fromkeys(CONVOLUTIONS | TRANSPOSED_CONVOLUTIONS, _CONV),
    **{name: _GLOBAL if name.startswith("Global") else _POOL for name in POOLS},
    "BatchNormalization": Operator(_spatial, _first, _batch_norm_refusal),
    "InstanceNormalization": _GLOBAL,
    **dict.fromkeys(POINTWISE, _POINTWISE),
    **dict.fromkeys(ELEMENTWISE, _BROADCAST),
    "Transpose": Operator(_transpose, _first, _transpose_refusal),
    "Concat": Operator(_concat, _computed, _one_output),
    "Split": Operator(_split, _first, lambda _: ""),
    "Softmax": _SOFTMAX,
    "LogSoftmax": _SOFTMAX,
    "Slice": _AXES,
    **dict.fromkeys(REDUCTIONS, _AXES),
    "Pad": Operator(_pad, _first, _pad_refusal),
}
"""How each operator is lifted (ONNX operator specification)."""


def refusal(node: ir.Node) -> str:
    """Return why a node of :data:`OPERATORS` cannot be lifted; empty if it can."""
    if not _has_input(node, 0):
        return f"{_label(node)} has no input"
    return mistyped(node) or OPERATORS[node.op_type].refusal(node)


def mistyped(node: ir.Node) -> str:
    """Return the attribute of a node that does not have the type read here; empty if all do."""
    for name, kind in _TYPES.items():
        attribute = node.attributes.get(name)
        if attribute is not None and (attribute.is_ref() or attribute.type != kind):
            return f"`{name}` of {_label(node)} is not of the type that ONNX gives it"
    return ""


def axes_of(node: ir.Node) -> tuple[int, ...] | None:
    """The constant axes of an operator, from the attribute or the input; None without any."""
    attribute = node.attributes.get_ints("axes")
    if attribute is not None:
        return tuple(attribute)
    index = _axes_input(node)
    return _ints(node.inputs[index]) if _has_input(node, index) else None


_LENGTHS = {
    "dilations": 1,
    "kernel_shape": 1,
    "output_padding": 1,
    "output_shape": 1,
    "pads": 2,
    "strides": 1,
}
"""Of the attributes that window operators have for each spatial axis."""

_TYPES = {
    **dict.fromkeys((*_LENGTHS, "axes", "perm"), ir.AttributeType.INTS),
    **dict.fromkeys(("axis", "keepdims", "spatial"), ir.AttributeType.INT),
    "auto_pad": ir.AttributeType.STRING,
}


def _extended(name: str, values: Sequence[int]) -> list[int]:
    """An attribute of :data:`_LENGTHS` with what is neutral along one axis more."""
    if name == "pads":
        half = len(values) // 2
        return [*values[:half], 0, *values[half:], 0]
    return [*values, 0 if name == "output_padding" else 1]


def _with_last_axis(tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
    """The same elements with an axis more; those in a file stay there and are not read."""
    shape = ir.Shape((*tensor.shape.numpy(), 1))
    if isinstance(tensor, ir.ExternalTensor):
        return ir.ExternalTensor(
            tensor.location,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=shape,
            name=name,
            base_dir=tensor.base_dir,
        )
    return ir.Tensor(tensor.numpy()[..., None], dtype=tensor.dtype, name=name)


def _has_input(node: ir.Node, index: int) -> bool:
    return len(node.inputs) > index and node.inputs[index] is not None


def _dims(value: ir.Value) -> Shape | None:
    return truth.shape_of(value)


def _is_single(value: ir.Value) -> bool:
    """Return whether a tensor has one element, and so broadcasts to any order of axes."""
    dims = _dims(value)
    return dims is not None and all(dim == 1 for dim in dims)


def _is_constant(value: ir.Value) -> bool:
    return constants.constant(value) is not None


def _ints(value: ir.Value | None) -> tuple[int, ...] | None:
    """The integers of a short constant; None if they are computed, or too many."""
    numbers = constants.elements(value)
    integers = numbers is not None and numbers.dtype.kind in "iu"
    return tuple(int(each) for each in numbers.flat) if numbers is not None and integers else None


def _axes_input(node: ir.Node) -> int:
    return 3 if node.op_type == "Slice" else 1


def _axis(node: ir.Node, default: int) -> int:
    return normalized(node.attributes.get_int("axis", default), RANK)


def _auto_pad(node: ir.Node) -> str:
    return node.attributes.get_string("auto_pad", "NOTSET")


def _opset(node: ir.Node) -> int:
    graph = node.graph
    return graph.opset_imports.get("", 0) if graph is not None else 0


def _label(node: ir.Node) -> str:
    return f"`{node.outputs[0].name}`"
