"""Error lines of the parser and of TensorRT's core, 7.0 to 10.x, put together by node."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tripoint.views.log.names import unescape

CODES = {
    1: "INTERNAL_ERROR",
    2: "MEM_ALLOC_FAILED",
    3: "MODEL_DESERIALIZE_FAILED",
    4: "INVALID_VALUE",
    5: "INVALID_GRAPH",
    6: "INVALID_NODE",
    7: "UNSUPPORTED_GRAPH",
    8: "UNSUPPORTED_NODE",
    9: "UNSUPPORTED_NODE_ATTR",
    10: "UNSUPPORTED_NODE_INPUT",
    11: "UNSUPPORTED_NODE_DATATYPE",
    12: "UNSUPPORTED_NODE_DYNAMIC",
    13: "UNSUPPORTED_NODE_SHAPE",
}
"""Names of the parser's error codes (NvOnnxParser.h of TensorRT 7 to 10)."""

_LONGEST = 4000
"""Characters of an error that are read."""

_MOST_COMPARED = 8
"""Texts of one node that are looked at for one that is said again."""

_WHILE = re.compile(
    r'While parsing node number (?P<n>-?\d{1,9}) \[(?P<op>[^\s\]]+)(?: -> "(?P<out>[^"]*)")?\]'
)
_FUNCTION = re.compile(
    r"ERROR: [^:\n]+:\d+ In function (?P<fn>\w+):\s*\[(?P<code>\d{1,4})\] (?P<text>.*)", re.DOTALL
)
_NODE = re.compile(
    r"In node (?P<n>-?\d{1,9}) (?:with name: (?P<name>.*?) ?and operator: (?P<op>\S*) )?"
    r"\((?P<fn>\w+)\): (?P<code>[A-Z_]+): (?P<text>.*)",
    re.DOTALL,
)
_CORE = re.compile(r"Error Code (?P<code>\d{1,4}): (?P<kind>[A-Za-z ]+) \((?P<text>.*)", re.DOTALL)
_UNIMPLEMENTED = re.compile(
    r"implementation for node (?P<node>\{ForeignNode\[.*?\]\}|.+?)"
    r"(?=\.?\)?\s*$|\.?\)\s|\. |, try | due to )"
)
_BLOCK = re.compile(r"--- Begin node ---\n(?P<fields>.*)", re.DOTALL)
_FIELD = re.compile(r'^(name|op_type): "([^"\n]*)"', re.MULTILINE)
_RESHAPING = re.compile(r"(?P<name>\S.*?): reshaping failed for tensor: (?P<tensor>\S+)\s*$")
_SHAPE_MACHINE = re.compile(r"Shape Error in \w+: .*|Instruction: [A-Z_]+\{.*")
"""Message of the runtime of TensorRT 7 and 8 where sizes do not fit together."""
_HEADER = re.compile(r"\s*(?:Input filename:|ONNX IR version:)")
_OPSET = re.compile(r"\s*Opset version:\s*(\d{1,3})\s*$")


@dataclass
class Failure:
    """An error at a node, or at the model where ``op`` is empty.

    Args:
        node: Name of the node, empty if it has none or none is known.
        op: Its operator.
        first_output: Name of its first output, if the error tells it.
        code: Name of the parser's error code, empty for an error of the core.
        texts: What was said.
        building: Whether it came when the engine was built.
        number: Position of the node in the graph, -1 if it is not known.
        guessed: Whether ``node`` is only what stands before a colon, and may be none.
        running: Whether it came when the engine ran, or worked out its sizes.
    """

    node: str
    op: str
    first_output: str | None = None
    code: str = ""
    texts: list[str] = field(default_factory=list)
    building: bool = False
    number: int = -1
    guessed: bool = False
    running: bool = False


def _message(text: str) -> str:
    """An error without what other programs printed after it."""
    first, *others = unescape(text.strip()).splitlines() or [""]
    kept = (line for line in others if line.lstrip().startswith("[") or _CORE.search(line))
    return "\n".join((first, *kept))


def is_header(text: str) -> bool:
    """Return whether a line begins the header of a model, which the parser prints first."""
    return _HEADER.match(text) is not None


def opset_of(text: str) -> int | None:
    """The opset, if this line of the header tells it."""
    match = _OPSET.match(text)
    return int(match[1]) if match else None


class Reader:
    """Reads the errors of one model, and knows which node is being parsed."""

    def __init__(self) -> None:
        self._failures: list[Failure] = []
        self._by_node: dict[tuple[str, str, int], Failure] = {}
        self._node = ("", "")
        self._core: list[str] = []
        self._while: Failure | None = None
        self._running: Failure | None = None

    def at(self, name: str, op: str) -> None:
        """A node begins."""
        self._flush()
        self._running = None
        self._node = (unescape(name), unescape(op))

    def passed(self) -> None:
        """The outputs of the node are known, so it was not refused."""
        self._flush()
        self._node = ("", "")

    def first_output_of(self, name: str, op: str) -> str | None:
        """The first output of a node, if an error told it last."""
        last = self._while
        return last.first_output if last and (last.node, last.op) == (name, op) else None

    def finish(self) -> list[Failure]:
        """All errors, in order."""
        self._flush()
        return self._failures

    def take(self, text: str, *, sure: bool) -> bool:
        """Read a line; whether it is an error of a form that is known.

        Args:
            text: The line.
            sure: Whether the logger calls it an error.
        """
        text = text[:_LONGEST]
        if match := _BLOCK.search(text):
            fields = dict(_FIELD.findall(match["fields"]))
            self._in_block(unescape(fields.get("name", "")), unescape(fields.get("op_type", "")))
            return True
        if match := _RESHAPING.match(text):
            said = f"reshaping failed for tensor `{unescape(match['tensor'])}`"
            self._running = Failure(
                unescape(match["name"]), "Reshape", None, "", [said], running=True
            )
            self._failures.append(self._running)
            return True
        if self._running is not None and (match := _SHAPE_MACHINE.search(text)):
            self._running.texts.append(unescape(match[0]))
            return True
        if match := _WHILE.search(text):
            op = unescape(match["op"])
            out = unescape(match["out"]) if match["out"] is not None else None
            name = self._node[0] if self._node[1] == op else ""
            self._while = Failure(name, op, out, number=int(match["n"]))
            if not _FUNCTION.search(text):
                return True
        if match := _FUNCTION.search(text):
            failure = self._while or Failure(*self._node)
            self._add(failure, CODES.get(int(match["code"]), ""), match["text"])
        elif match := _NODE.search(text):
            self._take_node(match)
        elif match := _CORE.search(text):
            self._core.append(f"Error Code {match['code']}: {match['kind']} ({match['text']}")
        else:
            if sure:
                self._guess(text)
            return False
        return True

    def _in_block(self, name: str, op: str) -> None:
        """The parser prints the node that it refuses."""
        last = self._while
        if last is not None and op in ("", last.op):
            last.node = name or last.node
        elif name or op:
            self._node = (name, op)

    def _guess(self, text: str) -> None:
        """Keep an error of another form, in case it begins with the name of a node."""
        name, colon, said = text.partition(": ")
        if colon:
            failure = Failure(unescape(name), "", texts=[said], building=True, guessed=True)
            self._failures.append(failure)

    def _take_node(self, match: re.Match[str]) -> None:
        name, op = unescape((match["name"] or "").strip()), unescape(match["op"] or "")
        number = int(match["n"])
        last = self._while
        if not op and last is not None and last.number == number:
            failure = last
        elif not op or (not name and op == self._node[1]):
            failure = Failure(*self._node, number=number)
        else:
            failure = Failure(name, op, number=number)
        self._add(failure, match["code"], match["text"])

    def _add(self, failure: Failure, code: str, text: str) -> None:
        label = failure.node or failure.first_output or ""
        noted = self._by_node.setdefault((label, failure.op, failure.number), failure)
        if not noted.texts:
            noted.code = code
            self._failures.append(noted)
        message = _message(text)
        for said in (*(core for core in self._core if core not in message), message):
            if said and said not in noted.texts[-_MOST_COMPARED:]:
                noted.texts.append(said)
        self._core = []

    def _flush(self) -> None:
        """Errors of the core that no error of the parser followed."""
        texts, self._core = self._core, []
        for text in texts:
            place = _UNIMPLEMENTED.search(text)
            building = not self._node[1]
            failure = Failure(*self._node, building=building)
            if building and place:
                failure.node = place["node"]
            failure.texts.append(text)
            self._failures.append(failure)
        self._while = None
