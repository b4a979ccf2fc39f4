"""Models of the importers of TensorRT versions that are not installed here."""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.errors import UsageError
from tripoint.facts.table import Shape, View
from tripoint.facts.views.importer import walk
from tripoint.facts.views.importer_v7.versions import VERSIONS as V7
from tripoint.model import Model

_VERSIONS = {version.name: version for version in V7}

SUPPORTED = tuple(_VERSIONS)
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
    if version not in _VERSIONS:
        raise UsageError(
            f"there is no model of TensorRT {version}",
            hint=f"the versions that have one are {', '.join(SUPPORTED)}",
        )
    return walk.view(model, truth, _VERSIONS[version])
