"""``tripoint inspect``: the network description of a model or a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options


@console.reported
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL|PLAN", help="a model or a .plan file")],
    *,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    load_plan: Annotated[
        bool, typer.Option("--load", help="load the plan, which takes a GPU")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="list the layers that TensorRT makes of the model")
    ] = False,
    shapes: options.Shapes,
    export: options.Export,
    form: options.Form,
) -> None:
    """Describe the network of a model, or a plan.

    With --layers also what the installed TensorRT makes of each node. A plan is described by its
    manifest, and with --load by itself: layers with the nodes fused into each, precision, memory.
    """
    from tripoint import api
    from tripoint.cli.load_model import opened
    from tripoint.engine.inspect import inspect_network, inspect_plan
    from tripoint.engine.network import describe
    from tripoint.report import columns, engines, networks, tables
    from tripoint.report import layers as report_layers

    if api.is_plan(model):
        if layers and not load_plan:
            raise options.needs("--layers", "--load", "the layers of a plan are in the plan")
        plan = inspect_plan(Path(model), load=load_plan, tensorrt=tensorrt)
        console.emit(
            form,
            "inspect",
            lines=lambda: engines.plan(plan),
            document=lambda: engines.plan_document(plan),
        )
        return
    if load_plan:
        raise options.needs("--load", "a plan", "a model is not loaded onto a GPU")
    if layers and target not in (None, "installed"):
        raise options.excluded("--layers", f"--target {target}")
    with opened(model, shapes.spec(), export) as loaded:
        table = api.shapes(loaded, target="installed" if layers else target, tensorrt=tensorrt)
        network = describe(table)
        network_layers = inspect_network(loaded, tensorrt=tensorrt) if layers else ()
        owners = table.layers_of
        console.emit(
            form,
            "inspect",
            loaded,
            lines=lambda: [
                *columns.heading(loaded, table),
                "",
                *networks.network(network),
                *tables.parsed_or_built(table),
                *(["", *report_layers.network(network_layers, owners)] if layers else []),
            ],
            document=lambda: {
                "target": table.target,
                "network": network,
                "refusals": table.refusals,
                "notes": table.notes,
                **(
                    {"layers": report_layers.network_json(network_layers, owners)} if layers else {}
                ),
            },
        )
