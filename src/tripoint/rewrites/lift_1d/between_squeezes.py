"""Finds 1-D operators between a tensor of rank 4 and a tensor of rank 4, and makes them 2-D.

A *region* is a set of nodes on tensors of rank 3 that nothing else reads. Its inputs come from
tensors of rank 4 through operators that only drop an axis of size 1, its output becomes a tensor
of rank 4 again through operators that only add one. With ``f`` the region and ``F`` the same
operators on tensors with a last axis of size 1 (:mod:`tripoint.rewrites.lift_1d.operators`),

    add(f(drop(x))) = Transpose(F(Transpose(x, P)), Q)

where P takes the axis of ``x`` that is dropped to the end and Q takes it to where it is added.
Neither transpose is made where it would move nothing or only axes of size 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.graph.ops import READS_SIZES, REDUCTIONS, RESHAPING
from tripoint.rewrites.axes import normalized
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.lift_1d import operators
from tripoint.rewrites.lift_1d.operators import OPERATORS, RANK, Lifted, Tape, axes_of, mistyped
from tripoint.shape_inference.truth import shape_of
from tripoint.symbols import Shape, equal

_WIDE = RANK + 1
"""Operators that move no element; here they may only drop and add axes of size 1."""
_MOST_RELABELS = 8
"""In a row between a tensor of rank 4 and one of rank 3."""


@dataclass(frozen=True, slots=True)
class Border:
    """Nodes that lead from a tensor of rank 4 to one of rank 3, or back.

    Args:
        wide: The tensor of rank 4, or what is there instead.
        narrow: The tensor of rank 3, or what is there instead.
        relabels: The operators in between, in topological order.
        reduce: A Reduce operator between ``wide`` and the first of them that drops the axes that
            it reduces; None if there is none.
    """

    wide: ir.Value
    narrow: ir.Value
    relabels: tuple[ir.Node, ...]
    reduce: ir.Node | None = None

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """All operators in between, in topological order."""
        return self.relabels if self.reduce is None else (self.reduce, *self.relabels)


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes on tensors of rank 3 between borders.

    Args:
        entries: How its inputs come about.
        nodes: In topological order.
        exit: What becomes of its output.
        foreign: Inputs that no tensor of rank 4 becomes.
    """

    entries: tuple[Border, ...]
    nodes: tuple[ir.Node, ...]
    exit: Border
    foreign: tuple[ir.Value, ...]


def rewrite(
    name: str, title: str, owns: Callable[[frozenset[str]], bool], *, near: bool = True
) -> Rewrite:
    """A rewrite of regions.

    Args:
        name: Its name.
        title: What it does, in the imperative.
        owns: Whether it is about a region of these operators.
        near: Whether to report a region whose borders do more than drop and add an axis.
    """

    def look(node: ir.Node, _: Site) -> Replacement | str | None:
        region = find(node)
        if region is None or not owns(frozenset(each.op_type for each in region.nodes)):
            return None
        if not near and any(map(_border_refusal, (*region.entries, region.exit))):
            return None
        return refusal(region) or _replacement(region)

    return Rewrite(name=name, title=title, may_match=may_end, find=look)


def may_end(node: ir.Node) -> bool:
    """A cheap test of the node at which a region may end."""
    return (
        node.op_type in ("Unsqueeze", "Reshape")
        and node.domain == ""
        and len(node.outputs) == 1
        and _rank(node.outputs[0]) in (None, _WIDE, _WIDE + 1)
    )


def find(root: ir.Node) -> Region | None:
    """The region that ends with a node, whether or not it can be rewritten."""
    if not may_end(root):
        return None
    relabels = _relabels(root.outputs[0])
    output = relabels[0].inputs[0] if relabels else None
    if output is None:
        return None
    sizes = _read_only_by(
        [value for node in relabels for value in node.inputs[1:]], _all_but_sizes, lambda _: True
    )
    seeds = [output, *(value for node in sizes for value in node.inputs)]
    nodes = _read_only_by(seeds, _data, lambda node: _is_liftable(node, output, root))
    produced = {value for node in nodes for value in node.outputs}
    reads = Counter(value for node in nodes for value in _data(node) if value not in produced)
    borders = [_entry(value) for value in reads]
    entries = tuple(border for border in borders if border.nodes)
    if output not in produced or not entries:
        return None
    for value, count in reads.items():
        producer = value.producer()
        shared = count < len(value.uses()) or value.is_graph_output()
        if shared and producer is not None and producer.op_type in (*RESHAPING, *OPERATORS):
            return None
    foreign = tuple(border.narrow for border in borders if not border.nodes)
    exit_ = Border(root.outputs[0], output, relabels)
    return Region(entries, tuple(reversed(nodes)), exit_, foreign)


def _read_only_by(
    values: Iterable[ir.Value | None],
    operands: Callable[[ir.Node], Iterable[ir.Value | None]],
    belongs: Callable[[ir.Node], bool],
) -> list[ir.Node]:
    """Nodes that nothing reads but the readers of ``values`` and each other, the last one first.

    Args:
        values: What is read from outside, as often as it is.
        operands: Through which inputs to go on.
        belongs: Whether a node may be one of them.
    """
    readers: list[ir.Node] = []
    reads: Counter[ir.Node] = Counter()
    pending = list(values)
    while pending:
        value = pending.pop()
        node = value.producer() if value is not None else None
        if node is None:
            continue
        reads[node] += 1
        if reads[node] == _uses(node) and belongs(node):
            readers.append(node)
            pending.extend(operands(node))
    return readers


def _uses(node: ir.Node) -> int:
    """Count the other readers of a node's output; -1 if it is an output of the graph."""
    if any(value.is_graph_output() for value in node.outputs):
        return -1
    return sum(len(value.uses()) for value in node.outputs)


def _all_but_sizes(node: ir.Node) -> Iterable[ir.Value | None]:
    return () if node.op_type in READS_SIZES else node.inputs


def _data(node: ir.Node) -> list[ir.Value]:
    return OPERATORS[node.op_type].data(node)


def _is_liftable(node: ir.Node, output: ir.Value, root: ir.Node) -> bool:
    """Return whether a node is in the region's graph, on tensors of one rank as far as inferred."""
    if node.op_type not in OPERATORS or node.domain != "" or node.graph is not root.graph:
        return False
    ranks = {_rank(value) for value in (output, *node.outputs, *_data(node))}
    return len(ranks - {None}) <= 1


def _relabels(value: ir.Value) -> tuple[ir.Node, ...]:
    """Return the reshaping operators that produce a value, up to a tensor of rank 4."""
    nodes: list[ir.Node] = []
    node = value.producer()
    while node is not None and node.op_type in RESHAPING and node.domain == "":
        if len(nodes) == _MOST_RELABELS or (nodes and _uses(node) != 1) or mistyped(node):
            break
        nodes.insert(0, node)
        source = node.inputs[0] if node.inputs else None
        node = source.producer() if source is not None and _rank(source) != _WIDE else None
    return tuple(nodes)


def _entry(narrow: ir.Value) -> Border:
    relabels = _relabels(narrow)
    wide = relabels[0].inputs[0] if relabels else narrow
    reduce = wide.producer() if wide is not None else None
    if wide is None:
        return Border(narrow, narrow, ())
    if reduce is not None and _drops_axes(reduce):
        return Border(reduce.inputs[0] or wide, narrow, relabels, reduce)
    return Border(wide, narrow, relabels)


def _drops_axes(node: ir.Node) -> bool:
    return (
        node.op_type in REDUCTIONS
        and node.domain == ""
        and _uses(node) == 1
        and not mistyped(node)
        and node.attributes.get_int("keepdims", 1) == 0
        and bool(node.inputs)
        and node.inputs[0] is not None
        and _rank(node.inputs[0]) == _WIDE
        and axes_of(node) is not None
    )


def wide_source(narrow: ir.Value) -> tuple[Lifted, tuple[ir.Node, ...]] | None:
    """The tensor of rank 4 that becomes a tensor of rank 3 by dropping an axis of size 1.

    Returns:
        That tensor as the lifted one, and the nodes in between; None if there is none.
    """
    border = _entry(narrow)
    if not border.nodes or border.reduce is not None or _border_refusal(border):
        return None
    order = _order(_wide(border), _lifted(border)) or ()
    return Lifted(border.wide, order), border.nodes


def refusal(region: Region) -> str:
    """The first condition that does not hold; empty if all do."""
    reasons = (
        *(_border_refusal(border) for border in region.entries),
        *(operators.refusal(node) for node in region.nodes),
        _border_refusal(region.exit),
        *(f"`{value.name}` comes from no tensor of rank {_WIDE}" for value in region.foreign),
    )
    return next((reason for reason in reasons if reason), "")


def _replacement(region: Region) -> Replacement:
    root = region.exit.nodes[-1]
    graph = root.graph
    tape = Tape(graph.initializers.values() if isinstance(graph, ir.Graph) else ())
    for entry in region.entries:
        value = entry.wide
        if entry.reduce is not None:
            attributes = {**entry.reduce.attributes, "keepdims": 1}
            (value,) = tape.node(entry.reduce.op_type, entry.reduce.inputs, attributes)
        tape[entry.narrow] = Lifted(value, _order(_wide(entry), _lifted(entry)) or ())
    for node in region.nodes:
        lifted = OPERATORS[node.op_type].lift(tape, node)
        for old, new in zip(node.outputs, lifted, strict=True):
            tape[old] = new
    order = _order(_lifted(region.exit), _wide(region.exit)) or ()
    result = tape.transposed(tape[region.exit.narrow], order)
    before = (node for border in region.entries for node in border.nodes)
    return Replacement(
        nodes=(*before, *region.nodes, *region.exit.nodes),
        outputs=root.outputs,
        new_nodes=tape.nodes,
        new_outputs=[result],
        initializers=tape.initializers,
    )


def _border_refusal(border: Border) -> str:
    """Return why a border is more than an axis of size 1 less or more; empty if it is not."""
    for node in border.relabels:
        value = node.outputs[0]
        if node.op_type in ("Squeeze", "Unsqueeze"):
            axes = axes_of(node)
            if axes is None:
                return f"`{value.name}` has no constant axes"
            if len(axes) != 1 and len(border.nodes) == 1:
                return f"`{value.name}` changes {len(axes)} axes, not one"
    if _rank(border.wide) != _WIDE:
        return f"`{border.wide.name}` does not have rank {_WIDE}"
    if _rank(border.narrow) != RANK:
        return f"`{border.narrow.name}` does not have rank {RANK}"
    if _order(_wide(border), _lifted(border)) is None:
        return f"`{border.narrow.name}` is not `{border.wide.name}` without an axis of size 1"
    return ""


def _order(source: Shape, result: Shape) -> tuple[int, ...] | None:
    """The permutation that makes one shape of another and keeps the order of all but ones.

    Axes of size 1 stay where they are if they can.

    Returns:
        For each axis of the result that of the source; None if there is no such permutation.
    """
    solid, wanted = ([i for i, dim in enumerate(dims) if dim != 1] for dims in (source, result))
    pairs = list(zip(wanted, solid, strict=False))
    same = all(equal(result[i], source[j]) is True for i, j in pairs)
    if not same or len(solid) != len(wanted) or len(source) != len(result):
        return None
    order = dict(pairs)
    spare = [axis for axis in range(len(source)) if source[axis] == 1]
    ones = [axis for axis in range(len(result)) if result[axis] == 1]
    order.update((axis, axis) for axis in ones if axis in spare)
    left = [axis for axis in spare if axis not in ones]
    order.update(zip((axis for axis in ones if axis not in spare), left, strict=True))
    return tuple(order[axis] for axis in range(len(result)))


def _wide(border: Border) -> Shape:
    """Shape of the tensor of rank 4, with 1 where it is reduced."""
    shape = shape_of(border.wide) or ()
    axes = axes_of(border.reduce) if border.reduce is not None else ()
    reduced = {normalized(axis, len(shape)) for axis in axes or ()}
    return tuple(1 if axis in reduced else dim for axis, dim in enumerate(shape))


def _lifted(border: Border) -> Shape:
    return (*(shape_of(border.narrow) or ()), 1)


def _rank(value: ir.Value) -> int | None:
    return value.shape.rank() if value.shape is not None else None
