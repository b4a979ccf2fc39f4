"""The edge between results and the terminal: output, progress, errors, exit codes."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar, get_type_hints

import typer

from tripoint import files
from tripoint.cli import options
from tripoint.cli.options import Format
from tripoint.errors import TripointError
from tripoint.sanitize import clean, clean_lines

if TYPE_CHECKING:
    from tripoint.engine.progress import OnPhase
    from tripoint.model import Model
    from tripoint.progress import Progress

DONE, FOUND, BROKEN, UNPROVEN, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130
_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")

_NARROWEST = 40
"""Columns of a terminal below which no line is broken."""

_COPIED = re.compile(r"(?:^|\s)--[a-zA-Z]|Execution[ ]?Provider|=== ")
"""What is in lines that people copy."""

P = ParamSpec("P")
R = TypeVar("R")


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every error of a command into one message and an exit code.

    Arguments that are a :class:`~tripoint.cli.options.Group` become one option for each field, and
    ``--debug`` is added, which shows tracebacks.

    Args:
        command: The function of a command, ``fix`` or, in a group, ``triton_check``.
    """
    called = command.__name__.replace("_", " ")
    # Python 3.10 makes Optional of what has None for its default, and typer sees no option then.
    hints = inspect.get_annotations(command, eval_str=True)
    own = inspect.signature(command).parameters
    groups = {
        name: kind
        for name in own
        if isinstance(kind := hints[name], type) and issubclass(kind, options.Group)
    }
    fields = {name: get_type_hints(kind, include_extras=True) for name, kind in groups.items()}

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = bool(kwargs.get("debug"))
        for name, kind in groups.items():
            kwargs[name] = kind(**{field: kwargs.pop(field) for field in fields[name]})
        if "debug" not in own:
            kwargs.pop("debug", None)
        try:
            with _orderly_end():
                return command(*args, **kwargs)
        except TripointError as error:
            _fail(str(error.within(operation=called)), debug)
            native = getattr(error, "native", "")
            if debug and native:
                sys.stderr.write(clean_lines(native) + "\n")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _fail("interrupted; nothing half-written is left behind", debug)
            raise typer.Exit(INTERRUPTED) from None
        except Ended as end:
            _fail(f"ended by {end.name}; nothing half-written is left behind", debug)
            raise typer.Exit(end.exit_code) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(DONE) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:  # noqa: BLE001 - the last line before the user
            _fail(
                f"{called}: tripoint broke: {type(error).__name__}: {error}\n"
                "  next: run the command again with --debug and report what it prints",
                debug,
            )
            raise typer.Exit(BROKEN) from None

    parameters = []
    for name, parameter in {**own, "debug": _DEBUG}.items():
        if name in groups:
            parameters += [
                inspect.Parameter(
                    field, _KEYWORD, default=getattr(groups[name], field), annotation=hint
                )
                for field, hint in fields[name].items()
            ]
        else:
            hint = hints.get(name, options.Debug)
            parameters.append(parameter.replace(kind=_KEYWORD, annotation=hint))
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_DEBUG = inspect.Parameter("debug", _KEYWORD, default=False)


class Ended(BaseException):
    """A signal asked this process to end.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Let a signal that ends the process unwind it as Ctrl-C does, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        raise Ended(number)

    numbers = [getattr(signal, name) for name in _ENDING_SIGNALS if hasattr(signal, name)]
    # One that is ignored, as under nohup, stays so.
    changed = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def verdict_code(verdict: str, *, strict: bool) -> int:
    """The exit code for a verdict; unproven counts only where that was asked for."""
    if verdict == "different":
        return FOUND
    return UNPROVEN if verdict == "unproven" and strict else DONE


def _fail(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    lines = f"tripoint {clean_lines(message)}".split("\n")
    sys.stderr.write("\n".join(_wrapped(lines, sys.stderr)) + "\n")


def _wrapped(lines: Iterable[str], stream: TextIO, shown: bool = True) -> Iterator[str]:
    """Lines as they are, or on a terminal, sentences broken between words to its width.

    What is to be copied, such as options, stays in one line.
    """
    width = shutil.get_terminal_size().columns if shown and stream.isatty() else 0
    for line in lines:
        if len(line) <= width or width < _NARROWEST or _COPIED.search(line):
            yield line
            continue
        indent = line[: len(line) - len(line.lstrip())] + "    "
        yield from textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            drop_whitespace=True,
        )


def emit(
    form: options.Form,
    command: str,
    model: Model | None = None,
    *,
    lines: Callable[[], Iterable[str]],
    document: Callable[[], Mapping[str, Any]],
) -> None:
    """Write a result in the form that was asked for.

    Args:
        form: Text or JSON, and the file to write; None is stdout.
        command: Name of the command, for JSON.
        model: The model that it is about.
        lines: Makes the text form.
        document: Makes the JSON form.

    Raises:
        OutputError: If the file cannot be written.
    """
    if form.output_format is Format.json:
        from tripoint.report import json

        text = json.dumps({**json.envelope(command, model), **document()})
    else:
        text = "\n".join(_wrapped(lines(), sys.stdout, form.output_file is None))
    if form.output_file is not None:
        files.write_text(form.output_file, text + "\n", force=form.force)
        return
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """A function that says what is going on, on stderr.

    A terminal shows one line that changes; anything else gets plain lines; ``quiet`` nothing.
    """
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("") as status:
            yield lambda message: status.update(Text(clean(message)))
    else:
        yield lambda message: print(clean(message), file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def build_progress(*, quiet: bool) -> Iterator[OnPhase | None]:
    """Yield the callback that a build reports its phases to.

    A terminal shows a bar for each phase that is not done, the inner ones indented; anything else
    gets plain lines; ``quiet`` nothing.
    """
    from tripoint.engine.progress import Lines

    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console

        from tripoint.cli.progress import Bars

        with Bars(Console(stderr=True)) as bars:
            yield bars
    else:
        yield Lines(lambda line: print(clean(line), file=sys.stderr, flush=True))  # noqa: T201
