"""Engines of models before and after ``fix``, on a GPU: same results, and how long a run takes.

    python bench/gpu_fix.py MODEL ... [--dim N=1..2..4] [--dim H=64..96..128] [--record FILE]

Both engines are built with the same profile and compared with ONNX Runtime at the points of the
profile, with the derived tolerances. Then both run in turns on the largest point; the median of the
rounds is printed, between two CUDA events on one stream, without CUDA graphs, after a warm-up.
Needs PyTorch with CUDA for the memory. A range for a symbol that a model lacks is passed over.

Exit code: 0 if all agree; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tripoint import api
from tripoint import model as models
from tripoint.numeric.inputs import Arrays, generate, inputs_of
from tripoint.parity.results import Verification
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.trt import bindings

STAGES = ("before", "after")
WARM_UP = 20
RUNS = 50
ROUNDS = 7


def measure(path: Path, dims: Sequence[str], folder: Path) -> dict[str, Any]:
    """Everything about one model.

    Args:
        path: The model, with its weights.
        dims: Ranges as ``--dim`` takes them, of more symbols than this model may have.
        folder: Where the fixed model and the engines go.
    """
    model = api.load(path)
    known = truth.infer(model.ir)
    spec = Spec.parse([], [each for each in dims if each.partition("=")[0] in known.symbols])
    fixed = api.fix(model, spec=spec, target="installed", numeric=False)
    saved = models.save(fixed.model, folder / "fixed.onnx")
    row: dict[str, Any] = {
        "model": path.stem,
        "nodes": (fixed.before.nodes, fixed.after.nodes),
        "lost": (fixed.before.lost_dims, fixed.after.lost_dims),
    }
    plans = []
    for stage, source in zip(STAGES, (model, saved), strict=True):
        plan = folder / f"{stage}.plan"
        api.build(source, plan, spec=spec)
        plans.append(plan)
        found = api.verify(model, fixed=saved, engine=plan, spec=spec)
        row[stage] = agreement(found)
    point = max(api.sweep(model, spec), key=lambda sizes: math.prod(sizes.values()))
    feed = generate(inputs_of(model, named=False), point, 0, model=model)
    row["point"] = dict(point)
    row["milliseconds"] = latencies(plans, feed)
    return row


def agreement(found: Verification) -> dict[str, Any]:
    """What a comparison says of the engine."""
    entries = [
        entry
        for point in found.points
        for entry in point.outputs
        if "TensorRT" in entry.pair and entry.tolerance is not None
    ]
    return {
        "points": len(found.points),
        "compared": len(entries),
        "equal": bool(entries) and all(entry.equal for entry in entries),
        "verdict": found.verdict,
        "max_abs": max((entry.max_abs or 0.0 for entry in entries), default=None),
        "allowed": max(
            (entry.tolerance.atol for entry in entries if entry.tolerance), default=None
        ),
    }


def latencies(plans: Sequence[Path], feed: Arrays) -> list[float]:
    """Milliseconds of a run of each engine, in turns."""
    import torch

    trt = bindings.load(bindings.find(None).name)
    logger = trt.Logger(trt.Logger.ERROR)
    stream = torch.cuda.Stream()
    held: list[Any] = []
    runs = [_runner(trt, logger, plan, feed, stream, held) for plan in plans]
    times: list[list[float]] = [[] for _ in plans]
    with torch.cuda.stream(stream):
        for run in runs:
            for _ in range(WARM_UP):
                run()
        stream.synchronize()
        for _ in range(ROUNDS):
            for run, into in zip(runs, times, strict=True):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record(stream)
                for _ in range(RUNS):
                    run()
                end.record(stream)
                end.synchronize()
                into.append(start.elapsed_time(end) / RUNS)
    return [statistics.median(each) for each in times]


def _runner(
    trt: Any, logger: Any, plan: Path, feed: Arrays, stream: Any, held: list[Any]
) -> Callable[[], None]:
    import torch

    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan.read_bytes())
    context = engine.create_execution_context()
    held += [runtime, engine, context]
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    for name in names:
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            tensor = torch.from_numpy(feed[name]).cuda().contiguous()
            context.set_input_shape(name, tuple(tensor.shape))
            held.append(tensor)
            context.set_tensor_address(name, tensor.data_ptr())
    context.infer_shapes()
    for name in names:
        if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
            size = 1
            for dim in context.get_tensor_shape(name):
                size *= dim
            memory = torch.empty(size * 8, dtype=torch.uint8, device="cuda")
            held.append(memory)
            context.set_tensor_address(name, memory.data_ptr())

    def run() -> None:
        if not context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError(f"{plan.name} did not run")

    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--dim", action="append", default=[], metavar="N=1..2..4")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the rows as JSON")
    options = parser.parse_args(arguments)
    agree = True
    print("| model | nodes | lost dims | engine of | points | equal | max abs | allowed | ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in options.models:
        with tempfile.TemporaryDirectory(prefix="gpu-fix-") as folder:
            row = measure(path, options.dim, Path(folder))
        for index, stage in enumerate(STAGES):
            found = row[stage]
            agree = agree and found["equal"]
            cells = (
                row["model"] if not index else "",
                row["nodes"][index],
                row["lost"][index],
                ("exported graph", "fixed graph")[index],
                found["points"],
                "yes" if found["equal"] else "no",
                f"{found['max_abs']:.2g}" if found["max_abs"] is not None else "-",
                f"{found['allowed']:.2g}" if found["allowed"] is not None else "-",
                f"{row['milliseconds'][index]:.3f}",
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
        if options.record:
            with options.record.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
