"""TF32: one switch that building and executing must agree on.

TensorRT lets float32 products be rounded to TF32 unless the builder flag is cleared. TensorRT-RTX
1.6.1 does so even then (seen on an H100); what it heeds is the variable ``NVIDIA_TF32_OVERRIDE``,
and it makes no execution context where the value is not that of the build: "Inconsistent setting
of NVIDIA_TF32_OVERRIDE env var at build -1 and at execution 0". So the value belongs to the engine,
and the manifest keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

VARIABLE = "NVIDIA_TF32_OVERRIDE"

Environment = Mapping[str, str | None]
"""Variables of a child process; None removes one."""


def for_build(kind: Literal["tensorrt", "rtx"], *, tf32: bool) -> Environment:
    """Return what a build needs in its environment.

    Args:
        kind: Which product builds; the full TensorRT heeds its builder flag.
        tf32: Whether TF32 is allowed.
    """
    return {VARIABLE: "0"} if kind == "rtx" and not tf32 else {}


def in_effect() -> Environment:
    """The setting of this process, as a manifest keeps it."""
    return {VARIABLE: os.environ.get(VARIABLE)}


def is_off() -> bool:
    """Return whether the environment of this process forbids TF32."""
    return os.environ.get(VARIABLE) == "0"
