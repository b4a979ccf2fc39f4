"""``tripoint profile``: optimization profiles, proposed and examined."""

from __future__ import annotations

from tripoint.cli import console, options


@console.reported
def profile(
    model: options.ModelArgument,
    *,
    shapes: options.Profiles,
    export: options.Export,
    form: options.Form,
) -> None:
    """Propose min, opt and max, and examine them.

    Lists what the graph needs of its sizes, with node and source line, and writes the profile as
    trtexec, Polygraphy, ONNX Runtime and Torch-TensorRT take it.
    """
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.profiles.constraints.profiles import refuse
    from tripoint.report import columns
    from tripoint.report import profile as report

    specs = shapes.specs()
    with opened(model, specs[0], export) as loaded:
        result = api.profile(loaded, specs=specs)
        console.emit(
            form,
            "profile",
            loaded,
            lines=lambda: [*columns.heading(loaded), "", *report.lines(result)],
            document=lambda: report.document(result),
        )
    refuse(result.examined, result.needed, specs, listed=True)
