"""``tripoint doctor``: what is installed here and which legs can run."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import Form, Format


@console.reported
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="the same as --format json")] = False,
    form: options.Form,
) -> None:
    """Show what is installed and which legs can run."""
    import dataclasses

    from tripoint.api.environment import doctor as examine
    from tripoint.report import machine

    environment = examine()
    console.emit(
        Form(**{**vars(form), "output_format": Format.json}) if as_json else form,
        "doctor",
        lines=lambda: machine.doctor(environment),
        document=lambda: dataclasses.asdict(environment),
    )
