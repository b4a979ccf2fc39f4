"""Words of messages that depend on a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_IRREGULAR = {"axis": "axes", "entry": "entries", "body": "bodies", "pass": "passes"}


def number_of(count: int, what: str) -> str:
    """A number of things: ``1 node``, ``3 nodes``, ``2 lost dims``, ``4 axes``.

    Args:
        count: How many.
        what: The singular of what is counted; its last word gets the ending.
    """
    if count == 1:
        return f"1 {what}"
    *before, last = what.split(" ")
    return " ".join([str(count), *before, _IRREGULAR.get(last, f"{last}s")])


def once(lines: Iterable[str]) -> list[str]:
    """Each line once, where it stands first; behind one that stands there often, how often."""
    counts = Counter(lines)
    return [line if count == 1 else f"{line} ({count} times)" for line, count in counts.items()]
