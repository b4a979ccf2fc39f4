"""The timing cache: what TensorRT measured in earlier builds. For the child process only."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.errors import UsageError
from tripoint.files import lock, reason
from tripoint.trt import native

Warn = Callable[[str], None]
_LOCK_SECONDS = 60.0


@dataclass
class TimingCache:
    """The cache of one build.

    Args:
        path: Where it is located, None if there is none.
        reason: Why there is none.
        read: The bytes that were found there before the build.
    """

    path: Path | None
    reason: str | None = None
    read: bytes = b""

    def as_json(self) -> dict[str, str | None]:
        """Return what the manifest keeps of it."""
        return {"location": str(self.path) if self.path else None, "reason": self.reason}


def open_cache(
    trt: Any, config: Any, wanted: Mapping[str, str] | None, targets: str, warn: Warn
) -> TimingCache:
    """Give a build the times that were measured before.

    Args:
        trt: The TensorRT module.
        config: ``IBuilderConfig``.
        wanted: ``file`` or ``folder``; None for no cache.
        targets: The GPUs that the times hold for; a part of the name of a file in ``folder``.
        warn: Takes what is wrong with a cache that is then not used.

    Raises:
        UsageError: If a file is asked for and this TensorRT keeps no times.
    """
    if wanted is None:
        if hasattr(trt.BuilderFlag, "DISABLE_TIMING_CACHE"):
            config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
        return TimingCache(None, "it was turned off")
    lack = _lack(config)
    if lack is not None:
        if "file" in wanted:
            raise UsageError(
                f"--timing-cache: {native.spell(trt)} keeps no timing cache: {lack}",
                hint="leave the option out",
            )
        return TimingCache(None, f"{native.spell(trt)} keeps none: {lack}")
    path = Path(wanted["file"]) if "file" in wanted else _default(trt, wanted["folder"], targets)
    cache = TimingCache(path)
    try:
        cache.read = path.read_bytes()
    except FileNotFoundError:
        pass
    except OSError as error:
        warn(f"the timing cache {path} cannot be read: {reason(error)}")
    created = config.create_timing_cache(cache.read)
    if created is None or not config.set_timing_cache(created, False):
        warn(f"the timing cache {path} is of another TensorRT or GPU and is begun anew")
        cache.read = b""
        config.set_timing_cache(config.create_timing_cache(b""), False)
    return cache


def save(cache: TimingCache, config: Any, warn: Warn) -> None:
    """Add what this build measured to the file; a build beside it loses nothing by that.

    Args:
        cache: From :func:`open_cache`.
        config: ``IBuilderConfig`` of the build, which is over.
        warn: Takes why it could not be saved.
    """
    if cache.path is None:
        return
    path = cache.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path, timeout=_LOCK_SECONDS) as alone:
            if alone:
                _write(path, _combined(cache, path, config))
            else:
                warn(f"the timing cache {path} was not saved: another build holds it")
    except OSError as error:
        warn(f"the timing cache {path} was not saved: {reason(error)}")


def _combined(cache: TimingCache, path: Path, config: Any) -> Any:
    """Return what this build measured, with what other builds have saved meanwhile."""
    mine = config.get_timing_cache()
    now = path.read_bytes() if path.exists() else b""
    if now not in (b"", cache.read):
        other = config.create_timing_cache(now)
        if other is not None:
            mine.combine(other, False)
    return mine.serialize()


def _write(path: Path, content: Any) -> None:
    # One name is enough under the lock, and what a killed build left is written over.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lack(config: Any) -> str | None:
    """Return the reason that there is no timing cache, None if there is one."""
    if not all(
        hasattr(config, name)
        for name in ("create_timing_cache", "set_timing_cache", "get_timing_cache")
    ):
        return "its API has none"
    # TensorRT-RTX has the API and says in a warning that it does nothing.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config.get_timing_cache()
    if any("no-op" in str(warning.message) for warning in caught):
        return "its timing cache operations are no-ops"
    return None


def _default(trt: Any, folder: str, targets: str) -> Path:
    name = f"{trt.__name__}-{trt.__version__}-{targets}"
    return Path(folder) / (re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-") + ".timing")
