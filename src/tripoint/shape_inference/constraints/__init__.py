"""Equations that the sizes of a graph's inputs must satisfy, so that it runs.

Each operator has rules (ONNX operator specification): sizes that broadcast, inner sizes that
agree, a Reshape whose numbers of elements are the same, a window that fits. Applied to the true
shapes they give equations in the symbols of the inputs. What holds for all sizes of at least 1
is left out, and an equation that several nodes have is listed for the first of them.

An equation is exact as far as those in front of it hold: sizes that satisfy all decided ones run,
and sizes that violate one fail at its node, or at one in front of it. Where a window does not fit,
ONNX Runtime may go on with an empty tensor in place of an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.source_lines import source_of
from tripoint.graph.subgraphs import graphs_of
from tripoint.shape_inference import dim_names, hardcoded_sizes, inference, shape_inputs, truth
from tripoint.shape_inference.constraints import layout, operators
from tripoint.shape_inference.constraints.data import DataNames
from tripoint.shape_inference.constraints.equation import Claim, Equation, dim, normalized
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds
from tripoint.shape_inference.constraints.positions import Positions
from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import FAILURES, Context, operand
from tripoint.symbols import symbol, symbols_of, symbols_that_may_be_zero
from tripoint.table import Frozen

__all__ = ["Equation", "collect", "collect_with_meant"]

_MOST_LEAST = 512


def collect(model: ir.Model, empty: Collection[str] = ()) -> tuple[Equation, ...]:
    """The equations between the sizes of the inputs of a model, in graph order.

    The values of inputs that are shape tensors have symbols, too, those of
    :func:`tripoint.shape_inference.shape_inputs.find`.

    Args:
        model: It is not changed.
        empty: Symbols that may be 0; what is said of others holds for sizes of at least 1.

    Raises:
        InputError: If its local functions cannot be inlined.
    """
    return collect_with_meant(model, empty)[0]


def collect_with_meant(
    model: ir.Model, empty: Collection[str] = ()
) -> tuple[tuple[Equation, ...], tuple[Equation, ...]]:
    """Return :func:`collect`'s equations, and those that hold only at the export's example.

    A graph runs at sizes that violate the latter, and computes something else than was meant; see
    :mod:`tripoint.shape_inference.hardcoded_sizes`.
    """
    with symbols_that_may_be_zero(empty):
        return _collect(model, frozenset(empty))


def _collect(
    model: ir.Model, empty: frozenset[str]
) -> tuple[tuple[Equation, ...], tuple[Equation, ...]]:
    elements = shape_inputs.find(model)
    flat = truth.inlined(model.clone())
    for value, shape in dim_names.input_shapes(flat.graph).items():
        value.shape = shape
    for node in flat.graph.all_nodes():
        for value in node.outputs:
            value.shape = None
    arrays = {
        value: _array(elements[value.name or ""], value)
        for value in flat.graph.inputs
        if value.name in elements
    }
    symbols = {
        name
        for value in flat.graph.inputs
        for each in truth.shape_of(value) or ()
        for name in symbols_of(each)
    } | {name for names in elements.values() for name in names}
    with truth.tensor_names_kept(flat):
        context = inference.infer(flat, symbols, arrays, named=True)
        names = truth.names(flat)
        collector = _Collector(context, frozenset(symbols), names, flat.graph)
        stayed = hardcoded_sizes.find(flat.graph, context, frozenset(symbols), names)
        return _strongest(collector.of(flat.graph), empty), tuple(_meant(flat.graph, stayed))


def _meant(graph: ir.Graph, stayed: Iterable[Frozen]) -> Iterator[Equation]:
    """The sizes that nodes that run for certain are meant for."""
    nodes = {node_name(node): node for node in graph}
    for each in stayed:
        node = nodes.get(each.node)
        if node is not None:
            yield Equation(
                "equal",
                each.expected,
                each.size,
                each.node,
                each.op,
                each.tensor,
                source_of(node),
                each.reason,
            )


def _strongest(equations: Iterable[Equation], empty: Collection[str]) -> tuple[Equation, ...]:
    """The equations without lower bounds of one symbol that follow from those in front."""
    kept: list[Equation] = []
    least: dict[str, int] = {}
    for equation in equations:
        bound = _least(equation, empty)
        if bound is not None:
            (name,) = equation.symbols
            if bound <= least.get(name, 0 if name in empty else 1):
                continue
            least[name] = bound
        kept.append(equation)
    return tuple(kept)


def _least(equation: Equation, empty: Collection[str]) -> int | None:
    """The smallest size that an equation asks of its only symbol, if it asks nothing else."""
    if equation.kind != "at_least" or not equation.decided or len(equation.symbols) != 1:
        return None
    (name,) = equation.symbols
    start = 0 if name in empty else 1
    sizes = np.arange(start, _MOST_LEAST + 1, dtype=object)
    try:
        good = np.asarray(holds(equation, {name: sizes}))
    except UndecidedError:
        return None
    first = int(np.argmax(good))
    # Sizes of windows grow with those of the inputs, so what holds so far goes on to hold.
    grows = "Mod" not in equation.text and isinstance(equation.right, int)
    return start + first if grows and good[first:].all() and good[first] else None


def _array(
    names: tuple[str, ...], value: ir.Value
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    rank = len(truth.shape_of(value) or ())
    array = np.empty(len(names), dtype=object)
    array[:] = [symbol(name) for name in names]
    return array if rank else array.reshape(())


class _Collector:
    def __init__(
        self,
        context: Context,
        symbols: frozenset[str],
        names: Mapping[ir.Value, str],
        graph: ir.Graph,
    ) -> None:
        self.context = context
        self.symbols = symbols
        self.names = names
        self.rules = {
            **operators.RULES,
            **layout.RULES,
            "Gather": Positions(context, graph).gather,
        }
        self.seen: set[tuple[object, ...]] = set()
        self.data = DataNames(context, names)

    def of(self, graph: ir.Graph) -> Iterator[Equation]:
        return self._through(graph, _needed(graph), certain=True)

    def _through(
        self, graph: ir.Graph, needed: set[ir.Node], *, certain: bool
    ) -> Iterator[Equation]:
        for node in graph:
            if node not in needed:
                continue
            if node.domain:
                continue
            rule = self.rules.get(node.op_type)
            if rule is not None:
                # What does not fit at all was said when shapes were inferred.
                with contextlib.suppress(*FAILURES):
                    for claim in rule(self.context, node):
                        yield from self._equations(node, claim, certain=certain)
            for body, runs in self._bodies(node):
                yield from self._through(body, _needed(body), certain=certain and runs)

    def _bodies(self, node: ir.Node) -> Iterator[tuple[ir.Graph, bool]]:
        """The nested graphs that may run, and whether they do."""
        condition = self.context.scalar(node.inputs[0]) if node.op_type == "If" else e.UNKNOWN
        if isinstance(condition, int):
            taken = "then_branch" if condition else "else_branch"
            yield node.attributes[taken].as_graph(), True
            return
        for body in graphs_of(node):
            yield body, node.op_type == "Loop" and self._runs(node, body)

    def _runs(self, node: ir.Node, body: ir.Graph) -> bool:
        """Return whether a Loop runs all its iterations, and one at least."""
        limit, first = operand(node, 0), operand(node, 1)
        begins = self.context.scalar(first) if first is not None else 1
        once = e.is_negative(e.subtract(self.context.scalar(limit), 1)) == 0
        return begins == 1 and self.context.scalar(body.outputs[0]) == 1 and once

    def _equations(self, node: ir.Node, claim: Claim, *, certain: bool) -> Iterator[Equation]:
        for kind, left, right in normalized(claim):
            sides = dim(left), dim(right)
            key = (kind, *sides)
            if key in self.seen:
                continue
            self.seen.add(key)
            used = {name for side in sides if side is not None for name in symbols_of(side)}
            if not used and None in sides and not self._symbolic(claim):
                continue
            told = tuple(self.data.told(side) for side in sides)
            if told[0] == told[1]:
                continue
            yield Equation(
                kind=kind,
                left=told[0],
                right=told[1],
                node=node_name(node),
                op=node.op_type,
                tensor=self.names.get(claim.tensor, "") if claim.tensor is not None else "",
                source=source_of(node),
                reason=str(self.data.told(claim.reason)),
                decided=certain and None not in sides and used <= self.symbols,
            )

    def _symbolic(self, claim: Claim) -> bool:
        return any(not isinstance(side, int) for side in (claim.left, claim.right))


def _needed(graph: ir.Graph) -> set[ir.Node]:
    """The nodes that an output of a graph is computed from."""
    needed: set[ir.Node] = set()
    pending = [value.producer() for value in graph.outputs]
    while pending:
        node = pending.pop()
        if node is None or node in needed:
            continue
        needed.add(node)
        pending += [value.producer() for value in _read_by(node)]
    return needed


def _read_by(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in graphs_of(node):
        yield from body.outputs
        for inner in body.all_nodes():
            yield from (value for value in inner.inputs if value is not None)
