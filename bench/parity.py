"""What a comparison costs: memory with every tensor of a model compared, and time outside the legs.

    python bench/parity.py memory bert6.onnx --dim N=1..2..4 --dim S=16..64..128
    python bench/parity.py time resnet50.onnx --dim N=1..2..4 --dim H=224 --dim W=224

``memory`` makes an output of every tensor of the graph and compares two ONNX Runtimes, in a process
of its own whose peak is read; weights that are missing are zeros (``zoo/materialize.py`` writes
others). ``time`` runs a comparison once, and says which share of it the legs took themselves;
without ``--torch FILE:NAME`` the second leg is ONNX Runtime again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

import measure
import models
from tripoint import api
from tripoint import model as tripoint_models
from tripoint.model import Model
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.legs.torch import TorchLeg
from tripoint.shape_inference import truth
from tripoint.spec import Spec

MEMORY_GOAL = 2e9
TIME_GOAL = 0.8


def with_all_outputs(model: Model, path: Path) -> int:
    """Write a model of which every tensor is an output, and say how many there are."""
    graph = model.ir.clone()
    shapes = truth.annotate(graph).shapes
    outputs = graph.graph.outputs
    known = set(outputs)
    for node in graph.graph:
        for value in node.outputs:
            numbers = value.dtype is not None and value.dtype != ir.DataType.STRING
            if value.name and value not in known and numbers and shapes.get(value.name) is not None:
                outputs.append(value)
    tripoint_models.save(Model(graph), path)
    return len(outputs)


def compare_all(arguments: argparse.Namespace, folder: Path) -> bool:
    """Compare every tensor, and say what memory that takes."""
    model = models.with_weights(arguments.model, folder)
    count = with_all_outputs(model, folder / "all.onnx")
    command = [sys.executable, "-m", "tripoint", "verify", "all.onnx", "--fixed", "all.onnx", "-q"]
    command += [word for text in arguments.dim for word in ("--dim", text)]
    command += ["--points", str(arguments.points), "--format", "json", "--output-file", "out.json"]
    run = measure.run(
        command,
        folder=folder,
        environment=os.environ,
        log=folder / "log.txt",
        timeout=3600,
        watch=True,
    )
    if run.code not in (0, 1):
        print((folder / "log.txt").read_text()[-2000:])
        return False
    weights = sum(tensor.nbytes for tensor in tripoint_models.external_tensors(model.ir))
    peak = run.peak_kib * 1024
    verdict = json.loads((folder / "out.json").read_text())["verdict"]
    print(f"{arguments.model.name}: {count} tensors at {arguments.points} points, {verdict}")
    print(f"  weights        {weights / 1e9:8.3f} GB, held by two sessions")
    print(f"  peak memory    {peak / 1e9:8.3f} GB   goal: under {MEMORY_GOAL / 1e9:g} GB")
    print(f"  seconds        {run.seconds:8.1f}")
    return peak < MEMORY_GOAL


def timed(kind: type[Any], spent: dict[str, float]) -> None:
    """Add up the time in the legs of one kind."""
    original: Callable[..., Any] = kind.run

    def run(self: Any, inputs: Mapping[str, Any]) -> Any:
        started = time.perf_counter()
        try:
            return original(self, inputs)
        finally:
            spent[self.name] = spent.get(self.name, 0.0) + time.perf_counter() - started

    kind.run = run


def share(arguments: argparse.Namespace, folder: Path) -> bool:
    """Compare once, and say where the time goes."""
    model = models.with_weights(arguments.model, folder)
    spent: dict[str, float] = {}
    for kind in (OnnxRuntimeLeg, TorchLeg):
        timed(kind, spent)
    started = time.perf_counter()
    result = api.verify(
        tripoint_models.load(model.path or arguments.model),
        torch=arguments.torch,
        fixed=None if arguments.torch else model.path,
        spec=Spec.parse((), arguments.dim),
        points=arguments.points,
    )
    total = time.perf_counter() - started
    inside = sum(spent.values())
    print(f"{arguments.model.name}: {result.verdict} at {len(result.points)} points")
    for name, seconds in spent.items():
        print(f"  {name:22} {seconds:8.2f} s")
    print(f"  everything             {total:8.2f} s")
    print(f"  inside the legs        {inside / total:8.1%}   goal: at least {TIME_GOAL:.0%}")
    return inside / total >= TIME_GOAL


def main() -> int:
    """Read the command line; 0 if the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["memory", "time"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--dim", action="append", default=[], metavar="N=1..2..4")
    parser.add_argument("--torch", metavar="FILE:NAME")
    parser.add_argument("--points", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tripoint-bench-") as name:
        act = compare_all if arguments.what == "memory" else share
        return 0 if act(arguments, Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
