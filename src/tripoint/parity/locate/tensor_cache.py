"""Tensors by name, of which only so many are held in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tripoint.trt import array_ipc

_PLAIN = "biufcV"
"""Kinds of arrays that can be written as bytes; what is not an array stays in memory."""


class Shelf:
    """Holds at most ``limit`` arrays in memory and the others in temporary files.

    Args:
        limit: How many, at least one.

    Use it in a ``with`` block, at whose end the files are removed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._held: dict[str, Any] = {}
        self._stored: dict[str, Path] = {}
        self._count = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        self._stored.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __contains__(self, name: str) -> bool:
        return name in self._held or name in self._stored

    def put(self, name: str, array: Any) -> None:
        """Keep a tensor; the oldest in memory may move to a file for it."""
        self.drop(name)
        self._held[name] = array
        while len(self._held) > self._limit:
            oldest = next((n for n, a in self._held.items() if _storable(a)), None)
            if oldest is None:
                return
            self._store(oldest)

    def get(self, name: str) -> Any:
        """A tensor that was put here."""
        if name in self._held:
            return self._held[name]
        return array_ipc.load(self._stored[name])[name]

    def drop(self, name: str) -> None:
        """Forget a tensor, if it is here."""
        self._held.pop(name, None)
        path = self._stored.pop(name, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def _store(self, name: str) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tripoint-")
        path = Path(self._folder.name, f"{self._count}.npz")
        self._count += 1
        array_ipc.save(path, {name: self._held.pop(name)})
        self._stored[name] = path


def _storable(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in _PLAIN
