"""From the MODEL argument of a command to a model, exporting it first where it is PyTorch."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tripoint import api, views
from tripoint.analysis.facts import Facts
from tripoint.cli import options
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.sanitize import clean
from tripoint.sources import reference
from tripoint.spec import Spec


@contextlib.contextmanager
def opened(
    text: str,
    spec: Spec,
    export: options.Export = options.Export(),  # noqa: B008
) -> Iterator[Model]:
    """The model of a command.

    Args:
        text: ``model.onnx``, ``file.py:name`` or ``pkg.module:name``.
        spec: Inputs of the export, if there is one.
        export: Exporter and opset.

    Yields:
        The model. One that was exported lives in a temporary folder until the block ends.
    """
    onnx = reference.parse(text)
    if isinstance(onnx, reference.OnnxReference):
        yield api.load(onnx.path)
        return
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        exported = api.export(text, Path(folder) / "model.onnx", spec=spec, **export.arguments())
        for note in exported.notes:
            sys.stderr.write(f"note: {clean(note)}\n")
        yield exported.model


@contextlib.contextmanager
def opened_facts(
    text: str,
    tensor: str,
    spec: Spec,
    export: options.Export,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> Iterator[Facts]:
    """The facts of a model, or of a log, which holds both the graph and the view.

    Args:
        text: As :func:`opened`, or the path of a verbose log.
        tensor: Chooses among the models of a log: the first that has a tensor of this name.
        spec: As :func:`opened`.
        export: As :func:`opened`.
        target: As :func:`tripoint.analysis`; a log is a target itself.
        tensorrt: As :func:`tripoint.analysis`.

    Raises:
        UsageError: If a log is given together with a target.
    """
    if Path(text).suffix in views.LOG_SUFFIXES:
        if target is not None:
            raise UsageError("a log is a target itself", hint="leave --target out")
        models = api.recorded(text)
        yield next((facts for facts in models if tensor in facts.table.by_name), models[0])
        return
    with opened(text, spec, export) as loaded:
        yield api.facts(loaded, target=target, tensorrt=tensorrt)
