"""``tripoint profile``: optimization profiles, proposed and examined."""

from __future__ import annotations

from tripoint.cli import console, options
from tripoint.cli.options import ExporterName, Format


@console.reported
def profile(
    model: options.ModelArgument,
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    profiles: options.Profiles = None,
    min_shapes: options.MinShapes = None,
    opt_shapes: options.OptShapes = None,
    max_shapes: options.MaxShapes = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Propose min, opt and max, and examine them.

    Lists what the graph needs of its sizes, with node and source line, and writes the profile as
    trtexec, Polygraphy, ONNX Runtime and Torch-TensorRT take it.
    """
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.profiles.constraints.profiles import refuse
    from tripoint.report import columns, json
    from tripoint.report import profile as report

    specs = options.specs(inputs, dims, profiles, min_shapes, opt_shapes, max_shapes)
    with opened(model, specs[0], exporter=exporter, opset=opset) as loaded:
        result = api.profile(loaded, specs=specs)
        console.emit(
            output_format,
            output_file,
            lines=lambda: [*columns.heading(loaded), "", *report.lines(result)],
            document=lambda: {**json.envelope("profile", loaded), **report.document(result)},
            force=force,
        )
    refuse(result.examined, result.needed, specs, listed=True)
