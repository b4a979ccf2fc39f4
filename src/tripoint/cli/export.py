"""``tripoint export``: PyTorch to ONNX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def export(
    model: options.ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the ONNX file to write", show_default=False)
    ],
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    input_names: options.InputNames = None,
    output_names: options.OutputNames = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Export a PyTorch module to ONNX.

    Lists the nodes with the source lines that they came from.
    """
    from tripoint import api
    from tripoint.analysis.facts import listing
    from tripoint.report import json, networks
    from tripoint.sanitize import clean, clean_lines
    from tripoint.spec import Spec

    with console.progress(quiet=quiet) as say:
        say(f"export ({exporter.value})")
        exported = api.export(
            model,
            output,
            spec=Spec.parse(inputs or (), dims or ()),
            exporter=exporter.value,
            opset=opset,
            input_names=options.names(input_names),
            output_names=options.names(output_names),
            force=force,
        )
    if debug:
        sys.stderr.write(clean_lines(exported.log) + "\n")
    nodes = listing(exported.model)
    console.emit(
        output_format,
        output_file,
        lines=lambda: [
            *networks.nodes(nodes),
            "",
            *(f"note: {clean(note)}" for note in exported.notes),
            f"wrote {output}",
        ],
        document=lambda: {
            **json.envelope("export", exported.model),
            "symbols": {name: str(size) for name, size in exported.symbols.items()},
            "outputs": exported.output_names,
            "exporter": exported.exporter,
            "notes": exported.notes,
            "nodes": nodes,
        },
        force=force,
    )
