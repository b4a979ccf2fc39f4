"""An engine, built once more the way its manifest tells, to see that it computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tripoint.engine import builder, manifest, options
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.parity.verify import Engine
from tripoint.precision import prepare
from tripoint.profiles.profile import InputProfile, Profile


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
    if flags.get("plugins"):
        return "it was built with plugins, of which the manifest has no paths"
    try:
        built = builder.build(
            model,
            folder / "rebuilt.plan",
            profiles=_profiles(content),
            tensorrt=engine.tensorrt,
            compute_capabilities=_capabilities(content),
            tf32=bool(flags.get("tf32", True)),
            options=options.recorded(flags),
            precision=_prepared(model, content),
            timeout=engine.timeout,
        )
    except TripointError as error:
        return f"it could not be built again: {error.fact}"
    return replace(engine, plan=built.engine)


def _profiles(content: Mapping[str, Any]) -> tuple[Profile, ...]:
    return tuple(
        Profile(
            tuple(
                InputProfile(
                    each["name"],
                    tuple(each["min"]),
                    tuple(each["opt"]),
                    tuple(each["max"]),
                    bool(each.get("values")),
                )
                for each in inputs
            )
        )
        for inputs in content.get("profiles") or ()
    )


def _prepared(model: Model, content: Mapping[str, Any]) -> prepare.Prepared | None:
    precision = content.get("precision") or {}
    conversion = precision.get("conversion") or {}
    return prepare.prepare(
        model,
        precision.get("requested"),
        keep=conversion.get("keep_fp32") or (),
        io=conversion.get("io") or "keep",
        points=None,
    )


def _capabilities(content: Mapping[str, Any]) -> list[str]:
    target = content.get("target") or {}
    return list(target.get("compute_capabilities") or ())
