"""An engine, built once more the way its manifest tells, to see that it computes the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tripoint.engine import builder, manifest
from tripoint.engine.profile import InputProfile, Profile
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.parity.verify import Engine


def again(engine: Engine, model: Model, folder: Path) -> Engine | str:
    """Build the engine a second time.

    Args:
        engine: The engine.
        model: What it should have been built from.
        folder: Where the second plan is written.

    Returns:
        The second engine, or why there is none.
    """
    path = manifest.path_for(engine.plan)
    if not path.is_file():
        return f"{path.name} is not there, so nobody knows how the engine was built"
    content = manifest.read(path)
    if model.sha256 is None or content["model"].get("sha256") != model.sha256:
        return "the engine was built from another file"
    flags = content.get("flags") or {}
    try:
        built = builder.build(
            model,
            folder / "rebuilt.plan",
            profile=_profile(content),
            tensorrt=engine.tensorrt,
            compute_capabilities=_capabilities(content),
            tf32=bool(flags.get("tf32", True)),
            timeout=engine.timeout,
        )
    except TripointError as error:
        return f"it could not be built again: {error.fact}"
    return replace(engine, plan=built.engine)


def _profile(content: dict[str, Any]) -> Profile | None:
    inputs = tuple(
        InputProfile(each["name"], tuple(each["min"]), tuple(each["opt"]), tuple(each["max"]))
        for each in content.get("profiles") or ()
    )
    return Profile(inputs) if inputs else None


def _capabilities(content: dict[str, Any]) -> list[str]:
    target = content.get("target") or {}
    return list(target.get("compute_capabilities") or ())
