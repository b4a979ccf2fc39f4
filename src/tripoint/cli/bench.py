"""``tripoint bench``: how long each leg takes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options


class At(str, Enum):
    """Choice of sizes from the ranges."""

    min = "min"
    opt = "opt"
    max = "max"


@console.reported
def bench(
    model: options.ModelArgument,
    *,
    torch: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:NAME",
            help="the PyTorch module that it came from; MODEL itself where that is PyTorch code",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PLAN",
            help="a plan to time; may be repeated; without any, engines of the graph before and "
            "after fix are built",
            show_default=False,
        ),
    ] = None,
    shapes: options.Shapes,
    at: Annotated[At, typer.Option(help="which sizes of the ranges")] = At.opt,
    inputs_file: Annotated[
        str | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="inputs to use in place of generated ones, as verify takes them; of several "
            "points the first",
            show_default=False,
        ),
    ] = None,
    input_names: options.InputNames = None,
    copies: Annotated[
        bool,
        typer.Option("--copies", help="time each run from NumPy arrays to NumPy arrays"),
    ] = False,
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs/--no-cuda-graphs", help="for the TensorRT legs")
    ] = True,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each leg")] = 15,
    warm_up: Annotated[int, typer.Option(min=1, help="runs before the first turn")] = 10,
    turn: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="how long a turn should take")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="seed of the generated inputs")] = 0,
    tensorrt: options.TensorRT = None,
    timeout: options.Timeout = None,
    form: options.Form,
    quiet: options.Quiet = False,
) -> None:
    """Time PyTorch, torch.compile, ONNX Runtime and TensorRT on the same inputs.

    The legs take turns, so that what slows the machine down hits all alike. A leg that cannot
    run is listed with the reason. Whether outputs agree is what verify says.
    """
    import dataclasses

    from tripoint.api import timing
    from tripoint.cli.load_model import opened
    from tripoint.numeric.inputs import inputs_of
    from tripoint.report import bench as text
    from tripoint.sources import reference
    from tripoint.sources.inputs_file import read_inputs
    from tripoint.timing.interleave import Plan

    form.refuse_overwrite()
    spec = shapes.spec()
    if torch is None and isinstance(reference.parse(model), reference.PythonReference):
        torch = model
    with console.progress(quiet=quiet) as progress, opened(model, spec) as loaded:
        names = options.names(input_names)
        points = read_inputs(inputs_file, inputs_of(loaded), names) if inputs_file else None
        result = timing.bench(
            loaded,
            torch=torch,
            engines=engine or (),
            spec=spec,
            at=at.value,
            inputs=points[0] if points else None,
            input_names=names,
            copies=copies,
            graphs=cuda_graphs,
            plan=Plan(rounds, warm_up, turn),
            tensorrt=tensorrt,
            timeout=timeout,
            seed=seed,
            on_progress=progress,
        )
        console.emit(
            form,
            "bench",
            loaded,
            lines=lambda: text.bench(model, result),
            document=lambda: dataclasses.asdict(result),
        )
    if result.reference is None:
        raise typer.Exit(console.FAILED)
