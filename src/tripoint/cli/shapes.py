"""``tripoint shapes``: the tensor table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tripoint.cli import console, options, prefetch
from tripoint.cli.options import Format

if TYPE_CHECKING:
    from tripoint.model import Model
    from tripoint.table import TensorTable


@console.reported
def shapes(
    model: options.ModelArgument,
    *,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    lost_only: Annotated[
        bool, typer.Option("--lost-only", help="only tensors that TensorRT does not know")
    ] = False,
    diff: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="where two targets differ, for instance 7.1,installed",
            show_default=False,
        ),
    ] = None,
    as_log: Annotated[
        bool,
        typer.Option("--as-log", help="as the verbose log that this TensorRT would write"),
    ] = False,
    shapes: options.Shapes,
    export: options.Export,
    form: options.Form,
) -> None:
    """Show true shapes beside TensorRT's view of them."""
    pair = _pair(diff, target) if diff is not None else None
    if as_log and (pair or lost_only or form.output_format is not Format.text):
        raise options.excluded("--as-log", "--diff, --lost-only and --format json")
    prefetch.parser(model, "installed" if pair and "installed" in pair else target, tensorrt)
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.report import columns, tables

    with opened(model, shapes.spec(), export) as loaded:
        if pair:
            from tripoint.report import compare

            a, b = (api.shapes(loaded, target=each, tensorrt=tensorrt) for each in pair)
            differences = api.compare(a, b)
            console.emit(
                form,
                "shapes",
                loaded,
                lines=lambda: [*columns.heading(loaded), "", *compare.lines(differences)],
                document=lambda: compare.document(differences),
            )
            return
        table = api.shapes(loaded, target=target, tensorrt=tensorrt)
        console.emit(
            form,
            "shapes",
            loaded,
            lines=lambda: (
                _log(table, loaded)
                if as_log
                else [
                    *columns.heading(loaded, table),
                    "",
                    *tables.shapes(table, lost_only=lost_only),
                ]
            ),
            document=lambda: tables.shapes_document(table),
        )


def _log(table: TensorTable, model: Model) -> Iterator[str]:
    from tripoint.report import verbose_log

    return verbose_log.lines(table, model)


def _pair(diff: str, target: str | None) -> tuple[str, str]:
    from tripoint.errors import UsageError

    if target is not None:
        raise options.excluded("--diff", "--target")
    first, comma, second = (part.strip() for part in diff.partition(","))
    if not (first and comma and second) or "," in second:
        raise UsageError(
            f"--diff takes two targets, not {diff!r}", hint="write --diff 7.1,installed"
        )
    return first, second
