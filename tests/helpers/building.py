"""What the tests of ``tripoint build`` share: models, the command, the stand-in for TensorRT."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

STAND_IN = Path(__file__).parent / "stand_in"
COMMAND = (sys.executable, "-m", "tripoint", "build")


def eca(size: str = "1") -> ir.Model:
    """An ECA block over a batch of ``size``."""
    return ir.from_onnx_text(
        f"""<ir_version: 8, opset_import: ["": 17]>
        eca (float[{size},3,5,5] x) => (float[{size},3,5,5] y, float[{size},3,1,1] gate)
        <float[1,1,3,1] w = {{0.25, 0.5, 0.25}}>
        {{ mean = GlobalAveragePool (x)
           across = Transpose <perm = [0, 2, 1, 3]> (mean)
           conv = Conv <kernel_shape = [3, 1], pads = [1, 0, 1, 0]> (across, w)
           back = Transpose <perm = [0, 2, 1, 3]> (conv)
           gate = Sigmoid (back)
           y = Mul (x, gate) }}"""
    )


def environment(stand_in: bool = True, **variables: str) -> dict[str, str]:
    """Variables of a ``tripoint`` process.

    Args:
        stand_in: Whether the stand-in is what it finds as ``tensorrt_rtx``.
        variables: Further ones.
    """
    path = [*([str(STAND_IN)] if stand_in else []), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}


def tripoint_build(
    *arguments: object, folder: Path, variables: Mapping[str, str], **options: object
) -> subprocess.CompletedProcess[str]:
    """Run ``tripoint build`` in a folder and wait for it."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=dict(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        **options,
    )


def saved(folder: Path, size: str = "1") -> Path:
    """A model file in an empty folder for results."""
    path = folder / "model.onnx"
    ir.save(eca(size), path)
    return path


def names(folder: Path) -> list[str]:
    """All files of a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
