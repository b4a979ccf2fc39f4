"""How far the outputs of a graph move if each sum in it errs by what it is charged, measured.

The derived tolerance assumes that an error is passed on as it is. A graph may enlarge it: a
Softmax of large numbers, a difference of nearly equal ones. So where a difference exceeds what was
derived, ONNX Runtime runs the graph with the operands of every operator that adds up terms rounded
to so few bits that it errs by what :mod:`tripoint.parity.tolerance` charges, and four times what
that moves the outputs is allowed if it is more. The graph is that of the reference, so a fault of
the other leg widens nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.parity.measure import is_exact, measure, not_finite, same_elements
from tripoint.parity.tolerance import Products, adds_up, charge

Array = np.ndarray[Any, Any]
FACTORS = "tripoint.factors"
"""Name of the further input: ``2^bits + 1`` by operator, of the bits that its operands lose."""

_OPERANDS = 2
_PER_ROUNDING = 0.3
"""What a product of two rounded operands errs by, as a share of the epsilon of their rounding."""
_LARGE = 1e30
_FLOAT32_EPS = 2.0**-23
_DOUBLE_EPS = 2.0**-52


class Sensitivity:
    """Measures one graph.

    Args:
        graph: Its values carry their true shapes (:func:`tripoint.facts.truth.annotate`); it is
            not changed.
    """

    def __init__(self, graph: ir.Model) -> None:
        self._graph = graph
        self._nodes = [node for node in graph.graph if adds_up(node) and _float(node.outputs[0])]

    def at(
        self, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> dict[str, float]:
        """The largest difference by output name.

        Args:
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.

        Returns:
            Nothing for outputs that are no floating-point numbers, that are not finite, or that
            another run without errors does not repeat, nor if the graph does not run.
        """
        factors = [self._factor(node, bindings, products) for node in self._nodes]
        none = [1.0] * len(factors)
        try:
            exact, again, moved = (self._run(inputs, each) for each in (none, none, factors))
        except TripointError:
            return {}
        return {
            name: measure(array, moved[name], 0.0, 0.0).max_abs
            for name, array in exact.items()
            if not is_exact(array.dtype)
            and _same(array, again[name])
            and _comparable(array, moved[name])
        }

    def _factor(self, node: ir.Node, bindings: Mapping[str, int], products: Products) -> float:
        double = node.outputs[0].dtype == ir.DataType.DOUBLE
        eps = _DOUBLE_EPS if double else _FLOAT32_EPS
        error = math.sqrt(charge(node, bindings, products)) / (_PER_ROUNDING * eps)
        return 2.0 ** math.floor(math.log2(error)) + 1 if error >= 1 else 1.0

    def _run(self, inputs: Arrays, factors: list[float]) -> Arrays:
        outputs = self._session.run({**inputs, FACTORS: np.asarray(factors, np.float64)})
        return dict(zip(self._session.outputs, outputs, strict=True))

    @functools.cached_property
    def _session(self) -> Session:
        return Session(Model(_coarse(self._graph, self._nodes)))


def _same(a: Array, b: Array) -> bool:
    return _comparable(a, b) and same_elements(a, b) == 1.0


def _comparable(a: Array, b: Array) -> bool:
    return a.shape == b.shape and not_finite(a) is None and not_finite(b) is None


def _float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _coarse(graph: ir.Model, nodes: list[ir.Node]) -> ir.Model:
    """A copy in which the operands of the nodes are rounded to as many bits as the input says."""
    places = {node: index for index, node in enumerate(nodes)}
    numbers = [places.get(node) for node in graph.graph]
    model = graph.clone()
    own = model.graph
    factors = ir.Value(
        name=FACTORS, type=ir.TensorType(ir.DataType.DOUBLE), shape=ir.Shape([len(nodes)])
    )
    own.inputs.append(factors)
    for node, number in zip(list(own), numbers, strict=True):
        if number is None:
            continue
        for place, value in enumerate(node.inputs[:_OPERANDS]):
            if value is not None and _float(value):
                made = _rounding(value, factors, number, f"{FACTORS}.{number}.{place}")
                own.insert_before(node, made)
                node.replace_input_with(place, made[-1].outputs[0])
    return model


def _rounding(value: ir.Value, factors: ir.Value, number: int, name: str) -> list[ir.Node]:
    """``c · x - (c · x - x)``, which is x to fewer bits by the rounding of each step alone."""
    made: list[ir.Node] = []

    def add(op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        node.outputs[0].name = f"{name}.{len(made)}"
        made.append(node)
        return node.outputs[0]

    dtype = value.dtype or ir.DataType.FLOAT
    wide = ir.DataType.DOUBLE if dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    at = add("Constant", value=ir.tensor(np.int64(number)))
    factor = add("Cast", add("Gather", factors, at), to=int(wide))
    x = add("Cast", value, to=int(wide))
    scaled = add("Mul", factor, x)
    rounded = add("Sub", scaled, add("Sub", scaled, x))
    # Infinities, and the large negative numbers of masks, would become NaN.
    limit = add("Constant", value=ir.tensor(np.asarray(_LARGE, wide.numpy())))
    fits = add("Less", add("Abs", x), limit)
    add("Cast", add("Where", fits, rounded, x), to=int(dtype))
    return made
