"""``tripoint inspect``: the network description of a model or a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL|PLAN", help="a model or a .plan file")],
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    load_plan: Annotated[
        bool, typer.Option("--load", help="load the plan, which takes a GPU")
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
    """Describe the network of a model or a plan."""
    from tripoint import api
    from tripoint.cli.opening import opened
    from tripoint.engine.inspect import describe, inspect_plan
    from tripoint.report import json, text
    from tripoint.spec import Spec

    if api.is_plan(model):
        plan = inspect_plan(Path(model), load=load_plan, tensorrt=tensorrt)
        console.emit(
            output_format,
            output_file,
            lines=lambda: text.plan(plan),
            document=lambda: {**json.envelope("inspect"), **json.plan(plan)},
            force=force,
        )
        return
    spec = Spec.parse(inputs or (), dims or ())
    with opened(model, spec, exporter=exporter, opset=opset) as loaded:
        table = api.shapes(loaded, target=target, tensorrt=tensorrt)
        network = describe(table)
        console.emit(
            output_format,
            output_file,
            lines=lambda: [*text.heading(loaded, table), "", *text.network(network)],
            document=lambda: {
                **json.envelope("inspect", loaded),
                "target": table.target,
                "network": network,
            },
            force=force,
        )
