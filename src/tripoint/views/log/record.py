"""Records of the models in a log: inputs, nodes in order, lists of tensors, errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tripoint.graph.ops import SUBGRAPHS
from tripoint.views.log import errors, grammar
from tripoint.views.log.errors import Failure
from tripoint.views.log.grammar import Item, Kernel, NetworkInput
from tripoint.views.log.lines import Line
from tripoint.views.log.names import unescape
from tripoint.views.log.versions import Evidence

UNNAMED = "node_of_"
"""Parser's name of a node without a name, before the name of the first output (from 8.0)."""

_DEEPEST = 32
"""Nested graphs that are kept apart; deeper ones are listed with the last of these."""


@dataclass(eq=False)
class NodeRecord:
    """A node of the log.

    Args:
        name: Its name.
        op: Its operator.
        unnamed: Whether the name may be one that the parser made up from the first output.
        inputs: The list of its inputs, None where the log does not show it.
        outputs: The list of its outputs, None where the log does not show it.
        searched: The inputs that the parser looked for.
        first_output: Name of its first output, where only an error tells it.
        function: Whether it calls a local function, whose nodes are its children.
        children: Nodes of its nested graphs.
        kernel: What a convolution uses.
        unknown: Shapes with elements that the parser did not know when it changed the rank.
    """

    name: str
    op: str
    unnamed: bool = False
    inputs: tuple[Item | None, ...] | None = None
    outputs: tuple[Item, ...] | None = None
    searched: list[str] = field(default_factory=list)
    first_output: str | None = None
    function: bool = False
    children: list[NodeRecord] = field(default_factory=list)
    kernel: Kernel | None = None
    unknown: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Record:
    """One model of the log.

    Args:
        inputs: Inputs of the network.
        nodes: Nodes of the main graph, in the order in which they were parsed.
        initializers: Names of initializers.
        registered: ONNX name by the name that the network gave a tensor.
        marked: Names of graph outputs, each with the network's own name for it.
        failures: Errors, in order.
        opset: Version of the default operator set, None if it is not printed.
        evidence: What tells the version.
        events: Number of lines that were read.
        broken: Number of lines that begin as the parser's and cannot be read.
    """

    inputs: list[NetworkInput] = field(default_factory=list)
    nodes: list[NodeRecord] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    registered: dict[str, str] = field(default_factory=dict)
    marked: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    opset: int | None = None
    evidence: Evidence = field(default_factory=Evidence)
    events: int = 0
    broken: int = 0


def records(lines: Iterable[Line]) -> Iterator[Record]:
    """Split a log into its models.

    A new model begins where its header is printed, where inputs are added after nodes were
    parsed, and where a node is parsed after outputs were marked.
    """
    reader = _Reader()
    for line in lines:
        if reader.is_over(line):
            yield reader.finish()
            reader = _Reader(reader.record.evidence.of_program())
        reader.take(line)
    yield reader.finish()


class _Reader:
    """Takes the lines of one model."""

    def __init__(self, evidence: Evidence | None = None) -> None:
        self.record = Record(evidence=evidence or Evidence())
        self._stack: list[NodeRecord] = []
        self._open: dict[tuple[str, str], list[NodeRecord]] = {}
        self._current: NodeRecord | None = None
        self._errors = errors.Reader()

    def is_over(self, line: Line) -> bool:
        """Return whether a line belongs to the next model."""
        record, event = self.record, line.event
        begun = bool(record.nodes or record.inputs or record.failures)
        match event:
            case grammar.NetworkInput(tensor=tensor):
                again = any(tensor == first.tensor for first in record.inputs[:1])
                return bool(record.nodes or record.marked) or again
            case grammar.NodeStart() | grammar.Initializer():
                return bool(record.marked)
            case None:
                return begun and errors.is_header(line.text)
        return False

    def take(self, line: Line) -> None:
        """Read a line."""
        record = self.record
        record.evidence.add(line)
        record.broken += line.broken
        if line.event is None:
            self._take_other(line)
            return
        record.events += 1
        if line.longer is None:
            self._take(line.event)
        elif not isinstance(line.event, grammar.Search):
            # Whichever of the two names is that of a tensor will be used.
            self._take(line.event)
            self._take(line.longer)

    def finish(self) -> Record:
        """The model, once its last line was read."""
        self.record.failures = self._errors.finish()
        return self.record

    def _take(self, event: grammar.Event) -> None:
        record = self.record
        match event:
            case grammar.NodeStart():
                self._start(event)
            case grammar.Ports():
                self._list(event)
            case grammar.NetworkInput():
                record.inputs.append(NetworkInput(_name(event.tensor), event.dtype, event.dims))
            case grammar.Initializer(tensor=tensor):
                record.initializers.add(_name(tensor))
            case grammar.Search(tensor=tensor):
                if self._current is not None:
                    self._current.searched.append(_name(tensor))
            case grammar.Registered(unique=unique, tensor=tensor):
                record.registered[_name(unique)] = _name(tensor)
            case grammar.Marked(unique=unique, tensor=tensor):
                record.marked.append((_name(unique), _name(tensor)))
            case grammar.Reshaped():
                if self._current is not None and grammar.UNKNOWN_ELEMENT in event.before:
                    self._current.unknown.append(event.before)
            case grammar.Kernel():
                if self._current is not None:
                    self._current.kernel = event
            case grammar.LocalFunction():
                node = self._current
                if node is not None and not node.function and len(self._stack) < _DEEPEST:
                    node.function = True
                    self._stack.append(node)

    def _start(self, event: grammar.NodeStart) -> None:
        self._errors.at(event.name, event.op)
        if event.check:
            self._current = None
            return
        node = self._add(event.name, event.op)
        if node.op in SUBGRAPHS and len(self._stack) < _DEEPEST:
            self._stack.append(node)

    def _add(self, name: str, op: str) -> NodeRecord:
        node = NodeRecord(_name(name), _name(op), name.startswith(UNNAMED))
        (self._stack[-1].children if self._stack else self.record.nodes).append(node)
        self._open.setdefault((node.name, node.op), []).append(node)
        self._current = node
        return node

    def _list(self, event: grammar.Ports) -> None:
        items = tuple(_plain(item) for item in event.items)
        node = self._owner(event)
        if not event.outputs:
            if node is None or node.inputs is not None:
                node = self._add(event.name, event.op)
            node.inputs = items
            return
        if node is None:
            node = self._add(event.name, event.op)
        node.outputs = tuple(item for item in items if item is not None)
        self._close(node)

    def _owner(self, event: grammar.Ports) -> NodeRecord | None:
        """The node that a list belongs to: the last open one of that name and operator."""
        name, op = _name(event.name), _name(event.op)
        waiting = self._open.get((name, op))
        if waiting:
            return waiting[-1]
        node = self._current
        if node is None or node.op != op or node.outputs is not None:
            return None
        # A part of the name may be on another line, or the prefix of a logger before it.
        if name.endswith(node.name) or node.name.endswith(name):
            return node
        if name.replace(" ", "") != node.name.replace(" ", ""):
            return None
        # It was wrapped within the name; the blank may have been put there.
        node.name = min(name, node.name, key=len)
        self._open.setdefault((node.name, op), []).append(node)
        return node

    def _close(self, node: NodeRecord) -> None:
        waiting = self._open.get((node.name, node.op))
        if waiting and waiting[-1] is node:
            waiting.pop()
        if node in self._stack:
            del self._stack[self._stack.index(node) :]
        self._current = None
        self._errors.passed()

    def _take_other(self, line: Line) -> None:
        opset = errors.opset_of(line.text)
        if opset is not None:
            self.record.opset = opset
        if line.severity != "V" and self._errors.take(line.text, sure=line.severity in ("E", "F")):
            self.record.events += 1
            node = self._current
            if node is not None and node.first_output is None:
                node.first_output = self._errors.first_output_of(node.name, node.op)


def _name(printed: str) -> str:
    return unescape(printed.strip())


def _plain(item: Item | None) -> Item | None:
    if item is None:
        return None
    return Item(_name(item.tensor), item.dims, item.dtype)
