"""The command line, one file a command. Only the command that runs is imported."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from tripoint._version import __version__

COMMANDS = (
    "run",
    "export",
    "shapes",
    "why",
    "log",
    "fix",
    "profile",
    "build",
    "verify",
    "locate",
    "inspect",
    "bench",
    "doctor",
)
GROUPS = ("triton",)


class _Commands(TyperGroup):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For a name that there is not, those that are alike are looked for among all.
        exact = cmd_name in COMMANDS or cmd_name in GROUPS
        for name in (cmd_name,) if exact else self.list_commands(ctx):
            if name not in self.commands:
                self.commands[name] = _loaded(name)
        return super().get_command(ctx, cmd_name)


def _loaded(name: str) -> Any:
    module = importlib.import_module(f"{__name__}.{name}")
    if name in GROUPS:
        group = get_group(module.app)
        group.name = name
        return group
    single = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    single.command(name)(getattr(module, name))
    return get_command(single)


app = typer.Typer(
    cls=_Commands,
    name="tripoint",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    """Take a model through PyTorch, ONNX Runtime and TensorRT.

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
