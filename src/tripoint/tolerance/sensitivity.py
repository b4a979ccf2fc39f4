"""Movement of a graph's outputs if each sum in it errs by its share, measured.

The derived tolerance assumes that an error is passed on as it is, and that errors of different
operators are independent. A graph may enlarge them: a Softmax of large numbers, a difference of
nearly equal ones, the sine of a large one. And where a GPU cuts off instead of rounding, each
product is too small by some share, which adds up over layers that nothing normalizes. So where a
difference exceeds what was derived, and noise (:mod:`tripoint.parity.noise`) says nothing, ONNX
Runtime runs the graph twice more: with the operands of every operator that adds up terms rounded to
so few bits that it errs by what :mod:`tripoint.tolerance.derivation` charges, and those of a steep
one (:mod:`tripoint.tolerance.arithmetic`) by one rounding; and, for a GPU, with every product too
small by that. Four times what the first moves the outputs, or what the second does, is allowed if
it is more. The graph is that of the reference, so a fault of the other leg widens nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session
from tripoint.tolerance.arithmetic import steep_operands
from tripoint.tolerance.decisions import Decision, prepare
from tripoint.tolerance.derivation import Products, adds_up, charge, epsilon, multiplies
from tripoint.tolerance.measure import is_exact, not_finite, same_elements

Array = np.ndarray[Any, Any]
ERRORS = "tripoint.errors"
"""Name of the further input. By operator: ``2^bits + 1`` of the bits that its operands lose, and
the share of the first operand that is left."""

_EXACT = (1.0, 1.0)
_OPERANDS = 2
_TIMES = 4.0
"""Another order of sums errs by the size of what was measured, not by that."""
_PER_ROUNDING = 0.3
"""What a product of two rounded operands errs by, as a share of the epsilon of their rounding."""
_FAR = 16.0
_FEW = 0.25
"""Share of the elements up to which a measurement has not seen how far they move."""
_LARGE = 1e30
_FLOAT32_EPS = 2.0**-23
_DOUBLE_EPS = 2.0**-52


@dataclass(frozen=True)
class Steps:
    """Effect of errors on an output of steps: integers, or a shape.

    Args:
        share: Share of the elements that they change.
        moved: The largest difference that they make; infinite if they change the shape.
    """

    share: float
    moved: float

    def explain(self, share: float, difference: float) -> bool:
        """Return whether another result may come from errors of this size.

        Where they change a few elements only, others may move further, as the place of a maximum
        does.

        Args:
            share: Share of the elements that differ.
            difference: The largest difference.
        """
        few = self.share < _FEW
        return share <= _TIMES * self.share and (few or difference <= _TIMES * self.moved)


@dataclass(frozen=True)
class _Outputs:
    """By output name, without errors, once more, with rounded operands, with short products."""

    exact: Arrays
    again: Arrays
    one: Arrays
    other: Arrays

    @property
    def moved(self) -> dict[str, Array]:
        """Allowed error of each element, by output name; absent where it cannot be determined."""
        return {
            name: np.maximum(
                _TIMES * _moved(array, self.one[name]), _moved(array, self.other[name])
            )
            for name, array in self.exact.items()
            if not is_exact(array.dtype)
            and _same(array, self.again[name])
            and _comparable(array, self.one[name])
            and _comparable(array, self.other[name])
        }


@dataclass(frozen=True)
class Measured:
    """Effect of errors on a graph, by name of its outputs and of the operands of its decisions.

    Args:
        moved: What to allow for each element.
        exact: The values without errors.
        erring: The values where the sums err by far more than they are charged.
    """

    moved: Mapping[str, Array]
    exact: Arrays
    erring: Arrays


class Sensitivity:
    """Measures one graph.

    Args:
        graph: Its values carry their true shapes (:func:`tripoint.shape_inference.truth.annotate`);
            it is not changed.
    """

    def __init__(self, graph: ir.Model) -> None:
        self.prepared = prepare(graph)
        self._graph = self.prepared.model
        self._nodes = [
            node
            for node in self._graph.graph
            if (adds_up(node) or steep_operands(node)) and _float(node.outputs[0])
        ]

    @property
    def bytes(self) -> int:
        """Size of the weights, of which a run holds a copy."""
        tensors = (value.const_value for value in self._graph.graph.initializers.values())
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def at(
        self, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> dict[str, Array]:
        """Return the allowed error of each element, by output name.

        Args:
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.

        Returns:
            Nothing for outputs that are no floating-point numbers, that are not finite, or that
            another run without errors does not repeat, nor if the graph does not run.
        """
        measured = self.measure(inputs, bindings, products)
        moved = measured.moved if measured is not None else {}
        return {name: moved[name] for name in self.prepared.outputs if name in moved}

    def measure(
        self,
        inputs: Arrays,
        bindings: Mapping[str, int],
        products: Products,
        *,
        free: Collection[int] = (),
    ) -> Measured | None:
        """Measure the movement of numbers by errors while all is decided as without them.

        Args:
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.
            free: Numbers of the decisions (:mod:`tripoint.tolerance.decisions`) that are taken
                anew.

        Returns:
            None if the graph does not run, or errors cannot move anything.
        """
        if not self._nodes and not self.prepared.decisions:
            return None
        held = [each for each in self.prepared.decisions if each.index not in free]
        runs = self._runs(inputs, bindings, products, held=held)
        if runs is None:
            return None
        erring = self._far(inputs, bindings, products, runs, held) if held else runs.one
        return Measured(runs.moved, runs.exact, erring)

    def _far(
        self,
        inputs: Arrays,
        bindings: Mapping[str, int],
        products: Products,
        runs: _Outputs,
        held: Sequence[Decision],
    ) -> Arrays:
        """Run the graph with errors so large that few numbers are equal by chance."""
        errors = [_FAR * _error_of(node, bindings, products) for node in self._nodes]
        rounded = [(self._factor(*each), 1.0) for each in zip(self._nodes, errors, strict=True)]
        try:
            return self._run(inputs, rounded, {each.index: runs.exact[each.own] for each in held})
        except TripointError:
            return runs.one

    def once(
        self, exact: Arrays, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> dict[str, Array]:
        """As :meth:`at` where the outputs without errors are there, at the cost of a run or two.

        Args:
            exact: What ONNX Runtime computes from the inputs, array by output name.
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.
        """
        if not self._nodes:
            return {}
        runs = self._runs(inputs, bindings, products, exact=exact)
        return runs.moved if runs is not None else {}

    def in_steps(
        self, inputs: Arrays, bindings: Mapping[str, int], products: Products
    ) -> tuple[dict[str, float], dict[str, Steps]]:
        """As :meth:`at` for a graph that rounds to a grid, as quantization does.

        Errors are then not passed on in proportion: most vanish, and some move a number by a whole
        step, or choose another element. So errors of four times the size are tried as well.

        Args:
            inputs: Array by input name.
            bindings: Size of each input symbol.
            products: How float32 products are computed.

        Returns:
            What to allow by output name, and what such errors do to outputs of integers and
            booleans, and to any output whose shape they change.
        """
        near, far = (self._runs(inputs, bindings, products, times) for times in (1.0, _TIMES))
        if near is None or far is None:
            return {}, {}
        moved = {name: _most(array) for name, array in near.moved.items()}
        changed: dict[str, Steps] = {}
        for name, array in near.exact.items():
            others = (near.one[name], far.one[name])
            if any(array.shape != other.shape for other in others):
                changed[name] = Steps(1.0, math.inf)
            elif is_exact(array.dtype):
                share = max(1.0 - same_elements(array, other) for other in others)
                changed[name] = Steps(share, max(_most(_moved(array, other)) for other in others))
            elif name in moved and _comparable(array, far.one[name]):
                moved[name] = max(moved[name], _most(_moved(array, far.one[name])))
        return moved, changed

    def _runs(
        self,
        inputs: Arrays,
        bindings: Mapping[str, int],
        products: Products,
        times: float = 1.0,
        *,
        held: Sequence[Decision] = (),
        exact: Arrays | None = None,
    ) -> _Outputs | None:
        """Run the graph with errors of so many times the size; None if it fails."""
        errors = [times * _error_of(node, bindings, products) for node in self._nodes]
        rounded = [(self._factor(*each), 1.0) for each in zip(self._nodes, errors, strict=True)]
        short = [
            (1.0, 1.0 - error) if products != Products.ROUNDED and multiplies(node) else _EXACT
            for node, error in zip(self._nodes, errors, strict=True)
        ]
        none = [_EXACT] * len(errors)
        try:
            decided: dict[int, Array] = {}
            again = exact
            if exact is None:
                exact = self._run(inputs, none)
                decided = {each.index: exact[each.own] for each in held}
                again = self._run(inputs, none, decided)
            one = self._run(inputs, rounded, decided)
            other = self._run(inputs, short, decided) if short != none else exact
        except TripointError:
            return None
        return _Outputs(exact, again or exact, one, other)

    def _factor(self, node: ir.Node, error: float) -> float:
        double = node.outputs[0].dtype == ir.DataType.DOUBLE
        times = error / (_PER_ROUNDING * (_DOUBLE_EPS if double else _FLOAT32_EPS))
        return 2.0 ** math.floor(math.log2(times)) + 1 if times >= 1 else 1.0

    def _run(
        self,
        inputs: Arrays,
        errors: list[tuple[float, float]],
        decided: Mapping[int, Array] | None = None,
    ) -> Arrays:
        pairs = np.asarray(errors, np.float64).reshape(-1, 2)
        feed = {**inputs, **self.prepared.feed(decided or {}), ERRORS: pairs}
        outputs = self._session.run(feed)
        return dict(zip(self._session.outputs, outputs, strict=True))

    @functools.cached_property
    def _session(self) -> Session:
        return Session(Model(_erring(self._graph, self._nodes)))


def _error_of(node: ir.Node, bindings: Mapping[str, int], products: Products) -> float:
    """The relative error that its operands are given: of one that is steep, a rounding of them."""
    if adds_up(node):
        return math.sqrt(charge(node, bindings, products))
    return epsilon(node.outputs[0]) or 0.0


def _moved(exact: Array, other: Array) -> Array:
    moved: Array = np.abs(exact.astype(np.float64) - other.astype(np.float64))
    return moved


def _most(moved: Array) -> float:
    return float(moved.max(initial=0.0))


def _same(a: Array, b: Array) -> bool:
    return _comparable(a, b) and same_elements(a, b) == 1.0


def _comparable(a: Array, b: Array) -> bool:
    return a.shape == b.shape and not_finite(a) is None and not_finite(b) is None


def _float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _erring(graph: ir.Model, nodes: list[ir.Node]) -> ir.Model:
    """A copy in which the operands of the nodes err as :data:`ERRORS` says."""
    places = {node: index for index, node in enumerate(nodes)}
    numbers = [places.get(node) for node in graph.graph]
    model = graph.clone()
    own = model.graph
    errors = ir.Value(
        name=ERRORS, type=ir.TensorType(ir.DataType.DOUBLE), shape=ir.Shape([len(nodes), 2])
    )
    own.inputs.append(errors)
    for node, number in zip(list(own), numbers, strict=True):
        if number is None:
            continue
        for place, value in enumerate(node.inputs[:_OPERANDS]):
            wanted = adds_up(node) or place in steep_operands(node)
            if value is not None and _float(value) and wanted:
                errings = _error(value, errors, (number, place))
                own.insert_before(node, errings)
                node.replace_input_with(place, errings[-1].outputs[0])
    return model


def _error(value: ir.Value, errors: ir.Value, place: tuple[int, int]) -> list[ir.Node]:
    """``c · x - (c · x - x)``, which is x to fewer bits by the rounding of each step alone."""
    number, operand = place
    nodes: list[ir.Node] = []

    def add(op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        node.outputs[0].name = f"{ERRORS}.{number}.{operand}.{len(nodes)}"
        nodes.append(node)
        return node.outputs[0]

    def error(column: int) -> ir.Value:
        at = add("Constant", value=ir.tensor(np.array([number, column], np.int64)))
        return add("Cast", add("GatherND", errors, at), to=int(wide))

    dtype = value.dtype or ir.DataType.FLOAT
    wide = ir.DataType.DOUBLE if dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    x = add("Cast", value, to=int(wide))
    if operand == 0:
        x = add("Mul", x, error(1))
    scaled = add("Mul", error(0), x)
    rounded = add("Sub", scaled, add("Sub", scaled, x))
    # Infinities, and the large negative numbers of masks, would become NaN.
    limit = add("Constant", value=ir.tensor(np.asarray(_LARGE, wide.numpy())))
    fits = add("Less", add("Abs", x), limit)
    add("Cast", add("Where", fits, rounded, x), to=int(dtype))
    return nodes
