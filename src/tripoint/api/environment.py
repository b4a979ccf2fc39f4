"""Versions installed here, and the legs of the three that can run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import util

from tripoint.packages import version

_PACKAGES = (
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnx-shape-inference",
    "onnxruntime",
    "numpy",
    "torch",
    "cuda-bindings",
)


@dataclass(frozen=True, slots=True)
class LegStatus:
    """State of a leg: runnable here, or what it lacks."""

    name: str
    ready: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine as tripoint sees it.

    Args:
        tripoint: Version of tripoint.
        python: Version of Python.
        platform: Operating system and architecture.
        packages: Version by package name; None where it is not installed.
        tensorrt: Importable TensorRT packages with versions, the preferred one first.
        gpus: Names of the CUDA devices.
        legs: The legs of a comparison, and building.
    """

    tripoint: str
    python: str
    platform: str
    packages: dict[str, str | None]
    tensorrt: tuple[str, ...]
    gpus: tuple[str, ...]
    legs: tuple[LegStatus, ...]


def doctor() -> Environment:
    """Look at this machine without importing torch, onnxruntime or TensorRT."""
    from tripoint._version import __version__
    from tripoint.trt import bindings, gpu

    installed = bindings.available()
    found_gpus = gpu.probe()
    torch = util.find_spec("torch") is not None
    install = "pip install 'tripoint[{}]'"
    runtime = "" if installed else f"TensorRT is not installed; {install.format('rtx')}"
    return Environment(
        tripoint=__version__,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        packages={name: version(name) for name in _PACKAGES},
        tensorrt=tuple(f"{binding.name} {binding.version}" for binding in installed),
        gpus=tuple(device.name for device in found_gpus.devices),
        legs=(
            LegStatus("pytorch", torch, "" if torch else install.format("torch")),
            LegStatus("onnxruntime", util.find_spec("onnxruntime") is not None, ""),
            LegStatus(
                "tensorrt",
                bool(installed and found_gpus.devices),
                runtime or found_gpus.reason or "",
            ),
            LegStatus("build", bool(installed), runtime),
        ),
    )
