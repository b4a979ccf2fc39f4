"""Graph inputs that are graph outputs as well: an engine cannot give both one name.

The parser calls such an input ``__x`` and makes an identity layer of it that is called ``x``
(``ModelImporter.cpp`` of onnx-tensorrt, all versions; seen in TensorRT-RTX 1.6.1).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TypeVar

_PREFIX = "__"

_T = TypeVar("_T")


def engine_name(name: str, outputs: Container[str]) -> str:
    """Return TensorRT's name of a graph input.

    Args:
        name: Its ONNX name.
        outputs: Names of the graph outputs.
    """
    return f"{_PREFIX}{name}" if name in outputs else name


def entry(name: str, entries: Mapping[str, _T]) -> _T | None:
    """Return the entry for an input of an engine, under its name there or its ONNX name.

    Args:
        name: Its name in the engine.
        entries: What was given, by name.
    """
    return entries.get(entry_name(name, entries))


def entry_name(name: str, entries: Container[str]) -> str:
    """Return the name under which an input of an engine was entered.

    Args:
        name: Its name in the engine.
        entries: The names that were given.
    """
    return name if name in entries else name.removeprefix(_PREFIX)


def onnx_name(name: str, outputs: Container[str]) -> str:
    """The ONNX name of an input of an engine.

    Args:
        name: Its name in the engine.
        outputs: Names of the outputs of the engine.
    """
    plain = name.removeprefix(_PREFIX)
    return plain if plain in outputs else name
