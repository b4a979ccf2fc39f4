"""Inputs that a user gives: arrays in a file, or a function that makes them.

=============================  =============================================================
``inputs.npz``                 arrays by input name: one point; see :mod:`tripoint.numeric.npz`
``inputs.npz``                 ``0/x``, ``1/x`` ...: one point for each number
``inputs.json``                what Polygraphy saves (``--save-inputs``, ``save_json``)
a folder of such files         their points, in the order of the file names
``file.py:load``               a function that yields dicts from input name to array or
                               tensor; it is called without arguments
``file.py:model``              what gives ``(module, example_inputs)``: these
=============================  =============================================================

Files are read, never executed: pickled objects are refused. The code that is named is run.

Where a file has bytes in place of bfloat16, float8 or int4, as those have that NumPy or Polygraphy
wrote, they are taken for what the model takes.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import InputError, TripointError, UsageError
from tripoint.numeric import npz
from tripoint.numeric.dtypes import restored
from tripoint.numeric.inputs import InputSpecs
from tripoint.sources import reference
from tripoint.sources.reference import PythonReference

Array = np.ndarray[Any, Any]
KINDS = "inputs.npz, inputs.json as Polygraphy saves them, a folder of them, or file.py:function"

_MOST_POINTS = 1000
_NUMBERED = re.compile(r"(\d+)/(.+)", re.DOTALL)
_MARKER = "polygraphy_class"
_OLD_MARKER = "__polygraphy_encoded_ndarray"


def read_inputs(
    text: str, inputs: InputSpecs, names: Sequence[str] | None = None
) -> list[dict[str, Array]]:
    """Read the points that a path or a reference names.

    Args:
        text: One of the kinds that the module lists.
        inputs: Element type and shape by input name, see
            :func:`tripoint.numeric.inputs.inputs_of`.
        names: What the ONNX file calls the inputs of a module that is named, in order.

    Returns:
        For each point the array by input name. Names, dtypes and shapes are as they were given;
        only dtypes that a file cannot express are restored.

    Raises:
        InputError: If a file is missing or holds something else, or the function fails.
        UsageError: If the kind is unknown.
    """
    path = Path(text)
    try:
        if path.is_dir():
            points = _of_folder(path, inputs)
        elif path.suffix in (".npz", ".json"):
            points = _of_file(path, inputs)
        else:
            points = _called(text, list(inputs), names)
    except TripointError as error:
        raise error.within(subject=text) from error
    if not points:
        raise InputError("there is no point in it").within(subject=text)
    dtypes = {name: ir.DataType[dtype.upper()].numpy() for name, (dtype, _) in inputs.items()}
    return [restored(point, dtypes) for point in points]


def _of_folder(folder: Path, inputs: InputSpecs) -> list[dict[str, Array]]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".npz", ".json"))
    return [point for path in paths for point in _of_file(path, inputs)]


def _of_file(path: Path, inputs: InputSpecs) -> list[dict[str, Array]]:
    if path.suffix == ".json":
        return _polygraphy(path)
    arrays = npz.load(path)
    numbered = [(match, name) for name in arrays if (match := _NUMBERED.fullmatch(name))]
    if arrays.keys() == inputs.keys() or len(numbered) < len(arrays):
        return [arrays]
    points: dict[int, dict[str, Array]] = {}
    for match, name in numbered:
        points.setdefault(int(match[1]), {})[match[2]] = arrays[name]
    return [points[number] for number in sorted(points)]


def _polygraphy(path: Path) -> list[dict[str, Array]]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError("no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not a JSON file: {str(error)[:200]}") from error
    points = document if isinstance(document, list) else [document]
    return [_point(index, point) for index, point in enumerate(points)]


def _point(index: int, point: object) -> dict[str, Array]:
    if not isinstance(point, dict) or _MARKER in point:
        kind = point.get(_MARKER) if isinstance(point, dict) else type(point).__name__
        raise InputError(
            f"point {index} is a {kind}, not a dict of arrays",
            hint="save inputs with Polygraphy's --save-inputs; results of runs are no inputs",
        )
    return {str(name): _array(str(name), value) for name, value in point.items()}


def _array(name: str, value: object) -> Array:
    if isinstance(value, dict) and value.get(_MARKER) in ("LazyArray", "LazyNumpyArray"):
        value = value.get("values")
    marked = isinstance(value, dict) and (value.get(_MARKER) == "ndarray" or _OLD_MARKER in value)
    payload = value.get("array") if marked and isinstance(value, dict) else None
    if not isinstance(payload, str):
        kind = value.get(_MARKER) if isinstance(value, dict) else type(value).__name__
        raise InputError(
            f"input {name!r} is a {kind}, not a NumPy array",
            hint="convert tensors with .numpy() before they are saved",
        )
    try:
        raw = base64.b64decode(payload, validate=True)
        array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except (binascii.Error, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise InputError(f"input {name!r} holds no plain array: {str(error)[:200]}") from error
    return np.asarray(array)


def _called(
    text: str, names: Sequence[str], input_names: Sequence[str] | None
) -> list[dict[str, Array]]:
    from tripoint.sources import python

    unknown = UsageError(f"cannot tell what inputs {text!r} are", hint=f"write {KINDS}")
    try:
        parsed = reference.parse(text)
    except UsageError as error:
        raise unknown from error
    if isinstance(parsed, reference.OnnxReference):
        raise unknown
    points = python.call(parsed, _collected)
    return _examples(parsed, names, input_names) if points is None else points


def _examples(
    reference: PythonReference, names: Sequence[str], input_names: Sequence[str] | None
) -> list[dict[str, Array]]:
    """The example inputs of a module, under the names of the file."""
    from tripoint.sources import python
    from tripoint.sources.pairing import pair_inputs

    model = python.load_module(reference)
    parameters, _ = pair_inputs(model, names, input_names)
    missing = [name for name, own in parameters.items() if own not in model.example_inputs]
    if missing:
        raise InputError(f"it has no example of {', '.join(missing)}")
    return [
        {name: _from_python(name, model.example_inputs[own]) for name, own in parameters.items()}
    ]


def _collected(value: object) -> list[dict[str, Array]] | None:
    """Return the result of a loader as arrays; None for a module with its examples."""
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "forward"):
        return None
    points = [value] if isinstance(value, Mapping) else value
    if not isinstance(points, Iterable):
        raise InputError(f"it gives a {type(value).__name__}, not dicts from name to array")
    taken = list(itertools.islice(points, _MOST_POINTS + 1))
    if len(taken) > _MOST_POINTS:
        raise InputError(f"it yields more than {_MOST_POINTS} points")
    for point in taken:
        if not isinstance(point, Mapping):
            raise InputError(f"it yields a {type(point).__name__}, not a dict from name to array")
    return [
        {str(name): _from_python(str(name), value) for name, value in point.items()}
        for point in taken
    ]


def _from_python(name: str, value: Any) -> Array:
    if hasattr(value, "detach"):
        from tripoint.numeric.torch_arrays import to_array

        return to_array(value)
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        raise InputError(f"input {name!r} is a {type(value).__name__}, not an array of numbers")
    return array
