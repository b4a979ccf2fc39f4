"""``tripoint run``: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options


@console.reported
def run(
    model: options.ModelArgument,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="folder for all files", show_default=False)
    ],
    shapes: options.Ranges,
    feed: options.Feed,
    export: options.Export,
    input_names: options.InputNames = None,
    output_names: options.OutputNames = None,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    no_numeric_proof: Annotated[
        bool, typer.Option("--no-numeric-proof", help="prove shapes only; the result says so")
    ] = False,
    lowering: options.Lowering,
    timeout: options.Timeout = None,
    atol: Annotated[float | None, typer.Option(help="absolute tolerance, not derived")] = None,
    rtol: Annotated[float | None, typer.Option(help="relative tolerance, not derived")] = None,
    form: options.Form,
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

    lowered = lowering.arguments()
    form.refuse_overwrite()
    with console.progress(quiet=quiet) as progress:
        result = run_pipeline(
            model,
            output,
            spec=shapes.spec(),
            **export.arguments(),
            input_names=options.names(input_names),
            output_names=options.names(output_names),
            **feed.arguments(),
            target=target,
            tensorrt=tensorrt,
            numeric=not no_numeric_proof,
            **lowered,
            timeout=timeout,
            atol=atol,
            rtol=rtol,
            force=form.force,
            on_progress=progress,
        )
    if debug:
        sys.stderr.write(clean_lines(result.log) + "\n")
    document = {**json.envelope("run", result.model), **summary.run_document(result)}
    files.write_text(output / "report.json", json.dumps(document) + "\n", force=form.force)
    console.emit(
        form,
        "run",
        result.model,
        lines=lambda: summary.run(result),
        document=lambda: document,
    )
    if not result.fix.proven:
        raise typer.Exit(console.FOUND)
    if result.verification.verdict == "different":
        raise typer.Exit(console.FOUND)
    if result.build_failed:
        raise typer.Exit(console.FAILED)
    if code := console.verdict_code(result.verification.verdict, strict=strict):
        raise typer.Exit(code)
