"""Layers, memory and precision as text and as JSON values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tripoint.engine.inspect import PlanContents
from tripoint.engine.precision_check import Evidence
from tripoint.precision.simulate import Rehearsal
from tripoint.report import columns
from tripoint.sanitize import clean
from tripoint.spec import ENDS
from tripoint.trt.layers import Layer, LayerTensor, counted
from tripoint.words import number_of

_MOST_KEPT = 8
_MOST_NODES = 4


def network(layers: Sequence[Layer], owners: Mapping[str, Sequence[str]]) -> list[str]:
    """The layers of a parsed network, with the ONNX node that each was made for.

    Args:
        layers: The layers.
        owners: Names of the layers by node, for those on which TensorRT notes none.
    """
    by_layer = _by_layer(owners)
    rows: list[Sequence[object]] = [("layer", "type", "node", "output", "dtype", "shape", "")]
    for layer in layers:
        nodes = _several(layer.nodes or by_layer.get(layer.name, ()))
        for place, tensor in enumerate(layer.outputs):
            first = (layer.name, layer.type, nodes) if place == 0 else ("", "", "")
            note = "shape tensor" if tensor.shape_tensor else ""
            rows.append((*first, tensor.name, tensor.dtype or "?", _shape(tensor), note))
    return [*columns.columns(rows), "", *counts("layers that compute", counted(layers))]


def contents(value: PlanContents) -> list[str]:
    """Return the lines of what a plan states itself."""
    lines = _memory(value)
    for place, profile in enumerate(value.profiles):
        lines.append(f"optimization profile {place}:")
        rows: list[Sequence[object]] = [("input", *ENDS)]
        rows += [(entry["name"], *(_end(entry, end) for end in ENDS)) for entry in profile]
        lines += columns.columns(rows)
    ports = [(name, *_io(facts)) for name, facts in value.io.items()]
    lines += ["inputs and outputs:", *columns.columns(ports)]
    if value.layers is not None:
        lines += ["layers:", *engine(value.layers)]
    if value.note:
        lines.append(f"note: {clean(value.note)}")
    return lines


def engine(layers: Sequence[Layer]) -> list[str]:
    """The layers of an engine, with the ONNX nodes fused into each."""
    rows: list[Sequence[object]] = [("layer", "type", "precision", "nodes", "output layout")]
    for layer in layers:
        layouts = ", ".join(dict.fromkeys(each.format or "?" for each in layer.outputs))
        rows.append(
            (layer.name, layer.type or "?", layer.precision or "?", _several(layer.nodes), layouts)
        )
    return [*columns.columns(rows), "", *counts("layers that compute", counted(layers))]


def precision(evidence: Evidence) -> list[str]:
    """Return the lines on precision: asked for, present, and its cost."""
    prepared = evidence.prepared
    lines = []
    if (lowered := prepared.lowered) is not None:
        lines.append(
            f"precision {prepared.requested}: {number_of(lowered.lowered, 'node')} in it, "
            f"{len(lowered.kept)} kept in float32, {number_of(lowered.casts, 'cast')} added"
        )
        reasons = Counter((entry.op, entry.reason) for entry in lowered.kept)
        lines += [
            f"  kept in float32: {clean(op)} ({count}): {clean(reason)}"
            for (op, reason), count in reasons.most_common(_MOST_KEPT)
        ]
        if len(reasons) > _MOST_KEPT:
            lines.append(f"  and {len(reasons) - _MOST_KEPT} more reasons, in the manifest")
        lines += [
            f"  constant {clean(entry.name)} has {entry.largest:.3g}, beyond the range: it is now "
            "the largest number of that type"
            for entry in lowered.clamped[:_MOST_KEPT]
        ]
    if prepared.rehearsal is not None:
        lines += _errors(prepared.rehearsal)
    elif prepared.lowered is not None:
        lines.append("  error against float32: not measured")
    lines += counts("network", counted(evidence.network))
    if evidence.engine is not None:
        lines += counts("engine, by its inspector", counted(evidence.engine))
        if evidence.wanted and not evidence.proven:
            lines.append(f"engine: {evidence.wanted} is not proven, its inspector tells no types")
        if evidence.elsewhere:
            lines.append(
                f"engine: {number_of(len(evidence.elsewhere), 'node')} without {evidence.wanted}: "
                f"{_several(evidence.elsewhere)}"
            )
    if evidence.note:
        lines.append(f"engine: {clean(evidence.note)}")
    return lines


def _errors(value: Rehearsal) -> list[str]:
    lines = [f"  error against float32 ({value.method}):"]
    rows: list[Sequence[object]] = [("output", "max abs", "max rel", "at")]
    names = dict.fromkeys(output.name for point in value.points for output in point.outputs)
    for name in names:
        worst, sizes = max(
            (
                (out, point.sizes)
                for point in value.points
                for out in point.outputs
                if out.name == name
            ),
            key=lambda pair: pair[0].max_abs,
        )
        relative = "" if worst.max_rel is None else f"{worst.max_rel:.2g}"
        rows.append((name, f"{worst.max_abs:.2g}", relative, columns.point(dict(sizes))))
    lines += columns.columns(rows, indent="    ")
    return lines + ([f"  note: {clean(value.note)}"] if value.note else [])


def of_manifest(manifest: Mapping[str, Any]) -> list[str]:
    """Return the lines of a manifest on precision; none if it is older than that entry."""
    entry = manifest.get("precision")
    if not isinstance(entry, Mapping):
        return []
    asked = entry.get("requested")
    lines = [f"precision asked for: {clean(asked)}" if asked else "precision: that of the model"]
    seen, engine_seen = entry.get("network") or {}, entry.get("engine") or {}
    lines += counts("network", seen.get("counts") or {})
    lines += counts("engine, by its inspector", engine_seen.get("counts") or {})
    if engine_seen.get("note"):
        lines.append(f"engine: {clean(engine_seen['note'])}")
    return lines


def counts(what: str, numbers: Mapping[str, int]) -> list[str]:
    """One line that counts layers by precision."""
    if not numbers:
        return []
    return [f"{what}: {', '.join(f'{count} {clean(name)}' for name, count in numbers.items())}"]


def network_json(
    layers: Sequence[Layer], owners: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """The layers of a parsed network as JSON values; arguments as :func:`network`."""
    by_layer = _by_layer(owners)
    return [
        {
            "name": layer.name,
            "type": layer.type,
            "nodes": list(layer.nodes or by_layer.get(layer.name, ())),
            "precision": layer.precision,
            "inputs": layer.inputs,
            "outputs": layer.outputs,
        }
        for layer in layers
    ]


def contents_json(value: PlanContents | None) -> dict[str, Any] | None:
    """Return what a plan states itself as JSON values."""
    if value is None:
        return None
    return {
        "name": value.name,
        "refittable": value.refittable,
        "memory": value.memory,
        "profiles": value.profiles,
        "io": value.io,
        "note": value.note,
        "counts": counted(value.layers) if value.layers is not None else None,
        "layers": None
        if value.layers is None
        else [{**_fields(layer), "precision": layer.precision} for layer in value.layers],
    }


def _fields(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "type": layer.type,
        "nodes": layer.nodes,
        "weights": layer.weights,
        "tactic": layer.tactic,
        "inputs": layer.inputs,
        "outputs": layer.outputs,
    }


def _by_layer(owners: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {layer: (node,) for node, layers in owners.items() for layer in layers}


def _several(nodes: Iterable[str]) -> str:
    named = list(nodes)
    more = f" and {len(named) - _MOST_NODES} more" if len(named) > _MOST_NODES else ""
    return f"{', '.join(map(clean, named[:_MOST_NODES]))}{more}"


def _shape(tensor: LayerTensor) -> str:
    if tensor.shape is None:
        return "?"
    return f"({', '.join(map(str, tensor.shape))}{',' if len(tensor.shape) == 1 else ''})"


def _memory(value: PlanContents) -> list[str]:
    memory = value.memory
    names = {
        "weights": "weights",
        "context": "device memory of a context",
        "streamable_weights": "weights that can be streamed",
    }
    lines = [
        f"{what}: {memory[key]} bytes" for key, what in names.items() if memory.get(key) is not None
    ]
    by_profile = memory.get("context_by_profile") or []
    if len(by_profile) > 1:
        lines += [f"  with profile {place}: {size} bytes" for place, size in enumerate(by_profile)]
    return lines


def _end(entry: Mapping[str, Any], end: str) -> str:
    if (values := entry.get(f"{end}_values")) is not None:
        return f"values {', '.join(map(str, values))}"
    sizes = entry.get(end)
    return "?" if sizes is None else "x".join(map(str, sizes)) or "scalar"


def _io(facts: Mapping[str, Any]) -> tuple[str, str]:
    notes = [f"on the {facts['location']}"] if facts.get("location") else []
    notes += ["shape tensor"] if facts.get("shape_tensor") else []
    notes += [f"shares the memory of {facts['aliases']}"] if facts.get("aliases") else []
    return facts.get("format") or "?", "; ".join(notes)
