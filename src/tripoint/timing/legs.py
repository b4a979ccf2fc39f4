"""Legs that are timed, one class each. Imported in the child process that measures.

Each leg is made with everything that it needs in place, and then gives turns. Without copies,
inputs and outputs stay where the leg computes; with copies, each run goes from NumPy arrays to
NumPy arrays and waits for the result.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import onnx_ir as ir

from tripoint.errors import ExternalStepError, InputError
from tripoint.graph import passthrough
from tripoint.numeric.in_float32 import types_of
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import first_line
from tripoint.runner import loading
from tripoint.runner.device import Cuda, view
from tripoint.runner.tensors import DeviceArray
from tripoint.sources.flatten import flatten
from tripoint.trt import bindings, devices
from tripoint.trt import cuda as cuda_task

EVENTS = "CUDA events"
WALL = "wall clock"


class Leg(Protocol):
    """Object that can be timed."""

    facts: Mapping[str, Any]
    """``version``, ``device``, ``clock``, ``tf32`` and ``how``, a few words on how it runs."""

    def turn(self, runs: int) -> float:
        """Run a number of times and return the seconds that all of them took."""


class OnnxRuntimeLeg:
    """ONNX Runtime on the CPU, with its graph optimizations, as a service would use it.

    Args:
        model: The ONNX file.
        inputs: Array by input name.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load or run the model.
    """

    def __init__(self, model: Path, inputs: Arrays) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
            session.run(None, dict(inputs))
        except Exception as error:
            if ir.DataType.BFLOAT16 in types_of(ir.load(model)):
                raise ExternalStepError(
                    "ONNX Runtime has no bfloat16 kernels on a CPU, and computing the operators in "
                    "float32 would take another time",
                    hint="export the module in float32 to time ONNX Runtime",
                ) from error
            raise ExternalStepError(f"ONNX Runtime: {first_line(error)}") from error
        self._run = lambda: session.run(None, dict(inputs))
        self.facts: Mapping[str, Any] = {
            "version": str(onnxruntime.__version__),
            "device": "cpu",
            "clock": WALL,
            "tf32": False,
            "how": "all graph optimizations",
        }

    def turn(self, runs: int) -> float:
        """Run a number of times; see :class:`Leg`."""
        return _by_wall_clock(self._run, runs)


class TorchLeg:
    """A PyTorch module, on the GPU if this PyTorch finds one.

    Args:
        reference: ``file.py:name`` or ``pkg.module:name``.
        inputs: Array by input name of the ONNX model.
        names: Parameter of ``forward`` by input name.
        compiled: Whether ``torch.compile`` is applied.
        copies: Whether a run begins and ends in host memory.

    Raises:
        InputError: If the code or the module raises.
        ExternalStepError: If ``torch.compile`` fails.
    """

    def __init__(
        self,
        reference: str,
        inputs: Arrays,
        names: Mapping[str, str],
        *,
        compiled: bool,
        copies: bool,
    ) -> None:
        from tripoint.numeric.torch_arrays import to_tensor
        from tripoint.parity.legs.torch import TorchLeg as Parity
        from tripoint.sources.named import as_torch
        from tripoint.sources.python import require_torch

        require_torch()
        import torch

        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda" if on_gpu else "cpu")
        loaded = as_torch(reference)
        module = loaded.module.eval().to(device)
        host = {names.get(name, name): to_tensor(array) for name, array in inputs.items()}
        there = {name: tensor.to(device) for name, tensor in host.items()}
        args, named = loaded.arguments.bind(there)
        call: Any = torch.compile(module) if compiled else module

        def compute() -> object:
            return call(*args, **named)

        def fetch() -> object:
            moved = {name: tensor.to(device) for name, tensor in host.items()}
            args, named = loaded.arguments.bind(moved)
            return [tensor.cpu() for tensor in flatten(call(*args, **named)).values()]

        self._torch = torch
        self._run = fetch if copies else compute
        self._events = on_gpu and not copies
        try:
            self.turn(1)
        except Exception as error:
            kind = ExternalStepError if compiled else InputError
            raise kind(f"{type(error).__name__}: {first_line(error)}") from error
        self.facts: Mapping[str, Any] = {
            "version": str(torch.__version__),
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "clock": EVENTS if self._events else WALL,
            "tf32": Parity(loaded).tf32,
            "how": "torch.compile" if compiled else "eager",
        }

    def turn(self, runs: int) -> float:
        """Run a number of times; see :class:`Leg`. What the module prints goes to stderr."""
        torch = self._torch
        with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
            if not self._events:
                return _by_wall_clock(self._run, runs)
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            for _ in range(runs):
                self._run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3


class EngineLeg:
    """A TensorRT engine, run as :class:`tripoint.Engine` runs it.

    Args:
        plan: The engine file.
        tensorrt: Name of the TensorRT module.
        inputs: Array by input name.
        graphs: How many CUDA graphs the engine keeps; 0 captures none.
        copies: Whether a run begins and ends in host memory.
        tf32: Whether it may round float32 products to TF32, by its manifest.

    Raises:
        InputError: If the inputs do not fit the engine.
        ExternalStepError: If it cannot be loaded or run.
    """

    def __init__(
        self,
        plan: Path,
        tensorrt: str,
        inputs: Arrays,
        *,
        graphs: int,
        copies: bool,
        tf32: bool | None,
    ) -> None:
        trt = bindings.load(tensorrt)
        self._cudart = cudart = cuda_task.runtime()
        self._loaded = loading.load(trt, cudart, loading.read(plan), lambda _: None, graphs=graphs)
        session = self._loaded.session
        how: list[str] = []
        if copies:
            self._stream = None

            def run() -> object:
                return session.run(inputs)

            # The second call captures.
            run()
            run()
            captured = session.captured > 0
        else:
            device = _on_device(Cuda(cudart), session.signature.inputs, inputs)
            if session.fixed(device):
                bound = session.bind(device)
                self._stream, run, captured = bound.stream, bound.launch, bound.captured
            else:
                pending = session.enqueue(device)
                self._stream, captured = pending.stream, False
                how.append("asks for the memory of an output in every run")

                def run() -> object:
                    return session.enqueue(device)

            session.settle()
        how.insert(0, "CUDA graph" if captured else "no CUDA graph")
        if graphs and not captured and session.not_captured:
            how.append(session.not_captured)
        self._run = run
        self.facts: Mapping[str, Any] = {
            "version": f"{tensorrt} {trt.__version__}",
            "device": devices.describe(cudart, Cuda(cudart).device)["name"],
            "clock": WALL if copies else EVENTS,
            "tf32": tf32,
            "how": "; ".join(how),
        }

    def turn(self, runs: int) -> float:
        """Run a number of times; see :class:`Leg`."""
        if self._stream is None:
            return _by_wall_clock(self._run, runs)
        cudart, check = self._cudart, cuda_task.check
        start, end = check(cudart.cudaEventCreate), check(cudart.cudaEventCreate)
        try:
            check(cudart.cudaEventRecord, start, self._stream)
            for _ in range(runs):
                self._run()
            check(cudart.cudaEventRecord, end, self._stream)
            check(cudart.cudaEventSynchronize, end)
            return float(check(cudart.cudaEventElapsedTime, start, end)) / 1e3
        finally:
            cudart.cudaEventDestroy(start)
            cudart.cudaEventDestroy(end)


def _by_wall_clock(run: Callable[[], object], runs: int) -> float:
    start = time.perf_counter()
    for _ in range(runs):
        run()
    return time.perf_counter() - start


def _on_device(cuda: Cuda, tensors: Any, inputs: Arrays) -> dict[str, Any]:
    """Inputs in device memory; what TensorRT reads on the host stays there."""
    placed: dict[str, Any] = dict(inputs)
    stream = cuda.stream()
    for tensor in tensors:
        name = passthrough.entry_name(tensor.name, inputs)
        array = inputs.get(name)
        if array is None or tensor.on_host:
            continue
        if array.dtype != tensor.dtype:
            array = array.astype(tensor.dtype)
        staging, memory = cuda.allocate_pinned(array.nbytes), cuda.allocate(array.nbytes)
        view(staging, array.shape, array.dtype)[...] = array
        cuda.upload(memory.address, staging.address, array.nbytes, stream)
        cuda.synchronize(stream)
        placed[name] = DeviceArray(memory.address, array.shape, array.dtype, owner=memory)
    cuda.destroy_stream(stream)
    return placed
