"""Faults: wrong twins of a graph, each with one deliberate mistake.

All makers take a graph, what its tensors hold at one point, and a source of random numbers.
"""

# ruff: noqa: ARG001, not every maker needs all three.

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import TensorProto

from verdict_twins import FLOATS, Array, Edit, Trace, Twin, attribute, pick, weight_off, weights

Random = np.random.Generator
Maker = Callable[[onnx.ModelProto, Trace, Random], Iterator[Twin]]


def one_weight(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """The largest element of a weight negated; another a tenth too large."""
    for name in pick(random, weights(proto), 2):
        array = np.asarray(Edit(proto).constant(name)).astype(np.float64)
        at = int(np.abs(array).argmax())
        made = weight_off(proto, name, at, -2 * float(array.flat[at]))
        yield Twin("one weight", f"{name} negated", made)
        at = int(random.integers(array.size))
        made = weight_off(proto, name, at, 0.1 * float(array.flat[at]))
        yield Twin("one weight", f"{name} times 1.1", made)


def one_epsilon(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """Ten times or a tenth of what a normalization adds to a variance."""
    at = [
        index
        for index, node in enumerate(proto.graph.node)
        if node.op_type.endswith("Normalization") and attribute(node, "epsilon") is not None
    ]
    for index in pick(random, at):
        for factor in (10.0, 0.1):
            edit = Edit(proto)
            value = attribute(edit.node(index), "epsilon")
            edit.set(index, epsilon=factor * value)
            yield Twin("one epsilon", f"{edit.node(index).name} times {factor:g}", edit.proto)
    for tensor in proto.graph.initializer:
        edit = Edit(proto)
        array = np.asarray(edit.constant(tensor.name))
        if tensor.data_type in FLOATS and array.size == 1 and 0 < float(array.item()) < 1e-2:
            edit.replace(tensor.name, (array * array.dtype.type(10)).astype(array.dtype))
            yield Twin("one epsilon", f"{tensor.name} times 10", edit.proto)
            return


def off_index(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """An index, the beginning of a slice, or the rows of a table off by one."""
    for index, node in enumerate(proto.graph.node):
        edit = Edit(proto)
        if node.op_type == "Gather":
            array, table = edit.constant(node.input[1]), edit.constant(node.input[0])
            if array is not None:
                moved = np.array(array)
                at = int(random.integers(array.size))
                moved.flat[at] += -1 if moved.flat[at] > 0 else 1
                name = edit.new(moved)
                edit.node(index).input[1] = name
                yield Twin("off index", f"{node.name} at {at}", edit.proto)
            elif table is not None:
                edit.replace(node.input[0], np.roll(table, 1, 0))
                yield Twin("off index", f"rows of {node.input[0]}", edit.proto)
        elif node.op_type == "Slice":
            begin = edit.constant(node.input[1])
            if begin is not None:
                name = edit.new(begin - 1 if int(begin[0]) > 0 else begin + 1)
                edit.node(index).input[1] = name
                ends = edit.constant(node.input[2])
                assert ends is not None
                name = edit.new(ends - 1 if int(begin[0]) > 0 else ends + 1)
                edit.node(index).input[2] = name
                yield Twin("off index", node.name, edit.proto)


def one_row(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """A row of a weight zero; two rows in each other's place; a bias left out."""
    named = [(name, np.asarray(Edit(proto).constant(name))) for name in weights(proto)]
    tables = [(name, array) for name, array in named if array.ndim >= 2 and array.shape[0] > 1]
    for name, array in pick(random, tables):
        edit, made = Edit(proto), array.copy()
        row = int(random.integers(array.shape[0]))
        made[row] = 0
        edit.replace(name, made)
        yield Twin("one row", f"row {row} of {name} is 0", edit.proto)
        edit, made = Edit(proto), array.copy()
        other = (row + 1) % array.shape[0]
        made[[row, other]] = array[[other, row]]
        edit.replace(name, made)
        yield Twin("one row", f"rows {row} and {other} of {name} swapped", edit.proto)
    biases = [(name, array) for name, array in named if array.ndim == 1 and abs(array.mean()) < 0.5]
    for name, array in pick(random, biases):
        edit = Edit(proto)
        edit.replace(name, np.zeros_like(array))
        yield Twin("one row", f"no bias {name}", edit.proto)


def rounding_mode(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """Halves up in place of to even, floor in place of truncation, another nearest element."""
    for index, node in enumerate(proto.graph.node):
        edit = Edit(proto)
        new = edit.node(index)
        if node.op_type == "Round":
            half = edit.new(np.array(0.5, np.float32))
            new.op_type = "Floor"
            edit.precede(index, 0, "Add", half)
        elif node.op_type == "Floor":
            new.op_type = "Round"
        elif node.op_type == "Ceil":
            new.op_type = "Floor"
        elif node.op_type == "Div" and trace[node.input[0]].dtype.kind == "i":
            size = int(trace[node.input[1]].reshape(-1)[0])
            # Towards minus infinity: less the remainder of the sign of the divisor.
            rest = onnx.helper.make_node("Mod", list(node.input), ["twin.rest"])
            less = onnx.helper.make_node("Sub", [node.input[0], "twin.rest"], ["twin.less"])
            last = onnx.helper.make_node("Div", ["twin.less", node.input[1]], node.output)
            assert size != 0
            edit.put(index, [rest, less, last])
        elif node.op_type == "Mod" and not attribute(node, "fmod", 0):
            edit.set(index, fmod=1)
        elif node.op_type == "Resize" and attribute(node, "mode", "nearest") == "nearest":
            before = attribute(node, "nearest_mode", "round_prefer_floor")
            after = "floor" if before != "floor" else "ceil"
            edit.set(index, nearest_mode=after)
        else:
            continue
        yield Twin("rounding mode", node.name, edit.proto)


def padding_value(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """Another number, another mode, zeros that count, or one side in place of the other."""
    for index, node in enumerate(proto.graph.node):
        edit = Edit(proto)
        new = edit.node(index)
        if node.op_type == "Pad":
            mode = attribute(node, "mode", "constant")
            if mode == "constant":
                value = edit.constant(node.input[2])
                assert value is not None
                name = edit.new((value + 1 if value < 0 else value + 0.01).astype(value.dtype))
                new.input[2] = name
            else:
                edit.set(index, mode="edge")
        elif node.op_type == "AveragePool" and any(attribute(node, "pads", [0])):
            edit.set(index, count_include_pad=1)
        elif node.op_type == "MaxPool" and any(attribute(node, "pads", [0])):
            pads = attribute(node, "pads")
            edit.set(index, pads=[0] * len(pads))
            half = len(pads) // 2
            name = edit.new(np.array([0, 0, *pads[:half], 0, 0, *pads[half:]]))
            edit.precede(index, 0, "Pad", name)
        elif node.op_type == "GridSample":
            edit.set(index, padding_mode="border")
        elif node.op_type == "Conv" and any(attribute(node, "pads", [0])):
            pads = attribute(node, "pads")
            half = len(pads) // 2
            both = [a + b for a, b in zip(pads[:half], pads[half:], strict=True)]
            edit.set(index, pads=[0] * half + both)
        else:
            continue
        yield Twin("padding value", node.name, edit.proto)
        if node.op_type == "Conv":
            return


def half_a_pixel(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """Coordinates of another convention."""
    for index, node in enumerate(proto.graph.node):
        edit = Edit(proto)
        if node.op_type == "Resize":
            before = attribute(node, "coordinate_transformation_mode", "half_pixel")
            after = "half_pixel" if before != "half_pixel" else "asymmetric"
            edit.set(index, coordinate_transformation_mode=after)
        elif node.op_type == "GridSample":
            edit.set(index, align_corners=1 - attribute(node, "align_corners", 0))
        elif node.op_type == "RoiAlign":
            edit.set(index, coordinate_transformation_mode="output_half_pixel")
        else:
            continue
        yield Twin("half a pixel", node.name, edit.proto)


def swapped_axes(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """A tensor with two axes of equal size has them swapped; a square weight is transposed."""
    places = [
        (index, axes)
        for index, node in enumerate(proto.graph.node)
        if node.output and (axes := _equal_axes(trace[node.output[0]])) is not None
    ]
    for index, axes in pick(random, places, 2):
        edit = Edit(proto)
        order = list(range(trace[edit.node(index).output[0]].ndim))
        order[axes[0]], order[axes[1]] = axes[1], axes[0]
        edit.follow(index, "Transpose", perm=order)
        yield Twin("swapped axes", edit.node(index).name, edit.proto)
    square = [
        (name, array)
        for name in weights(proto)
        if (array := np.asarray(Edit(proto).constant(name))).ndim == 2
        and array.shape[0] == array.shape[1]
    ]
    for name, array in pick(random, square):
        edit = Edit(proto)
        edit.replace(name, np.ascontiguousarray(array.T))
        yield Twin("swapped axes", f"{name} transposed", edit.proto)


def _equal_axes(array: Array) -> tuple[int, int] | None:
    if array.dtype.kind != "f":
        return None
    for first in range(1, array.ndim):
        for second in range(first + 1, array.ndim):
            if array.shape[first] == array.shape[second] > 1:
                return first, second
    return None


def saturating_cast(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """The largest hundredth of a tensor cut off; a cast to bytes that saturates too early."""
    for index, node in enumerate(proto.graph.node):
        if node.op_type != "Cast":
            continue
        to = attribute(node, "to")
        if to in (TensorProto.UINT8, TensorProto.INT8):
            edit = Edit(proto)
            edit.precede(index, 0, "Min", edit.new(np.array(127.0, np.float32)))
            yield Twin("saturating cast", f"{node.name} at 127", edit.proto)
        elif trace[node.input[0]].dtype.kind == "i" and np.abs(trace[node.input[0]]).max() > 1:
            edit = Edit(proto)
            most = int(np.abs(trace[node.input[0]]).max()) // 2
            edit.precede(index, 0, "Min", edit.new(np.array(most, trace[node.input[0]].dtype)))
            yield Twin("saturating cast", f"{node.name} at {most}", edit.proto)
    floats = [
        index
        for index, node in enumerate(proto.graph.node)
        if node.op_type
        in ("Conv", "MatMul", "Gemm", "Add", "Mul", "STFT", "LSTM", "LayerNormalization")
        and trace[node.output[0]].dtype.kind == "f"
        and trace[node.output[0]].size > 1
        and np.isfinite(trace[node.output[0]]).all()
    ]
    if _type_of(proto) is np.void:
        return
    for index in pick(random, floats):
        edit = Edit(proto)
        name = edit.node(index).output[0]
        limit = float(np.quantile(np.abs(trace[name]), 0.99))
        if limit == 0:
            continue
        bounds = [edit.new(np.asarray(each, _type_of(proto))) for each in (-limit, limit)]
        edit.follow(index, "Clip", *bounds)
        yield Twin("saturating cast", f"{name} at {limit:.3g}", edit.proto)


def _type_of(proto: onnx.ModelProto) -> type:
    """Element type that the graph computes in."""
    types = {tensor.data_type for tensor in proto.graph.initializer}
    if TensorProto.BFLOAT16 in types:
        return np.void
    return np.float16 if TensorProto.FLOAT16 in types else np.float32


def lower_precision(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """One tensor of float32 stored in float16."""
    if _type_of(proto) is not np.float32:
        return
    floats = [
        index
        for index, node in enumerate(proto.graph.node)
        if node.output
        and trace[node.output[0]].dtype.kind == "f"
        and np.abs(trace[node.output[0]]).max(initial=0) < 6e4
    ]
    for index in pick(random, floats):
        edit = Edit(proto)
        name = edit.node(index).output[0]
        edit.follow(index, "Cast", to=TensorProto.FLOAT16)
        edit.follow(index + 1, "Identity")
        edit.follow(index + 2, "Cast", to=TensorProto.FLOAT)
        yield Twin("lower precision", name, edit.proto)


def other_function(proto: onnx.ModelProto, trace: Trace, random: Random) -> Iterator[Twin]:
    """An operator in place of a near relative, or one with another parameter."""
    for index, node in enumerate(proto.graph.node):
        edit = Edit(proto)
        if node.op_type == "Gelu":
            edit.set(index, approximate="tanh")
        elif node.op_type in ("LeakyRelu", "Elu"):
            edit.set(index, alpha=0.9 * attribute(node, "alpha", 1.0))
        elif node.op_type == "Softmax" and trace[node.input[0]].ndim > 2:
            edit.set(index, axis=-2)
        elif node.op_type == "Where":
            value = edit.constant(node.input[1])
            place = 1 if value is not None else 2
            value = edit.constant(node.input[place])
            if value is None:
                continue
            name = edit.new(np.asarray(0.99 * float(value), value.dtype))
            edit.node(index).input[place] = name
        elif node.op_type in ("LpNormalization", "CumSum", "TopK", "ArgMax"):
            change = {
                "LpNormalization": {"p": 1},
                "CumSum": {"exclusive": 1},
                "TopK": {"largest": 0},
                "ArgMax": {"select_last_index": 1},
            }
            edit.set(index, **change[node.op_type])
        elif node.op_type == "NonMaxSuppression":
            name = edit.new(np.array([0.6], np.float32))
            edit.node(index).input[3] = name
        else:
            continue
        yield Twin("other function", node.name, edit.proto)
        return


FAULTS: tuple[Maker, ...] = (
    *(one_weight, one_epsilon, off_index, one_row, rounding_mode, padding_value, half_a_pixel),
    *(swapped_axes, saturating_cast, lower_precision, other_function),
)
