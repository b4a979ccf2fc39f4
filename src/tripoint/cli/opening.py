"""From the MODEL argument of a command to a model, exporting it first where it is PyTorch."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tripoint import api
from tripoint.cli.options import ExporterName
from tripoint.model import Model
from tripoint.sources import reference
from tripoint.spec import Spec


@contextlib.contextmanager
def opened(
    text: str,
    spec: Spec,
    *,
    exporter: ExporterName = ExporterName.dynamo,
    opset: int | None = None,
) -> Iterator[Model]:
    """The model of a command.

    Args:
        text: ``model.onnx``, ``file.py:name`` or ``pkg.module:name``.
        spec: Inputs of the export, if there is one.
        exporter: Which exporter.
        opset: Opset to export.

    Yields:
        The model. One that was exported lives in a temporary folder until the block ends.
    """
    found = reference.parse(text)
    if isinstance(found, reference.OnnxReference):
        yield api.load(found.path)
        return
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        exported = api.export(
            text, Path(folder) / "model.onnx", spec=spec, exporter=exporter.value, opset=opset
        )
        yield exported.model
