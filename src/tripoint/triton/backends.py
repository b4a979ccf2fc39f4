"""Backend that a configuration is for, and what that backend does not take."""

from __future__ import annotations

import re
from collections.abc import Sequence
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

_BACKENDS = (
    *dict.fromkeys(_BACKEND_OF.values()),
    *("python", "openvino", "dali", "fil", "vllm", "tensorrtllm", "identity", "repeat", "square"),
)


def backend_of(parsed: Parsed | None, inferred: str | None, notes: Notes) -> str | None:
    """The backend that Triton takes, None where there is none or it is not known.

    Args:
        parsed: The configuration, None if there is none.
        inferred: The backend that follows from the model file.
        notes: Takes findings about ``platform`` and ``backend``.
    """
    if parsed is None:
        return inferred
    config = parsed.config
    platform, backend = config.platform, config.backend
    if config.HasField("ensemble_scheduling") or platform == "ensemble":
        _check_ensemble(parsed, notes)
        return "ensemble"
    if not platform and not backend:
        if inferred is None:
            notes.error(
                "platform",
                "neither backend nor platform is given, and no model file tells which",
                'backend: "tensorrt" or backend: "onnxruntime"',
            )
        return inferred
    if platform and backend in _BACKEND_OF.values() and _BACKEND_OF.get(platform) != backend:
        notes.error(
            "platform",
            f"the platform {platform!r} and the backend {backend!r} do not go together",
            f'backend: "{_BACKEND_OF.get(platform, backend)}" without a platform',
            line=parsed.line("platform"),
        )
        return str(backend)
    return _meant("backend", backend, _BACKENDS, parsed, notes) or _BACKEND_OF.get(
        _meant("platform", platform, tuple(_BACKEND_OF), parsed, notes) or "", inferred
    )


def _check_ensemble(parsed: Parsed, notes: Notes) -> None:
    config = parsed.config
    if not config.HasField("ensemble_scheduling"):
        notes.error(
            "platform",
            "the platform is 'ensemble', and there is no ensemble_scheduling",
            "ensemble_scheduling with the steps",
            line=parsed.line("platform"),
        )
    elif config.backend or config.platform != "ensemble":
        notes.error(
            "platform",
            "ensemble_scheduling has another platform or a backend",
            'platform: "ensemble", and no backend',
            line=parsed.line("backend" if config.backend else "platform"),
        )


def _meant(field: str, name: str, words: Sequence[str], parsed: Parsed, notes: Notes) -> str | None:
    """A name, or the one that was probably meant; None if there is none.

    Backends may be anyone's, so that only a name like a known one is a mistake.
    """
    if not name or name in words:
        return name or None
    close = near(name, words)
    if close is None and field == "backend":
        return name
    choice = f'{field}: "{close}"' if close else f"{field}: one of {', '.join(words)}"
    notes.error("platform", f"there is no {field} {name!r}", choice, line=parsed.line(field))
    return close


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
    if group.kind == schema.kind_cpu() and backend == "tensorrt":
        notes.error("instance-group", "a plan does not run on a CPU", "kind: KIND_GPU", line=line)
    elif group.kind == schema.kind_cpu() and group.gpus:
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
        elif not re.fullmatch(r"[0-9]{1,9}", profile):
            notes.error(
                "profile",
                f"the profile {profile!r} is no number",
                'the number of the profile, from 0: profile: ["0"]',
                line=parsed.line("instance_group", index, "profile"),
            )
