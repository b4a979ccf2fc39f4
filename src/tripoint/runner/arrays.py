"""Arrays in device memory, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.runner.tensors import Shape, nbytes


class DeviceArray:
    """A row-major array in the memory of a CUDA device.

    Outputs come as these where inputs were given in device memory without torch. To give an
    engine the memory of a library that shares neither ``__cuda_array_interface__`` nor PyTorch
    tensors, such as a ``cuda.core`` buffer, wrap its address:
    ``DeviceArray(int(buffer.handle), (1, 3, 224, 224), "float32", owner=buffer)``.

    Args:
        address: Where it begins.
        shape: Size by axis.
        dtype: Element type, anything that ``numpy.dtype`` takes.
        owner: Kept alive as long as this array is.
        stream: CUDA stream on which the content becomes valid; None if it is already.
    """

    __slots__ = ("address", "dtype", "owner", "shape", "stream")

    def __init__(
        self,
        address: int,
        shape: Shape,
        dtype: npt.DTypeLike,
        *,
        owner: object = None,
        stream: int | None = None,
    ) -> None:
        self.address = int(address)
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.owner = owner
        self.stream = stream

    def __repr__(self) -> str:
        return f"DeviceArray(0x{self.address:x}, {self.shape}, {self.dtype.name})"

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return nbytes(self.shape, self.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the interface, which CuPy, Numba and PyTorch read."""
        found: dict[str, Any] = {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
        }
        if self.stream is not None:
            # The interface has no 0; 1 is its name for the default stream.
            found["stream"] = self.stream or 1
        return found

    def numpy(self) -> npt.NDArray[Any]:
        """A copy in host memory; waits until the content is valid.

        Raises:
            MissingDependencyError: If cuda-bindings is not installed.
            ExternalStepError: If CUDA cannot copy it.
        """
        from tripoint.trt import cuda

        runtime = cuda.runtime()
        array: npt.NDArray[Any] = np.empty(self.shape, self.dtype)
        stream = self.stream or 0
        if array.nbytes:
            kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
            cuda.check(
                runtime.cudaMemcpyAsync,
                array.ctypes.data,
                self.address,
                array.nbytes,
                kind,
                stream,
            )
        cuda.check(runtime.cudaStreamSynchronize, stream)
        return array
