"""``tripoint why``: the chain of one tensor."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import console, options, prefetch
from tripoint.cli.options import ExporterName, Format


@console.reported
def why(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="model.onnx, file.py:name, pkg.module:name or a verbose log"
        ),
    ],
    tensor: Annotated[str, typer.Argument(metavar="TENSOR", help="name of the tensor")],
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    inputs: options.Inputs = None,
    dims: options.Dims = None,
    exporter: options.Exporter = ExporterName.dynamo,
    opset: options.Opset = None,
    output_format: options.OutputFormat = Format.text,
    output_file: options.OutputFile = None,
    force: options.Force = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> None:
    """Say why TensorRT does not know a dimension.

    Goes from the tensor back to where the loss starts and to what made the size opaque.
    """
    prefetch.parser(model, target, tensorrt)
    from tripoint import api
    from tripoint.cli.load_model import opened_facts
    from tripoint.report import chains, columns, json, tables
    from tripoint.sanitize import clean
    from tripoint.spec import Spec

    spec = Spec.parse(inputs or (), dims or ())
    with opened_facts(
        model, tensor, spec, target=target, tensorrt=tensorrt, exporter=exporter, opset=opset
    ) as known:
        chain = api.explain(known, tensor)
        facts = known.table.by_name[tensor]
        late = [n for n in known.table.notes if n.startswith(f"node {facts.node!r} (")]
        console.emit(
            output_format,
            output_file,
            lines=lambda: [
                *columns.heading(known.model, known.table),
                "",
                *tables.tensor(facts),
                *chains.chain(chain),
                *(f"    note: {clean(note)}" for note in late),
            ],
            document=lambda: {
                **json.envelope("why", known.model),
                "target": known.table.target,
                **tables.tensor_document(facts),
                **chains.explained_document(chain),
                "notes": late,
            },
            force=force,
        )
