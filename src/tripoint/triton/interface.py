"""What a model takes and gives, as Triton's backend will find it in the plan or the ONNX file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tripoint import model as models
from tripoint.engine.profile import InputProfile
from tripoint.errors import ExternalStepError, InputError
from tripoint.model import Model

Backend = Literal["tensorrt", "onnxruntime"]
Profile = Mapping[str, InputProfile]
"""Range by input name."""

DATA_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "string": "TYPE_STRING",
}
"""Triton's data type by NumPy's name."""

_ORT_TYPES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output.

    Args:
        name: Its name.
        dtype: NumPy's name of its element type, None if unknown.
        shape: Per axis its size, -1 where it varies; None if the rank is unknown.
        shape_tensor: Whether TensorRT reads its values while it works out shapes.
    """

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None
    shape_tensor: bool = False

    @property
    def data_type(self) -> str | None:
        """Triton's name of the element type, None if it has none."""
        return DATA_TYPES.get(self.dtype or "")


@dataclass(frozen=True, slots=True)
class Interface:
    """The inputs and outputs of a model, in the order of the ONNX model.

    Args:
        backend: The Triton backend that serves it.
        inputs: Its inputs.
        outputs: Its outputs.
        profiles: The optimization profiles of a plan; an ONNX model has none.
        source: Where this is known from, for messages.
    """

    backend: Backend
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[Profile, ...]
    source: str

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs, then outputs."""
        return (*self.inputs, *self.outputs)


def of_model(model: Model, source: str) -> Interface:
    """The interface of an ONNX model as ONNX Runtime sees it, which is what Triton compares with.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load the model.
        InputError: If an input or output is no tensor.
    """
    from tripoint.numeric.ort import Session

    session = Session(model)
    return Interface(
        "onnxruntime",
        tuple(_of_session(*each) for each in session.input_types),
        tuple(_of_session(*each) for each in session.output_types),
        (),
        source,
    )


def _of_session(name: str, kind: str, shape: Iterable[int | str | None]) -> Tensor:
    if not kind.startswith("tensor("):
        raise InputError(
            f"{name!r} is a {kind}; Triton serves tensors", hint="let the model return its parts"
        )
    element = kind[len("tensor(") : -1]
    sizes = tuple(size if isinstance(size, int) else -1 for size in shape)
    return Tensor(name, _ORT_TYPES.get(element, element), sizes)


def load_model(path: Path) -> tuple[Model, Interface]:
    """Read an ONNX model and its interface.

    Raises:
        InputError: If the file cannot be read, or an input or output is no tensor.
        ExternalStepError: If ONNX Runtime cannot load it.
    """
    model = models.load(path)
    try:
        return model, of_model(model, path.name)
    except (ExternalStepError, InputError) as error:
        raise error.within(subject=str(path)) from error
