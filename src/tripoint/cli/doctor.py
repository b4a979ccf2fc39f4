"""``tripoint doctor``: what is installed here and which legs can run."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import Format


@console.reported
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="the same as --format json")] = False,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Show what is installed and which legs can run."""
    import dataclasses

    from tripoint.api.environment import doctor as examine
    from tripoint.report import json, machine

    found = examine()
    console.emit(
        Format.json if as_json else output_format,
        output_file,
        lines=lambda: machine.doctor(found),
        document=lambda: {**json.envelope("doctor"), **dataclasses.asdict(found)},
        force=force,
    )
