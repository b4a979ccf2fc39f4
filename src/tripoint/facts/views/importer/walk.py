"""Imports a model node by node, as the importer of one version does."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.facts.table import Reason, Refusal, Shape, Target, View, ViewShape
from tripoint.facts.views.importer.context import (
    UNKNOWN,
    Network,
    NodeContext,
    RefusedError,
    Version,
)
from tripoint.model import Model

_MOST_DIMS = 8


def view(model: Model, truth: Mapping[str, Shape | None], version: Version) -> View:
    """See a model as the importer of one TensorRT version sees it while it builds the network.

    Nested graphs are not entered; their tensors are absent, as are initializers.

    Args:
        model: The model. It is not changed.
        truth: True shape by tensor name.
        version: The version.
    """
    network = Network(version, model.opset, truth)
    _import_initializers(network, model.ir.graph)
    initializers = frozenset(network.shapes)
    _import_inputs(network, model.ir.graph)
    for node in model.ir.graph:
        _import_node(version.node(node, network))
    shapes = {name: shape for name, shape in network.shapes.items() if name not in initializers}
    return View(
        target=Target(name=version.name, kind="importer", version=version.name),
        shapes=shapes,
        reasons=network.reasons,
        refusals=tuple(network.refusals),
    )


def _import_initializers(network: Network, graph: ir.Graph) -> None:
    for name, value in graph.initializers.items():
        if value.const_value is None:
            continue
        network.add_weights(name, value.const_value)
        dtype = value.const_value.dtype
        if dtype not in network.version.types:
            _refuse(network, name, "initializer", f"has no type for the {dtype.name} of `{name}`")


def _import_inputs(network: Network, graph: ir.Graph) -> None:
    for value in graph.inputs:
        name = value.name or ""
        if name in network.weights:
            continue
        nameless = network.version.nameless_dim
        dims = () if value.shape is None else tuple(_dim(dim, nameless) for dim in value.shape)
        network.shapes[name] = dims
        if value.shape is None or (
            nameless != UNKNOWN and any(dim == ir.SymbolicDim(None) for dim in value.shape)
        ):
            _refuse(network, name, "input", f"reads dims of `{name}` without a size or a name as 0")
        if value.dtype is None:
            continue
        if value.dtype in network.version.types:
            network.types[name] = network.version.types[value.dtype]
        else:
            _refuse(network, name, "input", f"has no type for the {value.dtype.name} of `{name}`")


def _dim(dim: int | ir.SymbolicDim, nameless: int) -> int:
    if isinstance(dim, int):
        return max(dim, UNKNOWN)
    return UNKNOWN if dim.value is not None else nameless


def _refuse(network: Network, name: str, op: str, text: str) -> None:
    network.refusals.append(Refusal(name, op, f"{network.version} {text}"))


def _import_node(node: NodeContext) -> None:
    network = node.network
    importer = network.version.importers.get(node.op)
    refusals = len(network.refusals)
    try:
        if importer is None:
            raise RefusedError(f"has no importer for {node.op}")
        network.version.check(node)
        result = importer(node)
    except RefusedError as error:
        node.refuse(str(error))
        node.reason = None
        result = []
    shapes = result if isinstance(result, list) else [result]
    for index, value in enumerate(node.onnx.outputs):
        if not value.name:
            continue
        if index < len(shapes):
            _register(node, index, value.name, shapes[index], node.reason)
        else:
            shape = _true_as_printed(node, value.name)
            if shape is not None:
                _register(node, index, value.name, shape, _inherited_loss(node))
    if len(network.refusals) == refusals:
        _note_contradiction(node)


def _register(
    node: NodeContext, index: int, name: str, shape: ViewShape, reason: Reason | None
) -> None:
    network = node.network
    network.shapes[name] = shape
    if node.kept is not None:
        network.weights[name] = node.kept
    kind = network.version.output_type(node, index)
    if kind is not None:
        network.types[name] = kind
    if reason is not None and UNKNOWN in shape:
        network.reasons[name] = reason
    if len(shape) > _MOST_DIMS:
        node.refuse(f"has at most {_MOST_DIMS} dims, and `{name}` has {len(shape)}")


def _true_as_printed(node: NodeContext, name: str) -> ViewShape | None:
    """The true shape with -1 where it is not an integer, and where lost inputs may reach."""
    network = node.network
    true = network.truth.get(name)
    if true is None:
        return None
    printed = tuple(dim if isinstance(dim, int) else UNKNOWN for dim in true)
    for lost in _lost_inputs(node):
        if network.truth.get(lost) != true:
            return (UNKNOWN,) * len(true)
        pairs = zip(printed, network.shapes[lost], strict=True)
        printed = tuple(UNKNOWN if UNKNOWN in pair else pair[0] for pair in pairs)
    return printed


def _inherited_loss(node: NodeContext) -> Reason | None:
    lost = _lost_inputs(node)
    if not lost:
        return None
    listed = ", ".join(f"`{name}`" for name in lost)
    return Reason(
        f"{node.network.version} does not import this {node.op}; "
        f"with unknown dims in {listed}, its output is taken as unknown too",
        tuple(lost),
    )


def _lost_inputs(node: NodeContext) -> list[str]:
    names = dict.fromkeys(node.name(index) for index in node.present)
    return [name for name in names if node.network.lost(name)]


def _note_contradiction(node: NodeContext) -> None:
    """Note an untrue shape that starts at this node and that the importer did not mention."""
    network = node.network
    if any(network.contradicts(node.name(index)) for index in node.present):
        return
    for value in node.onnx.outputs:
        if value.name and network.contradicts(value.name):
            node.refuse(
                f"silently gives `{value.name}` the shape {network.shapes[value.name]} "
                f"although it is {network.truth[value.name]}"
            )
