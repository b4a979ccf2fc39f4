"""``tripoint shapes``: the tensor table."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import ahead, console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def shapes(
    model: options.ModelArgument,
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
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Show true shapes beside TensorRT's view of them."""
    pair = _pair(diff, target) if diff is not None else None
    if as_log and (pair or lost_only or output_format is not Format.text):
        raise options.excluded("--as-log", "--diff, --lost-only and --format json")
    ahead.parser(model, "installed" if pair and "installed" in pair else target, tensorrt)
    from tripoint import api
    from tripoint.cli.opening import opened
    from tripoint.report import compare, json, text, verbose_log
    from tripoint.spec import Spec

    spec = Spec.parse(inputs or (), dims or ())
    with opened(model, spec, exporter=exporter, opset=opset) as loaded:
        if pair:
            a, b = (api.shapes(loaded, target=each, tensorrt=tensorrt) for each in pair)
            found = api.compare(a, b)
            console.emit(
                output_format,
                output_file,
                lines=lambda: [*text.heading(loaded), "", *compare.lines(found)],
                document=lambda: {**json.envelope("shapes", loaded), **compare.document(found)},
                force=force,
            )
            return
        table = api.shapes(loaded, target=target, tensorrt=tensorrt)
        console.emit(
            output_format,
            output_file,
            lines=lambda: (
                verbose_log.lines(table, loaded)
                if as_log
                else [
                    *text.heading(loaded, table),
                    "",
                    *text.shapes(table, lost_only=lost_only),
                ]
            ),
            document=lambda: {**json.envelope("shapes", loaded), **json.shapes(table)},
            force=force,
        )


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
