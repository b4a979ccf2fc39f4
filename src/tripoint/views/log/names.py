"""Names in a log that tripoint writes: one line stays one line, and every name can be read back.

ONNX allows any text as a name, and the log has no quoting. A control or formatting character, and
the first character of what the log itself puts between names, are written as ``␛`` (U+241B), the
code point in hexadecimal and ``;``: a line break is ``␛a;``. ``␛`` itself is written so, too.
Logs of TensorRT hold no such character, so that one rule reads both.
"""

from __future__ import annotations

import re
import unicodedata

_ESCAPE = "\N{SYMBOL FOR ESCAPE}"
_ESCAPED = re.compile(_ESCAPE + r"([0-9a-f]{0,6});")
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_MARKS = re.compile(
    r"^\s+$|^[^\w/%.:]|^\d(?=\d{3}-)|^n(?=ode_of_)|(?<!\s)\s+$|:(?= )|\](?=, \[| (?:in|out)puts:)"
    r"| (?=-> \(|for ONNX (?:tensor|node))|\\|&(?=[a-z#])"
)
"""Separators of names in a log, beginnings of lines, and what readers of mangled logs change."""

_MARKS_IN_OPERATOR = re.compile(r"[\s\[\]\\&]")
_NOTHING = re.compile(r"(?!)")


def escape(name: str) -> str:
    """A name as it is written."""
    return _escape(name, _MARKS)


def escape_operator(op: str) -> str:
    """An operator as it is written: one word."""
    return _escape(op, _MARKS_IN_OPERATOR) or f"{_ESCAPE};"


def escape_text(text: str) -> str:
    """A sentence as it is written: on one line."""
    return _escape(text, _NOTHING)


def _escape(name: str, marks: re.Pattern[str]) -> str:
    if _ESCAPE not in name and name.isprintable() and not marks.search(name):
        return name
    marked = {at for match in marks.finditer(name) for at in range(*match.span())}
    return "".join(
        f"{_ESCAPE}{ord(character):x};"
        if at in marked or character == _ESCAPE or unicodedata.category(character) in _HIDDEN
        else character
        for at, character in enumerate(name)
    )


def unescape(name: str) -> str:
    """A name, or an operator, as the model has it."""
    return _ESCAPED.sub(_character, name) if _ESCAPE in name else name


def _character(match: re.Match[str]) -> str:
    code = int(match[1] or "110000", 16)
    if code > 0x10FFFF:
        return match[0] if match[1] else ""
    return chr(code)
