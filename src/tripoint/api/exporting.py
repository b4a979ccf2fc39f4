"""From PyTorch to ONNX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tripoint.api.arguments import as_torch
from tripoint.spec import Spec

if TYPE_CHECKING:
    from tripoint.sources.python import TorchModel
    from tripoint.sources.torch_export import Export

Exporter = Literal["dynamo", "torchscript"]


def export(
    model: str | TorchModel,
    path: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    force: bool = False,
) -> Export:
    """Export a PyTorch module to an ONNX file whose nodes know their source lines.

    Args:
        model: ``file.py:name``, ``pkg.module:name`` or a
            :class:`~tripoint.sources.python.TorchModel`.
        path: The ONNX file to write; large weights go to ``<path>.data`` beside it.
        spec: Shapes, ranges and dtypes of the inputs; inputs that it leaves out are taken from
            the examples of the module.
        exporter: PyTorch's graph capture (``"dynamo"``) or its tracer (``"torchscript"``). Where
            its graph does not follow a range, see :mod:`tripoint.sources.held`, and that of the
            other does, the file is the other's, and a note says so.
        opset: Opset to export, by default the exporter's choice.
        input_names: Names for the inputs in the file, in the order of ``forward``.
        output_names: Names for what the module returns, in order; by default those of
            :mod:`tripoint.sources.flatten`.
        force: Whether existing files may be replaced.

    Raises:
        UsageError: If the reference is not one to PyTorch code, or the inputs do not fit.
        InputError: If the code raises, or returns something that is not made of tensors.
        ExternalStepError: If the exporter refuses.
        RangeLostError: If no exporter keeps a range.
        OutputError: If the file exists without ``force``, or cannot be written.
    """
    from tripoint.sources.torch_export import export as run_export

    return run_export(
        as_torch(model),
        spec or Spec(),
        Path(path),
        exporter=exporter,
        opset=opset,
        input_names=input_names,
        output_names=output_names,
        force=force,
    )
