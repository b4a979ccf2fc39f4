"""Telling an engine its shapes and memory, and running it, by a CUDA graph where one is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tripoint.errors import ExternalStepError, TripointError
from tripoint.runner import select_profile
from tripoint.runner.buffers import OutputMemory, Placed, Situation
from tripoint.runner.caller_buffers import Kind
from tripoint.runner.contexts import Context, Contexts
from tripoint.runner.device import Cuda
from tripoint.runner.graphs import Recent, Sightings
from tripoint.runner.tensors import UNKNOWN, Shape, Signature, Tensor

_SITUATIONS = 64


@dataclass(frozen=True, slots=True)
class Resolved:
    """Profile and output shapes that follow from the shapes of the inputs.

    Args:
        profile: Index of the optimization profile.
        outputs: Shape by output name, with -1 where the values of the run decide it.
    """

    profile: int
    outputs: Mapping[str, Shape]

    @property
    def undecided(self) -> str | None:
        """Sentence on the output whose size the values decide, None if none has one."""
        names = (name for name, shape in self.outputs.items() if UNKNOWN in shape)
        name = next(names, None)
        return None if name is None else f"values decide the size of output {name!r}"

    @property
    def fixed(self) -> bool:
        """Return whether the sizes of all outputs are known before the run."""
        return self.undecided is None


@dataclass(slots=True)
class _Captured:
    graph: Any
    context: Context


class Execution:
    """The contexts of an engine and the graphs that were captured from them.

    Args:
        cuda: Where they run.
        contexts: Makes them.
        signature: Inputs and outputs of the engine.
        outputs: Where outputs lie.
        host: Address by name of the inputs that are read in host memory.
        graphs: How many CUDA graphs to keep.
        poison: Whether memory that an output asks for during a run is to be filled first.
        settle: Waits until nothing that was queued is in use any more.
    """

    def __init__(
        self,
        cuda: Cuda,
        contexts: Contexts,
        signature: Signature,
        outputs: OutputMemory,
        host: Mapping[str, int],
        *,
        graphs: int,
        poison: bool,
        settle: Callable[[], None],
    ) -> None:
        self.not_captured: str | None = None if graphs else "CUDA graphs are switched off"
        self._cuda = cuda
        self._contexts = contexts
        self._signature = signature
        self._outputs = outputs
        self._host = host
        self._poison = poison
        self._settle = settle
        self._main = contexts.make()
        self._told: Situation | None = None
        self._situations: Recent[Resolved] = Recent(_SITUATIONS)
        self._graphs: Recent[_Captured] = Recent(graphs)
        self._sightings = Sightings(graphs)

    @property
    def captured(self) -> int:
        """Number of CUDA graphs kept at present."""
        return len(self._graphs)

    def resolve(self, situation: Situation, stream: int) -> Resolved:
        """Return profile and output shapes for the shapes and values of the inputs.

        Raises:
            InputError: If no profile holds them, or TensorRT finds no shapes.
        """
        resolved = self._situations.get(situation)
        if resolved is None:
            profile = select_profile.choose(self._signature, *situation)
            shapes = self._tell(self._main, profile, situation, stream)
            resolved = Resolved(profile, shapes)
            if not resolved.fixed and self.not_captured is None:
                self.not_captured = resolved.undecided
            self._situations.put(situation, resolved)
        return resolved

    def run(
        self,
        situation: Situation,
        resolved: Resolved,
        addresses: tuple[int, ...],
        placed: Sequence[Placed],
        kind: Kind,
        stream: int,
    ) -> None:
        """Queue one run.

        Args:
            situation: Shapes and values of the inputs.
            resolved: Profile and output shapes that follow from them.
            addresses: Address of each input.
            placed: The outputs; those whose size the run decides are completed.
            kind: Where such outputs take their memory from.
            stream: Where to queue it.

        Raises:
            ExternalStepError: If TensorRT or CUDA cannot.
        """
        if self.not_captured is None:
            key = (situation, addresses, tuple(output.address for output in placed))
            captured = self._graphs.get(key)
            if captured is not None:
                self._cuda.launch(captured.graph, stream)
                return
            if self._sightings.again(key) and self._capture(key, resolved, placed, stream):
                return
        if self._told != situation:
            self._tell(self._main, resolved.profile, situation, stream)
        self._bind(self._main, addresses, placed, kind, stream)
        self._main.execute(stream)
        for output in placed:
            if UNKNOWN in output.shape:
                buffer = self._outputs.buffer(output.tensor, kind)
                output.shape = self._main.allocated_shape(output.tensor.name)
                output.address, output.memory = buffer.reserve(0), buffer.held

    def prepare(
        self,
        situation: Situation,
        resolved: Resolved,
        host: Mapping[str, int],
        addresses: Sequence[int],
        placed: Sequence[Placed],
        stream: int,
    ) -> tuple[Context, Any]:
        """Run once on a new context, and capture that where graphs are captured.

        Args:
            situation: Shapes and values of the inputs.
            resolved: Profile and output shapes that follow from them.
            host: Address by name of the inputs that are read in host memory.
            addresses: Address of each input.
            placed: The outputs, all of known size.
            stream: Where to queue it.

        Returns:
            The context, and its graph or None.
        """
        context = self._contexts.make(specialized=self.not_captured is None)
        context.set_shapes(resolved.profile, situation[0], host, stream)
        self._bind(context, addresses, placed, "device", stream)
        context.execute(stream)
        return context, self._captured(context, stream)

    def close(self) -> None:
        """Give graphs and contexts back."""
        for kept in self._graphs:
            self._cuda.destroy_graph(kept.graph)
        self._graphs.clear()
        del self._main, self._contexts

    def _tell(
        self, context: Context, profile: int, situation: Situation, stream: int
    ) -> dict[str, Shape]:
        if context is self._main:
            self._told = None
        outputs = context.set_shapes(profile, situation[0], self._host, stream)
        if context is self._main:
            self._told = situation
        return outputs

    def _bind(
        self,
        context: Context,
        addresses: Sequence[int],
        placed: Sequence[Placed],
        kind: Kind,
        stream: int,
    ) -> None:
        for tensor, address in zip(self._signature.inputs, addresses, strict=True):
            context.set_address(tensor.name, address)
        for output in placed:
            if UNKNOWN in output.shape:
                reserve = self._reserve(output.tensor, kind, stream)
                context.allocate_with(output.tensor.name, reserve)
            else:
                context.set_address(output.tensor.name, output.address)

    def _reserve(self, tensor: Tensor, kind: Kind, stream: int) -> Callable[[int], int]:
        buffer = self._outputs.buffer(tensor, kind)

        def reserve(size: int) -> int:
            address = buffer.reserve(size)
            if self._poison and not tensor.on_host:
                self._cuda.poison(address, size, stream)
            return address

        return reserve

    def _capture(
        self,
        key: tuple[Situation, tuple[int, ...], tuple[int, ...]],
        resolved: Resolved,
        placed: Sequence[Placed],
        stream: int,
    ) -> bool:
        """Run on a context of the graph's own and capture it; False if nothing was run.

        A graph must not outlive a change of the context that it was captured from, so each has
        one. TensorRT updates what depends on shapes in the first run, which is this call's.
        """
        situation, addresses, _ = key
        oldest = self._graphs.room()
        if oldest is not None:
            self._settle()
            self._cuda.destroy_graph(oldest.graph)
        try:
            context = oldest.context if oldest else self._contexts.make(specialized=True)
            self._tell(context, resolved.profile, situation, stream)
            self._bind(context, addresses, placed, "device", stream)
            context.execute(stream)
        except TripointError as error:
            self.not_captured = error.fact
            return False
        graph = self._captured(context, stream)
        if graph is not None:
            self._graphs.put(key, _Captured(graph, context))
        return True

    def _captured(self, context: Context, stream: int) -> Any:
        """The graph of a context that ran once; None, with the reason kept, if there is none."""
        if self.not_captured is not None:
            return None
        if not context.capturable(stream):
            self.not_captured = "TensorRT says that this engine cannot be captured"
            return None
        try:
            return self._cuda.capture(stream, lambda: context.queue(stream))
        except ExternalStepError as error:
            self.not_captured = error.fact
            return None
