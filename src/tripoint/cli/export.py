"""``tripoint export``: PyTorch to ONNX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options


@console.reported
def export(
    model: options.ModelArgument,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the ONNX file to write", show_default=False)
    ],
    shapes: options.Shapes,
    how: options.Export,
    input_names: options.InputNames = None,
    output_names: options.OutputNames = None,
    form: options.Form,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Export a PyTorch module to ONNX.

    Lists the nodes with the source lines that they came from.
    """
    from tripoint import api
    from tripoint.analysis.facts import listing
    from tripoint.report import networks
    from tripoint.sanitize import clean, clean_lines

    with console.progress(quiet=quiet) as progress:
        progress(f"export ({how.exporter.value})")
        exported = api.export(
            model,
            output,
            spec=shapes.spec(),
            **how.arguments(),
            input_names=options.names(input_names),
            output_names=options.names(output_names),
            force=form.force,
        )
    if debug:
        sys.stderr.write(clean_lines(exported.log) + "\n")
    nodes = listing(exported.model)
    console.emit(
        form,
        "export",
        exported.model,
        lines=lambda: [
            *networks.nodes(nodes),
            "",
            *(f"note: {clean(note)}" for note in exported.notes),
            f"wrote {output}",
        ],
        document=lambda: {
            "symbols": {name: str(size) for name, size in exported.symbols.items()},
            "outputs": exported.output_names,
            "exporter": exported.exporter,
            "notes": exported.notes,
            "nodes": nodes,
        },
    )
