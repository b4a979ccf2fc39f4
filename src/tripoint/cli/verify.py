"""``tripoint verify``: one verdict over the three legs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options


@console.reported
def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="the ONNX file")],
    *,
    torch: Annotated[
        str | None,
        typer.Option(metavar="FILE:NAME", help="the PyTorch module that it came from"),
    ] = None,
    fixed: Annotated[
        Path | None, typer.Option(help="the rewritten model, compared as well")
    ] = None,
    engine: Annotated[Path | None, typer.Option(help="the plan; runs where a GPU is")] = None,
    shapes: options.Ranges,
    feed: options.Feed,
    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="how many sizes of the range to try; 8, or all if there are no more",
            show_default=False,
        ),
    ] = None,
    comparison: options.Comparison,
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
    form: options.Form,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare PyTorch, ONNX Runtime and TensorRT.

    Output by output, matched by name, at several sizes of the input range.
    """
    from tripoint import api
    from tripoint.parity import failing
    from tripoint.parity.locate import command
    from tripoint.report import verification

    loaded = api.load(model)
    asked = comparison.arguments()
    with console.progress(quiet=quiet) as progress:
        progress("compare")
        result = api.verify(
            loaded,
            torch=torch,
            fixed=fixed,
            engine=engine,
            spec=shapes.spec(),
            **feed.arguments(),
            points=points,
            tensorrt=tensorrt,
            **asked,
            timeout=timeout or 600.0,
            rebuild=rebuild,
            save_failing=save_failing,
            force=form.force,
        )
    compared = command.Compared(
        model,
        torch=torch,
        fixed=str(fixed) if fixed else None,
        engine=str(engine) if engine else None,
        inputs=feed.inputs_file,
        values=feed.values or (),
        options={
            **failing.options(
                tensorrt=tensorrt, **{name: asked[name] for name in asked if name != "seed"}
            ),
            "timeout": f"{timeout:g}" if timeout else None,
        },
    )
    result = dataclasses.replace(result, next=command.next_command(result, loaded.ir, compared))
    console.emit(
        form,
        "verify",
        loaded,
        lines=lambda: verification.verification(result),
        document=lambda: verification.verification_document(result),
    )
    if code := console.verdict_code(result.verdict, strict=strict):
        raise typer.Exit(code)
