"""PyTorch files and lines that an exporter left on a node.

===================  ==========================================================================
dynamo               ``pkg.torch.onnx.stack_trace`` in the metadata, outermost frame first
TorchScript          a doc string of lines ``file.py(8): forward``, innermost frame first
TorchScript, older   a doc string ``# /path/file.py:8:0`` with one frame
===================  ==========================================================================
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the PyTorch program that a node came from."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


STACK_TRACE = "pkg.torch.onnx.stack_trace"

_PYTHON_FRAME = re.compile(
    r'File "([^"\n]+)", line (\d+), in (.+)(?:\n[ \t]+(?!File "|[ \t])(.+))?'
)
_SCRIPT_FRAME = re.compile(r"^(.+)\((\d+)\): (.+)$", re.MULTILINE)
_COMMENT_FRAME = re.compile(r"#\s*(\S.*?):(\d+):\d+")
_TORCH = re.compile(
    r"(^|/)torch/(_\w+|nn|fx|onnx|jit|export|utils|autograd|functional\.py|_\w+\.py)(/|$)"
)
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib/python3\.\d+/|^<")


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a stack trace.

    Args:
        file: Path as it was recorded.
        line: Line number, from 1.
        function: Name of the function, or ``"<unknown>"``.
        code: Text of the line, empty where it was not recorded.
    """

    file: str
    line: int
    function: str
    code: str = ""

    @property
    def in_torch(self) -> bool:
        """Return whether PyTorch itself made this frame."""
        return bool(_TORCH.search(self._posix)) or self.file.startswith("<")

    @property
    def in_library(self) -> bool:
        """Return whether the frame is PyTorch, an installed package, Python or generated code."""
        return self.in_torch or bool(_LIBRARY.search(self._posix))

    @property
    def _posix(self) -> str:
        return self.file.replace("\\", "/")


def source_of(node: ir.Node) -> Source | None:
    """The PyTorch line that a node came from.

    It is the deepest frame outside installed packages. Where every frame is located in one, as
    for a model out of a model library, it is the deepest frame outside PyTorch; failing that,
    the deepest frame.

    Returns:
        The line, its file relative to the current folder where it is located below it; None if the
        export recorded nothing.
    """
    frames = frames_of(node)
    if not frames:
        return None
    deepest_first = frames[::-1]
    frame = next((f for f in deepest_first if not f.in_library), None)
    frame = frame or next((f for f in deepest_first if not f.in_torch), deepest_first[0])
    return Source(shown_path(frame.file), frame.line)


def frames_of(node: ir.Node) -> tuple[Frame, ...]:
    """The frames recorded on a node in any of the three forms, outermost first."""
    return parse_frames(node.metadata_props.get(STACK_TRACE) or node.doc_string or "")


@functools.lru_cache(maxsize=1024)
def parse_frames(text: str) -> tuple[Frame, ...]:
    """Read a stack trace in any of the three forms.

    Args:
        text: What the exporter recorded; other text has no frames.

    Returns:
        The frames, outermost first.
    """
    frames = _PYTHON_FRAME.findall(text)
    if frames:
        return tuple(Frame(file, int(line), name, code) for file, line, name, code in frames)
    frames = _SCRIPT_FRAME.findall(text)
    if frames:
        return tuple(Frame(file, int(line), name) for file, line, name in reversed(frames))
    frames = _COMMENT_FRAME.findall(text)
    return tuple(Frame(file, int(line), "<unknown>") for file, line in frames)


def format_frames(frames: tuple[Frame, ...]) -> str:
    """Write frames the way the dynamo exporter records them."""
    lines = []
    for frame in frames:
        lines.append(f'  File "{frame.file}", line {frame.line}, in {frame.function}')
        if frame.code:
            lines.append(f"    {frame.code}")
    return "\n".join(lines).strip()


def shown_path(file: str) -> str:
    """A path as a person wants to read it: relative if it is below the current folder."""
    path = Path(file)
    if not path.is_absolute():
        return file
    try:
        return os.fspath(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
