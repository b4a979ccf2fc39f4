"""After a build: what precision the network and the engine really have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tripoint.engine import gpu, inspector, layers, process
from tripoint.engine.bindings import Binding
from tripoint.engine.layers import Layer
from tripoint.errors import TripointError
from tripoint.precision.evidence import Evidence, check
from tripoint.precision.prepare import Prepared


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
    known = {node for layer in network for node in layer.nodes}
    engine, note = of_plan(
        plan, binding, known=known, environment=built["environment"], timeout=timeout
    )
    found = Evidence(
        prepared or Prepared(), network, engine, note, bool(built["flags"]["strongly_typed"])
    )
    check(found)
    return found


def of_plan(
    plan: Path,
    binding: Binding,
    *,
    known: Collection[str] = (),
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
    return read(result, known)


def read(
    result: Mapping[str, Any], known: Collection[str] = ()
) -> tuple[tuple[Layer, ...] | None, str | None]:
    """What the task "inspect_plan" found of the layers; as :func:`of_plan`."""
    notes = list(result["notes"])
    if result["inspector"] is None:
        return None, "; ".join(notes) or "not inspected"
    found = inspector.read(result["inspector"], known)
    notes += [found.note] if found.note else []
    return found.layers or None, "; ".join(notes) or None
