"""The text of ``config.pbtxt``: protobuf's text format, with the line of every field."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tripoint.triton import schema

Place = tuple[str | int, ...]
"""Place of a field, such as ``("output", 1, "dims")``."""

_DEEPEST = 100
_ENDS = {"{": "}", "<": ">"}
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the schema does not have.

    Args:
        name: Its name.
        line: Its line, from 1.
        fields: The fields that the message around it may have.
    """

    name: str
    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A configuration that was read.

    Args:
        config: The ``inference.ModelConfig``.
        lines: Line of each field, from 1.
        unknown: Fields that were skipped.
    """

    config: Any
    lines: dict[Place, int]
    unknown: tuple[UnknownField, ...]

    def line(self, *place: str | int) -> int | None:
        """The line of a field, or of what is around it where the field itself is not written."""
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place[:-1]
        return None


class TextError(Exception):
    """A text that is no model configuration.

    Args:
        message: What is wrong, in one line.
        line: Where, None if that is not known.
        enum: Name of the enum that has no such value, if that is what is wrong.
        value: That value.
    """

    def __init__(
        self, message: str, line: int | None = None, enum: str | None = None, value: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.line, self.enum, self.value = message, line, enum, value


def write(config: Any) -> str:
    """The text of a configuration, ASCII alone; other characters are escaped."""
    from google.protobuf import text_format

    text: str = text_format.MessageToString(
        config, as_utf8=False, use_short_repeated_primitives=True
    )
    return text


def parse(text: str) -> Parsed:
    """Read a configuration. Fields that the schema does not have are skipped and listed.

    Raises:
        TextError: If Triton could not read it either.
    """
    from google.protobuf import text_format

    config = schema.new_config()
    lines = text.split("\n")
    walk = _Walk(text_format.Tokenizer(lines))
    try:
        # Where the walk cannot go on, the parser says why.
        with contextlib.suppress(_LostError):
            walk.message(config.DESCRIPTOR, (), "")
        text_format.ParseLines(_blanked(lines, walk.skipped), config)
    except RecursionError:
        raise TextError(f"messages are nested more than {_DEEPEST} deep") from None
    except text_format.ParseError as error:
        raise _text_error(error) from error
    return Parsed(config, walk.lines, tuple(walk.unknown))


def _text_error(error: Any) -> TextError:
    message = " ".join(str(error).split())
    # The library puts line, column and text of the line before what it has to say.
    message = re.sub(r"^\d+:\d+ : (?:'.*': )?", "", message)
    wrong = re.search(r'Enum type "inference\.([\w.]+)" has no value named (\S+?)\.?$', message)
    if wrong is None:
        return TextError(message, error.GetLine())
    return TextError(
        f"{wrong[1]} has no value {wrong[2]}", error.GetLine(), enum=wrong[1], value=wrong[2]
    )


class _LostError(Exception):
    """The text does not go on as a message should."""


Position = tuple[int, int]
"""Line and column of a token, both from 0."""


@dataclass
class _Walk:
    """Goes through the tokens of a text and notes where the fields are."""

    tokens: Any
    lines: dict[Place, int] = field(default_factory=dict)
    unknown: list[UnknownField] = field(default_factory=list)
    skipped: list[tuple[Position, Position]] = field(default_factory=list)

    def message(self, descriptor: Any, place: Place, end: str) -> None:
        """Read fields up to the end of a message; without a descriptor, without noting them."""
        if len(place) > 2 * _DEEPEST:
            raise RecursionError
        counts: Counter[str] = Counter()
        while not (self.tokens.AtEnd() if not end else self.tokens.TryConsume(end)):
            if not _NAME.fullmatch(self.tokens.token):
                raise _LostError
            start, name = self.position(), self.take()
            field = descriptor.fields_by_name.get(name) if descriptor is not None else None
            self.lines.setdefault((*place, name), start[0] + 1)
            self.values(field, (*place, name), counts, start)
            if not self.tokens.TryConsume(","):
                self.tokens.TryConsume(";")
            if descriptor is not None and field is None:
                self.skip(name, start, descriptor)

    def skip(self, name: str, start: Position, descriptor: Any) -> None:
        """Note a field that the parser must not see."""
        self.skipped.append((start, self.position()))
        fields = tuple(descriptor.fields_by_name)
        self.unknown.append(UnknownField(name, start[0] + 1, fields))

    def values(self, field: Any, place: Place, counts: Counter[str], start: Position) -> None:
        """Read the value of a field, or its list of values."""
        name = str(place[-1])
        self.tokens.TryConsume(":")
        in_list = self.tokens.TryConsume("[")
        while not (in_list and self.tokens.TryConsume("]")):
            own = (*place, counts[name])
            self.lines[own] = (self.position()[0] if in_list else start[0]) + 1
            counts[name] += 1
            opening = self.take()
            if opening in _ENDS:
                self.message(field.message_type if field else None, own, _ENDS[opening])
            while opening[:1] in ("'", '"') and self.tokens.token[:1] in ("'", '"'):
                self.take()
            if not in_list:
                return
            self.tokens.TryConsume(",")

    def take(self) -> str:
        """The token, and go to the next one."""
        token: str = self.tokens.token
        if not token:
            raise _LostError
        self.tokens.NextToken()
        return token

    def position(self) -> Position:
        """Return the position of the token."""
        here = self.tokens.ParseError("")
        return here.GetLine() - 1, here.GetColumn() - 1


def _blanked(lines: list[str], spans: list[tuple[Position, Position]]) -> list[str]:
    """The lines with spaces in place of what is skipped."""
    kept = list(lines)
    for (first, begin), (last, end) in spans:
        for number in range(first, min(last, len(kept) - 1) + 1):
            line = kept[number]
            left = begin if number == first else 0
            right = end if number == last else len(line)
            kept[number] = line[:left] + " " * len(line[left:right]) + line[right:]
    return kept
