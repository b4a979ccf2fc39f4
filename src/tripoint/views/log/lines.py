"""Lines that a parser wrote, read from a file whatever loggers, terminals and posts added.

A line of the log may be wrapped over several lines of the file. What does not begin a line of a
logger, and holds none of the parser's words, is taken as a rest of the line before; the lines are
put together in the way in which they can be read.
"""

from __future__ import annotations

import html
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from tripoint.views.log import grammar
from tripoint.views.log.grammar import Event

Logger = Literal["trtexec", "python", "python-old", "other"]
"""Order of the prefix of a line: ``[V] [TRT]``, ``[TRT] [V]``, ``[TensorRT] VERBOSE:``."""

_CHUNK = 1 << 20
_LONGEST = 1 << 24
"""Characters of one line that are kept."""

_MOST_PARTS = 12
"""Lines of a file that are taken for one line of the log."""

_MOST_TRIED = 4
"""Parts up to which every way to put them together is tried."""

_JSON_KEYS = ("log", "message", "msg", "MESSAGE", "textPayload")
"""Keys of a line in collectors: json-file of Docker, structured loggers, journald, clouds."""

_CONTAINER = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP] ")
"""Prefix that the runtime of Kubernetes puts before a line."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_MARKDOWN = re.compile(r"\\([\\_*\[\](){}<>#+\-.!|`~])")
_LEVEL = "VERBOSE|INFO|WARNING|ERROR|INTERNAL_ERROR|DEBUG"
_STAMP = r"\d{2,4}[-/]\d\d[-/]\d{2,4}[-T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_PIECE = (
    rf"\[TensorRT\]\s*(?:{_LEVEL}):"
    r"|\[TRT\](?!\S*\.[ch]pp:)|\[TensorRT\]|\[TRT_v\d+\]|\[[A-Z]\]"
    rf"|\[(?:{_STAMP}|\d\d:\d\d:\d\d)(?:\s+(?:{_LEVEL}))?\]|{_STAMP}(?![\d:])"
    rf"|\[[VIWEF]:onnxruntime:[^\]\n]*\]|[VIWEF]\d{{4}} \d\d:\d\d:\d\d[.\d]* +\d+ \S+:\d+\]"
    rf"|- \w+ - (?:{_LEVEL}) -"
)
_PREFIX = re.compile(rf"(?:\s*(?:{_PIECE}))*\s*")
_UNPREFIXED = (
    r"While parsing node number |ERROR: |In node -?\d|Input filename:|ONNX IR version:"
    r"|Opset version:|Producer |Domain:|Model version:|Doc string:|-{8}|&&&& "
)
"""Lines that programs print beside the logger: headers, and errors of the parser before 8.0."""

_BEGINS = re.compile(rf"\s*(?:{_PIECE}|(?:\[TRT\])?(?:[^\s:]*/)?\w+\.[ch]pp:\d+: |{_UNPREFIXED})")
_SOURCE = re.compile(r"(?:\[TRT\])?(?:[^\s:]*/)?(?P<file>\w+\.[ch]pp):(?P<line>\d+): ?")
_SEVERITY = re.compile(
    rf"\[(?P<letter>[VIWEFXSU])\]|(?P<word>{_LEVEL})|\[(?P<ort>[VIWEF]):onnx|^(?P<glog>[VIWEF])\d"
)
_WORDS = re.compile("|".join((*map(re.escape, grammar.BEGINNINGS), r"\] (?:in|out)puts:")))
_OTHER_WORDS = re.compile(
    r"[Ee]rror|ERROR|node number|In node|TensorRT[ -]|TRT_v|tensorrt|INT64|Int64|nput filename"
    r"|ONNX IR version|Opset version|reshaping failed for|Instruction: "
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log.

    Args:
        text: What is left without the prefix of the logger and of the source file; further
            lines of a message of several follow after line breaks.
        event: What it says, None for a line of another kind.
        severity: Its first letter, ``"V"`` for verbose; empty if none is printed.
        logger: Which logger wrote it.
        file: Source file that printed it, where the version prints that.
        number: Line in that file.
        longer: The event if the rest of the line is on the next one of the file, where the event
            does not show whether it is.
        broken: Whether it begins as a line of the parser does and cannot be read.
    """

    text: str
    event: Event | None
    severity: str
    logger: Logger
    file: str | None
    number: int
    longer: Event | None = None
    broken: bool = False


@dataclass(frozen=True, slots=True)
class _Form:
    """Form of the file as a whole."""

    encoding: str
    entities: bool
    markdown: bool


def read(stream: BinaryIO) -> Iterator[Line]:
    """The lines of a log that may matter, in order.

    Args:
        stream: The file; it is read twice, so it must allow to seek.
    """
    form = _survey(stream)
    parts: list[str] = []
    prefixed = False
    for text in _texts(stream, form):
        begins, telling = _BEGINS.match(text), _WORDS.search(text)
        prefixed = prefixed or bool(begins and telling)
        if begins or (telling and not (prefixed and _is_cut(parts))):
            yield from _lines(parts)
            parts = [text]
        elif not text.strip():
            continue
        elif not parts:
            parts = [text]
        elif len(parts) < _MOST_PARTS:
            parts.append(text)
    yield from _lines(parts)


def _is_cut(parts: list[str]) -> bool:
    """Return whether a line of a logger says nothing yet, as if cut before the telling word."""
    first = parts[0] if parts else ""
    return bool(_BEGINS.match(first)) and not (_WORDS.search(first) or _OTHER_WORDS.search(first))


def _survey(stream: BinaryIO) -> _Form:
    start = stream.read(64)
    stream.seek(0)
    encoding = _encoding(start)
    entities = markdown = False
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    before = ""
    while chunk := text.read(_CHUNK):
        entities = entities or " -&gt; (" in before + chunk
        markdown = markdown or "\\_" in chunk or "\\[" in chunk
        before = chunk[-16:]
    text.detach()
    stream.seek(0)
    return _Form(encoding, entities, markdown)


def _encoding(start: bytes) -> str:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if start[1::2].count(0) > len(start) // 4:
        return "utf-16-le"
    if start[::2].count(0) > len(start) // 4:
        return "utf-16-be"
    return "utf-8-sig"


def _texts(stream: BinaryIO, form: _Form) -> Iterator[str]:
    """The lines of the file without colours, mangling and line ends."""
    text = io.TextIOWrapper(stream, encoding=form.encoding, errors="replace", newline="\n")
    try:
        while line := text.readline(_LONGEST):
            if not line.endswith("\n"):
                # Skip the rest of a line that is too long to be kept.
                while (rest := text.readline(_LONGEST)) and not rest.endswith("\n"):
                    pass
            line = _carried(line.rstrip("\r\n"))
            if "\r" in line:  # a progress bar was drawn over
                line = line.rpartition("\r")[2]
            if "\x1b" in line:
                line = _ANSI.sub("", line)
            if form.entities and "&" in line:
                line = html.unescape(line).replace("\xa0", " ")
            if form.markdown and "\\" in line:
                line = _MARKDOWN.sub(r"\1", line)
            yield line
    finally:
        text.detach()


def _carried(line: str) -> str:
    """The line itself, of one that a collector of logs keeps."""
    if line.startswith("{"):
        try:
            kept = json.loads(line)
        except ValueError:
            return line
        texts = (kept.get(key) for key in _JSON_KEYS) if isinstance(kept, dict) else ()
        return next((each.rstrip("\r\n") for each in texts if isinstance(each, str)), line)
    prefix = _CONTAINER.match(line)
    return line[prefix.end() :] if prefix else line


def _lines(parts: list[str]) -> Iterator[Line]:
    """The line that was wrapped into these parts, if it may matter."""
    if not parts:
        return
    first = parts[0]
    if len(parts) == 1 and not (_WORDS.search(first) or _OTHER_WORDS.search(first)):
        return
    line = _line(first)
    if isinstance(line.event, grammar.OPEN_ENDED) and len(parts) > 1:
        longer = _line(_joined(parts[:2])).event if " " not in parts[1].strip() else None
        yield _line(first, longer=longer)
        return
    if len(parts) > 1 and (line.event is None or _goes_on(line.event, parts[1])):
        for count in range(len(parts), 1, -1):
            for text in _ways(parts[:count]):
                whole = _line(text)
                if whole.event is not None:
                    yield whole
                    return
    if line.event is None:
        text = "\n".join((line.text, *parts[1:]))
        broken = bool(_WORDS.search(first))
        yield Line(text, None, line.severity, line.logger, line.file, line.number, broken=broken)
        return
    yield line


def _goes_on(event: Event, part: str) -> bool:
    """Return whether a list of tensors goes on in the next line of the file."""
    return isinstance(event, grammar.Ports) and part.lstrip().startswith("[")


def _ways(parts: list[str]) -> Iterable[str]:
    """Return the lines that the parts may have been, the likely one first.

    Text is wrapped at a blank, which is lost, or at a column.
    """
    likely = [_gap(a, b) for a, b in itertools.pairwise(parts)]
    if len(parts) > _MOST_TRIED:
        return (_joined(parts, gaps) for gaps in (likely, [""] * len(likely), [" "] * len(likely)))
    choices = (dict.fromkeys((gap, "", " ")) for gap in likely)
    return (_joined(parts, gaps) for gaps in itertools.product(*choices))


def _joined(parts: list[str], gaps: Iterable[str] | None = None) -> str:
    if gaps is None:
        gaps = [_gap(a, b) for a, b in itertools.pairwise(parts)]
    rest = (f"{gap}{part.strip()}" for gap, part in zip(gaps, parts[1:], strict=True))
    return "".join((parts[0].rstrip(), *rest))


def _gap(before: str, after: str) -> str:
    if before[-1:] == " " or (after[:1] == " " and after[1:2] != " "):
        return " "
    ends, begins = before.rstrip()[-1:], after.lstrip()
    return " " if ends in ",:]>" or begins.startswith(("[", "(", "->")) else ""


def _line(text: str, longer: Event | None = None) -> Line:
    prefix = _PREFIX.match(text)
    at = prefix.end() if prefix else 0
    before = text[:at]
    source = _SOURCE.match(text, at)
    body = text[source.end() if source else at :].strip()
    event = grammar.parse(body)
    if event is None and not source:
        word = _WORDS.search(body)
        if word and word.start():
            # The prefix of a logger that is not known here.
            event = grammar.parse(body[word.start() :])
    return Line(
        text=body,
        event=event,
        severity=_severity(before),
        logger=_logger(before),
        file=source["file"] if source else None,
        number=int(source["line"][:9]) if source else 0,
        longer=longer,
        broken=event is None and body.startswith(grammar.BEGINNINGS),
    )


def _severity(prefix: str) -> str:
    match = _SEVERITY.search(prefix)
    letter = match[0].strip("[]")[:1] if match else ""
    return "V" if letter in ("X", "S", "U") else letter  # Polygraphy's levels of verbose


def _logger(prefix: str) -> Logger:
    if "[TensorRT]" in prefix:
        return "python-old"
    trt, letter = prefix.find("[TRT]"), re.search(r"\[[VIWEF]\]", prefix)
    if trt < 0 or letter is None:
        return "other"
    return "python" if trt < letter.start() else "trtexec"
