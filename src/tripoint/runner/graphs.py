"""Choice of the CUDA graphs that are captured and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Kept = TypeVar("Kept")

_SEEN_PER_KEPT = 8


class Recent(Generic[Kept]):
    """Entries that were used most recently, up to a number of entries.

    Args:
        capacity: How many are kept; 0 keeps none.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept.values())

    def get(self, key: Hashable) -> Kept | None:
        """The entry of a key, which becomes the most recent; None if it is not kept."""
        entry = self._kept.get(key)
        if entry is not None:
            self._kept.move_to_end(key)
        return entry

    def put(self, key: Hashable, entry: Kept) -> None:
        """Keep an entry. Make :meth:`room` first, or the oldest is dropped."""
        self._kept[key] = entry
        self._kept.move_to_end(key)
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)

    def room(self) -> Kept | None:
        """Take the oldest entry out if the next one would be too many."""
        if self._kept and len(self._kept) >= self.capacity:
            return self._kept.popitem(last=False)[1]
        return None

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()


class Sightings:
    """Tells what comes back from what comes once: capturing pays for the first only.

    Args:
        kept: How many graphs are kept; the memory for sightings grows with it.
    """

    def __init__(self, kept: int) -> None:
        self._seen: Recent[bool] = Recent(_SEEN_PER_KEPT * kept)

    def again(self, key: Hashable) -> bool:
        """Return whether a key was seen before, lately enough to be remembered."""
        if self._seen.get(key):
            return True
        self._seen.put(key, True)
        return False
