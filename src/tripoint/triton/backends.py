"""Which backend a configuration is for, and what that backend does not take."""

from __future__ import annotations

from typing import Any

from tripoint.triton import schema
from tripoint.triton.config import PLATFORMS, served_types
from tripoint.triton.fields import near
from tripoint.triton.findings import Notes
from tripoint.triton.text import Parsed

_BACKEND_OF = {
    **{platform: backend for backend, platform in PLATFORMS.items()},
    "pytorch_libtorch": "pytorch",
    "torch_aoti": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
}
"""Backend by platform, where both have to go together."""

_BACKENDS = (*dict.fromkeys(_BACKEND_OF.values()), "python", "openvino")


def backend_of(parsed: Parsed | None, inferred: str | None, notes: Notes) -> str | None:
    """The backend that Triton takes, None where there is none or it is not known.

    Args:
        parsed: The configuration, None if there is none.
        inferred: The backend that follows from the model file.
        notes: Takes findings about ``platform`` and ``backend``.
    """
    platform = parsed.config.platform if parsed else ""
    backend = parsed.config.backend if parsed else ""
    place = "backend" if backend else "platform"
    line = parsed.line(place) if parsed else None
    if parsed and parsed.config.HasField("ensemble_scheduling"):
        if backend or platform != "ensemble":
            notes.error(
                "platform",
                "an ensemble has no other",
                'platform: "ensemble", and no backend',
                line=line,
            )
        return "ensemble"
    if backend and platform and backend in _BACKENDS:
        if _BACKEND_OF.get(platform) not in (backend, None):
            notes.error(
                "platform",
                f"the platform {platform!r} and the backend {backend!r} do not go together",
                f'backend: "{_BACKEND_OF[platform]}", or no platform',
                line=line,
            )
        elif backend in _BACKEND_OF.values() and platform not in _BACKEND_OF:
            notes.error(
                "platform",
                f"the platform {platform!r} is none of the backend {backend!r}",
                "no platform",
                line=parsed.line("platform") if parsed else None,
            )
    found: str | None = backend or _BACKEND_OF.get(platform) or (None if platform else inferred)
    if parsed is None and found is None:
        return None
    if found is None or (found not in _BACKENDS and near(found, _BACKENDS)):
        _no_backend(platform, backend, line, notes)
        return near(backend, _BACKENDS) if backend else inferred
    return found


def _no_backend(platform: str, backend: str, line: int | None, notes: Notes) -> None:
    name = backend or platform
    if not name:
        notes.error(
            "platform",
            "neither backend nor platform is given, and no model file tells which",
            'backend: "tensorrt" or backend: "onnxruntime"',
        )
        return
    words = _BACKENDS if backend else tuple(_BACKEND_OF)
    close = near(name, words)
    field = "backend" if backend else "platform"
    choice = f'{field}: "{close}"' if close else f"{field}: one of {', '.join(words)}"
    notes.error("platform", f"there is no {field} {name!r}", choice, line=line)


def check(parsed: Parsed, backend: str, notes: Notes) -> None:
    """Note what the backends for plans and ONNX models do not take.

    Args:
        parsed: The configuration.
        backend: ``"tensorrt"`` or ``"onnxruntime"``.
        notes: Takes the findings.
    """
    allowed = served_types(backend)  # type: ignore[arg-type]
    for which in ("input", "output"):
        for index, tensor in enumerate(getattr(parsed.config, which)):
            kind = schema.data_type_name(tensor.data_type)
            if tensor.data_type and kind not in allowed:
                notes.error(
                    "data-type",
                    f"{which} {tensor.name!r} is {kind}, which the backend {backend} does not take",
                    line=parsed.line(which, index, "data_type"),
                )
            if tensor.is_shape_tensor and backend != "tensorrt":
                notes.error(
                    "shape-tensor",
                    f"{which} {tensor.name!r} is marked as a shape tensor, which only plans have",
                    "no is_shape_tensor",
                    line=parsed.line(which, index, "is_shape_tensor"),
                )
    for index, group in enumerate(parsed.config.instance_group):
        _check_group(group, index, backend, parsed, notes)


def _check_group(group: Any, index: int, backend: str, parsed: Parsed, notes: Notes) -> None:
    line = parsed.line("instance_group", index, "kind")
    if group.kind == schema.KIND_CPU and backend == "tensorrt":
        notes.error("instance-group", "a plan does not run on a CPU", "kind: KIND_GPU", line=line)
    elif group.kind == schema.KIND_CPU and group.gpus:
        notes.error(
            "instance-group",
            "an instance group of KIND_CPU lists GPUs",
            "kind: KIND_GPU, or no gpus",
            line=line,
        )
    for profile in group.profile:
        if backend != "tensorrt":
            notes.error(
                "profile",
                "an ONNX model has no optimization profiles",
                "no profile",
                line=parsed.line("instance_group", index, "profile"),
            )
        elif not (profile.isascii() and profile.isdigit()):
            notes.error(
                "profile",
                f"the profile {profile!r} is no number",
                'the number of the profile, from 0: profile: ["0"]',
                line=parsed.line("instance_group", index, "profile"),
            )
