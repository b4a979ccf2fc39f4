"""Engines in every precision, on a GPU: what their layers have, and how far they are from float32.

    python bench/gpu_precision.py MODEL ... [--dim N=1..2..4] [--precision fp16] [--record FILE]
        [--raw FILE]

Each engine is built, loaded and inspected. A row says how many layers of the network and of the
engine have which precision, whether the one that was asked for is proven, the error that ONNX
Runtime measured before the build, and that of the engine against ONNX Runtime in float32 at the
points of the profile. ``--raw`` keeps the inspector's JSON as TensorRT gives it, without and with
an execution context. A range for a symbol that a model lacks is passed over.

Exit code: 0 if every precision is proven and all outputs agree; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tripoint import api
from tripoint.errors import TripointError
from tripoint.parity.results import Verification
from tripoint.precision import recorded
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.trt import bindings, process

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


def measure(
    path: Path, dims: Sequence[str], precision: str, folder: Path, raw: dict[str, Any]
) -> dict[str, Any]:
    """Everything about one engine.

    Args:
        path: The model, with its weights.
        dims: Ranges as ``--dim`` takes them, of more symbols than this model may have.
        precision: One of :data:`PRECISIONS`.
        folder: Where the engine goes.
        raw: Takes what the inspector says.
    """
    model = api.load(path)
    known = truth.infer(model.ir)
    spec = Spec.parse([], [each for each in dims if each.partition("=")[0] in known.symbols])
    plan = folder / f"{path.stem}.{precision}.plan"
    row: dict[str, Any] = {"model": path.stem, "precision": precision}
    try:
        built = api.build(model, plan, spec=spec, precision=precision)  # type: ignore[arg-type]
    except TripointError as error:
        return {**row, "error": str(error)}
    content = built.manifest
    entry = content["precision"]
    row |= {
        "bytes": built.bytes,
        "casts": (entry["conversion"] or {}).get("casts_added"),
        "kept": len((entry["conversion"] or {}).get("nodes_kept", ())),
        "network": entry["network"]["counts"],
        "engine": entry["engine"]["counts"],
        "note": entry["engine"]["note"],
        "proven": entry["engine"]["proven"],
        "without_it": entry["engine"]["without_it"],
        "mapped": sum(bool(layer["nodes"]) for layer in entry["engine"]["layers"]),
        "rehearsed": {
            name: max(cost.error for cost in costs)
            for name, costs in recorded.rounding(content).items()
        },
    }
    found = api.verify(model, engine=plan, spec=spec)
    row |= _agreement(found)
    for context in (False, True):
        name = f"{path.stem}.{precision}.{'with' if context else 'without'}-context"
        raw[name] = _raw(plan, content["environment"], context=context)
    return row


def _agreement(found: Verification) -> dict[str, Any]:
    entries = [
        entry
        for point in found.points
        for entry in point.outputs
        if "TensorRT" in entry.pair and entry.tolerance is not None
    ]
    return {
        "compared": len(entries),
        "equal": bool(entries) and all(entry.equal for entry in entries),
        "max_abs": max((entry.max_abs or 0.0 for entry in entries), default=None),
        "max_rel": max((entry.max_rel or 0.0 for entry in entries), default=None),
        "allowed": max(
            (entry.tolerance.atol for entry in entries if entry.tolerance), default=None
        ),
    }


def _raw(plan: Path, environment: dict[str, Any], *, context: bool) -> dict[str, Any]:
    request = {
        "task": "inspect_plan",
        "tensorrt": bindings.find(None).name,
        "plan": str(plan),
        "environment": environment,
        "context": context,
    }
    try:
        return process.call(request, timeout=300)
    except TripointError as error:
        return {"error": str(error)}


def passes(row: dict[str, Any]) -> bool:
    """Whether a row shows what it should."""
    return bool(row.get("equal")) and row.get("proven") is not False


def main() -> int:
    """Print one line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--dim", action="append", default=[], metavar="N=1..2..4")
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--record", type=Path, help="write the rows here, as lines of JSON")
    parser.add_argument("--raw", type=Path, help="write what the inspector says here, as JSON")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.models:
            for precision in arguments.precision or PRECISIONS:
                row = measure(path, arguments.dim, precision, Path(folder), raw)
                rows.append(row)
                print("ok  " if passes(row) else "FAIL", json.dumps(row), flush=True)
    if arguments.record:
        arguments.record.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if arguments.raw:
        arguments.raw.write_text(json.dumps(raw))
    return 0 if all(map(passes, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
