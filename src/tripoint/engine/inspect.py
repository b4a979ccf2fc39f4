"""What is in a model's network or in a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.engine import bindings, gpu, manifest, network, process
from tripoint.engine.network import IoTensor, NetworkDescription, describe
from tripoint.errors import ExternalStepError, InputError
from tripoint.model import sha256

__all__ = ["IoTensor", "NetworkDescription", "PlanInspection", "describe", "inspect_plan"]


@dataclass(frozen=True, slots=True)
class PlanInspection:
    """What is known of a plan.

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
    """

    path: Path
    bytes: int
    sha256: str
    manifest: Mapping[str, Any] | None
    network: NetworkDescription | None
    loaded: bool
    differences: tuple[str, ...]
    rebuild: str | None = None


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
    beside = manifest.path_for(path)
    content = manifest.read(beside) if beside.is_file() else None
    if content and content["engine"].get("sha256") != digest:
        raise InputError(
            f"this is not the plan that {beside.name} describes: their hashes differ",
            hint="build it again, or remove the manifest if the plan is from elsewhere",
        ).within(subject=str(path))
    differences, rebuild = _differences(content, tensorrt) if content else ((), None)
    if load:
        loaded = _load(path, content, tensorrt, timeout)
        return PlanInspection(path, size, digest, content, loaded, True, differences, rebuild)
    known = _from_manifest(content) if content else None
    return PlanInspection(path, size, digest, content, known, False, differences, rebuild)


def _differences(
    content: Mapping[str, Any], tensorrt: str | None
) -> tuple[tuple[str, ...], str | None]:
    if tensorrt is None and not bindings.available():
        return ("no TensorRT is installed here",), None
    machine = manifest.Machine(bindings.find(tensorrt), gpu.probe().devices)
    return tuple(manifest.differences(content, machine)), manifest.rebuild(content, machine)


def _load(
    path: Path, content: Mapping[str, Any] | None, tensorrt: str | None, timeout: float | None
) -> NetworkDescription:
    binding = bindings.find(tensorrt)
    reason = gpu.absence()
    if reason:
        raise ExternalStepError(f"a plan can be loaded only where a GPU is: {reason}").within(
            subject=str(path)
        )
    request = {"task": "inspect_plan", "tensorrt": binding.name, "plan": str(path.resolve())}
    try:
        result = process.call(request, timeout=timeout)
    except ExternalStepError as error:
        raise error.within(subject=str(path)) from error
    known = content or {}
    return network.from_child(
        result, _names(known.get("inputs", [])), _names(known.get("outputs", []))
    )


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
