"""Engines and plans, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tripoint.engine.builder import BuildResult
from tripoint.engine.inspect import PlanInspection
from tripoint.report import layers
from tripoint.report.columns import columns
from tripoint.report.layers import contents_json
from tripoint.report.networks import network
from tripoint.sanitize import clean
from tripoint.words import number_of


def build(result: BuildResult) -> list[str]:
    """A built engine, and how to load it."""
    tensorrt, target = result.manifest["tensorrt"], result.manifest["target"]
    capabilities = target["compute_capabilities"]
    gpus = ", ".join(capabilities) if capabilities else "TensorRT's default choice"
    layers_made = number_of(result.network.layers or 0, "layer")
    lines = [
        f"wrote {clean(result.engine)}, {result.bytes} bytes, {layers_made}",
        f"wrote {clean(result.manifest_path)}",
        f"built by {tensorrt['name']} {tensorrt['version']} for compute capability {gpus}",
    ]
    lines += environment(result.manifest)
    lines += layers.precision(result.precision)
    lines.append(_timing_cache(result.manifest["timing_cache"]))
    for number, profile in enumerate(result.profiles):
        which = f" {number}" if len(result.profiles) > 1 else ""
        lines.append(f"optimization profile{which}:")
        rows = [
            (
                each.name + (" (values)" if each.values else ""),
                *("x".join(map(str, size)) for size in (each.min, each.opt, each.max)),
            )
            for each in profile.inputs
        ]
        lines += columns([("input", "min", "opt", "max"), *rows])
    lines += network(result.network)
    lines += [f"warning: {clean(text)}" for text in result.warnings]
    return lines


def _timing_cache(cache: Mapping[str, Any]) -> str:
    where = cache["location"] or f"none; {cache['reason']}"
    return f"timing cache: {clean(where)}"


def environment(manifest: Mapping[str, Any]) -> list[str]:
    """Variables without which the engine does not run."""
    needed = {n: v for n, v in (manifest.get("environment") or {}).items() if v is not None}
    return [
        f"set {clean(name)}={clean(value)} where it runs; TensorRT refuses the engine otherwise"
        for name, value in needed.items()
    ]


def plan(value: PlanInspection) -> list[str]:
    """Return the lines on a plan."""
    lines = [f"{clean(value.path)}: {value.bytes} bytes, sha256 {value.sha256}"]
    if value.manifest is not None:
        tensorrt = value.manifest["tensorrt"]
        lines.append(f"built by {clean(tensorrt['name'])} {clean(tensorrt['version'])}")
        lines += environment(value.manifest)
        lines += layers.of_manifest(value.manifest)
        lines += [f"may not run here: {clean(reason)}" for reason in value.differences]
        if value.rebuild is not None:
            lines.append(f"build it again: {clean(value.rebuild)}")
    else:
        lines.append("it has no manifest")
    if value.network is None:
        return [*lines, "its inputs and outputs are not known: load it on a machine with a GPU"]
    source = "read from the plan" if value.loaded else "from the manifest; the plan was not loaded"
    lines += [source, *network(value.network)]
    return lines + (layers.contents(value.contents) if value.contents is not None else [])


def build_document(result: BuildResult) -> dict[str, Any]:
    """A built engine."""
    return {
        "engine": {
            "path": str(result.engine),
            "bytes": result.bytes,
            "sha256": result.sha256,
        },
        "manifest": result.manifest,
        "network": result.network,
        "profile": result.profiles[0].inputs if result.profiles else [],
        "profiles": [profile.inputs for profile in result.profiles],
        "warnings": result.warnings,
    }


def plan_document(result: PlanInspection) -> dict[str, Any]:
    """Return the document on a plan."""
    return {
        "engine": {
            "path": str(result.path),
            "bytes": result.bytes,
            "sha256": result.sha256,
        },
        "loaded": result.loaded,
        "differences": result.differences,
        "rebuild": result.rebuild,
        "network": result.network,
        "contents": contents_json(result.contents),
        "manifest": result.manifest,
    }
