"""``tripoint log``: the tensor table out of a recorded verbose log."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import console, options


@console.reported
def log(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a verbose log; - reads stdin")],
    *,
    model: Annotated[
        int | None,
        typer.Option(metavar="N", help="only the Nth model of the log", show_default=False, min=1),
    ] = None,
    lost_only: Annotated[
        bool, typer.Option("--lost-only", help="only tensors that TensorRT does not know")
    ] = False,
    form: options.Form,
) -> None:
    """Show the shapes in a verbose log, and where dimensions get lost; no model is needed.

    Reads what the ONNX parser of TensorRT 7.0 to 10 prints, through trtexec --verbose, a Python
    logger of severity VERBOSE, or polygraphy -vv. Pages that show a log will do, too.
    """
    from tripoint.analysis import facts
    from tripoint.errors import UsageError
    from tripoint.report import log as report
    from tripoint.views import log as logs

    recordings = logs.read_stdin() if file == "-" else logs.read(file)
    count = len(recordings)
    if model is not None and model > count:
        raise UsageError(
            f"there is no model {model} in {file}", hint=f"it has {count}; --model counts from 1"
        )
    chosen = [
        (number, recording, facts.of_recording(recording).table)
        for number, recording in enumerate(recordings, start=1)
        if model in (None, number)
    ]
    console.emit(
        form,
        "log",
        lines=lambda: report.lines(chosen, count, lost_only=lost_only),
        document=lambda: report.document(chosen, count),
    )
