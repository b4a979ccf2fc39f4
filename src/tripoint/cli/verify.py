"""``tripoint verify``: one verdict over the three legs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import Format


@console.reported
def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="the ONNX file")],
    torch: Annotated[
        str | None,
        typer.Option(metavar="FILE:NAME", help="the PyTorch module that it came from"),
    ] = None,
    fixed: Annotated[
        Path | None, typer.Option(help="the rewritten model, compared as well")
    ] = None,
    engine: Annotated[Path | None, typer.Option(help="the plan; runs where a GPU is")] = None,
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    min_shapes: options.MinShapes = None,
    opt_shapes: options.OptShapes = None,
    max_shapes: options.MaxShapes = None,
    inputs_file: options.InputsFile = None,
    values: options.Values = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="how many sizes of the range to try; 8, or all if there are no more",
            show_default=False,
        ),
    ] = None,
    input_names: options.InputNames = None,
    output_names: options.OutputNames = None,
    atol: options.Tolerance = None,
    rtol: options.Tolerance = None,
    seed: Annotated[int, typer.Option(help="seed of the generated inputs")] = 0,
    tensorrt: options.TensorRT = None,
    timeout: options.Timeout = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="build the engine again: does it compute the same?")
    ] = False,
    save_failing: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="save the first failing case: inputs, outputs and the command that repeats it",
            show_default=False,
        ),
    ] = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Compare PyTorch, ONNX Runtime and TensorRT.

    Output by output, matched by name, at several sizes of the input range.
    """
    from tripoint import api
    from tripoint.parity import failing
    from tripoint.parity.locate import command
    from tripoint.report import json, verification

    loaded = api.load(model)
    absolute, relative = options.by_output(atol, "--atol"), options.by_output(rtol, "--rtol")
    given_names, taken_names = options.names(output_names), options.names(input_names)
    with console.progress(quiet=quiet) as say:
        say("compare")
        result = api.verify(
            loaded,
            torch=torch,
            fixed=fixed,
            engine=engine,
            spec=options.spec(inputs, dims, min_shapes, opt_shapes, max_shapes),
            inputs=inputs_file,
            values=options.value_ranges(values),
            points=points,
            tensorrt=tensorrt,
            input_names=taken_names,
            output_names=given_names,
            atol=absolute,
            rtol=relative,
            timeout=timeout or 600.0,
            seed=seed,
            rebuild=rebuild,
            save_failing=save_failing,
            force=force,
        )
    compared = command.Compared(
        model,
        torch=torch,
        fixed=str(fixed) if fixed else None,
        engine=str(engine) if engine else None,
        inputs=inputs_file,
        values=values or (),
        options=[
            *failing.options(absolute, relative, given_names, tensorrt, taken_names),
            *(["--timeout", f"{timeout:g}"] if timeout else []),
        ],
    )
    result = dataclasses.replace(result, next=command.next_command(result, loaded.ir, compared))
    console.emit(
        output_format,
        output_file,
        lines=lambda: verification.verification(result),
        document=lambda: {
            **json.envelope("verify", loaded),
            **verification.verification_document(result),
        },
        force=force,
    )
    if code := console.verdict_code(result.verdict, strict=strict):
        raise typer.Exit(code)
