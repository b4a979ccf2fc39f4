"""``tripoint why``: the chain of one tensor."""

from __future__ import annotations

from typing import Annotated

import typer

from tripoint.cli import console, options, prefetch


@console.reported
def why(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="model.onnx, file.py:name, pkg.module:name or a verbose log"
        ),
    ],
    tensor: Annotated[str, typer.Argument(metavar="TENSOR", help="name of the tensor")],
    *,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    shapes: options.Shapes,
    export: options.Export,
    form: options.Form,
) -> None:
    """Say why TensorRT does not know a dimension.

    Goes from the tensor back to where the loss starts and to what made the size opaque.
    """
    prefetch.parser(model, target, tensorrt)
    from tripoint import api
    from tripoint.cli.load_model import opened_facts
    from tripoint.report import chains, columns, tables
    from tripoint.sanitize import clean

    with opened_facts(
        model, tensor, shapes.spec(), export, target=target, tensorrt=tensorrt
    ) as view:
        chain = api.explain(view, tensor)
        facts = view.table.by_name[tensor]
        late = [n for n in view.table.notes if n.startswith(f"node {facts.node!r} (")]
        console.emit(
            form,
            "why",
            view.model,
            lines=lambda: [
                *columns.heading(view.model, view.table),
                "",
                *tables.tensor(facts),
                *chains.chain(chain),
                *(f"    note: {clean(note)}" for note in late),
            ],
            document=lambda: {
                "target": view.table.target,
                **tables.tensor_document(facts),
                **chains.explained_document(chain),
                "notes": late,
            },
        )
