"""Command lines that repeat what was done, or do what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping


def options(arguments: Mapping[str, object]) -> list[str]:
    """Return the options of a command that give it some arguments.

    Args:
        arguments: By name, in order: True is an option by itself, several values are the option
            once for each; None, False and empty ones are left out.
    """
    words: list[str] = []
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, Iterable) and not isinstance(value, str):
            words += [word for each in value for word in (option, str(each))]
        elif value is not None and value is not False and value != "":
            words += [option, str(value)]
    return words


def command(name: str, *positional: str, **arguments: object) -> str:
    """Return a command of tripoint for a shell, with options as :func:`options`."""
    return shlex.join(["tripoint", name, *positional, *options(arguments)])
