"""The CUDA runtime without torch. Imported only where a driver may be loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tripoint.errors import ExternalStepError, MissingDependencyError


def runtime() -> Any:
    """The module ``cuda.bindings.runtime``.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        from cuda.bindings import runtime as cudart
    except ImportError as error:
        raise MissingDependencyError(
            f"cuda-bindings cannot be imported: {error}", hint="pip install 'tripoint[rtx]'"
        ) from error
    return cudart


def check(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a CUDA function.

    Returns:
        What it returns beside the status: nothing, one value or a tuple.

    Raises:
        ExternalStepError: If the status is not success.
    """
    status, *values = function(*arguments)
    if int(status) != 0:
        raise ExternalStepError(f"{function.__name__} failed with {status.name} ({int(status)})")
    return values[0] if len(values) == 1 else tuple(values)
