"""``tripoint verify``: one verdict over the three legs."""

from __future__ import annotations

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
    inputs_file: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="NPZ", help="inputs to use in place of generated ones"),
    ] = None,
    output_names: options.OutputNames = None,
    atol: options.Tolerance = None,
    rtol: options.Tolerance = None,
    seed: Annotated[int, typer.Option(help="seed of the generated inputs")] = 0,
    tensorrt: options.TensorRT = None,
    timeout: options.Timeout = None,
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
    from tripoint.cli.inputs_file import read_inputs
    from tripoint.report import json, text

    loaded = api.load(model)
    given = [read_inputs(inputs_file)] if inputs_file else None
    with console.progress(quiet=quiet) as say:
        say("compare")
        result = api.verify(
            loaded,
            torch=torch,
            fixed=fixed,
            engine=engine,
            spec=options.spec(inputs, dims, min_shapes, opt_shapes, max_shapes),
            inputs=given,
            tensorrt=tensorrt,
            output_names=options.names(output_names),
            atol=options.by_output(atol, "--atol"),
            rtol=options.by_output(rtol, "--rtol"),
            timeout=timeout or 600.0,
            seed=seed,
        )
    console.emit(
        output_format,
        output_file,
        lines=lambda: text.verification(result),
        document=lambda: {**json.envelope("verify", loaded), **json.verification(result)},
        force=force,
    )
    if code := console.verdict_code(result.verdict, strict=strict):
        raise typer.Exit(code)
