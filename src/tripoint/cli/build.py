"""``tripoint build``: an engine, its manifest, its optimization profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options


@console.reported
def build(
    model: options.ModelArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="the plan to write; MODEL.plan beside an ONNX file"),
    ] = None,
    shapes: options.Profiles,
    feed: options.Feed,
    input_names: options.InputNames = None,
    tensorrt: options.TensorRT = None,
    lowering: options.Lowering,
    io_precision: options.IoPrecision = options.IoPrecisionName.keep,
    no_numeric_proof: Annotated[
        bool,
        typer.Option("--no-numeric-proof", help="do not measure what fp16 or bf16 costs"),
    ] = False,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MIB",
            help="limit of a memory pool of TensorRT, such as workspace; once for each",
            show_default=False,
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(metavar="MIB", help="the same as --pool workspace=MIB", min=1),
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(
            metavar="0..5", min=0, help="0 builds fastest, 5 runs fastest", show_default=False
        ),
    ] = None,
    timing_cache: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|off",
            help="where measured times are kept; one file for each TensorRT version and GPU in "
            "the user's cache folder",
            show_default=False,
        ),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="later TensorRT versions load the plan")
    ] = False,
    hardware_compatibility: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="other GPUs run the plan: ampere-plus or same-compute-capability",
            show_default=False,
        ),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="the weights of the engine can be replaced later")
    ] = False,
    strip_weights: Annotated[
        bool,
        typer.Option("--strip-weights", help="leave the weights out; refitting puts them in"),
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="shared library with plugins; its code is run; once for each",
            show_default=False,
        ),
    ] = None,
    timeout: options.Timeout = None,
    export: options.Export,
    form: options.Form,
    quiet: options.Quiet = False,
) -> None:
    """Build an engine, its profile and its manifest.

    Runs in a child process. TensorRT-RTX builds without a GPU. An option that the TensorRT
    lacks is refused, never ignored.
    """
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.engine.options import BuildOptions, parse_pools
    from tripoint.errors import UsageError
    from tripoint.report import engines
    from tripoint.sources import reference

    path = output or (Path(model).with_suffix(".plan") if model.endswith(".onnx") else None)
    if path is None:
        raise UsageError("there is no ONNX file to write the plan beside", hint="give -o FILE")
    specs = shapes.specs()
    pools = [*(pool or ()), *([f"workspace={workspace}"] if workspace else [])]
    asked = BuildOptions(
        pools=parse_pools(pools),
        optimization_level=optimization_level,
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,
        refit=refit,
        strip_weights=strip_weights,
        plugins=tuple(plugin or ()),
    )
    lowered = lowering.arguments()
    is_code = not isinstance(reference.parse(model), reference.OnnxReference)
    with (
        opened(model, specs[0], export) as loaded,
        console.build_progress(quiet=quiet) as on_phase,
    ):
        result = api.build(
            loaded,
            path,
            specs=specs,
            torch=model if lowering.is_low and is_code else None,
            **feed.arguments(),
            input_names=options.names(input_names),
            tensorrt=tensorrt,
            io_precision=io_precision.value,
            numeric=not no_numeric_proof,
            **lowered,
            options=asked,
            timeout=timeout,
            force=form.force,
            on_phase=on_phase,
        )
    console.emit(
        form,
        "build",
        loaded,
        lines=lambda: engines.build(result),
        document=lambda: engines.build_document(result),
    )
