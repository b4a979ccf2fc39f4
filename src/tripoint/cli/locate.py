"""``tripoint locate``: the first node that parts two legs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tripoint.cli import console, options
from tripoint.cli.options import Format
from tripoint.errors import UsageError

if TYPE_CHECKING:
    from tripoint.model import Model


class LowPrecision(str, Enum):
    """Precisions whose cost can be measured."""

    fp16 = "fp16"
    bf16 = "bf16"


@console.reported
def locate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="the ONNX file, or FILE:NAME to export it first")
    ],
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
    inputs: options.Inputs = None,
    dims: options.Dims = None,
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
    input_names: options.InputNames = None,
    output_names: options.OutputNames = None,
    atol: options.Tolerance = None,
    rtol: options.Tolerance = None,
    seed: Annotated[int, typer.Option(help="seed of the generated inputs")] = 0,
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
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Find the first node that makes PyTorch, ONNX Runtime and TensorRT differ.

    Tensors are compared in graph order; then parts of the graph are run alone, fed with the
    tensors of the reference, which tells the node that makes the error from those that pass it
    on. Exit code 1 where legs differ.
    """
    from tripoint.cli.load_model import opened
    from tripoint.numeric.inputs import inputs_of
    from tripoint.parity.locate import recorded
    from tripoint.sources import reference
    from tripoint.sources.inputs_file import read_inputs
    from tripoint.spec import Spec

    legs = {
        "--torch": torch,
        "--engine": engine,
        "--build": build or None,
        "--fixed": fixed,
        "--against": against,
        "--expected": expected,
    }
    _check(legs, precision, inputs_file)
    spec = Spec.parse(inputs or (), dims or ())
    common: dict[str, Any] = {
        "spec": spec,
        "atol": options.by_output(atol, "--atol"),
        "rtol": options.by_output(rtol, "--rtol"),
        "seed": seed,
        "folder": output,
        "force": force,
    }
    is_code = not isinstance(reference.parse(model), reference.OnnxReference)
    if is_code and torch is None and precision is None:
        torch = model
    with opened(model, spec, exporter=exporter) as loaded, console.progress(quiet=quiet) as say:
        common["on_progress"] = say
        if inputs_file is not None:
            common["inputs"] = read_inputs(
                inputs_file, inputs_of(loaded), options.names(input_names)
            )
        elif values:
            common["values"] = options.value_ranges(values)
        if precision is not None:
            code = _rank(loaded, precision, common, (output_format, output_file, force))
        else:
            code = _search(
                loaded,
                {
                    **common,
                    "torch": torch,
                    "engine": engine,
                    "build_engine": build,
                    "fixed": fixed,
                    "against": against,
                    "expected": recorded.read(expected, loaded) if expected else None,
                    "tensorrt": tensorrt,
                    "tf32": tf32,
                    "input_names": options.names(input_names),
                    "output_names": options.names(output_names),
                    "timeout": timeout or 600.0,
                    "most_tensors": most_tensors,
                },
                (output_format, output_file, force),
                strict=strict,
            )
    if code:
        raise typer.Exit(code)


_Form = tuple[Format, Path | None, bool]


def _check(legs: dict[str, Any], precision: LowPrecision | None, inputs_file: str | None) -> None:
    given = [name for name, value in legs.items() if value is not None]
    if precision is not None and given:
        raise options.excluded("--precision", ", ".join(given))
    if "--engine" in given and "--build" in given:
        raise options.excluded("--build", "--engine")
    if "--expected" in given and inputs_file is None:
        raise UsageError(
            "recorded outputs belong to certain inputs", hint="give these with --inputs FILE.npz"
        )


def _search(model: Model, arguments: dict[str, Any], form: _Form, *, strict: bool) -> int:
    from tripoint import api
    from tripoint.report import json
    from tripoint.report import locate as text

    found = api.locate(model, **arguments)
    output_format, output_file, force = form
    console.emit(
        output_format,
        output_file,
        lines=lambda: text.location(found),
        document=lambda: {
            **json.envelope("locate", model),
            **text.location_document(found),
        },
        force=force,
    )
    return console.verdict_code(found.verdict, strict=strict)


def _rank(model: Model, precision: LowPrecision, arguments: dict[str, Any], form: _Form) -> int:
    from tripoint import api
    from tripoint.report import json
    from tripoint.report import locate as text

    found = api.locate_precision(model, precision.value, **arguments)
    output_format, output_file, force = form
    console.emit(
        output_format,
        output_file,
        lines=lambda: text.ranking(found),
        document=lambda: {
            **json.envelope("locate", model),
            **text.ranking_document(found),
        },
        force=force,
    )
    return console.FOUND if found.keep else console.DONE
