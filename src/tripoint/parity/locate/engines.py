"""The engines that a search builds: as a plan was built, or as options say."""

from __future__ import annotations

from pathlib import Path

from tripoint.engine import manifest
from tripoint.engine.debugging import Settings
from tripoint.parity import engines
from tripoint.parity.locate.request import TensorRTRequest
from tripoint.profiles.profile import Profile
from tripoint.trt import bindings, gpu
from tripoint.trt.tf32 import for_build


def of_plan(plan: Path, tensorrt: str | None, timeout: float) -> TensorRTRequest:
    """Engines as a plan was built, which is compared first.

    Args:
        plan: The engine file.
        tensorrt: Name of the importable TensorRT, None for the first.
        timeout: Seconds that one build and run may take.

    Raises:
        InputError: If there is no such file, or its manifest cannot be read.
        MissingDependencyError: If there is a GPU and no TensorRT is installed.
    """
    engine = engines.of_plan(plan, tensorrt, timeout)
    if isinstance(engine, str):
        return TensorRTRequest(absent=engine)
    content = manifest.beside(plan)
    return TensorRTRequest(
        settings=Settings(engine.tensorrt, engine.tf32, engine.environment or {}, timeout),
        version=engine.version,
        device=engine.device,
        plan=plan,
        profile=tuple(next(iter(content.get("profiles", [])), [])),
        built_from=content.get("model", {}).get("sha256"),
        options={"no_tf32": not engine.tf32},
    )


def built_here(
    tensorrt: str | None, timeout: float, *, tf32: bool, profile: Profile | None = None
) -> TensorRTRequest:
    """Engines without a plan.

    Args:
        tensorrt: Name of the importable TensorRT, None for the first.
        timeout: Seconds that one build and run may take.
        tf32: Whether float32 products may be rounded to TF32.
        profile: Their optimization profile; None for one around each point.

    Raises:
        MissingDependencyError: If there is a GPU and no TensorRT is installed.
    """
    gpus = gpu.probe()
    if not gpus.devices:
        return TensorRTRequest(absent=gpus.reason or "no GPU was found")
    binding = bindings.find(tensorrt)
    return TensorRTRequest(
        settings=Settings(binding.name, tf32, for_build(binding.kind, tf32=tf32), timeout),
        version=str(binding),
        device=gpus.devices[0].name,
        profile=tuple(manifest.as_json(profile)) if profile else (),
        options={"tensorrt": tensorrt, "no_tf32": not tf32},
    )
