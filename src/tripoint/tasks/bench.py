"""Task "bench": time several legs in turns, in one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tripoint.errors import TripointError
from tripoint.numeric.inputs import Arrays
from tripoint.timing import legs
from tripoint.timing.interleave import Plan, interleave
from tripoint.trt import array_ipc
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Make every leg ready, then let all that are take turns.

    Args:
        request: ``inputs`` (path of the arrays), ``copies``, ``graphs``, ``rounds``,
            ``warm_up``, ``seconds``, and ``legs``: each with ``name``, ``kind`` (``"torch"``,
            ``"onnxruntime"`` or ``"engine"``) and what that leg needs.
        emit: Takes which leg is being prepared or timed, so that a crash has a name.

    Returns:
        ``legs`` in the same order: ``name``, and either ``reason``, or the facts of the leg,
        ``runs`` and ``samples`` in milliseconds.
    """
    inputs = array_ipc.load(Path(request["inputs"]))
    plan = Plan(request["rounds"], request["warm_up"], request["seconds"])
    entries: list[dict[str, Any]] = []
    ready: list[tuple[dict[str, Any], legs.Leg]] = []
    for wanted in request["legs"]:
        entry = {"name": wanted["name"]}
        entries.append(entry)
        emit({"event": "leg", "leg": wanted["name"], "at": f"preparing {wanted['name']}"})
        try:
            leg = _make(wanted, inputs, request)
            one = leg.turn(max(1, plan.warm_up)) / max(1, plan.warm_up)
        except TripointError as error:
            entry["reason"] = error.fact
            continue
        entry.update(leg.facts, runs=plan.runs(one))
        ready.append((entry, leg))

    def before(number: int) -> None:
        name = ready[number][0]["name"]
        emit({"event": "leg", "leg": name, "at": f"timing {name}"})

    samples = interleave(
        [leg.turn for _, leg in ready], [entry["runs"] for entry, _ in ready], plan.rounds, before
    )
    for (entry, _), values in zip(ready, samples, strict=True):
        entry["samples"] = values
    return {"legs": entries}


def _make(wanted: Mapping[str, Any], inputs: Arrays, request: Mapping[str, Any]) -> legs.Leg:
    copies = bool(request["copies"])
    if wanted["kind"] == "torch":
        return legs.TorchLeg(
            wanted["reference"],
            inputs,
            wanted["names"],
            compiled=wanted["compiled"],
            copies=copies,
        )
    if wanted["kind"] == "onnxruntime":
        return legs.OnnxRuntimeLeg(Path(wanted["model"]), inputs)
    return legs.EngineLeg(
        Path(wanted["plan"]),
        wanted["tensorrt"],
        inputs,
        graphs=request["graphs"],
        copies=copies,
        tf32=wanted["tf32"],
    )
