"""``tripoint build``: an engine, its manifest, its optimization profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def build(
    model: options.ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="the plan to write; MODEL.plan beside an ONNX file"),
    ] = None,
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    min_shapes: options.MinShapes = None,
    opt_shapes: options.OptShapes = None,
    max_shapes: options.MaxShapes = None,
    tensorrt: options.TensorRT = None,
    compute_capability: options.ComputeCapability = None,
    tf32: options.Tf32 = True,
    workspace: Annotated[
        int | None, typer.Option(metavar="MIB", help="scratch memory in MiB", min=1)
    ] = None,
    timeout: options.Timeout = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Build an engine, its profile and its manifest.

    Runs in a child process. TensorRT-RTX builds without a GPU.
    """
    from tripoint import api
    from tripoint.cli.opening import opened
    from tripoint.errors import UsageError
    from tripoint.report import json, text

    path = output or (Path(model).with_suffix(".plan") if model.endswith(".onnx") else None)
    if path is None:
        raise UsageError("there is no ONNX file to write the plan beside", hint="give -o FILE")
    spec = options.spec(inputs, dims, min_shapes, opt_shapes, max_shapes)
    with (
        opened(model, spec, exporter=exporter, opset=opset) as loaded,
        console.progress(quiet=quiet) as say,
    ):
        result = api.build(
            loaded,
            path,
            spec=spec,
            tensorrt=tensorrt,
            compute_capabilities=compute_capability or (),
            workspace=workspace << 20 if workspace else None,
            tf32=tf32,
            timeout=timeout,
            force=force,
            on_progress=say,
        )
    console.emit(
        output_format,
        output_file,
        lines=lambda: text.build(result),
        document=lambda: {**json.envelope("build", loaded), **json.build(result)},
        force=force,
    )
