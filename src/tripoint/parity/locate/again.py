"""The module exported once more: all tensors of the module as it is now, under the file's names.

PyTorch gives few tensors by name where a file kept no FX nodes, or was exported from another text
than the module has now. The exporter that made the file is run again, and the nodes of both graphs
are brought together. ONNX Runtime runs that graph in PyTorch's place, if it gives PyTorch's
outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, bindings_of
from tripoint.parity.locate import fx
from tripoint.parity.locate.alike import Alike, align
from tripoint.parity.locate.graph import Graph
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import Exporter, trace
from tripoint.spec import InputSpec, Range, Spec


@dataclass(frozen=True)
class Again:
    """An export of the module as it is now.

    Args:
        graph: Its graph. Tensors and nodes that the file has, too, have the file's names.
        changes: What differs, in words, by node of the file.
    """

    graph: Graph
    changes: Mapping[ir.Node, list[str]]


def export_again(
    model: TorchModel,
    file: Graph,
    feed: Arrays,
    parameters: Mapping[str, str],
    outputs: Mapping[str, str],
    ranges: Mapping[str, tuple[int, int]],
) -> Again:
    """Export a module as a file was exported.

    Args:
        model: The module.
        file: The file.
        feed: Array by input name of the file.
        parameters: Parameter of ``forward`` by input name of the file.
        outputs: Output name of the file by the name that ``flatten`` gives.
        ranges: Smallest and largest size by symbol, if known.

    Raises:
        TripointError: If the exporter refuses.
    """
    exporter: Exporter = "dynamo" if fx.recorded(file) else "torchscript"
    sizes = bindings_of(file.specs, feed)
    refusal: TripointError | None = None
    for spec in _specs(file, parameters, sizes, ranges):
        for opset in (file.model.opset, None):
            try:
                exported = trace(model, spec, exporter=exporter, opset=opset)
            except TripointError as error:
                refusal = refusal or error
                continue
            return _named(file, Graph(Model(exported)), parameters, outputs)
    raise refusal or AssertionError("nothing was tried")


def _specs(
    file: Graph,
    parameters: Mapping[str, str],
    sizes: Mapping[str, int],
    ranges: Mapping[str, tuple[int, int]],
) -> list[Spec]:
    """The sizes to export with: as they range, else those of the point."""
    bounds = {}
    for symbol, size in sizes.items():
        low, high = ranges.get(symbol, (1, max(4, 2 * size)))
        bounds[symbol] = Range(low, min(max(size, low), high), high)
    named = {name for name in bounds if name.isidentifier()}
    shapes = {name: shape for name, (_, shape) in file.specs.items()}
    fixed = {name: tuple(sizes.get(str(dim), dim) for dim in shapes[name]) for name in shapes}
    specs = []
    if named and named == bounds.keys():
        specs.append((shapes, {name: bounds[name] for name in named}))
    specs.append((fixed, {}))
    return [
        Spec(tuple(InputSpec(parameters.get(name, name), dims) for name, dims in each.items()), dim)
        for each, dim in specs
    ]


def _named(
    file: Graph, module: Graph, parameters: Mapping[str, str], outputs: Mapping[str, str]
) -> Again:
    """Give tensors and nodes the names that they have in the file."""
    taken = {value.name: value for value in module.inputs}
    pairs = [
        (value, taken[parameter])
        for value in file.inputs
        if (parameter := parameters.get(value.name or "", value.name or "")) in taken
    ]
    alike = align(file, module, pairs)
    wanted = {
        value: name for value in module.ir.graph.outputs if (name := outputs.get(value.name or ""))
    }
    for own, other in alike.values.items():
        if other not in wanted and own.name not in wanted.values():
            wanted[other] = own.name or ""
    _rename(module, wanted)
    names = {twin: node.name for node, twin in alike.nodes.items()}
    for index, node in enumerate(module.nodes):
        node.name = names.get(node, f"module/node{index}")
    return Again(Graph(Model(module.ir)), _worded(alike))


def _rename(graph: Graph, wanted: Mapping[ir.Value, str]) -> None:
    values = [*graph.inputs, *(value for node in graph.nodes for value in node.outputs)]
    taken = set(wanted.values())
    for value in values:
        value.name = None
    for name in [name for name in graph.ir.graph.initializers if name in taken]:
        graph.ir.graph.initializers[name].name = f"module/{name}"
    for index, value in enumerate(values):
        # What only the module has must have no name of the file's.
        value.name = wanted.get(value, f"module/{index}")


def _worded(alike: Alike) -> dict[ir.Node, list[str]]:
    return {node: list(dict.fromkeys(texts)) for node, texts in alike.changes.items()}
