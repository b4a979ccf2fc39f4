"""Tensors by FX node: what the dynamo exporter recorded, and how to compute it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from tripoint.errors import ExternalStepError
from tripoint.parity.locate.graph import Graph
from tripoint.sources.python import describe_failure

if TYPE_CHECKING:
    import torch

FX_NODE = "pkg.torch.onnx.fx_node"
ORIGINAL_NAME = "pkg.torch.onnx.original_node_name"
_NODE = re.compile(r"%(\w+) : .*?= (\w+\[target=.*)", re.DOTALL)


def recorded(graph: Graph) -> dict[str, str]:
    """Return the record of an export's FX nodes, by name: operator and arguments, as text.

    Empty if it kept none.
    """
    entries = (_parsed(node.metadata_props.get(FX_NODE, "")) for node in graph.nodes)
    return dict(entry for entry in entries if entry is not None)


def matching(texts: Mapping[str, str], program: torch.export.ExportedProgram) -> frozenset[str]:
    """The recorded FX nodes that a program has.

    Names of FX nodes are numbered, so a name alone proves nothing: operator, arguments and what the
    arguments are made of must be the same as well.

    Args:
        texts: From :func:`recorded`.
        program: The program.
    """
    same: dict[str, bool] = {}
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        entry = _parsed(str(node.format_node() or ""))
        # What the export left out of the graph cannot be compared itself.
        equal = node.name not in texts or (entry is not None and entry[1] == texts[node.name])
        before = all(same.get(other.name, True) for other in node.all_input_nodes)
        same[node.name] = equal and before
    return frozenset(name for name in texts if same.get(name, False))


def places(
    graph: Graph, program: torch.export.ExportedProgram, matched: Collection[str]
) -> dict[str, str]:
    """FX node by name of the tensor that holds its value.

    The exporter names a tensor after the FX node whose value it is, and tensors on the way there
    otherwise; one that became a graph output has the original name in its metadata.

    Args:
        graph: The export.
        program: The program.
        matched: From :func:`matching`.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == "call_function"}
    names: dict[str, str] = {}
    for tensor in graph.comparable:
        value = graph.values[tensor]
        node = nodes.get(value.metadata_props.get(ORIGINAL_NAME, tensor))
        producer = value.producer()
        if node is None or producer is None:
            continue
        origin = _parsed(producer.metadata_props.get(FX_NODE, ""))
        # The value of a node itself, or that which it takes out of a tuple.
        makers = {node.name, *(before.name for before in node.all_input_nodes)}
        if origin is not None and origin[0] in makers & set(matched):
            names[tensor] = node.name
    return names


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
    """Return the tensors of a program's placeholders, in order: weights, constants and inputs."""
    kinds = type(program.graph_signature.input_specs[0].kind)
    tensors = iter(inputs)
    arguments: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == kinds.USER_INPUT:
            arguments.append(next(tensors))
        elif spec.target in program.state_dict:
            arguments.append(program.state_dict[spec.target])
        else:
            arguments.append(program.constants[spec.target or ""])
    return arguments


def _parsed(text: str) -> tuple[str, str] | None:
    match = _NODE.match(text)
    return (match[1], match[2]) if match else None
