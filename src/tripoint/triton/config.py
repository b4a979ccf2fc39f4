"""Makes the model configuration of an interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tripoint.errors import InputError
from tripoint.triton import schema
from tripoint.triton.interface import Backend, Interface, Profile, Tensor

PLATFORMS: dict[Backend, str] = {
    "tensorrt": "tensorrt_plan",
    "onnxruntime": "onnxruntime_onnx",
}
"""Platform by backend; a configuration may name both only if they go together."""

FILES: dict[Backend, str] = {"tensorrt": "model.plan", "onnxruntime": "model.onnx"}
"""The file that Triton looks for in a version folder, by backend."""

_PLAN_TYPES = frozenset(
    {"TYPE_FP32", "TYPE_FP16", "TYPE_BF16", "TYPE_INT8", "TYPE_UINT8", "TYPE_INT32", "TYPE_INT64"}
    | {"TYPE_BOOL"}
)


def served_types(backend: Backend) -> frozenset[str]:
    """The data types that a backend takes."""
    return _PLAN_TYPES if backend == "tensorrt" else schema.data_types()


def make(
    interface: Interface, name: str, max_batch_size: int, *, dynamic_batching: bool = False
) -> Any:
    """The configuration of a model.

    Args:
        interface: What the model takes and gives, in the order of the ONNX model.
        name: Name of the model.
        max_batch_size: From :func:`tripoint.triton.batching.decide`.
        dynamic_batching: Whether Triton may put requests together.

    Returns:
        An ``inference.ModelConfig``.

    Raises:
        InputError: If Triton cannot serve one of the tensors.
    """
    config = schema.new_config()
    config.name = name
    config.platform = PLATFORMS[interface.backend]
    config.backend = interface.backend
    config.max_batch_size = max_batch_size
    for tensor in interface.inputs:
        _fill(config.input.add(), tensor, interface, max_batch_size)
    for tensor in interface.outputs:
        _fill(config.output.add(), tensor, interface, max_batch_size)
    if len(interface.profiles) > 1:
        # An instance picks among its own profiles, and any instance may get any request.
        group = config.instance_group.add(count=1, kind="KIND_GPU")
        group.profile.extend(str(index) for index in range(len(interface.profiles)))
    if dynamic_batching:
        config.dynamic_batching.SetInParent()
    return config


def dims(tensor: Tensor, interface: Interface, max_batch_size: int) -> tuple[int, ...]:
    """The sizes that Triton's backend compares with the model's, without the batch axis.

    Args:
        tensor: Input or output, its rank known.
        interface: Whose it is: an input axis that all profiles hold at one size has that size.
        max_batch_size: Above 0, axis 0 is the batch.
    """
    shape = list(tensor.shape or ())
    for axis, size in enumerate(shape):
        if size == -1:
            shape[axis] = _pinned(tensor.name, axis, interface.profiles)
    return tuple(shape[1:] if max_batch_size > 0 else shape)


def _pinned(name: str, axis: int, profiles: Sequence[Profile]) -> int:
    sizes = {
        getattr(profile[name], end)[axis] if name in profile else -1
        for profile in profiles
        for end in ("min", "max")
    }
    return sizes.pop() if len(sizes) == 1 else -1


def _fill(field: Any, tensor: Tensor, interface: Interface, max_batch_size: int) -> None:
    reason = unserved(tensor, interface.backend, max_batch_size)
    if reason is not None:
        raise InputError(f"Triton cannot serve {tensor.name!r}: {reason[0]}", hint=reason[1])
    field.name = tensor.name
    field.data_type = tensor.data_type
    sizes = dims(tensor, interface, max_batch_size)
    # dims may not be empty. Triton hands on what reshape says; with max_batch_size 0 it forbids
    # an empty one, and ONNX Runtime's backend reads [1] as a scalar.
    field.dims.extend(sizes or (1,))
    if not sizes and max_batch_size > 0:
        field.reshape.SetInParent()
    if tensor.shape_tensor:
        field.is_shape_tensor = True


def unserved(tensor: Tensor, backend: Backend, max_batch_size: int) -> tuple[str, str] | None:
    """Return why Triton cannot serve a tensor, and what helps; None if it can."""
    if tensor.data_type not in served_types(backend):
        return (
            f"it has element type {tensor.dtype or 'unknown'}, which the backend {backend} "
            "does not take",
            "cast it in the model",
        )
    if tensor.shape is None:
        return "its rank is not known", "declare its shape in the model"
    if not tensor.shape and backend == "tensorrt":
        return (
            "it is a scalar, and for a plan Triton takes no empty dims and no empty reshape",
            "let the model give it one axis, such as with unsqueeze(0) or reshape(1)",
        )
    for axis, size in enumerate(tensor.shape):
        if size == 0 and (axis or max_batch_size == 0):
            return f"axis {axis} has size 0", "leave the tensor out of the model"
    return None
