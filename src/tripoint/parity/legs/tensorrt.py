"""A TensorRT engine, executed in a child process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tripoint.errors import MissingDependencyError
from tripoint.numeric.inputs import Arrays
from tripoint.trt.tf32 import Environment


class TensorRTLeg:
    """Runs a plan.

    Args:
        plan: The engine file.
        tensorrt: Which TensorRT to use, None for the first that can be imported.
        version: Version to report.
        device: GPU to report.
        tf32: Whether the engine may round float32 products to TF32.
        environment: Variables that it was built with.
        timeout: Seconds that one execution of all points may take.
    """

    name = "TensorRT"

    def __init__(
        self,
        plan: Path,
        *,
        tensorrt: str | None = None,
        version: str = "unknown",
        device: str = "gpu",
        tf32: bool = True,
        environment: Environment | None = None,
        timeout: float = 600.0,
    ) -> None:
        self.version = version
        self.device = device
        self.tf32 = tf32
        self._plan = plan
        self._environment = environment
        self._tensorrt = tensorrt
        self._timeout = timeout

    def run(self, inputs: Arrays) -> Arrays:
        """Compute the outputs.

        Args:
            inputs: Array by input name, with the dtypes that the engine has.

        Raises:
            MissingDependencyError: If there is no TensorRT or no GPU.
            ExternalStepError: If the engine cannot be loaded or run.
        """
        return next(self.run_many([inputs]))

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        """Compute the outputs for several inputs in one child process.

        One result is in memory at a time; see :func:`tripoint.trt.execute.execute_each`.
        """
        from tripoint.trt import execute, gpu

        reason = gpu.absence()
        if reason:
            raise MissingDependencyError(f"no GPU to run it on: {reason}")
        yield from execute.execute_each(
            self._plan,
            points,
            tensorrt=self._tensorrt,
            environment=self._environment,
            timeout=self._timeout,
        )
