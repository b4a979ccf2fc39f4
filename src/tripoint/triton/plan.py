"""A plan, as the manifest beside it describes it; the plan itself is not loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.engine import manifest as manifests
from tripoint.errors import InputError
from tripoint.model import sha256
from tripoint.profiles.profile import InputProfile
from tripoint.spec import ENDS
from tripoint.triton.interface import Interface, Profile, Tensor

_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Description of a plan by its manifest.

    Args:
        interface: What it takes and gives.
        manifest: The whole manifest.
        version: Version of the TensorRT that built it.
        rtx: Whether that was TensorRT-RTX, whose plans TensorRT does not load.
        gpu: Name of the GPU that it was built on, None if there was none.
        environment: Variables without which it does not run.
        model: File name of the ONNX model, None if it had none.
        model_sha256: Its hash.
    """

    interface: Interface
    manifest: Mapping[str, Any]
    version: str
    rtx: bool
    gpu: str | None
    environment: Mapping[str, str]
    model: str | None
    model_sha256: str | None


def manifest_path(plan: Path) -> Path:
    """Return the path of the manifest of a plan."""
    return manifests.path_for(plan)


def read(plan: Path) -> Plan | None:
    """Return what the manifest beside a plan says; None if there is none.

    An input whose values a profile bounds is a shape tensor.

    Raises:
        InputError: If the manifest is that of another plan, cannot be read, or is not what
            :mod:`tripoint.engine.manifest` writes.
    """
    path = manifest_path(plan)
    if not path.is_file():
        return None
    try:
        content = manifests.read(path)
        described = _plan(content, path.name)
        engine = content["engine"]["sha256"]
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise InputError(
            "this is no manifest of tripoint: something in it has another form"
        ).within(subject=str(path)) from error
    if engine != sha256(plan):
        raise InputError(
            f"{path.name} describes another plan: the hashes differ",
            hint="build the plan again; tripoint build writes both",
        ).within(subject=str(plan))
    return described


def _plan(content: Mapping[str, Any], source: str) -> Plan:
    built, model = content["tensorrt"], content["model"]
    target, environment = content.get("target") or {}, content.get("environment") or {}
    ranges = content.get("profiles") or ()
    by_value = {entry["name"] for each in ranges for entry in each if entry.get("values")}
    inputs = tuple(_tensor(entry, by_value) for entry in content["inputs"])
    outputs = tuple(_tensor(entry) for entry in content["outputs"])
    profiles = tuple(_profile(each, inputs) for each in ranges)
    return Plan(
        Interface("tensorrt", inputs, outputs, profiles, source),
        content,
        version=str(built["version"]),
        rtx=built.get("kind") == "rtx",
        gpu=(target.get("gpu") or {}).get("name"),
        environment={str(k): str(v) for k, v in environment.items() if v is not None},
        model=model.get("path"),
        model_sha256=model.get("sha256"),
    )


def _tensor(entry: Mapping[str, Any], by_value: Collection[str] = ()) -> Tensor:
    name, shape = str(entry["name"]), entry["shape"]
    name.encode()  # a lone surrogate is no text
    return Tensor(
        name,
        entry["dtype"],
        None if shape is None else _sizes(shape),
        name in by_value,
    )


def _profile(entries: Iterable[Mapping[str, Any]], inputs: Iterable[Tensor]) -> Profile:
    """The ranges of a profile; those of values are left out."""
    ranks = {tensor.name: len(tensor.shape) for tensor in inputs if tensor.shape is not None}
    by_input = {}
    for entry in entries:
        if entry.get("values"):
            continue
        low, typical, high = (_sizes(entry[end]) for end in ENDS)
        name = str(entry["name"])
        if {len(low), len(typical), len(high)} != {ranks[name]}:
            raise ValueError(name)
        by_input[name] = InputProfile(name, low, typical, high)
    return by_input


def _sizes(sizes: Iterable[Any]) -> tuple[int, ...]:
    """Sizes as integers; an expression, as of a tensor that was never reached, varies."""
    numbers = tuple(-1 if isinstance(size, str) else int(size) for size in sizes)
    if any(not -1 <= size <= _LARGEST for size in numbers):
        raise ValueError(numbers)
    return numbers
