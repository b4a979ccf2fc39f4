"""Build an engine of every model: wall time, size, and whether the manifest is right.

    python bench/builds.py FOLDER_OR_MODEL ... [--only PATTERN ...] [--tensorrt NAME]
                           [--timeout SECONDS] [--json FILE]

Weights that are missing become seeded random values in a temporary folder. A model with dynamic
inputs gets one optimization profile, by the names of its symbols:

    N, B, batch ...           1..2..4
    H, W, height, width       64..96..160   multiples of 32, by which most backbones divide
    any other                 8..16..32

Each manifest is held against its JSON Schema, the plan (hash, bytes) and the model (names and order
of inputs and outputs, hashes). Wall time is that of ``tripoint.build``, the child process included.

Exit code: 0 all is well; 1 a model that parses does not build, or a manifest is wrong; 2 usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from fixes import with_weights
from models import models_of
from tripoint import api
from tripoint._version import __version__
from tripoint.engine import builder, manifest
from tripoint.errors import TripointError
from tripoint.model import Model, sha256
from tripoint.spec import Range, Spec
from tripoint.symbols import symbols_of
from tripoint.trt import bindings

_BATCH = ("n", "b", "batch", "batch_size")
_SIDES = ("h", "w", "height", "width")


@dataclass
class Row:
    """What became of one model.

    Args:
        model: Its file name.
        kind: ``"static"`` or the ranges of its symbols.
        seconds: Wall time of the build, also of one that failed.
        bytes: Size of the plan.
        layers: Layers of the network.
        result: ``"built"``, ``"not parsed"`` or ``"failed"``.
        reason: Why it is not built, or what is wrong with its manifest.
    """

    model: str
    kind: str
    seconds: float = 0.0
    bytes: int | None = None
    layers: int | None = None
    result: str = "failed"
    reason: str = ""


def ranges(model: Model) -> dict[str, Range]:
    """A range for each symbol of the inputs, by its name."""
    found = {
        symbol: None
        for shape in api.input_shapes(model).values()
        for dim in shape
        for symbol in sorted(symbols_of(dim))
    }
    return {symbol: _range(symbol.lower()) for symbol in found}


def _range(name: str) -> Range:
    if name in _BATCH:
        return Range(1, 2, 4)
    return Range(64, 96, 160) if name in _SIDES else Range(8, 16, 32)


def build(path: Path, tensorrt: str | None, timeout: float | None) -> Row:
    """Build one model in a temporary folder.

    Args:
        path: The model.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        timeout: Seconds for the build.
    """
    row = Row(path.name, "?")
    with tempfile.TemporaryDirectory(prefix="tripoint-bench-") as name:
        started = time.perf_counter()
        try:
            model = api.load(with_weights(path, Path(name)))
            dims = ranges(model)
            row.kind = " ".join(f"{s}={r}" for s, r in dims.items()) or "static"
            started = time.perf_counter()
            result = api.build(
                model,
                Path(name) / "engine.plan",
                spec=Spec(dims=dims),
                tensorrt=tensorrt,
                timeout=timeout,
            )
        except builder.NotParsedError as error:
            row.result, row.reason = "not parsed", error.fact
        except TripointError as error:
            row.reason = str(error)
        else:
            row.result, row.reason = "built", "; ".join(faults(model, result))
            row.bytes, row.layers = result.bytes, result.network.layers
        row.seconds = time.perf_counter() - started
    return row


def faults(model: Model, result: builder.BuildResult) -> list[str]:
    """What is wrong with a manifest, read from its file."""
    content = manifest.read(result.manifest_path)
    validator = jsonschema.Draft202012Validator(manifest.schema())
    found = [f"schema: {error.message}" for error in validator.iter_errors(content)]
    engine = content["engine"]
    if engine["sha256"] != sha256(result.engine):
        found.append("the hash is not that of the plan")
    if engine["bytes"] != result.engine.stat().st_size:
        found.append("the size is not that of the plan")
    if content["model"]["sha256"] != model.sha256:
        found.append("the hash is not that of the model")
    for kind in ("inputs", "outputs"):
        expected = [value.name for value in getattr(model.ir.graph, kind)]
        if [entry["name"] for entry in content[kind]] != expected:
            found.append(f"{kind} are not those of the model in its order")
    return found


def table(rows: list[Row]) -> list[str]:
    """The rows as text."""
    lines = [f"{'model':<32} {'seconds':>8} {'MiB':>8} {'layers':>7}  result      profile"]
    for row in rows:
        size = f"{row.bytes / 2**20:.1f}" if row.bytes else "-"
        lines.append(
            f"{row.model:<32} {row.seconds:8.1f} {size:>8} {row.layers or '-':>7}  "
            f"{row.result:<11} {row.kind}"
        )
        if row.reason:
            lines.append(f"    {row.reason}")
    return lines


def main() -> int:
    """Build and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="names to build, as eca*")
    parser.add_argument("--tensorrt")
    parser.add_argument("--timeout", type=float, default=1800.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    paths = [
        path
        for path in models_of(arguments.models)
        if not arguments.only or any(fnmatch.fnmatch(path.name, p) for p in arguments.only)
    ]
    if not paths:
        parser.error("there is no such model")
    binding = bindings.find(arguments.tensorrt)
    rows = []
    for path in paths:
        print(f"{path.name} ...", file=sys.stderr, flush=True)
        rows.append(build(path, arguments.tensorrt, arguments.timeout))
    counts = {
        "models": len(rows),
        "built": sum(row.result == "built" for row in rows),
        "not_parsed": sum(row.result == "not parsed" for row in rows),
        "failed": sum(row.result == "failed" for row in rows),
        "wrong_manifests": sum(row.result == "built" and bool(row.reason) for row in rows),
        "seconds": sum(row.seconds for row in rows),
    }
    print("\n".join(table(rows)))
    print(
        f"\n{binding}: {counts['built']} of {counts['models']} built in {counts['seconds']:.0f} s, "
        f"{counts['not_parsed']} not parsed, {counts['failed']} failed, "
        f"{counts['wrong_manifests']} wrong manifests"
    )
    if arguments.json:
        document: dict[str, Any] = {
            "tripoint": __version__,
            "tensorrt": str(binding),
            "counts": counts,
            "models": [dataclasses.asdict(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return int(bool(counts["failed"] or counts["wrong_manifests"]))


if __name__ == "__main__":
    sys.exit(main())
