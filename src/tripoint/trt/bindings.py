"""TensorRT bindings that can be used, looked up without loading any of them.

Three packages offer the same Python API under different names. The parent process only looks
where they lie; :func:`load` imports one, in the child process or where an engine is to run in
this one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Literal

from tripoint.errors import ExternalStepError, MissingDependencyError, UsageError
from tripoint.packages import version
from tripoint.trt.paths import child_path

INSTALL = "pip install 'tripoint[rtx]'"


@dataclass(frozen=True, slots=True)
class Binding:
    """A TensorRT that is installed here.

    Args:
        name: Name of the Python module.
        version: Version of the installed distribution, ``"unknown"`` if it does not say.
        kind: ``"tensorrt"`` for the full product, which needs a GPU even to parse, or
            ``"rtx"`` for TensorRT-RTX, which parses and builds without one.
    """

    name: str
    version: str
    kind: Literal["tensorrt", "rtx"]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    kind: Literal["tensorrt", "rtx"]
    distributions: tuple[str, ...]
    libraries: str | None = None


_CANDIDATES = (
    _Candidate(
        "tensorrt",
        "tensorrt",
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu13-bindings"),
    ),
    _Candidate("tensorrt_rtx", "rtx", ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12")),
    _Candidate(
        "tensorrt_rtx_bindings",
        "rtx",
        ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
        libraries="onnxruntime_ep_nv_tensorrt_rtx",
    ),
)
NAMES = tuple(candidate.name for candidate in _CANDIDATES)


def available() -> tuple[Binding, ...]:
    """Every TensorRT that the child process could import, in order of preference."""
    path = child_path()
    return tuple(
        Binding(candidate.name, _version(candidate.distributions), candidate.kind)
        for candidate in _CANDIDATES
        if not _missing(candidate, path)
    )


def find(name: str | None = None) -> Binding:
    """The TensorRT to use.

    Args:
        name: One of :data:`NAMES`, or None for the first that is installed.

    Raises:
        UsageError: If the name is none of :data:`NAMES`.
        MissingDependencyError: If it, or without a name any, is not installed.
    """
    if name is not None and name not in NAMES:
        raise UsageError(
            f"no TensorRT is known by the name {name!r}", hint=f"choose {', '.join(NAMES)}"
        )
    bindings = available()
    for binding in bindings:
        if name in (None, binding.name):
            return binding
    if name is None:
        raise MissingDependencyError("no TensorRT is installed", hint=INSTALL)
    candidate = next(candidate for candidate in _CANDIDATES if candidate.name == name)
    missing = _missing(candidate, child_path())
    others = ", ".join(binding.name for binding in bindings)
    raise MissingDependencyError(
        f"{missing[0]} is not installed"
        + (f", which {name} takes its libraries from" if missing[0] != name else ""),
        hint=f"installed: {others}" if others else INSTALL,
    )


def load(name: str) -> ModuleType:
    """Import a TensorRT. Only the child process and :class:`tripoint.Engine` may do so.

    Args:
        name: One of :data:`NAMES`.

    Raises:
        ExternalStepError: If it is installed but broken, for instance without its libraries.
    """
    candidate = next(candidate for candidate in _CANDIDATES if candidate.name == name)
    try:
        if candidate.libraries:
            # The import loads the shared libraries that the bindings are linked against. It would
            # import ONNX Runtime, too, of which its own plugin is a part and TensorRT is not.
            sys.modules.setdefault("onnxruntime", None)  # type: ignore[arg-type]
            try:
                importlib.import_module(candidate.libraries)
            finally:
                # The caller may want ONNX Runtime later.
                if sys.modules["onnxruntime"] is None:
                    del sys.modules["onnxruntime"]
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise ExternalStepError(
            f"{name} is installed but cannot be imported: {error}",
            hint="--tensorrt NAME chooses another TensorRT",
        ) from error


def _missing(candidate: _Candidate, path: list[str]) -> list[str]:
    modules = [candidate.name, *filter(None, [candidate.libraries])]
    return [module for module in modules if not _exists(module, path)]


def _exists(module: str, path: list[str]) -> bool:
    spec = PathFinder.find_spec(module, path)
    # A folder that merely has the name, such as a clone of NVIDIA/TensorRT, has no origin.
    return spec is not None and spec.origin is not None


def _version(distributions: Iterable[str]) -> str:
    return next(filter(None, map(version, distributions)), "unknown")
