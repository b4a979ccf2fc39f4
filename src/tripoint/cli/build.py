"""``tripoint build``: an engine, its manifest, its optimization profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def build(
    model: options.ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="the plan to write; MODEL.plan beside an ONNX file"),
    ] = None,
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    profiles: options.Profiles = None,
    min_shapes: options.MinShapes = None,
    opt_shapes: options.OptShapes = None,
    max_shapes: options.MaxShapes = None,
    inputs_file: options.InputsFile = None,
    values: options.Values = None,
    input_names: options.InputNames = None,
    tensorrt: options.TensorRT = None,
    compute_capability: options.ComputeCapability = None,
    tf32: options.Tf32 = True,
    precision: options.Precision = None,
    keep_fp32: options.KeepFp32 = None,
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
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Build an engine, its profile and its manifest.

    Runs in a child process. TensorRT-RTX builds without a GPU. An option that the TensorRT
    lacks is refused, never ignored.
    """
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.engine.options import BuildOptions, parse_pools
    from tripoint.errors import UsageError
    from tripoint.report import engines, json
    from tripoint.sources import reference

    path = output or (Path(model).with_suffix(".plan") if model.endswith(".onnx") else None)
    if path is None:
        raise UsageError("there is no ONNX file to write the plan beside", hint="give -o FILE")
    specs = options.specs(inputs, dims, profiles, min_shapes, opt_shapes, max_shapes)
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
    lowering = options.precision(precision, keep_fp32, tf32=tf32)
    is_code = not isinstance(reference.parse(model), reference.OnnxReference)
    lower = precision in (options.PrecisionName.fp16, options.PrecisionName.bf16)
    with (
        opened(model, specs[0], exporter=exporter, opset=opset) as loaded,
        console.build_progress(quiet=quiet) as on_phase,
    ):
        result = api.build(
            loaded,
            path,
            specs=specs,
            torch=model if lower and is_code else None,
            inputs=inputs_file,
            values=options.value_ranges(values),
            input_names=options.names(input_names),
            tensorrt=tensorrt,
            compute_capabilities=compute_capability or (),
            io_precision=io_precision.value,
            numeric=not no_numeric_proof,
            **lowering,
            options=asked,
            timeout=timeout,
            force=force,
            on_phase=on_phase,
        )
    console.emit(
        output_format,
        output_file,
        lines=lambda: engines.build(result),
        document=lambda: {**json.envelope("build", loaded), **engines.build_document(result)},
        force=force,
    )
