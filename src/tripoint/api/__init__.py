"""The functions behind the commands: they take what users hold and return dataclasses."""

from __future__ import annotations

from tripoint.api.arguments import (
    PLAN_SUFFIXES,
    ModelLike,
    as_model,
    as_torch,
    input_shapes,
    is_plan,
    load,
    read_inputs,
    sweep,
)
from tripoint.api.building import build, inspect, profile
from tripoint.api.comparing import verify
from tripoint.api.exporting import Exporter, export
from tripoint.api.locating import locate, locate_precision
from tripoint.api.rewriting import fix
from tripoint.api.running import run
from tripoint.api.tables import compare, explain, facts, recorded, shapes, why

__all__ = [
    "PLAN_SUFFIXES",
    "Exporter",
    "ModelLike",
    "as_model",
    "as_torch",
    "build",
    "compare",
    "explain",
    "export",
    "facts",
    "fix",
    "input_shapes",
    "inspect",
    "is_plan",
    "load",
    "locate",
    "locate_precision",
    "profile",
    "read_inputs",
    "recorded",
    "run",
    "shapes",
    "sweep",
    "verify",
    "why",
]
