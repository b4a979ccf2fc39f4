"""The functions behind the commands: they take what users hold and return dataclasses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "PLAN_SUFFIXES": "arguments",
    "ModelLike": "arguments",
    "as_model": "arguments",
    "as_torch": "arguments",
    "input_shapes": "arguments",
    "is_plan": "arguments",
    "load": "arguments",
    "read_inputs": "arguments",
    "sweep": "arguments",
    "build": "building",
    "inspect": "building",
    "profile": "building",
    "verify": "comparing",
    "Exporter": "exporting",
    "export": "exporting",
    "locate": "locating",
    "locate_precision": "locating",
    "fix": "rewriting",
    "run": "running",
    "compare": "tables",
    "explain": "tables",
    "facts": "tables",
    "recorded": "tables",
    "shapes": "tables",
    "why": "tables",
}


def __getattr__(name: str) -> object:
    # A command needs few of the modules behind these functions.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
