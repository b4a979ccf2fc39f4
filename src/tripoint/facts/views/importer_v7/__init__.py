"""A model of the ONNX importer of TensorRT 7.x, after onnx-tensorrt release/7.1.

Two parties compute shapes. The parser computes size operands itself, as vectors; it knows the
values of initializers and ``Constant`` nodes and the dims of any tensor, and one unknown element
spoils a whole vector. The core computes the shapes of layers; of a layer that takes its size as
a tensor it prints -1 for every dim, since 7.x evaluates no size operand before the build.

A real parser stops at its first error. The model notes a refusal and goes on as if the node were
written in the form that this version reads, so that the rest of the table is of use. Where it
cannot know that form, and for operators without an importer, it shows the true shape, with -1 for
each dim that is not an integer. If an input has lost dims there, an output of the true shape of
an input is taken to lose the same dims, and any other output to lose them all.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.facts.table import Reason, Refusal, Shape, Target, View, ViewShape
from tripoint.facts.views.importer_v7 import kinds
from tripoint.facts.views.importer_v7.context import (
    KINDS,
    UNKNOWN,
    Network,
    NodeContext,
    RefusedError,
)
from tripoint.facts.views.importer_v7.versions import VERSIONS, Importer
from tripoint.model import Model

SUPPORTED = tuple(VERSIONS)
"""The versions that have a model, oldest first."""

_MOST_DIMS = 8


def view(model: Model, truth: Mapping[str, Shape | None], version: str = "7.1") -> View:
    """See a model as the importer of one TensorRT version sees it while it builds the network.

    Nested graphs are not entered; their tensors are absent, as are initializers.

    Args:
        model: The model. It is not changed.
        truth: True shape by tensor name.
        version: One of :data:`SUPPORTED`.

    Raises:
        UsageError: If there is no model of that version.
    """
    if version not in VERSIONS:
        raise UsageError(
            f"there is no model of TensorRT {version}",
            hint=f"the versions that have one are {', '.join(SUPPORTED)}",
        )
    network = Network(version, model.opset, truth)
    _import_initializers(network, model.ir.graph)
    initializers = frozenset(network.shapes)
    _import_inputs(network, model.ir.graph)
    for node in model.ir.graph:
        _import_node(NodeContext(node, network), VERSIONS[version].get(node.op_type))
    shapes = {name: shape for name, shape in network.shapes.items() if name not in initializers}
    return View(
        target=Target(name=version, kind="importer", version=version),
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
        if dtype not in KINDS:
            _refuse(network, name, "initializer", f"has no type for the {dtype.name} of `{name}`")


def _import_inputs(network: Network, graph: ir.Graph) -> None:
    for value in graph.inputs:
        name = value.name or ""
        if name in network.weights:
            continue
        dims = () if value.shape is None else tuple(_input_dim(dim) for dim in value.shape)
        network.shapes[name] = dims
        if value.shape is None or any(dim == ir.SymbolicDim(None) for dim in value.shape):
            _refuse(network, name, "input", f"reads dims of `{name}` without a size or a name as 0")
        if value.dtype is None:
            continue
        if value.dtype in KINDS:
            network.kinds[name] = KINDS[value.dtype]
        else:
            _refuse(network, name, "input", f"has no type for the {value.dtype.name} of `{name}`")


def _input_dim(dim: int | ir.SymbolicDim) -> int:
    if isinstance(dim, int):
        return max(dim, UNKNOWN)
    return UNKNOWN if dim.value is not None else 0


def _refuse(network: Network, name: str, op: str, text: str) -> None:
    network.refusals.append(Refusal(name, op, f"TensorRT {network.version} {text}"))


def _import_node(node: NodeContext, importer: Importer | None) -> None:
    network = node.network
    refusals = len(network.refusals)
    try:
        if importer is None:
            raise RefusedError(f"has no importer for {node.op}")
        kinds.check(node)
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
    kind = kinds.of_output(node, index)
    if kind is not None:
        network.kinds[name] = kind
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
        f"TensorRT {node.network.version} does not import this {node.op}; "
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
