"""How far the outputs of a graph move if each sum in it errs by what it is charged, measured.

The derived tolerance assumes that an error is passed on as it is. A graph may enlarge it: a
Softmax of large numbers, a difference of nearly equal ones. So where a difference exceeds what was
derived, ONNX Runtime runs the graph with random errors of the size that :mod:`tripoint.parity.
tolerance` charges, put behind every operator that adds up terms, and twice what that moves
the outputs is allowed if it is more. The graph is that of the reference, so a fault of the other
leg widens nothing.
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
from tripoint.parity.taps import take_over
from tripoint.parity.tolerance import Products, adds_up, charge

Array = np.ndarray[Any, Any]
_DRAWS = 3
"""A single one may be near zero where there are few elements."""

NOISE = "tripoint.noise"
"""Name of the further input: the relative error of each operator that adds up terms."""


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
        noise = [math.sqrt(charge(node, bindings, products)) for node in self._nodes]
        none = [0.0] * len(noise)
        try:
            exact, again = self._run(inputs, none), self._run(inputs, none)
            found = {
                name: 0.0
                for name, array in exact.items()
                if not is_exact(array.dtype) and _same(array, again[name])
            }
            for _ in range(_DRAWS):
                moved = self._run(inputs, noise)
                found = {
                    name: max(size, measure(exact[name], moved[name], 0.0, 0.0).max_abs)
                    for name, size in found.items()
                    if _comparable(exact[name], moved[name])
                }
        except TripointError:
            return {}
        return found

    def _run(self, inputs: Arrays, noise: list[float]) -> Arrays:
        outputs = self._session.run({**inputs, NOISE: np.asarray(noise, np.float32)})
        return dict(zip(self._session.outputs, outputs, strict=True))

    @functools.cached_property
    def _session(self) -> Session:
        return Session(Model(_noisy(self._graph, self._nodes)))


def _same(a: Array, b: Array) -> bool:
    return _comparable(a, b) and same_elements(a, b) == 1.0


def _comparable(a: Array, b: Array) -> bool:
    return a.shape == b.shape and not_finite(a) is None and not_finite(b) is None


def _float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _noisy(graph: ir.Model, nodes: list[ir.Node]) -> ir.Model:
    """A copy with ``output · (1 + noise · random)`` behind the nodes."""
    places = {node: index for index, node in enumerate(nodes)}
    numbers = [places.get(node) for node in graph.graph]
    model = graph.clone()
    own = model.graph
    noise = ir.Value(
        name=NOISE, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([len(nodes)])
    )
    own.inputs.append(noise)
    for node, number in zip(list(own), numbers, strict=True):
        if number is not None:
            made = _factor(node.outputs[0], noise, number)
            take_over(own, node.outputs[0], made)
            own.insert_after(node, made)
    return model


def _factor(value: ir.Value, noise: ir.Value, number: int) -> list[ir.Node]:
    # Multiplying keeps an infinity as it is; adding an error of zero times it would give NaN.
    made: list[ir.Node] = []

    def add(op_type: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        node.outputs[0].name = f"{NOISE}.{number}.{len(made)}"
        made.append(node)
        return node.outputs[0]

    index = add("Constant", [], value=ir.tensor(np.int64(number)))
    size = add("Gather", [noise, index])
    random = add("RandomNormalLike", [value], dtype=int(ir.DataType.FLOAT), seed=float(number))
    dtype = value.dtype or ir.DataType.FLOAT
    error = add("Cast", [add("Mul", [random, size])], to=int(dtype))
    one = add("Constant", [], value=ir.tensor(np.ones((), dtype.numpy())))
    add("Mul", [value, add("Add", [error, one])])
    return made
