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
        path: The ONNX file to write.
        spec: Shapes and ranges of the inputs.
        exporter: PyTorch's graph capture or its tracer.
        opset: Opset to export, by default the exporter's choice.
        input_names: Names for the inputs in the file, in the order of ``forward``.
        output_names: Names for what the module returns, in order.
        force: Whether existing files may be replaced.

    Raises:
        UsageError: If the reference is not one to PyTorch code, or the inputs do not fit.
        InputError: If the code or the module raises.
        ExternalStepError: If the exporter refuses.
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
