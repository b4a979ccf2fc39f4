"""Tables of a model's shapes, with the reasons of losses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tripoint.analysis.facts import Facts, compute
from tripoint.api.arguments import as_model
from tripoint.errors import UsageError

if TYPE_CHECKING:
    from tripoint.api.arguments import ModelLike
    from tripoint.table import Chain, TensorTable


def facts(
    model: ModelLike,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> Facts:
    """True shapes and a TensorRT's view of a model, able to explain each tensor.

    Args:
        model: Path, :class:`~tripoint.model.Model` or ``onnx_ir.Model``.
        target: ``"installed"``, a version such as ``"7.1"``, the path of a verbose log, or None
            for the installed TensorRT where there is one, else the newest that is modelled.
        tensorrt: Name of the importable TensorRT that ``"installed"`` means.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If the target is ``"installed"`` and no TensorRT is.
        InputError: If the model cannot be read.
    """
    return compute(as_model(model), target, tensorrt=tensorrt)


def shapes(
    model: ModelLike,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> TensorTable:
    """The tensor table: the true shape of every tensor beside TensorRT's view.

    Arguments and errors are those of :func:`facts`.
    """
    return facts(model, target=target, tensorrt=tensorrt).table


def recorded(path: str | os.PathLike[str]) -> tuple[Facts, ...]:
    """Return the facts that a verbose log shows, model by model, without their files.

    Args:
        path: A log of the ONNX parser of TensorRT 7.0 to 10; see
            :func:`tripoint.views.log.read`.

    Raises:
        InputError: If the log cannot be read, or no line of a TensorRT parser is in it.
    """
    from tripoint.analysis.facts import of_recording
    from tripoint.views import log

    return tuple(of_recording(recording) for recording in log.read(path))


def why(
    model: ModelLike,
    tensor: str,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
) -> Chain:
    """Return the reasons for which TensorRT does not know the dims of one tensor.

    Args:
        model: As :func:`facts`.
        tensor: Name of the tensor.
        target: As :func:`facts`.
        tensorrt: As :func:`facts`.

    Raises:
        UsageError: If the model has no such tensor.
    """
    return explain(facts(model, target=target, tensorrt=tensorrt), tensor)


def explain(facts: Facts, tensor: str) -> Chain:
    """The chain of one tensor of facts that are already known.

    Raises:
        UsageError: If the model has no such tensor.
    """
    import difflib

    try:
        return facts.chain(tensor)
    except KeyError as error:
        near = difflib.get_close_matches(tensor, facts.table.by_name, n=3)
        raise UsageError(
            f"the model has no tensor named {tensor!r}",
            hint=f"did you mean {', '.join(near)}?" if near else "tripoint shapes lists them",
        ) from error
