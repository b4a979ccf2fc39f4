"""``tripoint run``: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def run(
    model: options.ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="folder for all files", show_default=False)
    ],
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    min_shapes: options.MinShapes = None,
    opt_shapes: options.OptShapes = None,
    max_shapes: options.MaxShapes = None,
    inputs_file: options.InputsFile = None,
    values: options.Values = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    input_names: options.InputNames = None,
    output_names: options.OutputNames = None,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    no_numeric_proof: Annotated[
        bool, typer.Option("--no-numeric-proof", help="prove shapes only; the result says so")
    ] = False,
    compute_capability: options.ComputeCapability = None,
    tf32: options.Tf32 = True,
    precision: options.Precision = None,
    keep_fp32: options.KeepFp32 = None,
    timeout: options.Timeout = None,
    atol: Annotated[float | None, typer.Option(help="absolute tolerance, not derived")] = None,
    rtol: Annotated[float | None, typer.Option(help="relative tolerance, not derived")] = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Take a model from PyTorch to one verdict.

    Exports it, finds where TensorRT loses a dimension and why, rewrites the graph with proof,
    builds the engine and compares PyTorch, ONNX Runtime and TensorRT.
    """
    from tripoint import files
    from tripoint.api.running import run as run_pipeline
    from tripoint.report import json, summary
    from tripoint.sanitize import clean_lines

    asked = options.precision(precision, keep_fp32, tf32=tf32)
    if output_file is not None:
        files.refuse_overwrite(output_file, force=force)
    with console.progress(quiet=quiet) as say:
        result = run_pipeline(
            model,
            output,
            spec=options.spec(inputs, dims, min_shapes, opt_shapes, max_shapes),
            exporter=exporter.value,
            opset=opset,
            input_names=options.names(input_names),
            output_names=options.names(output_names),
            inputs=inputs_file,
            values=options.value_ranges(values),
            target=target,
            tensorrt=tensorrt,
            numeric=not no_numeric_proof,
            compute_capabilities=compute_capability or (),
            **asked,
            timeout=timeout,
            atol=atol,
            rtol=rtol,
            force=force,
            on_progress=say,
        )
    if debug:
        sys.stderr.write(clean_lines(result.log) + "\n")
    document = {**json.envelope("run", result.model), **summary.run_document(result)}
    files.write_text(output / "report.json", json.dumps(document) + "\n", force=force)
    console.emit(
        output_format,
        output_file,
        lines=lambda: summary.run(result),
        document=lambda: document,
        force=force,
    )
    if not result.fix.proven:
        raise typer.Exit(console.FOUND)
    if result.verification.verdict == "different":
        raise typer.Exit(console.FOUND)
    if result.build_failed:
        raise typer.Exit(console.FAILED)
    if code := console.verdict_code(result.verification.verdict, strict=strict):
        raise typer.Exit(code)
