"""Execution contexts: what TensorRT is told before a run, and told only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tripoint.errors import ExternalStepError, InputError, TripointError
from tripoint.runner.device import Allocation, Cuda
from tripoint.runner.tensors import Shape, Signature

Reserve = Callable[[int], int]
"""Takes bytes and returns the address of at least as many."""

OnContext = Callable[[Any], object]
"""Takes an ``IExecutionContext``."""


class Contexts:
    """Makes execution contexts that share scratch memory, since they run one after the other.

    Args:
        trt: The TensorRT module.
        cuda: Where they run.
        engine: ``ICudaEngine``.
        signature: Its inputs and outputs.
        shared: Whether there will be several, for which the scratch memory is then shared.
        on_context: Takes each ``IExecutionContext`` before its first run.
        last_error: What TensorRT logged last.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        engine: Any,
        signature: Signature,
        *,
        shared: bool,
        on_context: OnContext,
        last_error: Callable[[], str],
    ) -> None:
        self._trt = trt
        self._on_context = on_context
        self._engine = engine
        self._signature = signature
        self._last_error = last_error
        self._scratch: Allocation | None = None
        self._cache: Any = None
        self._held: list[Any] = []
        strategies = getattr(trt, "ExecutionContextAllocationStrategy", None)
        self._user_managed = getattr(strategies, "USER_MANAGED", None)
        self._shared = shared
        size = getattr(engine, "device_memory_size_v2", None)
        if shared and size is not None and self._user_managed is not None:
            self._scratch = cuda.allocate(int(size))

    def make(self, *, specialized: bool = False) -> Context:
        """A new context.

        Args:
            specialized: Whether kernels must be those for the exact shapes from the first run
                on. TensorRT-RTX otherwise starts with others for dynamic shapes and swaps them
                later, which a captured graph would not see.

        Raises:
            ExternalStepError: If TensorRT cannot make one.
        """
        created = self._create(specialized)
        if created is None:
            raise ExternalStepError(
                f"TensorRT could not make an execution context for this plan: {self._last_error()}"
            )
        if self._scratch is not None:
            created.set_device_memory(self._scratch.address, self._scratch.size)
        self._on_context(created)
        return Context(self._trt, created, self._signature, self._last_error)

    def _create(self, specialized: bool) -> Any:
        engine = self._engine
        strategy = self._user_managed if self._scratch is not None else None
        if self._shared and hasattr(engine, "create_runtime_config"):
            config = self._configure(engine.create_runtime_config(), specialized)
            if strategy is not None:
                config.set_execution_context_allocation_strategy(strategy)
            # The context uses it as long as it lives.
            self._held.append(config)
            return engine.create_execution_context(config)
        if strategy is not None:
            return engine.create_execution_context(strategy)
        return engine.create_execution_context()

    def _configure(self, config: Any, specialized: bool) -> Any:
        strategies = getattr(self._trt, "DynamicShapesKernelSpecializationStrategy", None)
        if specialized and strategies is not None:
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if hasattr(config, "create_runtime_cache"):
            # So that a kernel is compiled once for all contexts.
            if self._cache is None:
                self._cache = config.create_runtime_cache()
            if self._cache is not None:
                config.set_runtime_cache(self._cache)
        return config


class Context:
    """One ``IExecutionContext`` and what it was told.

    Args:
        trt: The TensorRT module.
        native: The context.
        signature: Inputs and outputs of the engine.
        last_error: What TensorRT logged last.
    """

    def __init__(
        self, trt: Any, native: Any, signature: Signature, last_error: Callable[[], str]
    ) -> None:
        self._trt = trt
        self._native = native
        self._signature = signature
        self._last_error = last_error
        self._profile = int(native.active_optimization_profile)
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}

    def set_shapes(
        self, profile: int, shapes: Sequence[Shape], host: Mapping[str, int], stream: int
    ) -> dict[str, Shape]:
        """Tell the shapes of a run.

        Args:
            profile: Index of the optimization profile.
            shapes: Shape of each input, in order.
            host: Address of each input that is read in host memory, its values in place.
            stream: The stream that will execute.

        Returns:
            Shape by output name, with -1 where the values of the run decide it.

        Raises:
            InputError: If TensorRT does not take the shapes, or needs more to know the outputs.
            ExternalStepError: If it cannot switch to the profile.
        """
        native = self._native
        if profile != self._profile:
            self._shapes.clear()
            if not native.set_optimization_profile_async(profile, stream):
                raise ExternalStepError(
                    f"TensorRT could not switch to profile {profile}: {self._last_error()}"
                )
            self._profile = profile
        for tensor, shape in zip(self._signature.inputs, shapes, strict=True):
            if self._shapes.get(tensor.name) == shape:
                continue
            self._shapes.pop(tensor.name, None)
            if not native.set_input_shape(tensor.name, shape):
                raise InputError(
                    f"TensorRT does not take shape {shape} for input {tensor.name!r}: "
                    f"{self._last_error()}"
                )
            self._shapes[tensor.name] = shape
        for name, address in host.items():
            self.set_address(name, address)
        try:
            missing = native.infer_shapes()
        except RuntimeError as error:
            raise InputError(
                f"TensorRT finds no shapes for these inputs: {self._last_error()}"
            ) from error
        if missing:
            raise InputError(f"the engine needs more to know its shapes: {', '.join(missing)}")
        return {
            tensor.name: tuple(int(size) for size in native.get_tensor_shape(tensor.name))
            for tensor in self._signature.outputs
        }

    def set_address(self, name: str, address: int) -> None:
        """Tell where a tensor lies.

        Raises:
            ExternalStepError: If TensorRT does not take the memory.
        """
        if self._addresses.get(name) == address:
            return
        self._addresses.pop(name, None)
        if name in self._allocators:
            self._native.set_output_allocator(name, None)
            del self._allocators[name]
        if not self._native.set_tensor_address(name, address):
            raise ExternalStepError(
                f"TensorRT did not take the memory of tensor {name!r}: {self._last_error()}"
            )
        self._addresses[name] = address

    def allocate_with(self, name: str, reserve: Reserve) -> None:
        """Let an output whose size the run decides ask for its memory.

        Args:
            name: The output.
            reserve: Gives it.
        """
        if name in self._allocators:
            self._allocators[name].reserve = reserve
            return
        allocator = _make_allocator(self._trt, reserve)
        if not self._native.set_output_allocator(name, allocator):
            raise ExternalStepError(f"TensorRT did not take an allocator for output {name!r}")
        self._allocators[name] = allocator
        self._addresses.pop(name, None)

    def allocated_shape(self, name: str) -> Shape:
        """The shape that an output with an allocator had in the last run."""
        return tuple(self._allocators[name].shape)

    def execute(self, stream: int) -> None:
        """Queue a run.

        Raises:
            ExternalStepError: If TensorRT cannot, or there is no memory for an output.
        """
        if self._native.execute_async_v3(stream):
            return
        for allocator in self._allocators.values():
            if allocator.error is not None:
                raise allocator.error
        raise ExternalStepError(f"TensorRT could not execute the engine: {self._last_error()}")

    def queue(self, stream: int) -> bool:
        """Queue a run to be captured, and tell whether TensorRT could."""
        return bool(self._native.execute_async_v3(stream))

    def capturable(self, stream: int) -> bool:
        """Return whether TensorRT says that a run can be captured; one that cannot say is tried."""
        ask = getattr(self._native, "is_stream_capturable", None)
        return ask is None or bool(ask(stream))


def _make_allocator(trt: Any, reserve: Reserve) -> Any:
    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.reserve = reserve
            self.shape: Shape = (0,)
            self.error: TripointError | None = None

        def reallocate_output(self, _name: str, _memory: int, size: int, _alignment: int) -> int:
            self.error = None
            try:
                return self.reserve(size)
            except TripointError as error:
                # Native code cannot take an exception; no address means failure to it.
                self.error = error
                return 0

        def reallocate_output_async(
            self, name: str, held: int, size: int, alignment: int, _stream: int
        ) -> int:
            return self.reallocate_output(name, held, size, alignment)

        def notify_shape(self, _name: str, shape: Any) -> None:
            self.shape = tuple(int(size) for size in shape)

    return Allocator()
