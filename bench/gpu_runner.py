"""The runner on a GPU: right results over the profile, and what it costs beside the bare loop.

    python bench/gpu_runner.py MODEL ... [--dim N=1..2..4] [--json FILE] [--results-only]

For each model an engine is built, and :class:`tripoint.Engine` is compared with ONNX Runtime at the
min, opt, max and random points of the profile, with the derived tolerances, three times each so
that CUDA graphs are captured and launched. Then, at the largest point and with everything in device
memory, these take turns on one stream between two CUDA events:

- the bare loop: ``execute_async_v3``, or the launch of a CUDA graph captured from it by hand;
- ``Engine.bind(...).launch()``, the runner in a loop: with a graph it must be within the budget;
- ``Engine.enqueue(...)``, which looks at the inputs in every call: for information.

A ratio is that of the medians over all rounds. Small models with outputs whose size the values
decide are tried as well, and those that TensorRT refuses are listed. Symbols without a range get a
small one; a range for a symbol that a model lacks is passed over.

Exit code: 0 if all agree within the budget; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

import tripoint
from tripoint import api
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, bindings_of, generate, inputs_of
from tripoint.numeric.ort import Session
from tripoint.parity.compare import compare_outputs
from tripoint.runner.device import Cuda, view
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.timing.interleave import interleave
from tripoint.tolerance.derivation import Budget, Products
from tripoint.trt import bindings
from tripoint.trt import cuda as cuda_task

BUDGET = 1.03
RANGES = {"N": "1..2..4", "H": "64..96..128", "W": "64..96..128", "S": "16..32..64"}
SIZE = "1..2..4"
AGAIN = 3
WARM_UP_SECONDS = 4.0
RUNS = 50
ROUNDS = 25
WAYS = ("bare", "bound", "enqueue")


class Bare:
    """An engine that is run by hand, with the calls that cannot be done without.

    Args:
        trt: The TensorRT module.
        plan: The engine file.
        feed: Inputs in device memory.
        sizes: Bytes by output name.
        graph: Whether the execution is captured.
    """

    def __init__(
        self,
        trt: Any,
        plan: Path,
        feed: Mapping[str, Any],
        sizes: Mapping[str, int],
        stream: int,
        *,
        graph: bool,
    ) -> None:
        self.cudart = cuda_task.runtime()
        cuda = Cuda(self.cudart)
        self.held: list[Any] = [trt.Logger(trt.Logger.ERROR)]
        runtime = trt.Runtime(self.held[0])
        engine = runtime.deserialize_cuda_engine(plan.read_bytes())
        if graph and hasattr(engine, "create_runtime_config"):
            config = engine.create_runtime_config()
            # The same kernels as the runner's, which asks for this where it captures.
            strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
            if strategies is not None:
                config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            context = engine.create_execution_context(config)
            self.held.append(config)
        else:
            context = engine.create_execution_context()
        self.held += [runtime, engine, feed]
        for name, array in feed.items():
            context.set_input_shape(name, tuple(array.shape))
            context.set_tensor_address(name, array.address)
        assert not context.infer_shapes()
        for name, size in sizes.items():
            memory = cuda.allocate(size)
            self.held.append(memory)
            context.set_tensor_address(name, memory.address)
        self.context, self.stream = context, stream
        assert context.execute_async_v3(stream)
        self.graph = (
            cuda.capture(stream, lambda: context.execute_async_v3(stream)) if graph else None
        )

    def run(self) -> None:
        """Queue one run."""
        if self.graph is None:
            self.context.execute_async_v3(self.stream)
        else:
            self.cudart.cudaGraphLaunch(self.graph, self.stream)


def device_arrays(cuda: Cuda, arrays: Arrays) -> dict[str, tripoint.DeviceArray]:
    """Arrays in device memory."""
    stream, found = cuda.stream(), {}
    for name, array in arrays.items():
        memory, staging = cuda.allocate(array.nbytes), cuda.allocate_pinned(array.nbytes)
        view(staging, array.shape, array.dtype)[...] = array
        cuda.upload(memory.address, staging.address, array.nbytes, stream)
        cuda.synchronize(stream)
        found[name] = tripoint.DeviceArray(memory.address, array.shape, array.dtype, owner=memory)
    cuda.destroy_stream(stream)
    return found


def agreement(model: Model, plan: Path, points: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """Whether the runner computes what ONNX Runtime does, at all points and by CUDA graphs.

    Args:
        model: The model.
        plan: Its engine.
        points: Sizes by symbol.
    """
    specs = inputs_of(model)
    reference = Session(model)
    graph = model.ir.clone()
    truth.annotate(graph)
    budget = Budget(graph)
    equal, compared, largest, allowed = True, 0, 0.0, 0.0
    reasons: list[str] = []
    with tripoint.Engine(plan) as engine:
        for seed, point in enumerate(points):
            feed = generate(specs, point, seed, model=model)
            wanted = dict(zip(reference.outputs, reference.run(feed), strict=True))
            limits = budget.allowed(wanted, bindings_of(specs, feed), products=Products.TF32)
            for _ in range(AGAIN):
                entries = compare_outputs(wanted, engine.run(feed), limits, pair="runner")
                for entry in entries:
                    compared += 1
                    largest = max(largest, entry.max_abs or 0.0)
                    if entry.tolerance is not None:
                        allowed = max(allowed, entry.tolerance.atol)
                    if not entry.equal:
                        equal = False
                        reasons.append(f"{entry.name} is {entry.status} at {dict(point)}")
        captured, why = engine.captured, engine.not_captured
    return {
        "points": len(points),
        "compared": compared,
        "equal": equal and compared > 0,
        "max_abs": largest,
        "allowed": allowed,
        "graphs": captured,
        "not_captured": why,
        "reasons": reasons[:5],
    }


def overhead(plan: Path, feed: Arrays, *, graph: bool) -> dict[str, Any]:
    """Microseconds of a run, each way, and the ratios to the bare loop.

    Args:
        plan: The engine.
        feed: Its inputs.
        graph: Whether all run by CUDA graphs.
    """
    trt = bindings.load(bindings.find(None).name)
    cudart = cuda_task.runtime()
    cuda = Cuda(cudart)
    stream = cuda.stream()
    device = device_arrays(cuda, feed)
    with tripoint.Engine(plan, graphs=8 if graph else 0) as engine:
        bound = engine.bind(device, stream=stream)
        if graph and not bound.captured:
            return {"reason": engine.not_captured}
        sizes = {name: array.nbytes for name, array in bound.outputs.items()}
        bare = Bare(trt, plan, device, sizes, stream, graph=graph)
        runs = {
            "bare": bare.run,
            "bound": bound.launch,
            "enqueue": lambda: engine.enqueue(device, stream=stream),
        }
        check = cuda_task.check
        start, end = check(cudart.cudaEventCreate), check(cudart.cudaEventCreate)

        def turn(run: Any) -> Any:
            def timed(count: int) -> float:
                check(cudart.cudaStreamSynchronize, stream)
                check(cudart.cudaEventRecord, start, stream)
                for _ in range(count):
                    run()
                check(cudart.cudaEventRecord, end, stream)
                check(cudart.cudaEventSynchronize, end)
                return float(check(cudart.cudaEventElapsedTime, start, end)) / 1e3

            return timed

        turns = [turn(runs[way]) for way in WAYS]
        begun = time.monotonic()
        # TensorRT-RTX may compile better kernels beside the first runs, for each context.
        while time.monotonic() - begun < WARM_UP_SECONDS:
            for each in turns:
                each(RUNS)
        samples = interleave(turns, [RUNS] * len(turns), ROUNDS)
    medians = {
        way: statistics.median(found) * 1e3 for way, found in zip(WAYS, samples, strict=True)
    }
    return {
        "microseconds": medians,
        "bound": medians["bound"] / medians["bare"],
        "enqueue": medians["enqueue"] / medians["bare"],
        "within": medians["bound"] / medians["bare"] <= BUDGET,
    }


def measure(path: Path, dims: Sequence[str], folder: Path, *, timed: bool) -> dict[str, Any]:
    """Everything about one model.

    Args:
        path: The model, with its weights.
        dims: Ranges as ``--dim`` takes them.
        folder: Where the engine goes.
        timed: Whether to measure the overhead as well.
    """
    model = api.load(path)
    given = dict(text.split("=", 1) for text in dims)
    symbols = truth.infer(model.ir).symbols
    known = {**dict.fromkeys(symbols, SIZE), **RANGES, **given}
    spec = Spec.parse([], [f"{symbol}={known[symbol]}" for symbol in symbols])
    plan = folder / "model.plan"
    api.build(model, plan, spec=spec)
    points = api.sweep(model, spec)
    row: dict[str, Any] = {"model": path.stem, "agreement": agreement(model, plan, points)}
    largest = max(points, key=lambda sizes: math.prod(sizes.values()))
    feed = generate(inputs_of(model), largest, 0, model=model)
    row["point"] = dict(largest)
    for graph in (True, False):
        found = overhead(plan, feed, graph=graph) if timed else {"reason": "not asked for"}
        row["graph" if graph else "plain"] = found
    return row


def data_dependent() -> Iterator[tuple[str, onnx.ModelProto, list[Arrays]]]:
    """Models with an output whose size the values decide, and inputs for each."""
    value, node = helper.make_tensor_value_info, helper.make_node
    number = helper.make_tensor
    floats, ints, bools = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

    def model(
        nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: Sequence[Any] = ()
    ) -> onnx.ModelProto:
        graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    random = np.random.default_rng(0)
    sparse: list[Arrays] = [
        {"x": (random.random((4, 8)) < share).astype(np.float32)} for share in (0.0, 0.3, 1.0)
    ]
    yield (
        "NonZero",
        model(
            [node("NonZero", ["x"], ["y"])],
            [value("x", floats, [4, 8])],
            [value("y", ints, [2, "K"])],
        ),
        sparse,
    )
    yield (
        "NonZero, GatherND",
        model(
            [
                node("NonZero", ["x"], ["i"]),
                node("Transpose", ["i"], ["j"]),
                node("GatherND", ["x", "j"], ["y"]),
            ],
            [value("x", floats, [4, 8])],
            [value("y", floats, ["K"])],
        ),
        sparse,
    )
    yield (
        "Compress",
        model(
            [node("Compress", ["x", "c"], ["y"], axis=0)],
            [value("x", floats, [8, 3]), value("c", bools, [8])],
            [value("y", floats, ["K", 3])],
        ),
        [
            {"x": random.random((8, 3), np.float32), "c": random.random(8) < share}
            for share in (0.0, 0.5, 1.0)
        ],
    )
    yield (
        "Unique",
        model(
            [node("Unique", ["x"], ["y"])], [value("x", floats, [16])], [value("y", floats, ["K"])]
        ),
        [{"x": random.integers(0, top, 16).astype(np.float32)} for top in (1, 5, 99)],
    )
    corner = random.random((1, 20, 2), np.float32)
    yield (
        "NonMaxSuppression",
        model(
            [node("NonMaxSuppression", ["b", "s", "m", "iou", "least"], ["y"])],
            [value("b", floats, [1, 20, 4]), value("s", floats, [1, 2, 20])],
            [value("y", ints, ["K", 3])],
            [
                number("m", ints, [1], [5]),
                number("iou", floats, [1], [0.5]),
                number("least", floats, [1], [0.4]),
            ],
        ),
        [
            {
                "b": np.concatenate([corner, corner + 0.3], 2),
                "s": (random.random((1, 2, 20)) * scale).astype(np.float32),
            }
            for scale in (0.1, 0.6, 1.0)
        ],
    )
    count = [
        node("Greater", ["x", "zero"], ["g"]),
        node("Cast", ["g"], ["gi"], to=TensorProto.INT32),
        node("ReduceSum", ["gi", "axis0"], ["k0"], keepdims=1),
        node("Cast", ["k0"], ["k"], to=ints),
    ]
    constants = [number("zero", floats, [], [0.0]), number("axis0", ints, [1], [0])]
    signs: list[Arrays] = [
        {"x": (random.random(16) - part).astype(np.float32)} for part in (0.1, 0.5, 0.9)
    ]
    for name, last, extra in (
        ("count, Expand", node("Expand", ["one", "k"], ["y"]), number("one", floats, [1], [1.0])),
        ("count, ConstantOfShape", node("ConstantOfShape", ["k"], ["y"]), None),
        ("count, TopK", node("TopK", ["x", "k"], ["y", "i"]), None),
    ):
        yield (
            name,
            model(
                [*count, last],
                [value("x", floats, [16])],
                [value("y", floats, ["K"])],
                [*constants, *([extra] if extra is not None else [])],
            ),
            signs,
        )
    yield (
        "ArgMax, Slice",
        model(
            [
                node("ArgMax", ["x"], ["a"], axis=1, keepdims=0),
                node("Slice", ["x", "first", "a", "axis"], ["y"]),
            ],
            [value("x", floats, [1, 16])],
            [value("y", floats, [1, "K"])],
            [number("first", ints, [1], [0]), number("axis", ints, [1], [1])],
        ),
        [{"x": np.roll(np.arange(16, dtype=np.float32), by)[None]} for by in (0, 1, 7, 15)],
    )


def try_data_dependent(folder: Path) -> list[dict[str, Any]]:
    """What TensorRT accepts of those models, and whether the runner is right about them."""
    rows = []
    for number, (name, proto, feeds) in enumerate(data_dependent()):
        path = folder / f"dependent{number}.onnx"
        onnx.save(proto, path)
        model = Model(ir.load(path), path)
        plan = folder / f"dependent{number}.plan"
        row: dict[str, Any] = {"model": name, "accepted": True, "equal": None, "reason": None}
        rows.append(row)
        try:
            api.build(model, plan)
        except TripointError as error:
            row.update(accepted=False, reason=error.fact)
            continue
        reference = Session(model)
        row["equal"] = True
        try:
            with tripoint.Engine(plan) as engine:
                for feed in feeds * AGAIN:
                    found = engine.run(feed)
                    for output, array in zip(reference.outputs, reference.run(feed), strict=True):
                        same = found[output].shape == array.shape and np.allclose(
                            found[output], array, rtol=5e-3, atol=5e-3
                        )
                        if not same:
                            row.update(equal=False, reason=f"{output} differs")
        except TripointError as error:
            row.update(equal=False, reason=error.fact)
    return rows


def show(row: Mapping[str, Any]) -> str:
    """A row of the table."""
    found = row["agreement"]
    cells = [
        row["model"],
        found["points"],
        "yes" if found["equal"] else "no",
        f"{found['max_abs']:.2g}",
        f"{found['allowed']:.2g}",
    ]
    for mode in ("graph", "plain"):
        timed = row[mode]
        if "reason" in timed:
            cells += [f"not timed: {timed['reason']}", "-", "-"]
        else:
            cells += [
                f"{timed['microseconds']['bare']:.1f}",
                f"{timed['bound']:.3f}",
                f"{timed['enqueue']:.3f}",
            ]
    return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    *("model", "points", "equal", "max abs", "allowed"),
    *("bare graph, µs", "bound", "enqueue", "bare execute, µs", "bound", "enqueue"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--dim", action="append", default=[], metavar="N=1..2..4")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")
    parser.add_argument(
        "--results-only", action="store_true", help="measure no overhead, try no other models"
    )
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    fine = True
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    for path in options.models:
        try:
            with tempfile.TemporaryDirectory(prefix="gpu-runner-") as folder:
                row = measure(path, options.dim, Path(folder), timed=not options.results_only)
        except TripointError as error:
            fine = False
            rows.append({"model": path.stem, "error": str(error)})
            print(f"| {path.stem} | failed: {error.fact} |{' |' * (len(HEAD) - 2)}", flush=True)
            continue
        rows.append(row)
        fine = fine and row["agreement"]["equal"]
        fine = fine and row["graph"].get("within", True)
        print(show(row), flush=True)
        for reason in row["agreement"]["reasons"]:
            print(f"  {path.stem}: {reason}", file=sys.stderr)
    print(f"\nBudget: with a CUDA graph, bound at most {BUDGET:g} of the bare loop.\n")
    print("| size decided by values | accepted | equal | reason |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="gpu-runner-") as folder:
        dependent = [] if options.results_only else try_data_dependent(Path(folder))
    for row in dependent:
        fine = fine and row["equal"] is not False
        equal = {True: "yes", False: "no", None: "-"}[row["equal"]]
        accepted = "yes" if row["accepted"] else "no"
        reason = (row["reason"] or "").replace("|", "/").splitlines()[:1]
        print(f"| {row['model']} | {accepted} | {equal} | {''.join(reason)[:200]} |")
    document = {"budget": BUDGET, "models": rows, "data_dependent": dependent, "fine": fine}
    print("\n```json\n" + json.dumps(document) + "\n```")
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
