"""Tensors inside an engine: built for the purpose, run once, in a child process."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.numeric.dtypes import Array
from tripoint.shape_inference.dim_names import file_for_tensorrt
from tripoint.trt import array_ipc, bindings, gpu, process
from tripoint.trt.tf32 import Environment
from tripoint.views.stops import Watch, refusals

_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\x1d]|\[ONNX Layer: |$)", re.DOTALL)


@dataclass(frozen=True)
class Settings:
    """Settings with which engines are built.

    Args:
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        tf32: Whether float32 products may be rounded to TF32.
        environment: Variables to build and run with.
        timeout: Seconds for one build and run, None for no limit.
    """

    tensorrt: str | None = None
    tf32: bool = True
    environment: Environment = field(default_factory=dict)
    timeout: float | None = None


class DebugRun:
    """One engine, built and run; its tensors stay in files until they are read.

    Use it in a ``with`` block, at whose end the files are removed.

    Args:
        model: The model to build.
        feed: Array by input name.
        settings: How to build it.
        profile: Per input name, min, opt, max and values, as a manifest has it; none for one that
            allows the sizes of ``feed`` alone.
        listen: Whether to take the tensors between the kernels.
        outputs: Tensors to mark as outputs of the network, which keeps them apart.

    Raises:
        MissingDependencyError: If TensorRT or cuda-bindings is not installed.
        ExternalStepError: If there is no GPU, or TensorRT refuses the model or fails.
        InputError: If an input does not fit.
    """

    def __init__(
        self,
        model: Model,
        feed: Mapping[str, Array],
        settings: Settings,
        *,
        profile: Sequence[Mapping[str, Any]] = (),
        listen: bool = False,
        outputs: Sequence[str] = (),
    ) -> None:
        binding = bindings.find(settings.tensorrt)
        reason = gpu.absence()
        if reason:
            raise ExternalStepError(f"an engine needs a GPU to run: {reason}")
        self._folder = tempfile.TemporaryDirectory(prefix="tripoint-")
        try:
            array_ipc.save(Path(self._folder.name, "in.npz"), feed)
            watch = Watch()
            with file_for_tensorrt(model) as source:
                result = process.call(
                    {
                        "task": "debug_tensors",
                        "tensorrt": binding.name,
                        "model": str(source.resolve()),
                        "profile": [dict(entry) for entry in profile],
                        "tf32": settings.tf32,
                        "environment": dict(settings.environment),
                        "listen": listen,
                        "outputs": list(outputs),
                        "folder": self._folder.name,
                    },
                    timeout=settings.timeout,
                    on_event=watch,
                )
            self.version = f"{binding.name} {result['version']}"
            if not result["complete"]:
                refused = refusals(result["errors"], model.ir, self.version, watch.lines)
                why = f": {refused[0]}" if refused else ""
                raise ExternalStepError(f"{self.version} did not parse it{why}")
        except BaseException:
            self._folder.cleanup()
            raise
        self.layers: list[dict[str, Any]] = result["engine_layers"]
        self.missed: dict[str, str] = dict(result["missed"])
        self.unmarked: list[str] = result["unmarked"]
        self._files: dict[str, str] = dict(result["debug"])

    def __enter__(self) -> DebugRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    @property
    def shown(self) -> list[str]:
        """Names, as the engine has them, of the tensors between its kernels."""
        return list(self._files)

    def tensor(self, name: str) -> Array:
        """One of them, read from its file."""
        return array_ipc.load(Path(self._folder.name, self._files[name]))[name]

    def outputs(self) -> dict[str, Array]:
        """Array by output name."""
        return array_ipc.load(Path(self._folder.name, "out.npz"))


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """A layer of an engine, as far as its inspector tells.

    Args:
        name: Its name in the engine.
        nodes: Names of the ONNX nodes in it, where the metadata has them.
        outputs: Names of its outputs in the engine.
    """

    name: str
    nodes: tuple[str, ...]
    outputs: tuple[str, ...]


def read_layers(described: Sequence[Mapping[str, Any]]) -> Iterator[EngineLayer]:
    """Yield the layers of the inspector's JSON; keys that a version lacks are left out.

    Args:
        described: The entries of ``Layers``.
    """
    for entry in described:
        outputs = entry.get("Outputs")
        names = [
            str(each.get("Name")) if isinstance(each, Mapping) else str(each)
            for each in (outputs if isinstance(outputs, list) else [])
        ]
        metadata = str(entry.get("Metadata") or "")
        yield EngineLayer(
            str(entry.get("Name", "")), tuple(_ONNX_LAYER.findall(metadata)), tuple(names)
        )
