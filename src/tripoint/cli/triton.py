"""``tripoint triton``: models in the repositories of Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write a model into a Triton model repository, or check one.",
)


@app.command("export")
@console.reported
def triton_export(
    engine: Annotated[
        Path, typer.Argument(metavar="ENGINE", help="a plan with its manifest, or an ONNX model")
    ],
    repository: Annotated[
        Path, typer.Option("-o", "--output", metavar="REPO", help="the model repository")
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="name of the model; that of the file", show_default=False)
    ] = None,
    version: Annotated[int, typer.Option(help="version folder to write", min=1)] = 1,
    max_batch_size: Annotated[
        int | None,
        typer.Option(
            help="largest batch, 0 for no batching; by default the profile's, where axis 0 is "
            "provably the batch",
            min=0,
            max=2**31 - 1,
            show_default=False,
        ),
    ] = None,
    dynamic_batching: Annotated[
        bool, typer.Option("--dynamic-batching", help="let Triton put requests together")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="the ONNX model that the plan was built from; the one beside it",
            show_default=False,
        ),
    ] = None,
    form: options.Form,
) -> None:
    """Write config.pbtxt and the model into a Triton model repository; needs no GPU."""
    from tripoint import triton
    from tripoint.report import triton as report

    result = triton.export(
        engine,
        repository,
        name=name,
        version=version,
        max_batch_size=max_batch_size,
        dynamic_batching=dynamic_batching,
        model=model,
        force=form.force,
    )
    console.emit(
        form,
        "triton export",
        lines=lambda: report.exported(result),
        document=lambda: report.exported_document(result),
    )


@app.command("check")
@console.reported
def triton_check(
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="the model repository")],
    *,
    form: options.Form,
) -> None:
    """Find mistakes in a Triton model repository; exit 1 if there are any."""
    from tripoint import triton
    from tripoint.report import triton as report

    result = triton.check(repository)
    console.emit(
        form,
        "triton check",
        lines=lambda: report.checked(result),
        document=lambda: report.checked_document(result),
    )
    if result.findings:
        raise typer.Exit(console.FOUND)
