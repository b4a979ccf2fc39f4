"""Contents of a model's network or of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.engine import manifest, network, next_step, precision_check
from tripoint.engine.network import IoTensor, NetworkDescription, describe
from tripoint.errors import ExternalStepError, InputError
from tripoint.model import Model, sha256
from tripoint.shape_inference.dim_names import file_for_tensorrt
from tripoint.trt import bindings, gpu, process
from tripoint.trt import layers as engine_layers
from tripoint.trt.layers import Layer
from tripoint.views import quantized
from tripoint.views.stops import Watch, refusals

__all__ = [
    "IoTensor",
    "NetworkDescription",
    "PlanContents",
    "PlanInspection",
    "describe",
    "inspect_network",
    "inspect_plan",
]


@dataclass(frozen=True)
class PlanContents:
    """Properties that a plan states itself, once it is loaded.

    Args:
        name: Name of the network, None if it has none.
        layers: Its layers by the engine inspector; None if that could not tell them.
        note: What the inspector did not tell and why, None if it told all.
        io: By input and output what is known beside dtype and shape: ``format``, ``location``
            (``device`` or ``host``), ``shape_tensor``, and ``aliases``, the input whose memory an
            output shares. None stands for what this TensorRT does not tell.
        memory: Bytes: ``context`` that a run needs, ``context_by_profile``, ``weights`` and
            ``streamable_weights``; None likewise.
        profiles: For each optimization profile the ``min``, ``opt`` and ``max`` of every input,
            and of a shape tensor ``min_values`` and so on.
        refittable: Whether its weights can be replaced.
    """

    name: str | None
    layers: tuple[Layer, ...] | None
    note: str | None
    io: Mapping[str, Mapping[str, Any]]
    memory: Mapping[str, Any]
    profiles: tuple[tuple[Mapping[str, Any], ...], ...]
    refittable: bool | None


@dataclass(frozen=True, slots=True)
class PlanInspection:
    """Contents of a plan, with its manifest.

    Args:
        path: Where it lies.
        bytes: Its size.
        sha256: Its hash.
        manifest: The manifest beside it, None if there is none.
        network: Inputs and outputs, from the plan itself if it was loaded, else from the
            manifest; None if there is neither.
        loaded: Whether TensorRT loaded it here.
        differences: Why it may not run here, by its manifest; one sentence each.
        rebuild: The command that builds it for this machine, None if that would not help.
        contents: What the plan says itself, None if it was not loaded.
    """

    path: Path
    bytes: int
    sha256: str
    manifest: Mapping[str, Any] | None
    network: NetworkDescription | None
    loaded: bool
    differences: tuple[str, ...]
    rebuild: str | None = None
    contents: PlanContents | None = None


def inspect_network(
    model: Model, *, tensorrt: str | None = None, timeout: float | None = None
) -> tuple[Layer, ...]:
    """The layers that a TensorRT's parser makes of a model.

    Args:
        model: The model; the parser reads it by path.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        timeout: Seconds that parsing may take, None for no limit.

    Raises:
        MissingDependencyError: If no TensorRT is installed.
        ExternalStepError: If TensorRT refuses the model, crashes or takes too long.
    """
    binding = bindings.find(tensorrt)
    with file_for_tensorrt(model) as path:
        request = {"task": "describe", "tensorrt": binding.name, "model": str(path.resolve())}
        watch = Watch()
        result = process.call(request, timeout=timeout, on_event=watch)
    if not result["complete"]:
        version = f"{binding.name} {result['version']}"
        refused = refusals(result["errors"], model.ir, version, watch.lines)
        raise ExternalStepError(
            str(refused[0]) if refused else f"{version} did not parse this model",
            hint=next(map(quantized.hint, quantized.explained(refused[:1], model.ir.graph)), None)
            or next_step.after_refusal(model, refused, None, binding.name),
        )
    return engine_layers.of_network(result["layers"])


def inspect_plan(
    path: Path, *, load: bool = False, tensorrt: str | None = None, timeout: float | None = None
) -> PlanInspection:
    """Describe a plan from its manifest and, on request, from the plan itself.

    Args:
        path: The plan.
        load: Whether to load it, which takes a GPU. Code inside a plan is never run.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        timeout: Seconds that loading may take, None for no limit.

    Raises:
        InputError: If the plan is missing, empty, or not the one that its manifest describes.
        ExternalStepError: If it is to be loaded and there is no GPU, or TensorRT refuses it.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError("no such file").within(subject=str(path)) from error
    if not path.is_file():
        raise InputError("this is a folder, not a plan").within(subject=str(path))
    if size == 0:
        raise InputError("the file is empty").within(subject=str(path))
    digest = sha256(path)
    content = manifest.beside(path) or None
    if content and content["engine"].get("sha256") != digest:
        raise InputError(
            f"this is not the plan that {manifest.path_for(path).name} describes: "
            "their hashes differ",
            hint="build it again, or remove the manifest if the plan is from elsewhere",
        ).within(subject=str(path))
    differences, rebuild = _differences(content, tensorrt) if content else ((), None)
    if load:
        loaded, contents = _load(path, content, tensorrt, timeout)
        return PlanInspection(
            path, size, digest, content, loaded, True, differences, rebuild, contents
        )
    stated = _from_manifest(content) if content else None
    return PlanInspection(path, size, digest, content, stated, False, differences, rebuild)


def _differences(
    content: Mapping[str, Any], tensorrt: str | None
) -> tuple[tuple[str, ...], str | None]:
    if tensorrt is None and not bindings.available():
        return ("no TensorRT is installed here",), None
    machine = manifest.Machine(bindings.find(tensorrt), gpu.probe().devices)
    return tuple(manifest.differences(content, machine)), manifest.rebuild(content, machine)


def _load(
    path: Path, content: Mapping[str, Any] | None, tensorrt: str | None, timeout: float | None
) -> tuple[NetworkDescription, PlanContents]:
    binding = bindings.find(tensorrt)
    reason = gpu.absence()
    if reason:
        raise ExternalStepError(f"a plan can be loaded only where a GPU is: {reason}").within(
            subject=str(path)
        )
    recorded = content or {}
    request = {
        "task": "inspect_plan",
        "tensorrt": binding.name,
        "plan": str(path.resolve()),
        "environment": dict(recorded.get("environment") or {}),
        "context": True,
    }
    try:
        result = process.call(request, timeout=timeout)
    except ExternalStepError as error:
        raise error.within(subject=str(path)) from error
    layers, note = precision_check.read(result)
    contents = PlanContents(
        result["name"] or None,
        layers,
        note,
        result["io"],
        result["memory"],
        tuple(tuple(profile) for profile in result["profiles"]),
        result["refittable"],
    )
    described = network.from_child(
        result, _names(recorded.get("inputs", [])), _names(recorded.get("outputs", []))
    )
    return described, contents


def _from_manifest(content: Mapping[str, Any]) -> NetworkDescription:
    return NetworkDescription(
        tuple(_io_tensor(each) for each in content["inputs"]),
        tuple(_io_tensor(each) for each in content["outputs"]),
        content.get("layers"),
    )


def _io_tensor(entry: Mapping[str, Any]) -> IoTensor:
    shape = entry["shape"]
    return IoTensor(entry["name"], entry["dtype"], None if shape is None else tuple(shape))


def _names(entries: list[Mapping[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]
