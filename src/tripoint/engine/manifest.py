"""The manifest beside a plan: what it was built from, by what, and for which machine."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tripoint import commands
from tripoint._version import __version__
from tripoint.engine import network
from tripoint.engine.network import NetworkDescription
from tripoint.engine.options import command_line
from tripoint.errors import InputError
from tripoint.files import reason, write_text
from tripoint.graph import passthrough
from tripoint.packages import version
from tripoint.precision import recorded
from tripoint.profiles.profile import Profile
from tripoint.spec import ENDS
from tripoint.trt.bindings import Binding
from tripoint.trt.gpu import Device

SCHEMA_VERSION = "2.0"
"""The major number changes where a key goes or means something else."""

SCHEMA = "manifest.schema.json"
"""The JSON Schema of a manifest, a file beside this module."""

_LIBRARIES = ("onnx", "onnx-ir", "numpy")
_KEYS = ("schema_version", "model", "engine", "tensorrt", "inputs", "outputs")


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine that a plan is to run on.

    Args:
        binding: The TensorRT that would load it.
        devices: The GPUs, empty if there is none.
    """

    binding: Binding
    devices: tuple[Device, ...]


def path_for(plan: Path) -> Path:
    """Return the path of a plan's manifest: ``model.manifest.json`` for ``model.plan``."""
    return plan.with_name(f"{plan.stem}.manifest.json")


def create(
    *,
    model: Mapping[str, Any],
    engine: Mapping[str, Any],
    binding: Binding,
    built: Mapping[str, Any],
    profiles: Sequence[Profile],
    description: NetworkDescription,
    precision: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a manifest. The same build gives the same text: it holds no time.

    Args:
        model: ``path`` (file name or None), ``sha256``, ``opset`` and ``external_data``.
        engine: ``file`` (name), ``bytes`` and ``sha256``.
        binding: The TensorRT that was asked for.
        built: The child's account, as :func:`tripoint.tasks.build.run` returns it.
        profiles: The optimization profiles, none for a static model.
        description: Inputs and outputs in the order of the ONNX model.
        precision: As :func:`tripoint.engine.precision_check.as_json` gives it.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "tripoint", "version": __version__},
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
            "onnx_parser": built["parser"],
            "cuda_driver": built["driver"],
        },
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
        "profiles": [as_json(profile) for profile in profiles],
        "timing_cache": _without_home(built["timing_cache"]),
        "precision": dict(precision),
        "layers": description.layers,
        "inputs": network.as_json(description.inputs),
        "outputs": network.as_json(description.outputs),
        "verification": None,
    }


def as_json(profile: Profile) -> list[dict[str, Any]]:
    """A profile as JSON values."""
    return [
        {"name": i.name, **{end: list(getattr(i, end)) for end in ENDS}, "values": i.values}
        for i in profile.inputs
    ]


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every manifest of this version fulfils."""
    path = resources.files("tripoint.engine").joinpath(SCHEMA)
    return dict(json.loads(path.read_text(encoding="utf-8")))


def add_verification(path: Path, verification: Mapping[str, Any]) -> dict[str, Any]:
    """Write the result of comparing an engine into its manifest.

    Args:
        path: The manifest.
        verification: ``verdict``, ``legs`` (status by name) and ``points`` (how many).

    Returns:
        The new content.

    Raises:
        InputError: As :func:`read`.
        OutputError: If it cannot be written.
    """
    content = {**read(path), "verification": dict(verification)}
    write_text(path, text(content), force=True)
    return content


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
    major = (
        str(content.get("schema_version", "")).partition(".")[0]
        if isinstance(content, dict)
        else ""
    )
    if major.isdigit() and int(major) > int(SCHEMA_VERSION.partition(".")[0]):
        raise InputError(
            f"a newer tripoint wrote this manifest: its schema is {content['schema_version']}, "
            f"known is {SCHEMA_VERSION}",
            hint="install that tripoint, or build the engine again",
        ).within(subject=str(path))
    missing = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise InputError(f"this is no manifest of tripoint: it lacks {missing[0]!r}").within(
            subject=str(path)
        )
    return dict(content)


def beside(plan: Path) -> dict[str, Any]:
    """Read the manifest of a plan; empty if it has none.

    Raises:
        InputError: As :func:`read`.
    """
    path = path_for(plan)
    return read(path) if path.is_file() else {}


def differences(manifest: Mapping[str, Any], machine: Machine) -> list[str]:
    """Return the reasons for which a plan may not run here, one sentence each; none if all is well.

    Args:
        manifest: From :func:`read`.
        machine: What would run it.
    """
    built, target = manifest["tensorrt"], manifest.get("target") or {}
    flags = manifest.get("flags") or {}
    reasons: list[str] = []
    if not _loads(built, flags, machine.binding):
        reasons.append(f"built by {built['name']} {built['version']}, here is {machine.binding}")
    if target.get("platform") not in (None, _platform()):
        reasons.append(f"built for {target['platform']}, here is {_platform()}")
    if flags.get("strip_weights"):
        reasons.append("its weights were left out and must be put in by refitting")
    if not machine.devices:
        return [*reasons, "here is no GPU to run it on"]
    here = machine.devices[0]
    gpu = target.get("gpu")
    # A plan of TensorRT-RTX is compiled on the machine that runs it, one of TensorRT is not.
    if machine.binding.kind == "tensorrt" and gpu and not _fits(gpu, here, flags):
        reasons.append(f"built on {gpu['name']}, here is {here.name}")
    capabilities: Sequence[str] | None = target.get("compute_capabilities")
    if capabilities and here.compute_capability not in capabilities:
        reasons.append(
            f"built for compute capability {', '.join(capabilities)}, "
            f"{here.name} has {here.compute_capability}"
        )
    return reasons


def rebuild(manifest: Mapping[str, Any], machine: Machine) -> str | None:
    """The command that builds a plan again, for this machine.

    Args:
        manifest: From :func:`read`.
        machine: What would run it.

    Returns:
        The command; None if nothing but a GPU or a refit is lacking.
    """
    reasons = differences(manifest, machine)
    if not [reason for reason in reasons if reason.startswith("built ")]:
        return None
    words = ["tripoint", "build", manifest["model"].get("path") or "MODEL"]
    words += ["-o", manifest["engine"].get("file") or "model.plan"]
    outputs = {entry.get("name") for entry in manifest.get("outputs") or ()}
    profiles = [
        [
            _spell({**entry, "name": passthrough.onnx_name(entry["name"], outputs)})
            for entry in profile
        ]
        for profile in manifest.get("profiles") or ()
    ]
    if len(profiles) > 1:
        words += commands.options({"profile": map(" ".join, profiles)})
    elif profiles:
        words += commands.options({"input": profiles[0]})
    words += command_line(manifest.get("flags") or {})
    words += recorded.command_line(manifest)
    capabilities: list[str] = list((manifest.get("target") or {}).get("compute_capabilities") or ())
    if capabilities and machine.devices:
        capabilities.append(machine.devices[0].compute_capability)
    words += commands.options({"compute_capability": dict.fromkeys(capabilities), "force": True})
    return shlex.join(words)


def _loads(built: Mapping[str, Any], flags: Mapping[str, Any], here: Binding) -> bool:
    """Return whether a TensorRT loads what another one built."""
    if built.get("kind") != here.kind:
        return False
    if built["version"] == here.version:
        return True
    return bool(flags.get("version_compatible")) and _numbers(here.version) > _numbers(
        built["version"]
    )


def _fits(built_on: Mapping[str, Any], here: Device, flags: Mapping[str, Any]) -> bool:
    """Return whether a GPU runs what was built on another one, which some flags allow."""
    there = built_on.get("compute_capability")
    allowed = {
        "ampere_plus": _numbers(here.compute_capability) >= (8,),
        "same_compute_capability": here.compute_capability == there,
    }
    level = str(flags.get("hardware_compatibility"))
    return bool(built_on["name"] == here.name or allowed.get(level))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _spell(entry: Mapping[str, Any]) -> str:
    """One input of a profile as ``--input`` takes it."""
    ends = [entry[end] for end in ENDS]
    if entry.get("values"):
        lists = ("[" + ",".join(map(str, end)) + "]" for end in ends)
        return f"{entry['name']}={'..'.join(lists)}"
    dims = [
        str(low) if low == high else f"{low}..{opt}..{high}"
        for low, opt, high in zip(*ends, strict=True)
    ]
    return f"{entry['name']}:[{','.join(dims)}]"


def _without_home(cache: Mapping[str, Any]) -> dict[str, Any]:
    """The timing cache with ``~`` in place of the user's folder, which names the user."""
    location = cache["location"]
    if location and Path(location).is_relative_to(Path.home()):
        location = str(Path("~") / Path(location).relative_to(Path.home()))
    return {**cache, "location": location}


def _platform() -> str:
    return f"{platform.system().lower()}-{platform.machine().lower()}"
