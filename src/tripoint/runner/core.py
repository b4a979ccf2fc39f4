"""Executing an engine: one call from memory of the caller to outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tripoint.errors import UsageError
from tripoint.runner import caller_buffers, tensors
from tripoint.runner.async_run import Arriving, Bound, Pending
from tripoint.runner.buffers import InputMemory, OutputMemory, Placed
from tripoint.runner.caller_buffers import CallerBuffer, Kind
from tripoint.runner.contexts import Contexts, OnContext
from tripoint.runner.device import Cuda
from tripoint.runner.execution import Execution
from tripoint.runner.streams import Gate, Streams


class Session:
    """An engine, its contexts and its memory.

    Args:
        trt: The TensorRT module.
        cuda: The device that the engine was loaded on.
        engine: ``ICudaEngine``.
        graphs: Number of CUDA graphs that to keep; 0 captures none.
        poison: Whether to fill outputs with 0xFF before each run.
        on_context: Takes each ``IExecutionContext`` before its first run.
        last_error: What TensorRT logged last.

    Raises:
        ExternalStepError: If a tensor has a dtype or layout that no array has, or TensorRT
            cannot make a context.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        engine: Any,
        *,
        graphs: int = 0,
        poison: bool = False,
        on_context: OnContext = lambda _: None,
        last_error: Callable[[], str] = lambda: "it gave no reason",
    ) -> None:
        self.signature = tensors.read(trt, engine)
        self._cuda = cuda
        self._poison = poison
        self._streams = Streams(cuda)
        self._inputs = InputMemory(cuda, self.settle)
        self._outputs = OutputMemory(cuda, self.settle)
        contexts = Contexts(
            trt,
            cuda,
            engine,
            self.signature,
            shared=graphs > 0,
            on_context=on_context,
            last_error=last_error,
        )
        self._execution = Execution(
            cuda,
            contexts,
            self.signature,
            self._outputs,
            self._inputs.on_host,
            graphs=graphs,
            poison=poison,
            settle=self.settle,
        )
        self._order = tuple(tensor.name for tensor in self.signature.outputs)
        self._bound: list[Bound] = []
        self._number = 0
        self._keeps: object = None
        self._gate = Gate(cuda)

    @property
    def captured(self) -> int:
        """Number of CUDA graphs kept at present."""
        return self._execution.captured

    @property
    def not_captured(self) -> str | None:
        """Reason that no CUDA graphs are captured, None if they are."""
        return self._execution.not_captured

    def enqueue(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        *,
        stream: int | None = None,
    ) -> Pending:
        """Queue a run and return without waiting for it.

        Args:
            inputs: Value of each input.
            outputs: Memory to write outputs to.
            stream: Handle of the stream to use, None for PyTorch's current one if PyTorch
                tensors are given, else the session's own.

        Raises:
            InputError: If the inputs do not fit the engine.
            UsageError: If memory for an output does not fit, another thread is in a call, or
                the session is closed.
            ExternalStepError: If CUDA or TensorRT fails.
        """
        with self._gate:
            return self._enqueue(inputs, outputs or {}, stream, owned=False)

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        *,
        stream: int | None = None,
    ) -> dict[str, Any]:
        """Run and wait, as one call: outputs on the device belong to the caller."""
        with self._gate:
            return self._finish(self._enqueue(inputs, outputs or {}, stream, owned=True))

    def bind(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        *,
        stream: int | None = None,
    ) -> Bound:
        """Prepare a run to be queued many times; see :meth:`tripoint.Engine.bind`."""
        with self._gate:
            return self._bind(inputs, outputs or {}, stream)

    def fixed(self, inputs: Mapping[str, Any]) -> bool:
        """Return whether the sizes of all outputs follow from the inputs before a run."""
        with self._gate:
            taken = self._take(inputs)
            run = self._streams.begin(_kind(taken), None, taken)
            situation, _ = self._inputs.place(self.signature.inputs, taken, run)
            return self._execution.resolve(situation, run).fixed

    def launch(self, queue: Callable[[], None], stream: int, outers: frozenset[int]) -> None:
        """Queue a prepared run after everything that it depends on.

        Args:
            queue: Queues it.
            stream: Where it does so.
            outers: Streams that it is ordered with.
        """
        with self._gate:
            self._streams.resume(stream, outers)
            queue()
            self._streams.end(stream)

    def finish(self, pending: Pending) -> dict[str, Any]:
        """Wait for a run and give its outputs; see :meth:`Pending.wait`."""
        with self._gate:
            return self._finish(pending)

    def settle(self) -> None:
        """Wait until nothing that was queued is in use any more."""
        self._streams.settle()

    def close(self) -> None:
        """Wait for what was queued, and give everything back. Closing twice does no harm.

        Raises:
            UsageError: If another thread is in a call.
        """
        if self._gate.closed:
            return
        with self._gate:
            self._gate.closed = True
            try:
                self.settle()
            finally:
                for bound in self._bound:
                    bound.release()
                self._bound.clear()
                self._execution.close()
                self._inputs.clear()
                self._outputs.clear()
                self._streams.close()
                self._keeps = None

    def _enqueue(
        self,
        inputs: Mapping[str, Any],
        given_outputs: Mapping[str, Any],
        stream: int | None,
        *,
        owned: bool,
    ) -> Pending:
        taken = self._take(inputs)
        kind = _kind(taken)
        run = self._streams.begin(kind, stream, taken)
        situation, addresses = self._inputs.place(self.signature.inputs, taken, run)
        resolved = self._execution.resolve(situation, run)
        placed = self._outputs.place(self.signature.outputs, resolved.outputs, kind, given_outputs)
        if self._poison:
            self._outputs.fill(placed, run)
        self._execution.run(situation, resolved, addresses, placed, kind, run)
        pending = self._results(placed, kind, run, owned, taken)
        self._streams.end(run)
        self._keeps = taken
        return pending

    def _finish(self, pending: Pending) -> dict[str, Any]:
        if pending.overwritten_by_next and pending.number != self._number:
            raise UsageError(
                "a later call of the engine overwrote these outputs",
                hint="wait for a call before the next one",
            )
        self._cuda.synchronize(pending.stream)
        return pending.collect()

    def _bind(
        self, inputs: Mapping[str, Any], given_outputs: Mapping[str, Any], stream: int | None
    ) -> Bound:
        taken = self._take(inputs)
        for tensor, item in zip(self.signature.inputs, taken, strict=True):
            if item.array is not None and not tensor.on_host:
                raise UsageError(
                    f"input {tensor.name!r} is in host memory, and a run is bound to device memory",
                    hint="run and enqueue take host memory",
                )
        kind = _kind(taken)
        run = self._streams.begin(kind, stream, taken)
        # Memory of its own, which later calls of the engine leave alone.
        own_inputs = InputMemory(self._cuda, self.settle)
        own_outputs = OutputMemory(self._cuda, self.settle)
        situation, addresses = own_inputs.place(self.signature.inputs, taken, run)
        self._inputs.place(self.signature.inputs, taken, run)
        resolved = self._execution.resolve(situation, run)
        placed = own_outputs.place(self.signature.outputs, resolved.outputs, kind, given_outputs)
        if not resolved.fixed:
            raise UsageError(f"{resolved.undecided}, so it cannot be bound to memory")
        context, graph = self._execution.prepare(
            situation, resolved, own_inputs.on_host, addresses, placed, run
        )
        shown = {output.tensor.name: own_outputs.shown(output, run) for output in placed}
        outers = self._streams.end(run)
        keeps = (taken, own_inputs, own_outputs)
        bound = Bound(self.launch, self._cuda, context, graph, run, outers, shown, keeps)
        self._bound.append(bound)
        return bound

    def _take(self, inputs: Mapping[str, Any]) -> list[CallerBuffer]:
        wanted, device = self.signature.inputs, self._cuda.device
        values = caller_buffers.in_order(wanted, inputs)
        return [caller_buffers.take(*pair, device) for pair in zip(wanted, values, strict=True)]

    def _results(
        self,
        placed: Sequence[Placed],
        kind: Kind,
        stream: int,
        owned: bool,
        keeps: list[CallerBuffer],
    ) -> Pending:
        on_device: dict[str, Any] = {}
        arriving: dict[str, Arriving] = {}
        for output in placed:
            name, mine = output.tensor.name, output.buffer
            if output.tensor.on_host:
                arriving[name] = Arriving(output, output.memory)
            elif (kind if mine is None else mine.kind) == "host":
                staging = self._outputs.staging(output.tensor)
                address = staging.reserve(output.nbytes)
                self._cuda.download(address, output.address, output.nbytes, stream)
                arriving[name] = Arriving(output, staging.held)
            elif owned and mine is None:
                on_device[name] = self._outputs.fresh(output, kind, stream)
            else:
                on_device[name] = self._outputs.shown(output, stream)
        self._number += 1
        return Pending(
            self.finish,
            self._number,
            stream,
            on_device,
            arriving,
            self._order,
            keeps,
            as_torch=kind == "torch",
        )


def _kind(taken: Sequence[CallerBuffer]) -> Kind:
    kinds = {item.kind for item in taken}
    return "torch" if "torch" in kinds else "device" if "device" in kinds else "host"
