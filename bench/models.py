"""The models that the scripts read: files and folders, with or without their weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx_ir as ir

from tripoint.model import Model, external_tensors


def with_weights(path: Path, folder: Path) -> Model:
    """A model whose missing weights are zeros, in files that take no space.

    Args:
        path: The model.
        folder: Where a copy goes if weights are missing.
    """
    model = Model(ir.load(path), path)
    sizes: dict[Path, int] = {}
    for tensor in external_tensors(model.ir):
        location = Path(tensor.base_dir, tensor.location)
        end = (tensor.offset or 0) + (tensor.length or tensor.nbytes)
        if not location.exists():
            sizes[location] = max(sizes.get(location, 0), end)
    if not sizes:
        return model
    shutil.copyfile(path, folder / path.name)
    for location, size in sizes.items():
        with (folder / location.name).open("wb") as stream:
            stream.truncate(size)
    return Model(ir.load(folder / path.name), folder / path.name)


def models_of(paths: Sequence[Path]) -> Iterator[Path]:
    """The models among files and in folders."""
    for path in paths:
        yield from sorted(path.glob("*.onnx")) if path.is_dir() else [path]
