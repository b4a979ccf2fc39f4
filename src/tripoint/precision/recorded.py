"""What the manifest of a plan says of its precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rounding(manifest: Mapping[str, Any]) -> dict[str, float]:
    """The largest error by output that the precision of a plan was measured to make.

    Args:
        manifest: Of the plan; without such an entry the result is empty.
    """
    found: dict[str, float] = {}
    for point in _part(manifest, "error").get("points", ()):
        for output in point["outputs"]:
            name = output["name"]
            found[name] = max(found.get(name, 0.0), float(output["max_abs"]))
    return found


def command_line(manifest: Mapping[str, Any]) -> list[str]:
    """The options of ``tripoint build`` that lead to the precision of a plan.

    Args:
        manifest: Of the plan.
    """
    requested = (manifest.get("precision") or {}).get("requested")
    if requested is None:
        return []
    conversion = _part(manifest, "conversion")
    words = ["--precision", str(requested)]
    for pattern in conversion.get("keep_fp32", ()):
        words += ["--keep-fp32", str(pattern)]
    if conversion.get("io") == "match":
        words += ["--io-precision", "match"]
    return words


def _part(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return (manifest.get("precision") or {}).get(name) or {}
