"""Keeping what other libraries print off the user's screen."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Captured:
    """Output that was printed, and the warnings with their places; filled when the block ends."""

    text: str = ""
    warnings: list[warnings.WarningMessage] = field(default_factory=list)


@contextlib.contextmanager
def captured() -> Iterator[Captured]:
    """Swallow warnings and output of the block, those of native code included.

    Yields:
        An object whose ``text`` holds the swallowed output once the block has ended.
    """
    result = Captured()
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as sink:
        warned: list[warnings.WarningMessage] = []
        try:
            with (
                _descriptors_to(sink.fileno()),
                contextlib.redirect_stdout(sink),
                contextlib.redirect_stderr(sink),
                warnings.catch_warnings(record=True) as caught,
            ):
                warned = caught
                warnings.simplefilter("default")
                yield result
        finally:
            result.warnings = warned
            sink.writelines(
                f"{each.filename}:{each.lineno}: {each.category.__name__}: {each.message}\n"
                for each in warned
            )
            sink.flush()
            sink.seek(0)
            result.text = sink.read()


@contextlib.contextmanager
def _descriptors_to(target: int) -> Iterator[None]:
    saved: list[tuple[int, int]] = []
    _flush()
    try:
        # Native code writes to the descriptors, past Python's sys.stdout.
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                saved.append((descriptor, os.dup(descriptor)))
                os.dup2(target, descriptor)
        yield
    finally:
        _flush()
        for descriptor, copy in saved:
            os.dup2(copy, descriptor)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # What native code printed may still wait in the buffer of the C library.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
