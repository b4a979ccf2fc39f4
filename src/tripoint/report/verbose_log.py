"""A tensor table as the verbose log that its TensorRT would write.

Two versions can then be compared with any diff, and :mod:`tripoint.views.log` reads the log
back. Lines have no time. Lines about layers, weights and tactics are left out: a table does not
know them. Source lines are those of the tags of onnx-tensorrt; 0 where a table cannot know one.
Tensors have the names of the table, which are those of ONNX except where nested graphs use one
twice. A few marks in names are written as :mod:`tripoint.views.log.names` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.table import Refusal, TensorTable, ViewShape
from tripoint.views.log.names import escape, escape_operator, escape_text

_TYPES = {
    "float": "FLOAT",
    "double": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "float8e4m3fn": "FP8",
    **{name: name.upper() for name in ("int4", "int8", "uint8", "int32", "int64", "bool")},
}
_INPUT_TYPES = {"float": "float32", "double": "float32"}
_LINES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    version: {
        "initializer": ("ModelImporter.cpp", 90),
        "input": ("ModelImporter.cpp", added),
        "node": ("ModelImporter.cpp", 107),
        "search": ("ModelImporter.cpp", 123),
        "inputs": ("ModelImporter.cpp", 129),
        "outputs": ("ModelImporter.cpp", outputs),
        "mark": ("ModelImporter.cpp", marked),
        "tensor": ("ImporterContext.hpp", tensor),
    }
    for version, added, outputs, marked, tensor in (
        ("7.0", 204, 181, 513, 107),
        ("7.1", 206, 183, 535, 116),
        ("7.2", 206, 183, 538, 120),
    )
}
"""Source file and line by kind of line, of the versions that print them."""

_UNSUPPORTED_NODE = 8

OUTPUT = "output"
"""What stands for an operator where a graph output is refused."""


def lines(table: TensorTable, model: Model) -> Iterator[str]:
    """The log.

    Tensors that the target did not reach are not in it. The log ends with the last node that
    was reached or refused.

    Args:
        table: Facts of the model for a target.
        model: The model that the table is about.
    """
    flat = truth.inlined(model.ir)
    log = _Log(table, _Version.of(table), truth.names(flat))
    graph = flat.graph
    yield from log.inputs(graph)
    yield from log.initializers(graph)
    nodes = list(graph)
    if log.version.checks:
        for node in nodes:
            yield log.version.line("check", f"Static check for parsing node: {log.label(node)}")
    yield from log.nodes(nodes[: log.reached(nodes)])
    yield from log.outputs(graph)
    yield from log.others()


@dataclass(frozen=True, slots=True)
class _Version:
    """Form in which one version writes its lines.

    Args:
        number: Major and minor version.
        name: How refusals call it.
        prefix: What the logger writes before a verbose line.
        error: What it writes before an error.
        sources: Source file and line by kind of line, empty where they are not printed.
    """

    number: tuple[int, int]
    name: str
    prefix: str
    error: str
    sources: Mapping[str, tuple[str, int]]

    @classmethod
    def of(cls, table: TensorTable) -> _Version:
        """The form of the version that a table is about."""
        number = _number(table)
        target = table.target
        name = f"TensorRT {target.version}" if target.kind == "importer" else str(target)
        if number >= (8, 2):
            return cls(number, name, "[TRT] [V] ", "[TRT] [E] ", {})
        sources = _LINES[f"7.{min(number[1], 2)}"] if number < (8, 0) else {}
        # Before 8.0 the parser prints its errors itself.
        error = "[TensorRT] ERROR: " if number >= (8, 0) else ""
        return cls(number, name, "[TensorRT] VERBOSE: ", error, sources)

    @property
    def typed(self) -> bool:
        """Return whether a type follows each shape."""
        return self.number >= (8, 0)

    @property
    def checks(self) -> bool:
        """Return whether nodes are checked before they are parsed."""
        return self.number >= (9, 1)

    def line(self, kind: str, text: str) -> str:
        """A verbose line."""
        source = self.sources.get(kind)
        return f"{self.prefix}{f'{source[0]}:{source[1]}: ' if source else ''}{text}"

    def dtype(self, onnx: str | None, *, weights: bool = False) -> str:
        """The type of a tensor as it is printed behind the shape."""
        if onnx in ("int64", "double") and self.number < (9, 0):
            kept = _TYPES["int32" if onnx == "int64" else "float"]
            # From 8.5 on the cast of weights is not printed any more.
            cast = weights and self.number < (8, 5)
            return f"{onnx.upper()} -> {kept}" if cast else kept
        return _TYPES.get(onnx or "", "UNKNOWN TYPE")

    def input_dtype(self, onnx: str | None) -> str:
        """The type of a network input."""
        if onnx == "int64" and self.number < (9, 0):
            return "int32"
        return _INPUT_TYPES.get(onnx or "", onnx or "unknown")

    def unique(self, name: str, uses: int, clashes: int) -> str:
        """The network's name for a tensor whose ONNX name is taken."""
        # One count for each name up to 7.1, one for all names from 7.2 on.
        return f"{name}_{uses if self.number < (7, 2) else clashes}"

    def failure(self, refusal: Refusal, at: int, node: ir.Node | None) -> Iterator[str]:
        """An error as the parser prints it."""
        op = escape_operator(refusal.op)
        text = escape_text(refusal.reason.removeprefix(f"{self.name} "))
        function = f"import{op}"
        if self.number >= (9, 1):
            name = escape(refusal.node)
            yield (
                f"{self.error}In node {at} with name: {name} and operator: {op} ({function}): "
                f"UNSUPPORTED_NODE: {text}"
            )
            return
        first = next((value.name for value in node.outputs if value.name), "") if node else None
        output = escape(first or refusal.node).replace('"', "\N{SYMBOL FOR ESCAPE}22;")
        yield f'{self.error}While parsing node number {at} [{op} -> "{output}"]:'
        yield f"{self.error}ERROR: builtin_op_importers.cpp:0 In function {function}:"
        yield f"[{_UNSUPPORTED_NODE}] {text}"


def _number(table: TensorTable) -> tuple[int, int]:
    """Major and minor version of a table's target; of a range, the first."""
    words = table.target.version.replace("-", " ").split()
    numbers = [word for word in words if word[:1].isdigit()]
    if table.target.kind != "importer" and "rtx" in table.target.version.lower():
        return (10, 1)
    if not numbers:
        return (10, 1)
    parts = numbers[0].split(".")
    minor = parts[1] if len(parts) > 1 and parts[1].isdigit() else "0"
    return (int(parts[0]) if parts[0].isdigit() else 10, int(minor))


@dataclass
class _Log:
    """Writes the lines of one table in the order in which the parser prints them."""

    table: TensorTable
    version: _Version
    names: Mapping[ir.Value, str]
    _clashes: int = 0
    _uses: dict[str, int] = field(default_factory=dict)
    _unique: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The names of outputs are taken before anything is parsed.
        self._taken = set(self.table.outputs)
        self._refused: dict[str, list[Refusal]] = {}
        for refusal in self.table.refusals:
            self._refused.setdefault(refusal.node, []).append(refusal)
        self._written: set[Refusal] = set()

    def inputs(self, graph: ir.Graph) -> Iterator[str]:
        """The inputs of the network."""
        for value in truth.given_inputs(graph):
            name = self._name(value)
            shape = self._seen(name)
            if shape is not None:
                dtype = self.version.input_dtype(self.table.by_name[name].dtype)
                sizes = f"dimensions: {_shape(shape)}"
                text = f"Adding network input: {escape(name)} with dtype: {dtype}, {sizes}"
                yield self.version.line("input", text)
                yield self._register(name)
            yield from self._failures(name, -1, None)

    def initializers(self, graph: ir.Graph) -> Iterator[str]:
        """The initializers of a graph."""
        for name in graph.initializers:
            yield self.version.line("initializer", f"Importing initializer: {escape(name)}")
            yield from self._failures(name, -1, None, but=OUTPUT)

    def reached(self, nodes: list[ir.Node]) -> int:
        """Return the number of nodes that the target reached."""
        last = 0
        for count, node in enumerate(nodes, start=1):
            if node_name(node) in self._refused or self._outputs(node):
                last = count
        return last

    def nodes(self, nodes: Iterable[ir.Node], outer: int | None = None) -> Iterator[str]:
        """Nodes with those of their nested graphs."""
        for index, node in enumerate(nodes):
            at = index if outer is None else outer
            label = self.label(node)
            yield self.version.line("node", f"Parsing node: {label}")
            inputs = []
            for value in node.inputs:
                if value is None:
                    inputs.append("[optional input, not set], ")
                    continue
                name = self._name(value)
                yield self.version.line("search", f"Searching for input: {escape(name)}")
                inputs.append(self._item(value))
            yield self.version.line("inputs", f"{label} inputs: {''.join(inputs)}")
            for nested in _nested(node):
                if any(self._outputs(inner) for inner in nested):
                    yield from self.initializers(nested)
                    for value in nested.inputs:
                        yield self._register(self._name(value))
                    yield from self.nodes(nested, at)
            outputs = self._outputs(node)
            for name in outputs:
                if node.op_type != "Constant":  # stays weights
                    yield self._register(name)
            yield from self._failures(node_name(node), at, node)
            if outputs:
                listed = "".join(self._item(v) for v in node.outputs if self._name(v) in outputs)
                yield self.version.line("outputs", f"{label} outputs: {listed}")

    def outputs(self, graph: ir.Graph) -> Iterator[str]:
        """The outputs of the network that were reached."""
        for name in dict.fromkeys(map(self._name, graph.outputs)):
            yield from self._failures(name, -1, None)
            if self._seen(name) is not None:
                unique = escape(self._unique.get(name, name))
                yield self.version.line("mark", f"Marking {unique} as output: {escape(name)}")

    def label(self, node: ir.Node) -> str:
        """``NAME [OP]``."""
        name = escape(node.name or "")
        if not name and self.version.typed:
            first = next((value for value in node.outputs if value.name), None)
            name = f"node_of_{escape(self._name(first)) if first else ''}"
        return f"{name} [{escape_operator(node.op_type)}]"

    def _name(self, value: ir.Value) -> str:
        """Return the name of a tensor in the table."""
        return self.names.get(value) or value.name or ""

    def _register(self, name: str) -> str:
        unique = name
        if name in self._taken:
            self._uses[name] = self._uses.get(name, 0) + 1
            unique = self.version.unique(name, self._uses[name], self._clashes)
            self._clashes += 1
        self._taken.add(unique)
        self._unique[name] = unique
        text = f"Registering tensor: {escape(unique)} for ONNX tensor: {escape(name)}"
        return self.version.line("tensor", text)

    def _failures(
        self, place: str, at: int, node: ir.Node | None, *, but: str | None = None
    ) -> Iterator[str]:
        for refusal in self._refused.get(place, ()):
            if refusal in self._written or refusal.op == but:
                continue
            if node is None or refusal.op == node.op_type:
                self._written.add(refusal)
                yield from self.version.failure(refusal, at, node)

    def others(self) -> Iterator[str]:
        """Refusals of the whole model, and of what is nowhere in the log."""
        for refusal in self.table.refusals:
            if refusal not in self._written:
                yield from self.version.failure(refusal, -1, None)

    def _seen(self, name: str) -> ViewShape | None:
        facts = self.table.by_name.get(name)
        return facts.tensorrt if facts is not None else None

    def _outputs(self, node: ir.Node) -> list[str]:
        names = [self._name(value) for value in node.outputs if value.name]
        return [name for name in names if self._seen(name) is not None]

    def _item(self, value: ir.Value) -> str:
        """A tensor in a list; nothing if neither the target nor the model knows its shape."""
        name = self._name(value)
        facts = self.table.by_name.get(name)
        shape = facts.tensorrt if facts is not None else None
        node = value.producer()
        weights = value.is_initializer() or (node is not None and node.op_type == "Constant")
        if facts is None and weights:
            sizes = truth.shape_of(value) or ()
            shape = tuple(size if isinstance(size, int) else -1 for size in sizes)
        if shape is None:
            return ""
        dtype = facts.dtype if facts is not None else truth.dtype_of(value)
        suffix = f"[{self.version.dtype(dtype, weights=weights)}]" if self.version.typed else ""
        return f"[{escape(name)} -> {_shape(shape)}{suffix}], "


def _nested(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _shape(shape: ViewShape) -> str:
    return f"({', '.join(map(str, shape))})"
