"""Error of the reference against float64, measured.

Noise (:mod:`tripoint.parity.noise`) tells how far roundings may move an output. Implementations
have more in common than that: the formula of a coordinate, the numbers that a sum adds up exactly,
a function that is right to the last bit. So where a difference is no small part of what is allowed,
the reference implementation of ONNX computes the graph in float64, and a multiple of what ONNX
Runtime is off by from that is allowed, if it is less. Products of TF32 are tried there as well,
with operands rounded to the nearest and cut off. The graph is that of the reference, so a fault of
the other leg widens nothing.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RECURRENT
from tripoint.numeric.in_float32 import SHORT, exactly, types_of
from tripoint.numeric.inputs import Arrays
from tripoint.shape_inference import truth
from tripoint.symbols import evaluate
from tripoint.tolerance.arithmetic import Kind, kind_of
from tripoint.tolerance.derivation import Products, multiplies, sums_of

Array = np.ndarray[Any, Any]
SHORTENED = "tripoint.shortened"
"""Domain of an operator that gives its input with the mantissa of TF32."""
_NEAREST, _CUT = "Nearest", "Cut"
_LOST_BITS = 13
_MOST_PRODUCTS = 1 << 25
_MOST_ELEMENTS = 1 << 22
"""Of all tensors together; NumPy computes some functions one number at a time."""
_MOST_WEIGHTS = 1 << 24
_MOST_STEPS = 256
"""Of a loop, which the reference implementation runs one node after the other."""
_FLOATS = frozenset({*SHORT, ir.DataType.FLOAT})


class Wide:
    """Measures one graph.

    Args:
        graph: Its values carry their true shapes; it is not changed.
    """

    def __init__(self, graph: ir.Model) -> None:
        self._graph = graph
        self._last: tuple[Arrays, Products, dict[str, list[Array]]] | None = None
        self._is_cheap_at: dict[frozenset[tuple[str, int]], bool] = {}

    def errors(
        self, own: Arrays, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> dict[str, Array]:
        """Return the error of each element, by output name; absent where it could not be measured.

        Args:
            own: What ONNX Runtime computes from the inputs, array by output name.
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.

        Returns:
            Nothing for products on tensor cores without TF32, graphs with types shorter than
            float32 or random numbers, and those that take long or do not run.
        """
        errors = {}
        for name, (exact, *others) in self._at(inputs, bindings, products).items():
            array = own.get(name)
            if array is None or array.dtype != np.float32:
                continue
            arrays = [array, *others]
            if any(each.shape != exact.shape for each in arrays):
                continue
            errors[name] = np.max([_distance(each, exact) for each in arrays], axis=0)
        return errors

    def _at(
        self, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> dict[str, list[Array]]:
        if products is Products.TENSOR_CORES or not self._cheap(bindings):
            return {}
        if self._last is None or self._last[0] is not inputs or self._last[1] != products:
            self._last = inputs, products, self._computed(inputs, products)
        return self._last[2]

    def _computed(self, inputs: Arrays, products: Products) -> dict[str, list[Array]]:
        wide = {
            name: array.astype(np.float64) if array.dtype == np.float32 else array
            for name, array in inputs.items()
        }
        try:
            runs = self._exact, *(self._shortened if products is Products.TF32 else ())
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outputs = [run.run(None, wide) for run in runs]
        except Exception:  # noqa: BLE001, each of its operators fails in a way of its own
            return {}
        return dict(
            zip(self._exact.output_names, map(list, zip(*outputs, strict=True)), strict=True)
        )

    def _cheap(self, bindings: Mapping[str, int]) -> bool:
        key = frozenset(bindings.items())
        if key not in self._is_cheap_at:
            self._is_cheap_at[key] = self._applies and _is_cheap(self._graph, bindings)
        return self._is_cheap_at[key]

    @functools.cached_property
    def _applies(self) -> bool:
        weights = (value.const_value for value in self._graph.graph.initializers.values())
        return (
            sum(tensor.nbytes for tensor in weights if tensor is not None) <= _MOST_WEIGHTS
            and not types_of(self._graph) & {*SHORT}
            and not any(kind_of(node) is Kind.DRAWS for node in self._graph.graph.all_nodes())
        )

    @functools.cached_property
    def _exact(self) -> Any:
        return _evaluator(exactly(self._graph, ir.DataType.DOUBLE))

    @functools.cached_property
    def _shortened(self) -> list[Any]:
        exact = exactly(self._graph, ir.DataType.DOUBLE)
        return [_evaluator(_shorten(exact.clone(), how)) for how in (_NEAREST, _CUT)]


def _distance(array: Array, exact: Array) -> Array:
    """Absolute differences; infinite where only one of both is finite."""
    finite = np.isfinite(exact)
    with np.errstate(invalid="ignore"):
        distance: Array = np.where(finite, np.abs(array.astype(np.float64) - exact), 0.0)
    return np.where(finite == np.isfinite(array), distance, np.inf)


def _is_cheap(graph: ir.Model, bindings: Mapping[str, int]) -> bool:
    """Return whether the reference implementation, in NumPy, takes a fraction of a second."""
    products = elements = 0
    for node in graph.graph:
        sizes = [_size(value, bindings) for value in node.outputs]
        if any(size is None for size in sizes) or not _few_steps(node, bindings):
            return False
        count = sum(size for size in sizes if size is not None)
        elements += count
        products += count * sum(terms for _, terms in sums_of(node, bindings))
    return products <= _MOST_PRODUCTS and elements <= _MOST_ELEMENTS


def _few_steps(node: ir.Node, bindings: Mapping[str, int]) -> bool:
    if kind_of(node) is not Kind.BODIES or node.op_type == "If":
        return True
    if node.op_type == "Loop":
        steps = ir.convenience.get_const_tensor(node.inputs[0]) if node.inputs[0] else None
        return steps is not None and int(steps.numpy().reshape(-1)[0]) <= _MOST_STEPS
    count = _size(node.inputs[-1], bindings)
    return count is not None and count <= _MOST_STEPS


def _size(value: ir.Value | None, bindings: Mapping[str, int]) -> int | None:
    shape = truth.shape_of(value) if value is not None else None
    if shape is None:
        return None
    sizes = [evaluate(dim, bindings) for dim in shape]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def _shorten(graph: ir.Model, how: str) -> ir.Model:
    """Let products read their operands as TF32 holds them."""
    for node in list(graph.graph):
        if not multiplies(node):
            continue
        operands = 3 if node.op_type in RECURRENT else 2
        for place, value in enumerate(node.inputs[:operands]):
            if value is not None:
                short = ir.node(how, [value], domain=SHORTENED)
                short.outputs[0].name = f"{SHORTENED}.{node.name}.{value.name}.{place}"
                graph.graph.insert_before(node, short)
                node.replace_input_with(place, short.outputs[0])
    graph.graph.opset_imports[SHORTENED] = 1
    return graph


def _evaluator(graph: ir.Model) -> Any:
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class Nearest(OpRun):
        op_domain = SHORTENED

        def _run(self, x: Array) -> tuple[Array]:
            return (_short(x, up=True),)

    class Cut(OpRun):
        op_domain = SHORTENED

        def _run(self, x: Array) -> tuple[Array]:
            return (_short(x, up=False),)

    return ReferenceEvaluator(ir.to_proto(graph), new_ops=[Nearest, Cut])


def _short(x: Array, *, up: bool) -> Array:
    """Numbers with the mantissa of TF32, rounded to the nearest or cut off."""
    bits = x.astype(np.float32).view(np.int32)
    if up:
        bits = bits + (1 << (_LOST_BITS - 1)) - 1 + ((bits >> _LOST_BITS) & 1)
    short: Array = (bits >> _LOST_BITS << _LOST_BITS).view(np.float32).astype(np.float64)
    return np.where(np.isfinite(short), short, x)
