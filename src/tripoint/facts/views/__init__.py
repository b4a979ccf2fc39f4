"""How a given TensorRT sees a model: a real parser, or a model of one version's importer."""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.errors import UsageError
from tripoint.facts.table import Shape, View
from tripoint.model import Model

INSTALLED = "installed"


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
    from tripoint.facts.views import importer_v7, installed

    target = resolve(target, tensorrt=tensorrt)
    if target == INSTALLED:
        return installed.view(model, tensorrt=tensorrt)
    return importer_v7.view(model, shapes, target)


def resolve(target: str | None, *, tensorrt: str | None = None) -> str:
    """The target that is meant, checked before any work is done.

    Args:
        target: As in :func:`view`.
        tensorrt: As in :func:`view`.

    Returns:
        ``"installed"`` or a version that has a model.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If it is ``"installed"`` and no TensorRT is.
    """
    from tripoint.engine import bindings
    from tripoint.facts.views.importer_v7 import SUPPORTED

    if target in SUPPORTED:
        return target
    if target is None and not tensorrt and not bindings.available():
        return SUPPORTED[-1]
    if target not in (None, INSTALLED):
        known = ", ".join((INSTALLED, *SUPPORTED))
        raise UsageError(f"unknown target {target!r}", hint=f"the targets are {known}")
    bindings.find(tensorrt)
    return INSTALLED
