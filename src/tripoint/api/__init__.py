"""The functions behind the commands: they take what users hold and return dataclasses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tripoint.analysis.differences import compare
    from tripoint.api.arguments import (
        PLAN_SUFFIXES,
        ModelLike,
        as_model,
        as_torch,
        input_shapes,
        is_plan,
        read_inputs,
        sweep,
    )
    from tripoint.api.building import build, inspect, profile
    from tripoint.api.comparing import verify
    from tripoint.api.locating import locate, locate_precision
    from tripoint.api.rewriting import fix
    from tripoint.api.running import run
    from tripoint.api.tables import explain, facts, recorded, shapes, why
    from tripoint.model import load
    from tripoint.sources.torch_export import Exporter, export

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
    "PLAN_SUFFIXES": "tripoint.api.arguments",
    "ModelLike": "tripoint.api.arguments",
    "as_model": "tripoint.api.arguments",
    "as_torch": "tripoint.api.arguments",
    "input_shapes": "tripoint.api.arguments",
    "is_plan": "tripoint.api.arguments",
    "load": "tripoint.model",
    "read_inputs": "tripoint.api.arguments",
    "sweep": "tripoint.api.arguments",
    "build": "tripoint.api.building",
    "inspect": "tripoint.api.building",
    "profile": "tripoint.api.building",
    "verify": "tripoint.api.comparing",
    "Exporter": "tripoint.sources.torch_export",
    "export": "tripoint.sources.torch_export",
    "locate": "tripoint.api.locating",
    "locate_precision": "tripoint.api.locating",
    "fix": "tripoint.api.rewriting",
    "run": "tripoint.api.running",
    "compare": "tripoint.analysis.differences",
    "explain": "tripoint.api.tables",
    "facts": "tripoint.api.tables",
    "recorded": "tripoint.api.tables",
    "shapes": "tripoint.api.tables",
    "why": "tripoint.api.tables",
}


def __getattr__(name: str) -> object:
    # A command needs few of the modules behind these functions.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
