"""Object that the MODEL argument of a command names: an ONNX file, or something in Python code."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from tripoint.errors import InputError, UsageError

KINDS = "model.onnx, model.onnxtxt, file.py:name or package.module:name"
_ONNX_SUFFIXES = frozenset({".onnx", ".onnxtxt", ".onnxtext"})


@dataclass(frozen=True, slots=True)
class OnnxReference:
    """An ONNX file, binary or textual."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PythonReference:
    """A module or a factory in Python code.

    Args:
        location: A ``.py`` file, or the dotted name of an importable module.
        name: The attribute to take from it.
    """

    location: Path | str
    name: str

    def __str__(self) -> str:
        return f"{self.location}:{self.name}"


def parse(text: str) -> OnnxReference | PythonReference:
    """Read a MODEL argument. Names are split off at the last colon.

    Args:
        text: For instance ``"model.onnx"``, ``"net.py:model"`` or ``"package.module:Net"``.

    Raises:
        UsageError: If the kind is unknown, or a Python file is given without a name.
        InputError: If the file does not exist.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in _ONNX_SUFFIXES:
        return OnnxReference(_existing(path))
    if suffix == ".py":
        raise _name_missing(_existing(path))
    head, colon, name = text.rpartition(":")
    if colon and Path(head).suffix.lower() in _ONNX_SUFFIXES:
        raise UsageError(f"an ONNX file takes no name after it: {text!r}", hint=f"write {head}")
    if colon and Path(head).suffix.lower() == ".py":
        file = _existing(Path(head))
        if not name.isidentifier():
            raise _name_missing(file)
        return PythonReference(file, name)
    if name.isidentifier() and _is_module_name(head):
        return PythonReference(head, name)
    if path.is_dir():
        raise UsageError(f"{text} is a folder, not a model", hint=f"write {KINDS}")
    raise UsageError(f"cannot tell what kind of model {text!r} is", hint=f"write {KINDS}")


def public_names(path: Path) -> list[str]:
    """Names of the public functions and classes at the top level of a Python file.

    The file is read, not executed; a file that is not Python has none.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [statement.name for statement in tree.body if isinstance(statement, kinds)]
    return [name for name in names if not name.startswith("_")]


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise InputError("this is a folder, not a model").within(subject=str(path))
    if not path.exists():
        raise InputError("no such file").within(subject=str(path))
    return path


def _is_module_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _name_missing(path: Path) -> UsageError:
    names = public_names(path)
    choice = f"; it has {', '.join(names)}" if names else ""
    return UsageError(
        f"{path} needs the name of the module or factory to take from it",
        hint=f"write {path}:NAME{choice}",
    )
