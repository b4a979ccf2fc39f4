"""Imports a model node by node, as the importer of one version does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from tripoint.model import Model
from tripoint.shape_inference.truth import constant_outputs, names
from tripoint.symbols import Shape
from tripoint.table import Reason, Refusal, Target, View, ViewShape, format_shape
from tripoint.views.importer import attributes, operators
from tripoint.views.importer.context import (
    MOST_DIMS,
    UNKNOWN,
    Entry,
    Network,
    NodeContext,
    RefusedError,
    Version,
)

_DEEPEST = 64
"""Graphs inside graphs that are followed."""

_MALFORMED = (ArithmeticError, LookupError, TypeError, ValueError)
"""Errors that an importer meets in a node that ONNX does not allow: a stride of 0, a short list."""


def view(model: Model, truth: Mapping[str, Shape | None], version: Version) -> View:
    """See a model as the importer of one TensorRT version sees it while it builds the network.

    Args:
        model: The model. It is not changed.
        truth: True shape by tensor name.
        version: The version.
    """
    network = Network(version, model.opset, truth, names(model.ir))
    graph = model.ir.graph
    _import_initializers(network, graph)
    _import_inputs(network, graph)
    for node in graph:
        _import_node(version.node(node, network))
    _mark_outputs(network, graph)
    hidden = network.initializers - {value.name for value in constant_outputs(graph)}
    return View(
        target=Target(name=version.name, kind="importer", version=version.name),
        shapes={name: shape for name, shape in network.shapes.items() if name not in hidden},
        reasons=network.reasons,
        refusals=tuple(network.refusals),
    )


def enter(
    node: NodeContext, graph: ir.Graph, inputs: Sequence[Entry | None] = ()
) -> list[ViewShape | None]:
    """Import a nested graph; it reads what the graphs around it have, too.

    Args:
        node: The node whose graph it is.
        graph: The graph: :meth:`NodeContext.branch`.
        inputs: What its inputs stand for; None for one that nothing stands for.

    Returns:
        The shape of each output, None where the rank is unknown.

    Raises:
        RefusedError: If graphs are nested too deep to be followed.
    """
    network = node.network
    node.bodies.append(graph)
    if network.depth >= _DEEPEST:
        raise RefusedError(f"is not followed into more than {_DEEPEST} graphs inside each other")
    network.depth += 1
    try:
        _import_initializers(network, graph)
        for value, entry in zip(graph.inputs, inputs, strict=False):
            if entry is not None:
                network.shapes[network.name_of(value)] = entry.shape
                if entry.type is not None:
                    network.types[network.name_of(value)] = entry.type
        for inner in graph:
            _import_node(network.version.node(inner, network))
    finally:
        network.depth -= 1
    return [network.shapes.get(network.name_of(value)) for value in graph.outputs]


def _import_initializers(network: Network, graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if value.const_value is None:
            continue
        name = network.add_initializer(value, value.const_value)
        dtype = value.const_value.dtype
        if dtype not in network.version.types:
            _refuse(network, name, "initializer", f"has no type for the {dtype.name} of `{name}`")


def _import_inputs(network: Network, graph: ir.Graph) -> None:
    for value in graph.inputs:
        name = network.name_of(value)
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


def _mark_outputs(network: Network, graph: ir.Graph) -> None:
    for value in graph.outputs:
        name = network.name_of(value)
        if name in network.weights and not network.version.constant_outputs:
            _refuse(network, name, "output", f"takes no constant for the output `{name}`")


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
            raise RefusedError(_absence(node))
        network.version.check(node)
        result = importer(node)
    except (RefusedError, *_MALFORMED) as error:
        node.refuse(
            str(error)
            if isinstance(error, RefusedError)
            else f"cannot import this {node.op}: its operands or attributes are malformed"
        )
        node.reason = None
        node.reasons.clear()
        result = []
        _enter_the_rest(node)
    shapes = result if isinstance(result, list) else [result]
    for index in range(len(node.onnx.outputs)):
        name = node.output_name(index)
        if not name:
            continue
        output_shape = shapes[index] if index < len(shapes) else None
        if output_shape is not None:
            _register(node, index, name, output_shape, node.reasons.get(index, node.reason))
        else:
            shape = _true_as_printed(node, name)
            if shape is not None:
                _register(node, index, name, shape, _inherited_loss(node))
    if importer is not None:
        _note_attributes(node, refusals)
    if len(network.refusals) == refusals:
        _note_contradiction(node)


def _absence(node: NodeContext) -> str:
    version = node.network.version
    lookup = " and looks for a plugin of that name" if version.plugins else ""
    who = operators.absence(version.name, node.op)
    return (
        f"has no importer for {node.op}{lookup} (`No importer registered for op: {node.op}`); {who}"
    )


def _enter_the_rest(node: NodeContext) -> None:
    """Import the nested graphs of a refused node, with the true shapes of their inputs."""
    network = node.network
    for attribute in node.onnx.attributes.values():
        graph = attribute.value
        if not isinstance(graph, ir.Graph) or graph in node.bodies or network.depth >= _DEEPEST:
            continue
        shapes = (network.truth.get(network.name_of(value)) for value in graph.inputs)
        enter(node, graph, [None if dims is None else Entry(_printed(dims)) for dims in shapes])


def _printed(true: Shape) -> ViewShape:
    return tuple(dim if isinstance(dim, int) else UNKNOWN for dim in true)


def _register(
    node: NodeContext, index: int, name: str, shape: ViewShape, reason: Reason | None
) -> None:
    network = node.network
    network.shapes[name] = shape
    if node.kept is not None:
        network.weights[name] = node.kept
    try:
        kind = network.version.output_type(node, index)
    except (RefusedError, *_MALFORMED):
        kind = None
    if kind is not None:
        network.types[name] = kind
    if reason is not None and UNKNOWN in shape:
        network.reasons[name] = reason
    if len(shape) > MOST_DIMS:
        node.refuse(f"has at most {MOST_DIMS} dims, and `{name}` has {len(shape)}")


def _true_as_printed(node: NodeContext, name: str) -> ViewShape | None:
    """The true shape with -1 where it is not an integer, and where lost inputs may reach."""
    network = node.network
    true = network.truth.get(name)
    if true is None:
        return None
    printed = _printed(true)
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
    """Inputs, and outputs of nested graphs, that have lost dims."""
    network = node.network
    names = [node.name(index) for index in node.present]
    names += [network.name_of(value) for graph in node.bodies for value in graph.outputs]
    return [name for name in dict.fromkeys(names) if network.lost(name)]


def _note_attributes(node: NodeContext, before: int) -> None:
    """Note the attributes that this version refuses or ignores, unless the importer has."""
    network = node.network
    said = " ".join(refusal.reason for refusal in network.refusals[before:])
    for name, text in attributes.misread(network.version.name, node.onnx, network.opset):
        if f"`{name}`" not in said:
            node.refuse(text)


def _note_contradiction(node: NodeContext) -> None:
    """Note an untrue shape that starts at this node and that the importer did not mention."""
    network = node.network
    if any(network.contradicts(node.name(index)) for index in node.present):
        return
    for index in range(len(node.onnx.outputs)):
        name = node.output_name(index)
        if name and network.contradicts(name):
            node.refuse(
                f"silently gives `{name}` the shape {format_shape(network.shapes[name])} "
                f"although it is {format_shape(network.truth[name])}"
            )
