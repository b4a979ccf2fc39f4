"""The public class that runs a plan in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tripoint.engine.manifest import Machine
from tripoint.errors import ExternalStepError, TripointError, UsageError
from tripoint.runner import loading, streams
from tripoint.runner.async_run import Bound, Pending
from tripoint.runner.tensors import Tensor
from tripoint.trt import bindings, cuda, devices, gpu

GRAPHS = 8
"""How many CUDA graphs an engine keeps unless told otherwise."""


class Engine:
    """A TensorRT engine, loaded in this process and ready to run.

    ::

        with tripoint.Engine("model.plan") as engine:
            outputs = engine(x=array)

    **Inputs** are NumPy arrays, PyTorch tensors, :class:`~tripoint.DeviceArray` or anything with
    ``__cuda_array_interface__``; a shape tensor is given by its values, as an array or a list.
    Device memory is read where it lies. An int64 array becomes int32 where the engine has int32,
    if every value fits; no other dtype is converted.

    **Outputs** have the form of the inputs: PyTorch tensors if any input is a PyTorch tensor on
    the GPU, else ``DeviceArray`` if any lies on the device, else NumPy arrays. Outputs whose size
    the values of a run decide have the size of that run.

    **Profiles**: with several optimization profiles, the one that holds the shapes and allows the
    fewest others is used.

    **Streams**: a call runs on PyTorch's current stream if PyTorch tensors are given, else on a
    stream of the engine; ``stream=`` chooses another, which must live until the engine is closed
    or has run on another. On CUDA's default stream nothing is executed, since TensorRT would wait
    there; the engine's own stream is ordered with it instead. Calls on different streams run one
    after the other.

    **Waiting**: :meth:`run`, or calling the engine, waits for the outputs. :meth:`enqueue` does
    not, nor does it make the host wait for the device once shapes and memory are those of an
    earlier call and outputs have known sizes. Host memory that was given may be changed as soon
    as it returns; device memory must stay as it is until the run is done.

    **CUDA graphs**: where inputs come back with the same shapes, values of shape tensors and
    addresses, the execution is captured the second time and launched from then on. Each graph has
    an execution context of its own; all share scratch memory. Under TensorRT-RTX that context
    compiles kernels for the exact shapes, which can take seconds once. :attr:`not_captured` says
    why there are none. Switch them off with ``graphs=0`` to capture calls in a graph of your own.

    **Loops**: :meth:`bind` looks at shapes and memory once; each launch is then little more than
    the call of CUDA or TensorRT.

    **Threads**: an engine runs one call at a time. A call while another thread is in one raises
    :class:`~tripoint.errors.UsageError` and leaves that one undisturbed; give each thread its own
    engine, or hold a lock. One thread after the other may use an engine.

    Close an engine, or use it in a ``with`` block: what it holds on the device is not freed before.
    The plan is loaded on the CUDA device that is current. Its host code, if it has any, is never
    run.

    Args:
        plan: The engine file. If ``model.manifest.json`` lies beside ``model.plan``, it must fit
            this machine.
        tensorrt: Name of the TensorRT module, None for the first that is installed.
        graphs: How many CUDA graphs to keep, the most recently used; 0 captures none.
        poison: Whether to fill outputs with 0xFF before each run, so that what the engine does
            not write is NaN, or -1 of an integer.

    Raises:
        InputError: If the plan is missing or is not the one that its manifest describes.
        MissingDependencyError: If TensorRT or cuda-bindings is not installed.
        ExternalStepError: If there is no GPU, the manifest names another TensorRT, GPU or
            environment, or TensorRT cannot load the plan.
        UsageError: If ``graphs`` is negative.
    """

    def __init__(
        self,
        plan: str | os.PathLike[str],
        *,
        tensorrt: str | None = None,
        graphs: int = GRAPHS,
        poison: bool = False,
    ) -> None:
        if graphs < 0:
            raise UsageError(f"graphs is {graphs}; 0 switches CUDA graphs off")
        self._path = Path(plan)
        content = loading.read(self._path)
        reason = gpu.absence()
        if reason:
            raise ExternalStepError(f"an engine needs a GPU to run: {reason}")
        binding = bindings.find(tensorrt)
        cudart = cuda.runtime()
        here = gpu.Device(**devices.describe(cudart, int(cuda.check(cudart.cudaGetDevice))))
        loading.refuse_unfit(self._path, content, Machine(binding, (here,)))
        trt = bindings.load(binding.name)
        try:
            self._loaded = loading.load(
                trt, cudart, content, lambda _: None, graphs=graphs, poison=poison
            )
        except TripointError as error:
            raise error.within(subject=str(self._path)) from error
        self._session = self._loaded.session

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        """Run with inputs by keyword; see :meth:`run`, which also takes names with odd letters."""
        return self.run(inputs)

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Mapping[str, Any] | None = None,
        stream: object = None,
    ) -> dict[str, Any]:
        """Run and wait for the outputs.

        Args:
            inputs: What is given for each input, by name.
            outputs: Memory to write outputs to, by name: a NumPy array, PyTorch tensor or device
                array of the right dtype and shape. Other outputs get new memory.
            stream: The stream to use: a handle, or an object of PyTorch, CuPy, cuda-core or
                cuda-bindings.

        Returns:
            Output by name, in the engine's order; they belong to the caller.

        Raises:
            InputError: If an input is missing, unknown, of another dtype or on another device,
                or no profile holds the shapes; the message names input, axis, size and range.
            UsageError: If memory for an output does not fit, another thread is in a call, or the
                engine is closed.
            ExternalStepError: If CUDA or TensorRT fails.
        """
        return self._session.run(inputs, outputs, stream=streams.handle(stream))

    def enqueue(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Mapping[str, Any] | None = None,
        stream: object = None,
    ) -> Pending:
        """Queue a run and return without waiting for it.

        Arguments and errors are those of :meth:`run`.

        Returns:
            The run: ``on_device`` has outputs on the device at once, in stream order; ``wait()``
            waits. Memory that was not given is the engine's and is overwritten by its next call.
        """
        return self._session.enqueue(inputs, outputs, stream=streams.handle(stream))

    def bind(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Mapping[str, Any] | None = None,
        stream: object = None,
    ) -> Bound:
        """Tie the engine to device memory, for a loop that runs it over and over.

        ::

            bound = engine.bind({"x": tensor})
            for batch in batches:
                tensor.copy_(batch)
                bound.launch()
                consume(bound.outputs["y"])

        Args:
            inputs: Memory of each input on the device; a shape tensor by its values, which stay.
            outputs: Memory to write outputs to; others get memory that belongs to the result.
            stream: The stream to use, as for :meth:`run`.

        Returns:
            The prepared run. It was run once already, and is captured in a CUDA graph unless
            those are off or cannot be. Its memory and scratch memory are held until the engine
            is closed.

        Raises:
            UsageError: If an input is in host memory, or values decide the size of an output.
            TripointError: As :meth:`run`.
        """
        return self._session.bind(inputs, outputs, stream=streams.handle(stream))

    def synchronize(self) -> None:
        """Wait until every call so far is done."""
        self._session.settle()

    def close(self) -> None:
        """Wait for what was queued and free the engine. Closing twice does no harm."""
        self._loaded.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except TripointError:
            # What failed in the block is the reason; after a fault CUDA fails at everything.
            if error is None:
                raise

    def __repr__(self) -> str:
        inputs, outputs = len(self.inputs), len(self.outputs)
        return f"Engine({str(self._path)!r}, {inputs} inputs, {outputs} outputs)"

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs, with dtype, shape and what each optimization profile allows."""
        return self._session.signature.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs, with dtype and shape."""
        return self._session.signature.outputs

    @property
    def profiles(self) -> int:
        """Number of optimization profiles."""
        return self._session.signature.profiles

    @property
    def captured(self) -> int:
        """Number of CUDA graphs kept at present."""
        return self._session.captured

    @property
    def not_captured(self) -> str | None:
        """Reason that no CUDA graphs are captured, None if they are."""
        return self._session.not_captured
