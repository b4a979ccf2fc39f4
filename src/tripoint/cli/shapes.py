"""``tripoint shapes``: the tensor table."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import ahead, console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def shapes(
    model: options.ModelArgument,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    lost_only: Annotated[
        bool, typer.Option("--lost-only", help="only tensors that TensorRT does not know")
    ] = False,
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Show true shapes beside TensorRT's view of them."""
    ahead.parser(model, target, tensorrt)
    from tripoint import api
    from tripoint.cli.opening import opened
    from tripoint.report import json, text
    from tripoint.spec import Spec

    spec = Spec.parse(inputs or (), dims or ())
    with opened(model, spec, exporter=exporter, opset=opset) as loaded:
        table = api.shapes(loaded, target=target, tensorrt=tensorrt)
        console.emit(
            output_format,
            output_file,
            lines=lambda: [
                *text.heading(loaded, table),
                "",
                *text.shapes(table, lost_only=lost_only),
            ],
            document=lambda: {**json.envelope("shapes", loaded), **json.shapes(table)},
            force=force,
        )
