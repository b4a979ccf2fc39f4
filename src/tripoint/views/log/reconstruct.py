"""Graph, view and true shapes reconstructed from what a log says of a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.ops import COUNTING, RECURRENT, REDUCTIONS, SUBGRAPHS
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.shape_inference.truth import Truth
from tripoint.symbols import Shape
from tripoint.table import Reason, Refusal, Target, View, ViewShape
from tripoint.trt import messages
from tripoint.views.log import infer
from tripoint.views.log.dynamic_dims import Dependence
from tripoint.views.log.errors import Failure
from tripoint.views.log.grammar import Item
from tripoint.views.log.record import UNNAMED, NodeRecord, Record
from tripoint.views.parser_errors import refusals
from tripoint.words import number_of

_IR_VERSION = 8
_LONGEST_SYMBOL = 60

_WEIGHTS_BEHIND_FIRST = RECURRENT | {
    *("Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization"),
    *("LayerNormalization", "GroupNormalization", "PRelu"),
}
"""Operators whose inputs from the second on are weights where a part of a log does not tell."""

_DTYPES = {
    "FLOAT": ir.DataType.FLOAT,
    "HALF": ir.DataType.FLOAT16,
    "BF16": ir.DataType.BFLOAT16,
    "FP8": ir.DataType.FLOAT8E4M3FN,
    "INT64 -> INT32": ir.DataType.INT64,
    "DOUBLE -> FLOAT": ir.DataType.DOUBLE,
}
_IGNORED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(REDUCTIONS, ("10", "axes")),
    "ReduceSum": ("8.0", "axes"),
    "Split": ("8.0", "split"),
}
"""Second inputs that importers ignore, with the first version that reads them."""

_INPUT_DTYPES = {"float32": ir.DataType.FLOAT}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A model as its log shows it.

    Args:
        model: The graph: names, operators and connections, neither attributes nor weights.
        view: What TensorRT printed.
        truth: What follows from it about true shapes.
        notes: Sentences about what the log does not show.
    """

    model: Model
    view: View
    truth: Truth
    notes: tuple[str, ...]


def rebuild(record: Record, target: Target) -> Rebuilt:
    """Build a graph from the lines of one model.

    Args:
        record: What the log says of the model.
        target: Name of the log and the version that wrote it.
    """
    builder = _Builder(record)
    builder.add_inputs()
    nodes = [builder.node(each) for each in record.nodes]
    outputs, noted = builder.outputs()
    graph = ir.Graph(
        builder.inputs,
        outputs,
        nodes=nodes,
        initializers=builder.initializers,
        opset_imports={"": record.opset} if record.opset else {},
        name="recorded",
    )
    model = Model(ir.Model(graph, ir_version=_IR_VERSION))
    names = truth.names(model.ir)
    rows = {name: row for value, name in names.items() if (row := builder.rows.get(value))}
    view = View(
        target=target,
        shapes={name: row.printed for name, row in rows.items()},
        reasons=builder.reasons(str(target), names),
        refusals=(*builder.misread(str(target)), *_refusals(record, model, str(target))),
    )
    true = truth.Truth(
        shapes={name: row.shape for name, row in rows.items()},
        dtypes={name: truth.dtype_of(value) for value, name in names.items()},
        symbols=frozenset(builder.of_inputs),
        data_dependent=frozenset(builder.of_values),
        contradictions=(),
        fixed={name: row.fixed for name, row in rows.items() if row.fixed},
    )
    notes = (*builder.notes(), *([noted] if noted else []), *_notes(record))
    return Rebuilt(model, view, true, notes)


@dataclass(frozen=True, slots=True)
class _Row:
    """Shape of a tensor as printed and in truth, and its fixed axes."""

    printed: ViewShape
    shape: Shape
    fixed: tuple[int, ...] = ()


@dataclass
class _Builder:
    """Makes values and nodes in the order of the log, and decides true sizes on the way.

    Args:
        record: The lines of the model.
        inputs: Inputs of the network, and tensors whose nodes are not in the log.
        initializers: Weights that some node consumes.
        rows: What is known of each tensor.
        of_inputs: Symbols of the inputs of the network.
        of_values: Symbols that count over values.
    """

    record: Record
    inputs: list[ir.Value] = field(default_factory=list)
    initializers: list[ir.Value] = field(default_factory=list)
    rows: dict[ir.Value, _Row] = field(default_factory=dict)
    of_inputs: set[str] = field(default_factory=set)
    of_values: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._scopes: list[dict[str, ir.Value]] = [{}]
        self._produced = {item.tensor for node in self.record.nodes for item in node.outputs or ()}
        self._outer: list[list[ir.Value]] = []
        self._data = _read_as_data(self.record.nodes)
        self._order = {name: at for at, name in enumerate(self.record.registered.values())}
        self._shapes: dict[ir.Value, Shape] = {}
        self._sizes: dict[ir.Value, Shape] = {}
        self._symbols: set[str] = set()
        self._numbers: Counter[str] = Counter()
        self._unknown: list[tuple[NodeRecord, ir.Node]] = []
        self._dependence = Dependence()
        self._cut: list[str] = []
        self._misread: list[ir.Node] = []
        failures = [each for each in self.record.failures if not each.building]
        self._refused = {each.node or each.first_output for each in failures} - {"", None}

    def add_inputs(self) -> None:
        """The inputs of the network."""
        for each in self.record.inputs:
            if each.tensor in self._scopes[0]:
                continue
            dtype = _INPUT_DTYPES.get(each.dtype) or _dtype(each.dtype.upper())
            value = self._input(each.tensor, each.dims, dtype)
            self.of_inputs |= {dim for dim in self._shapes[value] if isinstance(dim, str)}

    def _input(
        self, name: str, dims: ViewShape, dtype: ir.DataType | None, *, listed: bool = True
    ) -> ir.Value:
        shape = tuple(dim if dim != -1 else self._symbol(name, i) for i, dim in enumerate(dims))
        value = self._value(name, shape, dtype)
        self._scopes[0][name] = value
        self.inputs.append(value)
        # The parser lists what varies before the first node, and goes through all nodes in order:
        # what is not produced after such a list is a weight.
        if listed or -1 in dims or not self.record.inputs:
            self._dependence.enter(value, static=-1 not in dims)
        self.rows[value] = _Row(dims, shape)
        return value

    def _value(self, name: str, shape: Shape, dtype: ir.DataType | None) -> ir.Value:
        value = ir.Value(
            name=name,
            shape=ir.Shape([d if isinstance(d, int) else ir.SymbolicDim(d) for d in shape]),
            type=ir.TensorType(dtype) if dtype is not None else None,
        )
        self._shapes[value] = shape
        return value

    def _find(self, name: str) -> ir.Value | None:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), None)

    def _symbol(self, name: str, axis: int) -> str:
        """A symbol for a size that is not known, unlike any other."""
        tidy = re.sub(r"[^A-Za-z0-9_]+", "_", name[:_LONGEST_SYMBOL])
        plain = f"{tidy if tidy[:1].isalpha() else f'_{tidy}'}_dim{axis}"
        symbol = plain
        while symbol in self._symbols:
            self._numbers[plain] += 1
            symbol = f"{plain}_{self._numbers[plain] + 1}"
        self._symbols.add(symbol)
        return symbol

    def node(self, record: NodeRecord, *, nested: bool = False) -> ir.Node:
        """A node with its nested graphs; its outputs are known from here on."""
        listed = [self._operand(item, nested=nested) for item in _inputs_of(record)]
        items = list(record.outputs or ())
        if not items and record.first_output:
            items = [Item(record.first_output, (), None)]
        attributes = []
        if record.op in SUBGRAPHS and record.children and not record.function:
            attributes = [ir.AttrGraph("body", self._nested(record.children))]
        node = ir.Node(
            "",
            record.op,
            listed,
            attributes,
            outputs=[ir.Value(name=item.tensor) for item in items],
            name=_name_of(record),
        )
        self._dependence.follow(node)
        if self._ignores(node):
            self._misread.append(node)
        if record.outputs is not None:
            for index, (item, value) in enumerate(zip(items, node.outputs, strict=True)):
                self._decide(record, node, index, item, value)
        if record.unknown:
            self._unknown.append((record, node))
        return node

    def _operand(self, item: Item | str | None, *, nested: bool) -> ir.Value | None:
        if item is None:
            return None
        name = item if isinstance(item, str) else item.tensor
        if (existing := self._find(name)) is not None:
            return existing
        if isinstance(item, str) or (name in self._produced and not nested):
            return None  # nothing before this node produces it
        dtype = _dtype(item.dtype)
        shape = tuple(
            dim if dim != -1 else self._symbol(name, axis) for axis, dim in enumerate(item.dims)
        )
        if name in self.record.initializers or (not nested and name not in self._data):
            value = self._value(name, shape, dtype)
            self._scopes[0][name] = value
            self.initializers.append(value)
            self.rows[value] = _Row(item.dims, shape)
            return value
        if not nested:
            self._cut.append(name)
            return self._input(name, item.dims, dtype, listed=False)
        # What a nested graph is given by its node, once for each turn.
        value = self._value(name, shape, dtype)
        self._scopes[-1][name] = value
        self._outer[-1].append(value)
        self._dependence.enter(value, static=False)
        self.rows[value] = _Row(item.dims, shape)
        return value

    def _nested(self, children: Iterable[NodeRecord]) -> ir.Graph:
        self._scopes.append({})
        self._outer.append([])
        nodes = [self.node(child, nested=True) for child in children]
        self._scopes.pop()
        # They are registered in the order of the nested graph.
        outer = sorted(self._outer.pop(), key=lambda value: self._order.get(value.name or "", -1))
        return ir.Graph(outer, [], nodes=nodes, name="nested")

    def _decide(
        self, record: NodeRecord, node: ir.Node, index: int, item: Item, value: ir.Value
    ) -> None:
        call = infer.Call(
            shapes=[self._shapes.get(each) if each is not None else None for each in node.inputs],
            values=[self._sizes.get(each) if each is not None else None for each in node.inputs],
            printed=item.dims,
            kernel=record.kernel,
        )
        if self._ignores(node) or not self._refused.isdisjoint((node.name, item.tensor)):
            # What was printed need not be what the model says.
            guess: infer.Guess = (None,) * len(item.dims)
        else:
            several = index and node.op_type != "Split"
            guess = infer.decide("" if several else node.op_type, call)
        name = item.tensor
        shape: Shape = tuple(
            dim if dim is not None else self._symbol(name, axis) for axis, dim in enumerate(guess)
        )
        opened = [axis for axis, dim in enumerate(guess) if dim is None]
        if node.op_type in COUNTING:
            self.of_values |= {str(shape[axis]) for axis in opened}
        value.shape = ir.Shape([d if isinstance(d, int) else ir.SymbolicDim(d) for d in shape])
        dtype = _dtype(item.dtype)
        value.type = ir.TensorType(dtype) if dtype is not None else None
        self._scopes[-1][name] = value
        self._shapes[value] = shape
        sizes = infer.value_of(node.op_type, call)
        if sizes is not None:
            self._sizes[value] = sizes
        constant = not self._dependence.varies(value)
        fixed = (axis for axis, dim in enumerate(shape) if constant and isinstance(dim, str))
        self.rows[value] = _Row(item.dims, shape, tuple(fixed))

    def _ignores(self, node: ir.Node) -> bool:
        """Return whether the importer ignored an input that decides the shape."""
        first, _ = _IGNORED.get(node.op_type, ("", ""))
        present = len(node.inputs) > 1 and node.inputs[1] is not None
        return bool(first) and present and self.record.evidence.is_before(first)

    def misread(self, version: str) -> Iterator[Refusal]:
        """Nodes that the importer silently read as something else."""
        for node in self._misread:
            what = _IGNORED[node.op_type][1]
            reason = f"{version} silently ignores the input `{what}` of {node.op_type}"
            yield Refusal(node_name(node), node.op_type, reason)

    def outputs(self) -> tuple[list[ir.Value], str | None]:
        """The outputs of the network, and a sentence if they had to be guessed."""
        marked: dict[ir.Value, None] = {}
        values = self._scopes[0]
        for unique, name in self.record.marked:
            value = values.get(name) or values.get(self.record.registered.get(unique, ""))
            if value is not None:
                marked[value] = None
        if marked or not self.record.nodes:
            return list(marked), None
        last = [
            value for value in values.values() if value.producer() is not None and not value.uses()
        ]
        return last, "no outputs are marked in it; those that nothing reads are shown as outputs"

    def reasons(self, version: str, names: Mapping[ir.Value, str]) -> dict[str, Reason]:
        """Return the reasons of lost tensors, where the parser printed that a size was unknown."""
        reasons = {}
        for record, node in self._unknown:
            inputs = tuple(names[v] for v in node.inputs if v is not None and v in names)
            text = f"{version} changes the rank of ({record.unknown[0].strip('()')}) at run time"
            for value in node.outputs:
                row = self.rows.get(value)
                if row is not None and -1 in row.printed:
                    reasons[names[value]] = Reason(text, inputs)
        return reasons

    def notes(self) -> list[str]:
        """Sentences about tensors whose nodes are not in the log."""
        if not self._cut:
            return []
        return [f"it does not show what makes {_few(self._cut)}; shown as inputs of the graph"]


def _read_as_data(nodes: Iterable[NodeRecord]) -> set[str]:
    """Names that some node consumes where no weights are expected."""
    return {
        item.tensor
        for node in nodes
        for index, item in enumerate(node.inputs or ())
        if item is not None and not (index and node.op in _WEIGHTS_BEHIND_FIRST)
    }


def _inputs_of(record: NodeRecord) -> Iterator[Item | str | None]:
    """The listed inputs, with those between that were looked for and are not in the list."""
    listed = record.inputs or ()
    names = {item.tensor for item in listed if item is not None}
    looked = [name for name in record.searched if name]
    if names.issuperset(looked):
        yield from listed
        return
    at = 0
    for item in listed:
        if item is not None:
            while at < len(looked) and looked[at] != item.tensor and looked[at] not in names:
                yield looked[at]
                at += 1
            at += at < len(looked) and looked[at] == item.tensor
        yield item
    yield from looked[at:]


def _name_of(record: NodeRecord) -> str:
    """The ONNX name of a node; from 8.0 on a node without one is printed by its first output."""
    first = record.outputs[0].tensor if record.outputs else record.first_output
    made_up = record.unnamed and first is not None and record.name == UNNAMED + first
    return "" if made_up else record.name


def _dtype(printed: str | None) -> ir.DataType | None:
    if printed is None:
        return None
    dtype = _DTYPES.get(printed)
    if dtype is None and printed in ir.DataType.__members__:
        dtype = ir.DataType[printed]
    return dtype


def _notes(record: Record) -> Iterator[str]:
    if not record.nodes and not record.inputs:
        yield "it has no verbose lines of the parser, so no shapes are in it"
    unfinished = sum(node.outputs is None for node in record.nodes)
    if unfinished:
        what = number_of(unfinished, "node")
        yield f"{what} without outputs in it: refused there, or the log is cut"
    if record.broken:
        yield f"{record.broken} lines of the parser in it are damaged and were left out"


def _few(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _refusals(record: Record, model: Model, version: str) -> Iterator[Refusal]:
    graph = model.ir.graph
    named = {node.name: node for node in graph.all_nodes() if node.name}
    producers = {value.name: node for node in graph.all_nodes() for value in node.outputs}
    for failure in record.failures:
        node = producers.get(failure.first_output or "") or named.get(failure.node)
        if node is None:
            node = producers.get(failure.node) or producers.get(failure.node.removeprefix(UNNAMED))
        if failure.guessed and node is None:
            continue
        name, op = _place(failure, node)
        if failure.running:
            reason = f"{version} fails when the engine runs: {'; '.join(failure.texts)}"
            yield Refusal(name, op, reason[:600])
            continue
        if failure.building:
            reason = f"{version} fails when the engine is built: {' '.join(failure.texts)}"[:600]
            message = messages.of(failure.texts) if failure.node else None
            if message is not None:
                reason = f"{reason}, which means: {message.meaning}"
            yield Refusal(name, op, reason)
            continue
        error = {
            "code": failure.code,
            "node": -1,
            "name": name or (f"node {failure.number}" if failure.number >= 0 else "model"),
            "op": op,
            "text": "\n".join(failure.texts),
            "stack": (),
        }
        yield from refusals([error], graph, version)


def _place(failure: Failure, node: ir.Node | None) -> tuple[str, str]:
    if node is not None and (not failure.op or node.op_type == failure.op):
        return node_name(node), node.op_type
    return failure.node.removeprefix(UNNAMED) or failure.first_output or "", failure.op
