"""Precision of a plan as its manifest records it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tripoint import commands
from tripoint.tolerance.derivation import Cost, nearest


def rounding(manifest: Mapping[str, Any]) -> dict[str, tuple[Cost, ...]]:
    """Return the measured cost of a plan's precision, by output and part of it.

    Args:
        manifest: Of the plan; without such an entry the result is empty.
    """
    points: dict[str, list[list[Cost]]] = {}
    for point in _part(manifest, "error").get("points", ()):
        for output in point["outputs"]:
            whole = [{"size": 1.0, "max_abs": output["max_abs"]}]
            costs = [
                Cost(float(part["size"]), float(part["max_abs"]))
                for part in output.get("parts") or whole
            ]
            points.setdefault(output["name"], []).append(costs)
    return {name: _most(each) for name, each in points.items()}


def _most(points: list[list[Cost]]) -> tuple[Cost, ...]:
    """The largest costs, part by part of the point with most parts."""
    most = max(points, key=len)
    for costs in points:
        for at, cost in enumerate(costs):
            same = at if len(costs) == len(most) else nearest(most, cost.size)
            most[same] = max(most[same], cost, key=lambda each: each.error)
    return tuple(most)


def command_line(manifest: Mapping[str, Any]) -> list[str]:
    """The options of ``tripoint build`` that lead to the precision of a plan.

    Args:
        manifest: Of the plan.
    """
    requested = (manifest.get("precision") or {}).get("requested")
    if requested is None:
        return []
    conversion = _part(manifest, "conversion")
    return commands.options(
        {
            "precision": requested,
            "keep_fp32": conversion.get("keep_fp32", ()),
            "io_precision": "match" if conversion.get("io") == "match" else None,
        }
    )


def _part(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return (manifest.get("precision") or {}).get(name) or {}
