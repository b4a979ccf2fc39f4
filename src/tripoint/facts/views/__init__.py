"""How a given TensorRT sees a model: a real parser, or a model of one version's importer."""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.errors import UsageError
from tripoint.facts.table import Shape, View
from tripoint.model import Model


def view(
    model: Model,
    shapes: Mapping[str, Shape | None],
    target: str | None = None,
    *,
    tensorrt: str | None = None,
) -> View:
    """See a model as one TensorRT sees it.

    Args:
        model: The model.
        shapes: True shape by tensor name.
        target: ``"installed"``, a version that has a model, or None for the default: the
            installed TensorRT where there is one, else the newest model.
        tensorrt: Name of the importable TensorRT that ``"installed"`` means.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If the target is ``"installed"`` and no TensorRT is.
    """
    from tripoint.engine import bindings
    from tripoint.facts.views import importer_v7, installed

    if target is None:
        target = "installed" if tensorrt or bindings.available() else importer_v7.SUPPORTED[-1]
    if target == "installed":
        return installed.view(model, tensorrt=tensorrt)
    if target in importer_v7.SUPPORTED:
        return importer_v7.view(model, shapes, target)
    known = ", ".join(("installed", *importer_v7.SUPPORTED))
    raise UsageError(f"unknown target {target!r}", hint=f"the targets are {known}")
