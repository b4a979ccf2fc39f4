"""Tensors by FX node: what the dynamo exporter recorded, and how to compute it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from tripoint.errors import ExternalStepError
from tripoint.parity.locate.graph import Graph
from tripoint.sources.python import describe_failure

if TYPE_CHECKING:
    import torch

FX_NODE = "pkg.torch.onnx.fx_node"
ORIGINAL_NAME = "pkg.torch.onnx.original_node_name"
_NODE = re.compile(r"%(\w+) : .*?= \w+\[target=([^\]]+)\]")


def recorded(graph: Graph) -> dict[str, str]:
    """Target by name of the FX nodes that an export recorded; empty if it kept none."""
    found = (_parsed(node.metadata_props.get(FX_NODE, "")) for node in graph.nodes)
    return dict(entry for entry in found if entry is not None)


def share(known: Mapping[str, str], program: torch.export.ExportedProgram) -> float:
    """Which share of recorded FX nodes a program has, by name and target."""
    present = dict(
        entry
        for node in program.graph.nodes
        if (entry := _parsed(str(node.format_node() or ""))) is not None
    )
    return sum(present.get(name) == target for name, target in known.items()) / len(known)


def places(graph: Graph, program: torch.export.ExportedProgram) -> dict[str, str]:
    """FX node by name of the tensor that holds its value.

    The exporter names a tensor after the FX node whose value it is, and tensors on the way there
    otherwise; one that became a graph output has the original name in its metadata.
    """
    names = {node.name for node in program.graph.nodes if node.op == "call_function"}
    found: dict[str, str] = {}
    for tensor in graph.comparable:
        value = graph.values[tensor]
        name = value.metadata_props.get(ORIGINAL_NAME, tensor)
        if name in names and _made_for(value, name, program):
            found[tensor] = name
    return found


def _made_for(value: ir.Value, name: str, program: torch.export.ExportedProgram) -> bool:
    """Whether a tensor was made for an FX node, or for the tuple that it takes it from."""
    producer = value.producer()
    if producer is None:
        return False
    origin = _parsed(producer.metadata_props.get(FX_NODE, ""))
    if origin is None:
        return False
    node = next(node for node in program.graph.nodes if node.name == name)
    return origin[0] in {name, *(before.name for before in node.all_input_nodes)}


def run(
    program: torch.export.ExportedProgram,
    inputs: Mapping[str, torch.Tensor],
    wanted: Mapping[str, str],
    keep: Callable[[str, torch.Tensor | None], None],
) -> None:
    """Run a program node by node.

    Args:
        program: From :func:`tripoint.sources.torch_export.capture`.
        inputs: Tensor by input name, in the order in which they were captured.
        wanted: FX node by the name under which its value is kept.
        keep: Takes a name and the tensor, as soon as that is computed. Values are let go once
            nothing needs them any more.

    Raises:
        ExternalStepError: If the program does not run.
    """
    import torch

    named: dict[str, list[str]] = {}
    for tensor, node in wanted.items():
        named.setdefault(node, []).append(tensor)

    class Interpreter(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor):
                for tensor in named.get(n.name, ()):
                    keep(tensor, value)
            return value

    try:
        with torch.no_grad():
            Interpreter(program.graph_module).run(*_arguments(program, list(inputs.values())))
    except Exception as error:
        raise ExternalStepError(
            f"the captured graph does not run: {describe_failure(error)}"
        ) from error


def _arguments(
    program: torch.export.ExportedProgram, inputs: list[torch.Tensor]
) -> list[torch.Tensor | Any]:
    """What the placeholders of a program stand for, in order: weights, constants and inputs."""
    kinds = type(program.graph_signature.input_specs[0].kind)
    given = iter(inputs)
    arguments: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == kinds.USER_INPUT:
            arguments.append(next(given))
        elif spec.target in program.state_dict:
            arguments.append(program.state_dict[spec.target])
        else:
            arguments.append(program.constants[spec.target or ""])
    return arguments


def _parsed(text: str) -> tuple[str, str] | None:
    match = _NODE.match(text)
    return (match[1], match[2]) if match else None
