"""Models of the importers of TensorRT versions that are not installed here."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.shape_inference.truth import inlined, tensor_names_kept
from tripoint.symbols import Shape
from tripoint.table import Refusal, View
from tripoint.views.importer import walk
from tripoint.views.importer.context import Version

_GENERATIONS = {
    "importer_v7": ("7.0", "7.1", "7.2"),
    "importer_v8": ("8.0", "8.2", "8.4", "8.5", "8.6", "10.0", "10.1"),
}
"""Versions by the package that has their models; only the one that is asked for is imported."""

SUPPORTED = tuple(version for versions in _GENERATIONS.values() for version in versions)
"""The versions that have a model, oldest first."""


def view(model: Model, truth: Mapping[str, Shape | None], version: str) -> View:
    """See a model as the importer of one TensorRT version sees it while it builds the network.

    Args:
        model: The model. It is not changed.
        truth: True shape by tensor name.
        version: One of :data:`SUPPORTED`.

    Raises:
        UsageError: If there is no model of that version.
    """
    if version not in SUPPORTED:
        raise UsageError(
            f"there is no model of TensorRT {version}",
            hint=f"the versions that have one are {', '.join(SUPPORTED)}",
        )
    importer = _importer(version)
    with tensor_names_kept(model.ir):
        flat = inlined(model.ir)
        seen = walk.view(model if flat is model.ir else Model(flat), truth, importer)
    if importer.local_functions:
        return seen
    return replace(seen, refusals=(*_calls(model.ir, importer), *seen.refusals))


def _importer(name: str) -> Version:
    package = next(package for package, names in _GENERATIONS.items() if name in names)
    versions = importlib.import_module(f"tripoint.views.{package}.versions").VERSIONS
    chosen: Version = next(version for version in versions if version.name == name)
    return chosen


def _calls(model: ir.Model, importer: Version) -> Iterator[Refusal]:
    """A refusal of each call of a local function; the table shows what they would import as."""
    for node in model.graph.all_nodes():
        if node.op_identifier() in model.functions:
            reason = f"{importer} imports no local functions, and {node.op_type} is one"
            yield Refusal(node_name(node), node.op_type, reason)
