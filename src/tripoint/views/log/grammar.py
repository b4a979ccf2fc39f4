"""The body of one line of the parser, from TensorRT 7.0 on, whatever logger wrote it.

Names are not quoted in these logs, so lines are split at the parser's own words, and at the last
place where they occur if a name may hold them. Nothing here scans a line more than a few times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tripoint.table import ViewShape


@dataclass(frozen=True, slots=True)
class Item:
    """A tensor in a list of inputs or outputs.

    Args:
        tensor: ONNX tensor name.
        dims: Shape as printed.
        dtype: Type as printed, from TensorRT 8.0 on: ``"FLOAT"``, ``"INT64 -> INT32"``.
    """

    tensor: str
    dims: ViewShape
    dtype: str | None


@dataclass(frozen=True, slots=True)
class NodeStart:
    """``Parsing node: NAME [OP]``, or the check of the node that comes before (9.1 and later)."""

    name: str
    op: str
    check: bool


@dataclass(frozen=True, slots=True)
class Ports:
    """``NAME [OP] inputs: ...`` or ``outputs: ...``; an input that is not set is None."""

    name: str
    op: str
    outputs: bool
    items: tuple[Item | None, ...]


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """``Adding network input: T with dtype: D, dimensions: S``."""

    tensor: str
    dtype: str
    dims: ViewShape


@dataclass(frozen=True, slots=True)
class Search:
    """``Searching for input: T``."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Initializer:
    """``Importing initializer: T``."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Registered:
    """``Registering tensor: U for ONNX tensor: T``."""

    unique: str
    tensor: str


@dataclass(frozen=True, slots=True)
class Layer:
    """``Registering layer: ...``; ``kind`` is ``"node"``, ``"constant"`` or ``"helper"``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Marked:
    """``Marking U as output: T``."""

    unique: str
    tensor: str


@dataclass(frozen=True, slots=True)
class Reshaped:
    """``Original shape: S, squeezing to: S``; an element that the parser does not know is ``_``."""

    before: str
    after: str
    squeezed: bool


@dataclass(frozen=True, slots=True)
class Kernel:
    """``Using kernel: S, strides: S, prepadding: S, postpadding: S, dilations: S, ...``."""

    size: ViewShape
    strides: ViewShape
    before: ViewShape
    after: ViewShape
    dilations: ViewShape


@dataclass(frozen=True, slots=True)
class LocalFunction:
    """``Found registered local function: F. Importing as a local function.``."""


Event = (
    NodeStart
    | Ports
    | NetworkInput
    | Search
    | Initializer
    | Registered
    | Layer
    | Marked
    | Reshaped
    | Kernel
    | LocalFunction
)

OPEN_ENDED = (Search, Initializer, Registered, Layer, Marked)
"""Events whose last word is a name, so that a line does not show whether it was cut."""

NOT_SET = "optional input, not set"
UNKNOWN_ELEMENT = "_"

_NODE = "Parsing node: "
_CHECK = "Static check for parsing node: "
_INPUT = "Adding network input: "
_SEARCH = "Searching for input: "
_INITIALIZER = "Importing initializer: "
_TENSOR = "Registering tensor: "
_LAYER = "Registering layer: "
_CONSTANT = "Registering constant layer: "
_MARK = "Marking "
_SHAPE = "Original shape: "
_KERNEL = "Using kernel: "
_FUNCTION = "Found regis"

BEGINNINGS = (
    *(_NODE, _CHECK, _INPUT, _SEARCH, _INITIALIZER, _TENSOR, _LAYER, _CONSTANT),
    *(_MARK, _SHAPE, _KERNEL, _FUNCTION),
)
"""Beginnings of the lines that do not begin with the name of a node."""

_SIZES = re.compile(r"\((?P<sizes>(?:-?\d+(?:, -?\d+)*)?,?)\)")
_TAIL = re.compile(r"\((?P<sizes>(?:-?\d+(?:, -?\d+)*)?,?)\)(?:\[(?P<dtype>[A-Z0-9 >\-]+)\])?")
_WINDOW = re.compile(
    r"Using kernel: (\([^)]*\)), strides: (\([^)]*\)), prepadding: (\([^)]*\)), "
    r"postpadding: (\([^)]*\)), dilations: (\([^)]*\))"
)
_LONGEST_SIZE = 20
"""Digits; TensorRT's sizes have 64 bits."""


def parse(body: str) -> Event | None:
    """Read one line without the prefix of a logger; None if it says nothing of this kind."""
    if body.startswith(BEGINNINGS):
        for beginning, read in _READERS:
            if body.startswith(beginning):
                event = read(body[len(beginning) :])
                if event is not None:
                    return event
    return ports(body)


def ports(body: str) -> Ports | None:
    """Read a list of inputs or outputs; None if it is none, or is cut."""
    for word in ("outputs", "inputs"):
        label, separator, rest = body.partition(f"] {word}:")
        if separator:
            name, bracket, op = label.rpartition("[")
            listed = items(rest.strip())
            if not bracket or not _is_op(op) or listed is None:
                return None
            return Ports(name.removesuffix(" "), op, word == "outputs", listed)
    return None


def items(text: str) -> tuple[Item | None, ...] | None:
    """Read ``[T -> (d, d)], [T -> (d)[TYPE]], ``; None if it is cut or is something else."""
    text = text.rstrip(", ")
    if not text:
        return ()
    if text[0] != "[" or text[-1] != "]":
        return None
    entries: list[Item | None] = []
    pending: list[str] = []
    for piece in text[1:-1].split("], ["):
        pending.append(piece)
        if piece == NOT_SET:
            entries.append(None)
        elif item := _item(pending, piece):
            entries.append(item)
        else:
            continue
        pending = []
    return None if pending else tuple(entries)


def _item(pending: list[str], piece: str) -> Item | None:
    tensor, arrow, tail = piece.rpartition(" -> (")
    match = _TAIL.fullmatch(f"({tail}") if arrow else None
    sizes = _numbers(match["sizes"]) if match else None
    if match is None or sizes is None:
        return None
    return Item("], [".join((*pending[:-1], tensor)), sizes, match["dtype"])


def _numbers(text: str) -> ViewShape | None:
    sizes = [size for size in text.rstrip(",").split(", ") if size]
    if any(len(size) > _LONGEST_SIZE for size in sizes):
        return None
    return tuple(map(int, sizes))


def _sizes(text: str) -> ViewShape | None:
    match = _SIZES.fullmatch(text)
    return _numbers(match["sizes"]) if match else None


def _is_op(text: str) -> bool:
    return bool(text) and not any(character.isspace() or character == "]" for character in text)


def _node(text: str, *, check: bool = False) -> NodeStart | None:
    name, bracket, op = text.rstrip().rpartition("[")
    if not bracket or not op.endswith("]") or not _is_op(op[:-1]):
        return None
    return NodeStart(name.removesuffix(" "), op[:-1], check)


def _check(text: str) -> NodeStart | None:
    return _node(text, check=True)


def _network_input(text: str) -> NetworkInput | None:
    tensor, separator, rest = text.rstrip().rpartition(" with dtype: ")
    dtype, comma, sizes = rest.partition(", dimensions: ")
    dims = _sizes(sizes)
    return NetworkInput(tensor, dtype, dims) if separator and comma and dims is not None else None


def _search(text: str) -> Search:
    return Search(text)


def _initializer(text: str) -> Initializer:
    return Initializer(text)


def _tensor(text: str) -> Registered | None:
    unique, separator, tensor = text.partition(" for ONNX tensor: ")
    return Registered(unique, tensor) if separator else None


def _layer(text: str) -> Layer:
    return Layer("helper" if text.rstrip().endswith(" required by ONNX-TRT") else "node")


def _constant(_: str) -> Layer:
    return Layer("constant")


def _mark(text: str) -> Marked | None:
    unique, separator, tensor = text.partition(" as output: ")
    return Marked(unique, tensor) if separator else None


def _reshaped(text: str) -> Reshaped | None:
    for squeezed, word in ((True, ", squeezing to: "), (False, ", unsqueezing to: ")):
        before, separator, after = text.rstrip().partition(word)
        if separator:
            return Reshaped(before, after, squeezed)
    return None


def _kernel(text: str) -> Kernel | None:
    match = _WINDOW.match(_KERNEL + text)
    if match is None:
        return None
    sizes = [numbers for group in match.groups() if (numbers := _sizes(group)) is not None]
    return Kernel(*sizes) if len(sizes) == len(match.groups()) else None


def _function(text: str) -> LocalFunction | None:
    # The word before is misspelt up to 10.1.
    return LocalFunction() if text.rstrip().endswith("Importing as a local function.") else None


_READERS = (
    (_SEARCH, _search),
    (_TENSOR, _tensor),
    (_LAYER, _layer),
    (_NODE, _node),
    (_CHECK, _check),
    (_INPUT, _network_input),
    (_INITIALIZER, _initializer),
    (_CONSTANT, _constant),
    (_MARK, _mark),
    (_SHAPE, _reshaped),
    (_KERNEL, _kernel),
    (_FUNCTION, _function),
)
