"""A listener that takes the tensors between the kernels of an engine while it runs."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tripoint.errors import ExternalStepError
from tripoint.trt import array_ipc, cuda, native

Array = npt.NDArray[Any]


@dataclass
class Shown:
    """Tensors that a listener was given, in files.

    Args:
        folder: Where the files go.
    """

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, array: Array) -> None:
        """Write a tensor; of one that comes again the last counts."""
        file = self.files.setdefault(name, f"debug{len(self.files)}.npz")
        array_ipc.save(self.folder / file, {name: array})


def listen(trt: Any, cudart: Any, context: Any, shown: Shown) -> Any:
    """Give a context a listener that copies each tensor.

    Args:
        trt: The TensorRT module.
        cudart: From :func:`tripoint.trt.cuda.runtime`.
        context: ``IExecutionContext``.
        shown: Takes the tensors.

    Returns:
        The listener, which must live as long as the runs.

    Raises:
        ExternalStepError: If TensorRT takes none.
    """

    class Listener(trt.IDebugListener):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IDebugListener.__init__(self)

        def process_debug_tensor(
            self, addr: Any, location: Any, dtype: Any, shape: Any, name: str, stream: Any
        ) -> bool:
            # Native code cannot take an exception, and one tensor less is no reason to stop.
            try:
                on_host = location == trt.TensorLocation.HOST
                array = np.empty(
                    tuple(int(size) for size in shape), array_ipc.dtype(native.numpy_name(dtype))
                )
                _copy(cudart, array, pointer_of(addr), int(stream), on_host=on_host)
                shown.keep(name, array)
            except Exception as error:  # noqa: BLE001
                shown.missed[name] = f"{error}"
            return True

    listener = Listener()
    if not context.set_debug_listener(listener):
        raise ExternalStepError("TensorRT took no listener for the tensors between its kernels")
    # Marked as a whole, they have a switch of their own; those of mark_debug have the other.
    if hasattr(context, "unfused_tensors_debug_state"):
        context.unfused_tensors_debug_state = True
    context.set_all_tensors_debug_state(True)
    return listener


def _copy(cudart: Any, array: Array, address: int, stream: int, *, on_host: bool) -> None:
    if not array.nbytes:
        return
    if on_host:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
        return
    kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
    cuda.check(cudart.cudaMemcpyAsync, array.ctypes.data, address, array.nbytes, kind, stream)
    cuda.check(cudart.cudaStreamSynchronize, stream)


def pointer_of(address: Any) -> int:
    """The address in what a binding hands over: a number, or a capsule around a pointer."""
    if isinstance(address, int):
        return address
    name = ctypes.pythonapi.PyCapsule_GetName
    name.argtypes, name.restype = [ctypes.py_object], ctypes.c_char_p
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    return int(pointer(address, name(address)) or 0)
