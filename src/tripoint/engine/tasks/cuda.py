"""CUDA memory without torch. Imported in the child process only."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.errors import ExternalStepError, MissingDependencyError

_POISON = 0xFF
"""Fills outputs before a run: what was never written reads as NaN, or -1 of an integer."""


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


class Memory:
    """A stream and the device memory of one run, all released at its end.

    Args:
        cudart: From :func:`runtime`.
    """

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._allocated: list[int] = []

    def __enter__(self) -> Memory:
        self.stream = check(self._cudart.cudaStreamCreate)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A failed run leaves errors behind that would hide the first one, so none is checked.
        self._cudart.cudaStreamSynchronize(self.stream)
        for address in self._allocated:
            self._cudart.cudaFree(address)
        self._cudart.cudaStreamDestroy(self.stream)

    def allocate(self, size: int) -> int:
        """Poisoned device memory.

        Args:
            size: Bytes; 0 still gives a valid address.

        Returns:
            Its address.
        """
        size = max(size, 1)
        address = int(check(self._cudart.cudaMalloc, size))
        self._allocated.append(address)
        check(self._cudart.cudaMemsetAsync, address, _POISON, size, self.stream)
        return address

    def upload(self, array: npt.NDArray[Any]) -> int:
        """Copy a C-contiguous array to the device.

        Args:
            array: Must not change until :meth:`synchronize`.

        Returns:
            Address of the copy.
        """
        address = self.allocate(array.nbytes)
        if array.nbytes:
            kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._copy(address, array.ctypes.data, array.nbytes, kind)
        return address

    def download(
        self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        """Copy device memory to a new array, which is valid after :meth:`synchronize`."""
        array: npt.NDArray[Any] = np.empty(shape, dtype)
        if array.nbytes:
            kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._copy(array.ctypes.data, address, array.nbytes, kind)
        return array

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        check(self._cudart.cudaStreamSynchronize, self.stream)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        check(self._cudart.cudaMemcpyAsync, target, source, size, kind, self.stream)


def poisoned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A host array filled as :meth:`Memory.allocate` fills device memory."""
    array: npt.NDArray[Any] = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:] = _POISON
    return array
