"""The view of a TensorRT that is installed here: its real parser, run in a child process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.shape_inference.dim_names import file_for_tensorrt
from tripoint.table import Refusal, Role, Target, View, ViewShape, format_shape
from tripoint.trt import bindings, process
from tripoint.views import layers, quantized, scopes
from tripoint.views.stops import Watch, refusals
from tripoint.views.stops import stopped as stopped_at

_BRANCHES = ("then_branch", "else_branch")


def view(model: Model, *, tensorrt: str | None = None, timeout: float | None = None) -> View:
    """Let a real parser read the model, and join its tensors to ONNX names.

    A model that the parser refuses, or crashes on, gives the view up to that node and a
    refusal that names it.

    Args:
        model: The model; the parser reads it by path.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        timeout: Seconds after which the parser is stopped, None for no limit.

    Raises:
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If that TensorRT cannot be loaded or cannot run on this machine.
        InputError: If the local functions of the model cannot be inlined.
    """
    whole = truth.inlined(model.ir)
    binding = bindings.find(tensorrt)
    watch = Watch(binding.version)
    result: dict[str, Any] = {key: [] for key in ("errors", "tensors", "made")}
    result |= {"complete": False, "layers": 0}
    stopped: process.WorkerError | None = None
    with file_for_tensorrt(model) as path:
        request = {"task": "parse", "tensorrt": binding.name, "model": str(path.resolve())}
        try:
            result = process.call(request, timeout=timeout, on_event=watch)
        except process.WorkerError as error:
            if error.kind == "failed" or not watch.loaded:
                raise
            stopped = error
    graph = model.ir.graph
    version = f"{binding.name} {watch.version}"
    refused = list(refusals(result["errors"], model.ir, version, watch.lines))
    if stopped:
        refused.append(stopped_at(model.ir, watch.lines, stopped.fact))
    elif not result["complete"] and not refused:
        refused.append(_whole_model(graph.name, f"{version} did not parse this model"))
    elif result["complete"] and not result["layers"]:
        refused.append(_whole_model(graph.name, f"{version} found no layer in this model"))
    refused += quantized.misread(model.ir, version)
    joined = scopes.join(scopes.read(watch.lines), whole.graph)
    shapes, roles = _facts(whole, joined, result["tensors"])
    return View(
        target=Target("installed", "installed", version),
        shapes=shapes,
        roles=roles,
        refusals=tuple(refused),
        layers=result["layers"] if result["complete"] else None,
        layers_of=layers.by_node(whole, joined, result["made"]),
        notes=tuple(_at_build(whole, shapes, version, rtx=binding.kind != "tensorrt")),
    )


def _at_build(
    model: ir.Model, shapes: Mapping[str, ViewShape], version: str, *, rtx: bool
) -> Iterator[str]:
    """Nodes that the parser took and the builder is known not to take.

    Seen in TensorRT-RTX 1.6.1: no kernel for NonMaxSuppression at any sizes. The ranks of an If
    are what its ``IConditionalOutputLayer`` asks for.
    """
    names = truth.names(model)
    for node in model.graph.all_nodes():
        where = f"node {node_name(node)!r} ({node.op_type})"
        seen = [names.get(value) in shapes for value in node.outputs]
        if rtx and node.op_type == "NonMaxSuppression" and any(seen):
            yield f"{where} is parsed, and no engine is built of it: {version} has no kernel for it"
        elif node.op_type == "If" and any(seen):
            branches = [node.attributes[name].as_graph() for name in _BRANCHES]
            for pair in zip(*(body.outputs for body in branches), strict=False):
                both = [shapes.get(names.get(value, "")) for value in pair]
                if None not in both and len({len(shape or ()) for shape in both}) > 1:
                    both_shapes = " and ".join(format_shape(shape) for shape in both)
                    yield (
                        f"{where} is parsed with branches of different ranks, {both_shapes}: "
                        f"{version} builds it only for a profile that decides its condition"
                    )
                    break


def _whole_model(name: str | None, reason: str) -> Refusal:
    return Refusal(name or "model", "", reason)


def _facts(
    model: ir.Model, joined: scopes.Joined, tensors: list[list[Any]]
) -> tuple[Mapping[str, ViewShape], Mapping[str, Role]]:
    network = {name: facts for name, *facts in tensors}
    outputs = set(model.graph.outputs)
    shapes: dict[str, ViewShape] = {}
    roles: dict[str, Role] = {}
    for value, name in truth.names(model).items():
        if value in joined.shapes:
            shapes[name] = joined.shapes[value]
        facts = network.get(joined.unique.get(value, ""))
        if facts is None and value in outputs:
            # Graph outputs take their ONNX name at the end of the parse.
            facts = network.get(value.name or "")
        if facts is None:
            continue
        shape, is_shape, is_execution = facts
        if shape is not None:
            shapes[name] = tuple(shape)
        if is_shape:
            roles[name] = "both" if is_execution or value in outputs else "shape"
        else:
            roles[name] = "execution"
    return shapes, roles
