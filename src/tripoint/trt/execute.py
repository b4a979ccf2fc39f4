"""Executing a plan, in a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from tripoint.errors import ExternalStepError, InputError
from tripoint.numeric.dtypes import Array
from tripoint.trt import array_ipc, bindings, gpu, process
from tripoint.trt.tf32 import Environment


def execute(
    plan: Path,
    points: Iterable[Mapping[str, Array]],
    *,
    tensorrt: str | None = None,
    environment: Environment | None = None,
    timeout: float | None = None,
) -> list[dict[str, Array]]:
    """Run an engine on several sets of inputs; all results at once.

    Args:
        plan: The serialized engine.
        points: For each run the array by input name, with the dtypes that the engine has.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        environment: Variables that the engine was built with, from its manifest; None leaves
            those of this process.
        timeout: Seconds for all runs together, None for no limit.

    Returns:
        For each run the array by output name. Output memory is filled with 0xFF before each
        run, so what the engine did not write is NaN, or -1 of an integer.

    Raises:
        InputError: If the plan is missing, or an input is missing, unknown, of another dtype,
            or outside the profile.
        MissingDependencyError: If TensorRT or cuda-bindings is not installed.
        ExternalStepError: If there is no GPU, or TensorRT cannot load or run the plan.
    """
    return list(
        execute_each(plan, points, tensorrt=tensorrt, environment=environment, timeout=timeout)
    )


def execute_each(
    plan: Path,
    points: Iterable[Mapping[str, Array]],
    *,
    tensorrt: str | None = None,
    environment: Environment | None = None,
    timeout: float | None = None,
) -> Generator[dict[str, Array], None, None]:
    """Yield the results of :func:`execute` one after the other.

    All runs are over before the first result comes; the others wait in a temporary folder. A
    result is read when it is asked for, and its file is removed by then. The folder goes with the
    iterator, whether that ends, is closed or is forgotten.

    Raises:
        TripointError: As :func:`execute`, when the first result is asked for.
    """
    if not plan.is_file():
        raise InputError("no such file").within(subject=str(plan))
    binding = bindings.find(tensorrt)
    reason = gpu.absence()
    if reason:
        raise ExternalStepError(f"an engine needs a GPU to run: {reason}")
    with tempfile.TemporaryDirectory(prefix="tripoint-") as name:
        folder = Path(name)
        count = 0
        for point in points:
            array_ipc.save(folder / f"in{count}.npz", point)
            count += 1
        request = {
            "task": "execute",
            "tensorrt": binding.name,
            "plan": str(plan.resolve()),
            "folder": name,
            "points": count,
            "environment": dict(environment or {}),
        }
        process.call(request, timeout=timeout)
        for index in range(count):
            # Held by no variable here: the caller may have let it go before the next is read.
            yield array_ipc.taken(folder / f"out{index}.npz")
