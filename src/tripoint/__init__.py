"""tripoint: where a PyTorch model, its ONNX export and its TensorRT engine meet.

The functions below take a path or a :class:`~tripoint.model.Model` and return dataclasses; they
never print. Importing this package imports neither torch nor onnxruntime nor TensorRT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tripoint._version import __version__

if TYPE_CHECKING:
    from tripoint.api import (
        build,
        compare,
        export,
        fix,
        inspect,
        load,
        locate,
        profile,
        recorded,
        run,
        shapes,
        verify,
        why,
    )
    from tripoint.api.environment import doctor
    from tripoint.errors import TripointError
    from tripoint.runner.engine import Engine
    from tripoint.runner.tensors import DeviceArray

__all__ = [
    "DeviceArray",
    "Engine",
    "TripointError",
    "__version__",
    "build",
    "compare",
    "doctor",
    "export",
    "fix",
    "inspect",
    "load",
    "locate",
    "profile",
    "recorded",
    "run",
    "shapes",
    "verify",
    "why",
]

_HOMES = {
    "DeviceArray": "tripoint.runner.tensors",
    "Engine": "tripoint.runner.engine",
    "TripointError": "tripoint.errors",
    "doctor": "tripoint.api.environment",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tripoint' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "tripoint.api")), name)


def __dir__() -> list[str]:
    return __all__
