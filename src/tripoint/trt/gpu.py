"""GPUs of this machine, asked for in a child process so that no driver is loaded here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tripoint.errors import ExternalStepError
from tripoint.trt import process

_LINUX_DEVICES = (
    *("/dev/nvidiactl", "/dev/nvidia0"),  # the desktop and server driver
    "/dev/dxg",  # WSL
    *("/dev/nvhost-gpu", "/dev/nvgpu", "/dev/nvmap"),  # Jetson
)
_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Device:
    """One CUDA device.

    Args:
        index: Its CUDA index.
        name: Product name.
        compute_capability: For instance ``"9.0"``.
        memory: Total memory in bytes.
    """

    index: int
    name: str
    compute_capability: str
    memory: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Result of the probe.

    Args:
        devices: The CUDA devices; empty if there is none.
        reason: Why there is none, in one sentence; None if there is one.
        driver: CUDA version that the driver supports, for instance ``"13.0"``, if known.
    """

    devices: tuple[Device, ...]
    reason: str | None
    driver: str | None = None


def absence() -> str | None:
    """Return the reason that there can be no GPU here, found without touching any driver.

    Returns:
        One sentence, or None if there may be a GPU.
    """
    if sys.platform == "darwin":
        return "macOS has no CUDA"
    if sys.platform.startswith("linux") and not any(map(_exists, _LINUX_DEVICES)):
        return "this machine has no NVIDIA GPU or no driver for it (no /dev/nvidiactl)"
    return None


def probe() -> Probe:
    """Find the CUDA devices; this never raises for want of one."""
    reason = absence()
    if reason:
        return Probe((), reason)
    try:
        answer = process.call({"task": "devices"}, timeout=_TIMEOUT_SECONDS)
    except ExternalStepError as error:
        return Probe((), error.fact)
    return Probe(
        tuple(Device(**device) for device in answer["devices"]), answer["reason"], answer["driver"]
    )


def devices() -> list[Device]:
    """The CUDA devices, empty if there is none; :func:`probe` says why."""
    return list(probe().devices)


def _exists(path: str) -> bool:
    return Path(path).exists()
