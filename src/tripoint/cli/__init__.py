"""The command line, one file a command. Only the command that runs is imported."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from tripoint import __version__
from tripoint.cli.bench import bench
from tripoint.cli.build import build
from tripoint.cli.doctor import doctor
from tripoint.cli.export import export
from tripoint.cli.fix import fix
from tripoint.cli.inspect import inspect
from tripoint.cli.locate import locate
from tripoint.cli.log import log
from tripoint.cli.profile import profile
from tripoint.cli.run import run
from tripoint.cli.shapes import shapes
from tripoint.cli.triton import app as triton
from tripoint.cli.verify import verify
from tripoint.cli.why import why

app = typer.Typer(
    name="tripoint",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(run, export, shapes, why, log, fix, profile, build),
    *(verify, locate, inspect, bench, doctor),
):
    app.command()(command)
app.add_typer(triton, name="triton")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tripoint {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="show the version"),
    ] = False,
) -> None:
    """Where PyTorch, ONNX Runtime and TensorRT meet.

    Finds the node where TensorRT stops knowing a dimension and says why, rewrites the graph
    with proof, builds the engine and compares all three.

    Exit codes: 0 done, 1 findings or a difference, 2 usage or unreadable input, 3 unproven with
    --strict, 4 an external step failed, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
    """


def main() -> None:
    """Entry point of the ``tripoint`` script."""
    # Libraries warn through logging; what matters of it is in the messages of the commands.
    logging.getLogger().addHandler(logging.NullHandler())
    # Imports make many objects that stay; looking among them for garbage takes a tenth of start-up.
    gc.set_threshold(100_000, 50, 50)
    try:
        app()
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)


def _leave(code: int) -> NoReturn:
    """End the process without taking its libraries apart, which costs a tenth of a second."""
    for stream in (sys.stdout, sys.stderr):
        # The reader of a pipe may be gone.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
