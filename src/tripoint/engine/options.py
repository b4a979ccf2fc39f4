"""Options of a build beyond model, profiles and target GPUs.

Which of these a TensorRT has is found out by the child process that has loaded it
(:mod:`tripoint.tasks.configure`); here is only what needs no TensorRT.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tripoint import commands
from tripoint.errors import InputError, OutputError, UsageError
from tripoint.files import reason

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build; what is left alone is TensorRT's own choice.

    Args:
        pools: Limit in bytes by memory pool: a ``MemoryPoolType`` of TensorRT in lower case, such
            as ``"workspace"``.
        optimization_level: ``builder_optimization_level``: 0 builds fastest, 5 runs fastest.
        timing_cache: The file to use, ``"off"`` for none, None for the one in the user's cache
            folder.
        version_compatible: Whether later TensorRT versions may load the plan.
        hardware_compatibility: A ``HardwareCompatibilityLevel`` of TensorRT in lower case, such as
            ``"ampere_plus"``.
        refit: Whether the weights of the engine may be replaced later.
        strip_weights: Whether to leave the weights out of the plan; they are put in by refitting.
        plugins: Shared libraries with plugins. Loading one runs its code.
    """

    pools: Mapping[str, int] = field(default_factory=dict)
    optimization_level: int | None = None
    timing_cache: str | Path | None = None
    version_compatible: bool = False
    hardware_compatibility: str | None = None
    refit: bool = False
    strip_weights: bool = False
    plugins: Sequence[Path] = ()

    def request(self) -> dict[str, Any]:
        """The options as the child process takes them, after a look at the files that they name.

        Raises:
            InputError: If a plugin is no readable file.
            OutputError: If the timing cache cannot be a file.
        """
        return {
            "pools": {_member(name): size for name, size in self.pools.items()},
            "optimization_level": self.optimization_level,
            "timing_cache": self._timing_cache(),
            "version_compatible": self.version_compatible,
            "hardware_compatibility": _member(self.hardware_compatibility or "") or None,
            "refit": self.refit,
            "strip_weights": self.strip_weights,
            "plugins": [str(_checked_plugin(path)) for path in self.plugins],
        }

    def _timing_cache(self) -> dict[str, str] | None:
        if self.timing_cache == "off":
            return None
        if self.timing_cache is None:
            return {"folder": str(cache_folder() / "timing")}
        path = Path(self.timing_cache).absolute()
        if path.is_dir():
            raise OutputError(f"{path} is a folder, not a timing cache")
        if not path.parent.is_dir():
            raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
        return {"file": str(path)}


def parse_pools(texts: Iterable[str]) -> dict[str, int]:
    """Read ``--pool`` values such as ``"workspace=512"``.

    Returns:
        Bytes by pool.

    Raises:
        UsageError: If a text has another form, or a pool is given twice.
    """
    pools: dict[str, int] = {}
    for text in texts:
        name, _, size = text.partition("=")
        name = _member(name)
        if not name or not (size.isascii() and size.isdigit()) or int(size) == 0:
            raise UsageError(
                f"cannot read pool {text!r}", hint="write --pool workspace=512, in MiB"
            )
        if name in pools:
            raise UsageError(f"pool {name} is given twice")
        pools[name] = int(size) * MIB
    return pools


def cache_folder() -> Path:
    """The user's cache folder for tripoint, by the XDG Base Directory Specification."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is invalid and is to be ignored.
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache"
    return base / "tripoint"


def command_line(flags: Mapping[str, Any]) -> list[str]:
    """The options of ``tripoint build`` that lead to the flags of a manifest.

    Args:
        flags: ``flags`` of a manifest.
    """
    pools = (flags.get("memory_pools") or {}).items()
    switches = ("version_compatible", "refit", "strip_weights")
    return commands.options(
        {
            "no_tf32": not flags.get("tf32", True),
            "pool": [f"{name}={size // MIB}" for name, size in pools],
            "optimization_level": flags.get("optimization_level"),
            "hardware_compatibility": flags.get("hardware_compatibility"),
            **{name: bool(flags.get(name)) for name in switches},
            "plugin": [plugin["file"] for plugin in flags.get("plugins") or []],
        }
    )


def recorded(flags: Mapping[str, Any]) -> BuildOptions:
    """The options that lead to the flags of a manifest, plugins apart: it has no paths.

    Args:
        flags: ``flags`` of a manifest.
    """
    return BuildOptions(
        pools=flags.get("memory_pools") or {},
        optimization_level=flags.get("optimization_level"),
        version_compatible=bool(flags.get("version_compatible")),
        hardware_compatibility=flags.get("hardware_compatibility"),
        refit=bool(flags.get("refit")),
        strip_weights=bool(flags.get("strip_weights")),
    )


def _member(name: str) -> str:
    """The name of a member of an enumeration of TensorRT, however it was written."""
    return name.strip().lower().replace("-", "_").replace("+", "_plus")


def _checked_plugin(path: Path) -> Path:
    try:
        if not path.is_file():
            fact = "this is no file" if path.exists() else "no such file"
            raise InputError(fact, hint="--plugin takes the path of a shared library").within(
                subject=f"plugin {path}"
            )
        with path.open("rb"):
            return path.resolve()
    except OSError as error:
        raise InputError(f"cannot be read: {reason(error)}").within(
            subject=f"plugin {path}"
        ) from error
