"""Views of a model by one TensorRT: its real parser, a model of its importer, or its log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.symbols import Shape
from tripoint.table import View

INSTALLED = "installed"

LOG_SUFFIXES = frozenset({".log", ".txt"})


Shapes = Mapping[str, Shape | None]
"""True shape by tensor name; None if the rank is unknown."""


def start(
    model: Model, target: str | None = None, *, tensorrt: str | None = None
) -> Callable[[Shapes], View]:
    """Begin to see a model as one TensorRT sees it, while true shapes are still being inferred.

    Args:
        model: The model; it must not be changed until the view is there.
        target: ``"installed"``, a version that has a model, the path of a verbose log, or None
            for the default: the installed TensorRT where there is one, else the newest model.
        tensorrt: Name of the importable TensorRT that ``"installed"`` means.

    Returns:
        A function that takes the true shapes and gives the view, waiting for it if need be.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If the target is ``"installed"`` and no TensorRT is.
        InputError: If the target is a log that cannot be read, or is of another model.
    """
    chosen = resolve(target, tensorrt=tensorrt)
    if is_log(chosen):
        from tripoint.views import log

        recorded = log.of_model(log.read(chosen), model)
        return lambda _: recorded
    if chosen != INSTALLED:
        from tripoint.views import importers

        return lambda shapes: importers.view(model, shapes, chosen)
    from tripoint.views import installed

    pending = _Pending(lambda: installed.view(model, tensorrt=tensorrt))
    return lambda _: pending.result()


class _Pending:
    """A call that goes on beside the caller; an interrupted program does not wait for it."""

    def __init__(self, call: Callable[[], View]) -> None:
        self._call = call
        self._view: View | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._view = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error

    def result(self) -> View:
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._view is not None  # noqa: S101 - one of the two is set
        return self._view


def resolve(target: str | None, *, tensorrt: str | None = None) -> str:
    """The target that is meant, checked before any work is done.

    Args:
        target: As in :func:`start`.
        tensorrt: As in :func:`start`.

    Returns:
        ``"installed"``, a version that has a model, or the path of a log.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If it is ``"installed"`` and no TensorRT is.
    """
    if target in (None, INSTALLED):
        from tripoint.trt import bindings

        if target == INSTALLED or tensorrt or bindings.available():
            bindings.find(tensorrt)
            return INSTALLED
    if target is not None and is_log(target):
        return target
    # Many modules, which an installed TensorRT does not need.
    from tripoint.views.importers import SUPPORTED

    if target is None:
        return SUPPORTED[-1]
    # A patch release has the importer of its minor version: 8.6.1, 7.1.3.4.
    version = next((v for v in SUPPORTED if f"{target}.".startswith(f"{v}.")), None)
    if version is None:
        targets = ", ".join((INSTALLED, *SUPPORTED))
        raise UsageError(
            f"unknown target {target!r}",
            hint=f"the targets are {targets} and the path of a verbose log",
        )
    return version


def is_log(target: str) -> bool:
    """Return whether a target is meant as the path of a verbose log: by suffix, or it exists."""
    path = Path(target)
    return path.suffix in LOG_SUFFIXES or path.is_file()
