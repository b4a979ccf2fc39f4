"""``tripoint locate``: the first node that parts two legs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from tripoint.cli import console, options
from tripoint.errors import UsageError


class LowPrecision(str, Enum):
    """Precisions whose cost can be measured."""

    fp16 = "fp16"
    bf16 = "bf16"


@console.reported
def locate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="the ONNX file, or FILE:NAME to export it first")
    ],
    *,
    torch: Annotated[
        str | None,
        typer.Option(metavar="FILE:NAME", help="the PyTorch module that it came from"),
    ] = None,
    engine: Annotated[
        Path | None, typer.Option(help="the plan to compare with; needs a GPU")
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="build an engine here in place of a plan")
    ] = False,
    fixed: Annotated[
        Path | None, typer.Option(help="the rewritten model, compared as well; engines are of it")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="another ONNX file with the same tensor names")
    ] = None,
    expected: Annotated[
        Path | None,
        typer.Option(metavar="NPZ", help="recorded outputs to compare with; needs --inputs"),
    ] = None,
    precision: Annotated[
        LowPrecision | None,
        typer.Option(help="rank the nodes by what this precision costs there, instead"),
    ] = None,
    shapes: options.Shapes,
    inputs_file: Annotated[
        str | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="inputs to use in place of generated ones, as verify takes them",
            show_default=False,
        ),
    ] = None,
    values: options.Values = None,
    comparison: options.Comparison,
    most_tensors: Annotated[
        int, typer.Option(min=2, help="intermediate tensors to have in memory at a time")
    ] = 64,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="folder for a minimal model that shows the difference; with --precision for the "
            "list that build --keep-fp32 takes",
            show_default=False,
        ),
    ] = None,
    exporter: options.Exporter = options.ExporterName.dynamo,
    tensorrt: options.TensorRT = None,
    tf32: options.Tf32 = True,
    timeout: options.Timeout = None,
    form: options.Form,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the first node that makes PyTorch, ONNX Runtime and TensorRT differ.

    Tensors are compared in graph order; then parts of the graph are run alone, fed with the
    tensors of the reference, which tells the node that makes the error from those that pass it
    on. Exit code 1 where legs differ.
    """
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.numeric.inputs import inputs_of
    from tripoint.parity.locate import recorded
    from tripoint.report import locate as text
    from tripoint.sources import reference
    from tripoint.sources.inputs_file import read_inputs

    legs = {
        "--torch": torch,
        "--engine": engine,
        "--build": build or None,
        "--fixed": fixed,
        "--against": against,
        "--expected": expected,
    }
    _check(legs, precision, inputs_file)
    common: dict[str, Any] = {
        "spec": shapes.spec(),
        **comparison.arguments(),
        "folder": output,
        "force": form.force,
    }
    names = {name: common.pop(name) for name in ("input_names", "output_names")}
    is_code = not isinstance(reference.parse(model), reference.OnnxReference)
    if is_code and torch is None and precision is None:
        torch = model
    with (
        opened(model, common["spec"], options.Export(exporter=exporter)) as loaded,
        console.progress(quiet=quiet) as progress,
    ):
        common["on_progress"] = progress
        if inputs_file is not None:
            common["inputs"] = read_inputs(inputs_file, inputs_of(loaded), names["input_names"])
        elif values:
            common["values"] = options.value_ranges(values)
        if precision is not None:
            ranking = api.locate_precision(loaded, precision.value, **common)
            console.emit(
                form,
                "locate",
                loaded,
                lines=lambda: text.ranking(ranking),
                document=lambda: text.ranking_document(ranking),
            )
            code = console.FOUND if ranking.keep else console.DONE
        else:
            location = api.locate(
                loaded,
                **common,
                **names,
                torch=torch,
                engine=engine,
                build_engine=build,
                fixed=fixed,
                against=against,
                expected=recorded.read(expected, loaded) if expected else None,
                tensorrt=tensorrt,
                tf32=tf32,
                timeout=timeout or 600.0,
                most_tensors=most_tensors,
            )
            console.emit(
                form,
                "locate",
                loaded,
                lines=lambda: text.location(location),
                document=lambda: text.location_document(location),
            )
            code = console.verdict_code(location.verdict, strict=strict)
    if code:
        raise typer.Exit(code)


def _check(legs: dict[str, Any], precision: LowPrecision | None, inputs_file: str | None) -> None:
    options_set = [name for name, value in legs.items() if value is not None]
    if precision is not None and options_set:
        raise options.excluded("--precision", ", ".join(options_set))
    if "--engine" in options_set and "--build" in options_set:
        raise options.excluded("--build", "--engine")
    if "--expected" in options_set and inputs_file is None:
        raise UsageError(
            "recorded outputs belong to certain inputs", hint="give these with --inputs FILE.npz"
        )
