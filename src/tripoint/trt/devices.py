"""Task "devices": the CUDA devices of this machine."""

from __future__ import annotations

from typing import Any

from tripoint.errors import MissingDependencyError
from tripoint.trt import cuda
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:  # noqa: ARG001 - one form for all
    """Count and describe the devices.

    Args:
        request: Holds nothing else.
        emit: Not used.

    Returns:
        ``devices``, ``reason`` why there is none (or None), and ``driver``.
    """
    try:
        cudart = cuda.runtime()
    except MissingDependencyError as error:
        return {"devices": [], "reason": error.fact, "driver": None}
    cuda_driver = driver(cudart)
    status, count = cudart.cudaGetDeviceCount()
    if int(status) != 0 or not count:
        what = cudart.cudaGetErrorString(status)[1].decode() if int(status) else "no device"
        return {"devices": [], "reason": f"CUDA finds no GPU: {what}", "driver": cuda_driver}
    devices = [describe(cudart, index) for index in range(count)]
    return {"devices": devices, "reason": None, "driver": cuda_driver}


def describe(cudart: Any, index: int) -> dict[str, Any]:
    """The fields of :class:`tripoint.trt.gpu.Device`.

    Args:
        cudart: ``cuda.bindings.runtime``.
        index: CUDA device index.
    """
    properties = cuda.check(cudart.cudaGetDeviceProperties, index)
    return {
        "index": index,
        "name": properties.name.decode().rstrip("\0"),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory": int(properties.totalGlobalMem),
    }


def driver(cudart: Any) -> str | None:
    """CUDA version that the driver supports, None if it does not say."""
    status, version = cudart.cudaDriverGetVersion()
    return f"{version // 1000}.{version % 1000 // 10}" if int(status) == 0 and version else None
