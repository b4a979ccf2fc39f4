"""Constants and attributes of a node beside those of another, in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from tripoint.words import number_of

_ULPS = 8.0
"""Steps of the dtype by which a constant may differ: another version of PyTorch folds otherwise."""

_SHOWN = 8
"""Elements of a constant that are shown one by one."""

_DEPTH = 8
"""Nodes of constants alone that are followed behind an operand."""

Array = np.ndarray[Any, Any]


def operand(own: ir.Value | None, other: ir.Value | None, depth: int = _DEPTH) -> Iterator[str]:
    """Yield the differences of a constant operand.

    Args:
        own: That of the file, None if it is left out.
        other: That of the module.
        depth: Nodes to follow where it is computed from constants.

    Yields:
        One text for each difference.
    """
    if own is None or other is None:
        if own is not other:
            missing, name = ("file", other) if own is None else ("module", own)
            yield f"the {missing} has no operand {_named(name)}"
        return
    arrays = [_array(own), _array(other)]
    if arrays[0] is not None and arrays[1] is not None:
        yield from numbers(_named(own), arrays[0], arrays[1])
        return
    nodes = own.producer(), other.producer()
    if nodes[0] is None or nodes[1] is None or not depth:
        return
    if nodes[0].op_type != nodes[1].op_type:
        ops = [node.op_type for node in nodes if node is not None]
        yield f"{_named(own)} is made by {ops[0]} in the file, by {ops[1]} in the module"
        return
    yield from attributes(nodes[0], nodes[1])
    for pair in itertools.zip_longest(nodes[0].inputs, nodes[1].inputs):
        yield from operand(*pair, depth - 1)


def numbers(name: str, own: Array, other: Array) -> Iterator[str]:
    """Yield the differences of a file's constant from the module's, beyond its rounding."""
    if own.shape != other.shape or own.dtype != other.dtype:
        kinds = [f"{each.dtype}{list(each.shape)}" for each in (own, other)]
        yield f"constant {name} is {kinds[0]} in the file, {kinds[1]} in the module"
        return
    apart = _apart(own, other)
    count = int(np.count_nonzero(apart))
    if not count:
        return
    if own.size <= _SHOWN:
        yield f"constant {name} is {_told(own)} in the file, {_told(other)} in the module"
        return
    at = tuple(int(axis[0]) for axis in np.nonzero(apart))
    yield (
        f"constant {name} differs in {count} of {number_of(own.size, 'element')}, such as "
        f"{list(at)}: {_told(own[at])} in the file, {_told(other[at])} in the module"
    )


def attributes(node: ir.Node, twin: ir.Node) -> Iterator[str]:
    """Yield the differences in a node's attributes, nodes of its subgraphs included."""
    own, other = _plain(node), _plain(twin)
    for name in dict.fromkeys([*own, *other]):
        values = [each[name].value if name in each else None for each in (own, other)]
        if values[0] == values[1] or _close(values[0], values[1]):
            continue
        if isinstance(values[0], ir.Graph) and isinstance(values[1], ir.Graph):
            yield from (f"in {name}: {text}" for text in _bodies(values[0], values[1]))
        elif any(isinstance(value, ir.TensorProtocol) for value in values):
            tensors = [value for value in values if isinstance(value, ir.TensorProtocol)]
            if len(tensors) == len(values):
                yield from numbers(name, tensors[0].numpy(), tensors[1].numpy())
        else:
            told = [_written(value) for value in values]
            yield f"attribute {name} is {told[0]} in the file, {told[1]} in the module"


def _close(own: object, other: object) -> bool:
    """Return whether two numbers are the same but for float32, which an attribute is written in."""
    if not isinstance(own, float) or not isinstance(other, float):
        return False
    return math.isclose(own, other, rel_tol=float(np.finfo(np.float32).eps))


def _plain(node: ir.Node) -> Mapping[str, ir.Attr]:
    return {name: each for name, each in node.attributes.items() if not each.is_ref()}


def _bodies(own: ir.Graph, other: ir.Graph) -> Iterator[str]:
    """Differences of the nodes of two subgraphs that have the same operators."""
    nodes, twins = list(own), list(other)
    if [each.op_type for each in nodes] != [each.op_type for each in twins]:
        ops = [", ".join(each.op_type for each in group[:_SHOWN]) for group in (nodes, twins)]
        yield f"{ops[0]} in the file, {ops[1]} in the module"
        return
    for node, twin in zip(nodes, twins, strict=True):
        if node.op_type != "Constant":
            yield from attributes(node, twin)
        for mine, theirs in zip(node.inputs, twin.inputs, strict=False):
            arrays = [_array(value) if value is not None else None for value in (mine, theirs)]
            if mine is not None and arrays[0] is not None and arrays[1] is not None:
                yield from numbers(_named(mine), arrays[0], arrays[1])


def _array(value: ir.Value) -> Array | None:
    tensor = ir.convenience.get_const_tensor(value)
    return tensor.numpy() if tensor is not None else None


def _apart(own: Array, other: Array) -> Array:
    if not ir.DataType.from_numpy(own.dtype).is_floating_point():
        return np.asarray(own != other)
    step = float(ml_dtypes.finfo(own.dtype).eps)  # type: ignore[no-untyped-call]
    left, right = own.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(left - right) > _ULPS * step * np.maximum(np.abs(left), np.abs(right))
    nan = np.isnan(left) != np.isnan(right)
    return np.asarray((off & np.isfinite(left - right)) | nan | _infinite(left, right))


def _infinite(left: Array, right: Array) -> Array:
    either = np.isinf(left) | np.isinf(right)
    return np.asarray(either & (left != right))


def _named(value: ir.Value | None) -> str:
    return (value.name or "") if value is not None else ""


def _told(array: Array) -> str:
    if array.size == 1:
        return _written(array.reshape(-1)[0].item())
    return str([_written(each) for each in array.reshape(-1).tolist()]).replace("'", "")


def _written(value: object) -> str:
    if value is None:
        return "absent"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    return str(value)
