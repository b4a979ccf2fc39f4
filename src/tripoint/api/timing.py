"""Comparing how long PyTorch, ONNX Runtime and TensorRT take for one model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tripoint.api.timed_legs import ONNX_RUNTIME, Candidate, engine_legs, torch_legs
from tripoint.errors import InputError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, bindings_of, generate, inputs_of
from tripoint.profiles.constraints.separate import separated
from tripoint.progress import Progress, silent
from tripoint.shape_inference.dim_names import file_for_tensorrt
from tripoint.spec import Spec
from tripoint.timing.interleave import Plan, summarize
from tripoint.timing.results import Bench, LegTiming, with_ratios
from tripoint.trt import array_ipc, process

At = Literal["min", "opt", "max"]
GRAPHS = 8
COPIES = "from NumPy arrays to NumPy arrays, each run waited for"
NO_COPIES = "without copies: inputs and outputs stay where each leg computes, runs back to back"


def bench(
    model: Model,
    *,
    torch: str | None = None,
    engines: Sequence[Path] = (),
    spec: Spec | None = None,
    at: At = "opt",
    inputs: Arrays | None = None,
    input_names: Sequence[str] | None = None,
    copies: bool = False,
    graphs: bool = True,
    plan: Plan | None = None,
    tensorrt: str | None = None,
    timeout: float | None = None,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Bench:
    """Time every leg that can run, in turns, in one child process.

    Args:
        model: The ONNX model.
        torch: The module that it was exported from, ``file.py:name``.
        engines: Plans to time; without any, engines of the exported and of the fixed graph are
            built, where there is a GPU.
        spec: Range of every dynamic dim.
        at: Which sizes of the ranges to time.
        inputs: Inputs to use in place of generated ones.
        input_names: What the ONNX file calls the inputs of the module, in order.
        copies: Whether a run goes from NumPy arrays to NumPy arrays; else inputs and outputs
            stay where each leg computes.
        graphs: Whether TensorRT runs by CUDA graphs.
        plan: How many rounds and runs.
        tensorrt: Name of the importable TensorRT.
        timeout: Seconds that all measuring may take.
        seed: Seed of the generated inputs.
        on_progress: Called with one line at each step.

    Returns:
        All legs; one that cannot run says why.

    Raises:
        UsageError: If a dynamic dim has no range, or the inputs do not fit the model.
        InputError: If an engine file is missing.
        WorkerError: If the time is up.
    """
    spec, plan = spec or Spec(), plan or Plan()
    model = separated(model, [spec])
    for path in engines:
        if not path.is_file():
            raise InputError("no such file").within(subject=str(path))
    specs = inputs_of(model)
    if inputs is None:
        inputs = generate(specs, _sizes(model, spec, at), seed, model=model)
    else:
        bindings_of(specs, inputs)
    with (
        tempfile.TemporaryDirectory(prefix="tripoint-") as name,
        file_for_tensorrt(model) as source,
    ):
        folder = Path(name)
        array_ipc.save(folder / "inputs.npz", inputs)
        notes: list[str] = []
        candidates = [
            *torch_legs(torch, list(specs), notes, input_names),
            Candidate(ONNX_RUNTIME, {"kind": "onnxruntime", "model": str(source.resolve())}),
            *engine_legs(model, engines, spec, tensorrt, folder, timeout, on_progress),
        ]
        request = {
            "task": "bench",
            "inputs": str(folder / "inputs.npz"),
            "copies": copies,
            "graphs": GRAPHS if graphs else 0,
            "rounds": plan.rounds,
            "warm_up": plan.warm_up,
            "seconds": plan.seconds,
        }
        measured = _measure(request, candidates, timeout, on_progress)
    legs, reference = with_ratios(measured)
    return Bench(
        shapes={name: tuple(array.shape) for name, array in inputs.items()},
        copies=copies,
        timed=COPIES if copies else NO_COPIES,
        rounds=plan.rounds,
        warm_up=plan.warm_up,
        reference=reference,
        legs=legs,
        notes=tuple(notes),
    )


def _sizes(model: Model, spec: Spec, at: At) -> dict[str, int]:
    from tripoint.numeric.inputs import shapes_of
    from tripoint.profiles.profile import bindings as ranges_of

    ranges = ranges_of(shapes_of(model), spec)
    return {symbol: int(getattr(size, at)) for symbol, size in ranges.items()}


def _measure(
    request: dict[str, Any],
    candidates: Sequence[Candidate],
    timeout: float | None,
    progress: Progress,
) -> list[LegTiming]:
    """Time all candidates; one that takes the process down is left out the next time."""
    crashed: dict[str, str] = {}
    while True:
        wanted = [
            {"name": candidate.name, **candidate.request}
            for candidate in candidates
            if candidate.request is not None and candidate.name not in crashed
        ]
        environment: Mapping[str, Any] = next(
            (leg["environment"] for leg in wanted if "environment" in leg), {}
        )
        at: list[str] = []
        said: set[str] = set()

        def on_event(event: process.Event, at: list[str] = at, said: set[str] = said) -> None:
            if event["event"] == "leg":
                at[:] = [event["leg"]]
                line = event["at"] if event["at"].startswith("preparing") else "timing, in turns"
                if line not in said:
                    said.add(line)
                    progress(line)

        try:
            result = process.call(
                {**request, "legs": wanted, "environment": environment},
                timeout=timeout,
                on_event=on_event,
            )
        except process.WorkerError as error:
            if error.kind not in ("crash", "memory") or not at:
                raise
            crashed[at[0]] = error.fact
        else:
            timed = {leg["name"]: leg for leg in result["legs"]}
            return [_timing(candidate, timed, crashed) for candidate in candidates]


def _timing(
    candidate: Candidate, timed: Mapping[str, Mapping[str, Any]], crashed: Mapping[str, str]
) -> LegTiming:
    name = candidate.name
    if candidate.request is None:
        status: Literal["failed", "not run"] = "failed" if candidate.failed else "not run"
        return LegTiming(name, status, candidate.reason)
    if name in crashed:
        return LegTiming(name, "failed", crashed[name])
    answer = timed[name]
    if "reason" in answer:
        return LegTiming(name, "failed", answer["reason"])
    return LegTiming(
        name,
        "timed",
        None,
        answer["version"],
        answer["device"],
        answer["clock"],
        answer["tf32"],
        answer["how"],
        answer["runs"],
        summarize(answer["samples"]),
    )
