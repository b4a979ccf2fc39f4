"""The JSON form of every result. Keys are stable; new keys are minor versions."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tripoint._version import __version__
from tripoint.graph.source_lines import Source
from tripoint.model import Model
from tripoint.packages import version

if TYPE_CHECKING:
    pass

SCHEMA_VERSION = "1.0"

_PACKAGES = ("onnx", "onnx-ir", "onnxscript", "onnx-shape-inference", "onnxruntime", "torch")


def dumps(document: Mapping[str, Any]) -> str:
    """The document as text, in the order of its keys; NaN and infinity become strings."""
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)


def envelope(command: str, model: Model | None = None) -> dict[str, Any]:
    """Return the entries that every document begins with.

    Args:
        command: The command whose result it is.
        model: The model that it is about.
    """
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "tool": {"name": "tripoint", "version": __version__},
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(terse=True),
            **{name: installed for name in _PACKAGES if (installed := version(name))},
        },
    }
    if model is not None:
        document["model"] = {
            "path": str(model.path) if model.path else None,
            "sha256": model.sha256,
            "opset": model.opset,
            "nodes": model.nodes,
        }
    return document


def plain(value: Any) -> Any:
    """Return a result as dicts, lists, strings and numbers."""
    if isinstance(value, Source):
        return {"file": value.file, "line": value.line}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value) if field.repr)
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    return value
