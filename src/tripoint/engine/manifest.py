"""The manifest beside a plan: what it was built from, by what, and for which machine."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tripoint
from tripoint.engine import network
from tripoint.engine.bindings import Binding
from tripoint.engine.gpu import Device
from tripoint.engine.network import NetworkDescription
from tripoint.engine.profile import Profile
from tripoint.errors import InputError
from tripoint.files import reason

SCHEMA_VERSION = "1.0"
_KEYS = ("schema_version", "model", "engine", "tensorrt", "inputs", "outputs")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan meets when it is to run.

    Args:
        binding: The TensorRT that would load it.
        devices: The GPUs, empty if there is none.
    """

    binding: Binding
    devices: tuple[Device, ...]


def path_for(plan: Path) -> Path:
    """Where the manifest of a plan lies: ``model.plan`` has ``model.manifest.json``."""
    return plan.with_name(f"{plan.stem}.manifest.json")


def create(
    *,
    model: Mapping[str, Any],
    engine: Mapping[str, Any],
    binding: Binding,
    built: Mapping[str, Any],
    profile: Profile | None,
    description: NetworkDescription,
) -> dict[str, Any]:
    """The content of a manifest. The same build gives the same text: it holds no time.

    Args:
        model: ``path`` (file name or None), ``sha256`` and ``opset``.
        engine: ``file`` (name), ``bytes`` and ``sha256``.
        binding: The TensorRT that was asked for.
        built: The child's account: ``version``, ``flags``, ``environment``,
            ``compute_capabilities`` and ``gpu``.
        profile: The optimization profile, None for a static model.
        description: Inputs and outputs in the order of the ONNX model.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "tripoint", "version": tripoint.__version__},
        "model": dict(model),
        "engine": dict(engine),
        "tensorrt": {"name": binding.name, "kind": binding.kind, "version": built["version"]},
        "target": {
            "platform": _platform(),
            "compute_capabilities": built["compute_capabilities"],
            "gpu": built["gpu"],
        },
        "flags": built["flags"],
        "environment": built["environment"],
        "profiles": [as_json(profile)] if profile else [],
        "layers": description.layers,
        "inputs": network.as_json(description.inputs),
        "outputs": network.as_json(description.outputs),
    }


def as_json(profile: Profile) -> list[dict[str, Any]]:
    """A profile as JSON values."""
    return [
        {"name": i.name, "min": list(i.min), "opt": list(i.opt), "max": list(i.max)}
        for i in profile.inputs
    ]


def text(manifest: Mapping[str, Any]) -> str:
    """The manifest as it is written."""
    return json.dumps(manifest, indent=2) + "\n"


def read(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        InputError: If it is missing or none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such file").within(subject=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read: {reason(error)}").within(subject=str(path)) from error
    except ValueError as error:
        raise InputError("this is no JSON").within(subject=str(path)) from error
    missing = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise InputError(f"this is no manifest of tripoint: it lacks {missing[0]!r}").within(
            subject=str(path)
        )
    return dict(content)


def differences(manifest: Mapping[str, Any], machine: Machine) -> list[str]:
    """Why a plan may not run here; one sentence each, none if nothing speaks against it.

    Args:
        manifest: From :func:`read`.
        machine: What would run it.
    """
    built, target = manifest["tensorrt"], manifest.get("target") or {}
    found: list[str] = []
    if built.get("kind") != machine.binding.kind or built["version"] != machine.binding.version:
        found.append(f"built by {built['name']} {built['version']}, here is {machine.binding}")
    if target.get("platform") not in (None, _platform()):
        found.append(f"built for {target['platform']}, here is {_platform()}")
    if not machine.devices:
        return [*found, "here is no GPU to run it on"]
    here = machine.devices[0]
    gpu = target.get("gpu")
    # A plan of TensorRT-RTX is compiled on the machine that runs it, one of TensorRT is not.
    if machine.binding.kind == "tensorrt" and gpu and gpu["name"] != here.name:
        found.append(f"built on {gpu['name']}, here is {here.name}")
    capabilities: Sequence[str] | None = target.get("compute_capabilities")
    if capabilities and here.compute_capability not in capabilities:
        found.append(
            f"built for compute capability {', '.join(capabilities)}, "
            f"{here.name} has {here.compute_capability}"
        )
    return found


def _platform() -> str:
    return f"{platform.system().lower()}-{platform.machine().lower()}"
