"""After a build: what precision the network and the engine really have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tripoint.engine import inspector
from tripoint.errors import ExternalStepError, TripointError
from tripoint.precision.choice import name_of
from tripoint.precision.lower import LOW
from tripoint.precision.prepare import Prepared
from tripoint.trt import gpu, layers, process
from tripoint.trt.bindings import Binding
from tripoint.trt.layers import Layer, counted
from tripoint.words import number_of


def gather(
    prepared: Prepared | None,
    built: Mapping[str, Any],
    plan: Path,
    binding: Binding,
    *,
    timeout: float | None = None,
) -> Evidence:
    """Ask the network and, where a GPU is, the engine.

    Args:
        prepared: What was asked for, None for the model as it is.
        built: The account of the child that built the engine.
        plan: The engine.
        binding: The TensorRT that built it.
        timeout: Seconds that loading the engine may take, None for no limit.

    Raises:
        ExternalStepError: If there is proof that the precision is not the one asked for.
    """
    network = layers.of_network(built["network"])
    node_names = {node for layer in network for node in layer.nodes}
    engine, note = of_plan(
        plan, binding, nodes=node_names, environment=built["environment"], timeout=timeout
    )
    evidence = Evidence(
        prepared or Prepared(), network, engine, note, bool(built["flags"]["strongly_typed"])
    )
    check(evidence)
    return evidence


def of_plan(
    plan: Path,
    binding: Binding,
    *,
    nodes: Collection[str] = (),
    environment: Mapping[str, str | None] | None = None,
    timeout: float | None = None,
) -> tuple[tuple[Layer, ...] | None, str | None]:
    """The layers of an engine, by its inspector; loading it takes a GPU.

    Returns:
        The layers, None if they could not be had, and what was not told and why.
    """
    reason = gpu.absence()
    if reason:
        return None, f"not inspected: no GPU; {reason}"
    request = {
        "task": "inspect_plan",
        "tensorrt": binding.name,
        "plan": str(plan.resolve()),
        "environment": dict(environment or {}),
        "context": False,
    }
    try:
        result = process.call(request, timeout=timeout)
    except TripointError as error:
        return None, f"not inspected: {error.fact}"
    return read(result, nodes)


def read(
    result: Mapping[str, Any], nodes: Collection[str] = ()
) -> tuple[tuple[Layer, ...] | None, str | None]:
    """Read the layers from the answer of the task "inspect_plan"; as :func:`of_plan`."""
    notes = list(result["notes"])
    if result["inspector"] is None:
        return None, "; ".join(notes) or "not inspected"
    inspected = inspector.read(result["inspector"], nodes)
    notes += [inspected.note] if inspected.note else []
    return inspected.layers or None, "; ".join(notes) or None


_LESS = frozenset({"tf32", "fp16", "bf16", "fp8", "fp4"})


_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "Attention"})


@dataclass(frozen=True)
class Evidence:
    """Precision that was asked for, beside that of the layers.

    Args:
        prepared: What was asked for, and what became of the model.
        network: The layers of the network that was built.
        engine: The layers of the engine, as its inspector tells them; None if it was not asked.
        note: What the inspector could not tell, or why it was not asked; None if it told all.
        strongly_typed: Whether the engine must have the types of the network.
    """

    prepared: Prepared
    network: tuple[Layer, ...]
    engine: tuple[Layer, ...] | None
    note: str | None
    strongly_typed: bool

    @property
    def wanted(self) -> str | None:
        """The precision that layers must have: ``"fp16"`` or ``"bf16"``, None if none must."""
        requested = self.prepared.requested
        return requested if requested in LOW else None

    @property
    def proven(self) -> bool:
        """Return whether the engine itself shows the precision that was asked for."""
        if self.wanted is None or self.engine is None:
            return False
        return bool(_with(self.engine, self.wanted))

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Products that the graph has in the lower type and the engine computes without it."""
        lowered = self.prepared.lowered
        if self.engine is None or lowered is None or self.wanted is None:
            return ()
        kept = {entry.node for entry in lowered.kept}
        asked = [
            node.name
            for node in lowered.source.graph
            if node.op_type in _PRODUCTS and node.name and node.name not in kept
        ]
        told: dict[str, list[str]] = {}
        for layer in self.engine:
            for node in layer.nodes:
                told.setdefault(node, []).append(layer.precision or "")
        return tuple(
            name
            for name in asked
            if name in told
            and all(told[name])
            and not any(self.wanted in precision.split("+") for precision in told[name])
        )


def check(evidence: Evidence) -> None:
    """Refuse an engine that lacks the precision that was asked for.

    Raises:
        ExternalStepError: If no layer of the network, or of the engine, has it; or if fp32 was
            asked for and a layer has less.
    """
    requested, wanted = evidence.prepared.requested, evidence.wanted
    if requested == "fp32":
        for what, layers in (("network", evidence.network), ("engine", evidence.engine or ())):
            for layer in layers:
                if _LESS & set((layer.precision or "").split("+")):
                    raise ExternalStepError(
                        f"--precision fp32: layer {layer.name!r} of the {what} "
                        f"has {layer.precision}"
                    )
    if wanted is None:
        return
    if not _with(evidence.network, wanted):
        raise ExternalStepError(
            f"--precision {wanted}: no layer of the network has it; "
            f"the parser made {_spelled(evidence.network)}"
        )
    if evidence.engine is None or _with(evidence.engine, wanted):
        return
    if all(layer.told for layer in evidence.engine if layer.computes):
        raise ExternalStepError(
            f"--precision {wanted}: no layer of the engine has it; "
            f"TensorRT built {_spelled(evidence.engine)}"
        )


def _with(layers: Sequence[Layer], wanted: str) -> list[Layer]:
    return [
        layer for layer in layers if layer.computes and wanted in (layer.precision or "").split("+")
    ]


def _spelled(layers: Sequence[Layer]) -> str:
    return (
        ", ".join(f"{number_of(n, 'layer')} in {each}" for each, n in counted(layers).items())
        or "none"
    )


def as_json(evidence: Evidence) -> dict[str, Any]:
    """The entry ``precision`` of a manifest.

    ``network`` lists the layers that compute by precision; ``engine`` says of each layer what
    its inspector tells. Neither tells what a kernel sums in.
    """
    prepared = evidence.prepared
    return {
        "requested": prepared.requested,
        "conversion": _conversion(prepared),
        "error": _error(prepared),
        "network": {
            "strongly_typed": evidence.strongly_typed,
            "counts": counted(evidence.network),
            "layers": _by_precision(evidence.network),
        },
        "engine": {
            "inspected": evidence.engine is not None,
            "note": evidence.note,
            "counts": counted(evidence.engine) if evidence.engine is not None else None,
            "proven": evidence.proven if evidence.wanted else None,
            "without_it": list(evidence.elsewhere),
            "layers": [engine_layer(layer) for layer in evidence.engine or ()],
        },
    }


def engine_layer(layer: Layer) -> dict[str, Any]:
    """An engine's layer as JSON values, in short."""
    return {
        "name": layer.name,
        "type": layer.type,
        "precision": layer.precision,
        "nodes": list(layer.nodes),
    }


def _by_precision(layers: Sequence[Layer]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for layer in layers:
        if layer.computes and layer.precision:
            names.setdefault(layer.precision, []).append(layer.name)
    return names


def _conversion(prepared: Prepared) -> dict[str, Any] | None:
    lowered = prepared.lowered
    if lowered is None:
        return None
    return {
        "by": lowered.converter,
        "type": name_of(lowered.low),
        "opset": lowered.model.opset_imports.get("", 0),
        "io": lowered.io,
        "keep_fp32": list(lowered.keep),
        "nodes_lowered": lowered.lowered,
        "nodes_kept": [asdict(entry) for entry in lowered.kept],
        "casts_added": lowered.casts,
        "clamped": [asdict(entry) for entry in lowered.clamped],
    }


def _error(prepared: Prepared) -> dict[str, Any] | None:
    rehearsal = prepared.rehearsal
    if rehearsal is None:
        return None
    return {
        "method": rehearsal.method,
        "loads_in_onnxruntime": rehearsal.loads,
        "note": rehearsal.note,
        "points": [
            {"sizes": dict(point.sizes), "outputs": [asdict(out) for out in point.outputs]}
            for point in rehearsal.points
        ],
    }
