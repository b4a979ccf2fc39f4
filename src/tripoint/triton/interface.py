"""Inputs and outputs of a model, as Triton's backend finds them in the plan or the ONNX file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tripoint import model as models
from tripoint.errors import ExternalStepError, InputError
from tripoint.model import Model
from tripoint.profiles.profile import InputProfile
from tripoint.shape_inference import declared, truth
from tripoint.symbols import Shape

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
        bounded: Whether its profiles are known; they are not where a plan is known by its ONNX
            model alone.
    """

    backend: Backend
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[Profile, ...]
    source: str
    bounded: bool = True

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
    graph = model.ir.graph
    # ONNX Runtime shows no axes both for a scalar and where it knows no shape.
    ranked = {value.name for value in (*graph.inputs, *graph.outputs) if value.shape is not None}
    inputs, outputs = (
        tuple(
            _tensor(name, kind, shape if shape or name in ranked else None)
            # Triton knows an output by its name, so one that is listed twice is there once.
            for name, (kind, shape) in {each[0]: each[1:] for each in types}.items()
        )
        for types in (session.input_types, session.output_types)
    )
    return Interface("onnxruntime", inputs, outputs, (), source)


def _tensor(name: str, kind: str, shape: Iterable[int | str | None] | None) -> Tensor:
    if not kind.startswith("tensor("):
        raise InputError(
            f"{name!r} is a {kind}; Triton serves tensors", hint="let the model return its parts"
        )
    element = kind[len("tensor(") : -1]
    dtype = _ORT_TYPES.get(element, element)
    if shape is None:
        return Tensor(name, dtype, None)
    return Tensor(name, dtype, tuple(size if isinstance(size, int) else -1 for size in shape))


@dataclass(frozen=True, slots=True)
class Loaded:
    """An ONNX model, its interface and its true shapes.

    Args:
        model: The model; its outputs are declared as they are, whatever the file says.
        interface: What it takes and gives.
        shapes: True shape by tensor name.
        untrue: By output, what the file declares of it that the graph contradicts.
    """

    model: Model
    interface: Interface
    shapes: Mapping[str, Shape | None]
    untrue: Mapping[str, Shape]


def load_model(path: Path) -> Loaded:
    """Read an ONNX model and its interface.

    An output whose declared rank is not the true one has none in ONNX Runtime, which Triton takes
    for a scalar (``CompareDimsSupported`` of its onnxruntime_backend).

    Raises:
        InputError: If the file cannot be read, or an input or output is no tensor.
        ExternalStepError: If ONNX Runtime cannot load it.
    """
    model = models.load(path)
    try:
        inferred = truth.infer(model.ir)
        outputs = {value.name or "" for value in model.ir.graph.outputs}
        undeclared = {
            value.name or "" for value in model.ir.graph.outputs if value.shape is None
        } & {name for name, shape in inferred.shapes.items() if shape is not None}
        untrue = {name: said for name, said in inferred.declared.items() if name in outputs}
        told = declared.corrected(model, inferred.shapes, inferred.declared.keys() | undeclared)
        return Loaded(told, of_model(told, path.name), inferred.shapes, untrue)
    except (ExternalStepError, InputError) as error:
        raise error.within(subject=str(path)) from error
