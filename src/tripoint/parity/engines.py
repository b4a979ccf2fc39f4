"""From a plan to the engine that is compared."""

from __future__ import annotations

from pathlib import Path

from tripoint.engine import manifest
from tripoint.errors import InputError
from tripoint.parity.verify import Engine
from tripoint.precision import recorded
from tripoint.trt import bindings, gpu


def of_plan(plan: Path, tensorrt: str | None, timeout: float) -> Engine | str:
    """Return the engine to execute a plan with, or the reason for which it cannot be executed.

    Args:
        plan: The engine file; the manifest beside it tells how it was built.
        tensorrt: Name of the importable TensorRT, None for the first.
        timeout: Seconds that the execution may take.

    Raises:
        InputError: If there is no such file, or its manifest cannot be read.
        MissingDependencyError: If there is a GPU and no TensorRT is installed.
    """
    if not plan.is_file():
        raise InputError("no such file").within(subject=str(plan))
    gpus = gpu.probe()
    if not gpus.devices:
        return gpus.reason or "no GPU was found"
    binding = bindings.find(tensorrt)
    content = manifest.beside(plan)
    return Engine(
        plan,
        tensorrt=binding.name,
        version=str(binding),
        device=gpus.devices[0].name,
        tf32=bool(content.get("flags", {}).get("tf32", True)),
        environment=content.get("environment"),
        timeout=timeout,
        rounding=recorded.rounding(content),
    )
