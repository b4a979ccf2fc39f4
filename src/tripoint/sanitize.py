"""Text from a model file is data: it must not steer a terminal or a page."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def clean(text: object) -> str:
    """Show control and formatting characters as escapes, everything else as it is.

    Args:
        text: Any value; it is converted with ``str``.
    """
    characters = str(text)
    if characters.isprintable():
        return characters
    return "".join(map(_visible, characters))


def clean_lines(text: object) -> str:
    """As :func:`clean`, and keep line breaks."""
    return "\n".join(clean(line) for line in str(text).splitlines())


def _visible(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode("ascii")
    return character
