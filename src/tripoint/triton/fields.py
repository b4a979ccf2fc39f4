"""Errors of a configuration by itself, whatever the model is.

The conditions are those under which Triton's core refuses a configuration (release 2.73).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

from tripoint.triton import schema
from tripoint.triton.findings import Notes
from tripoint.triton.interface import DATA_TYPES
from tripoint.triton.text import Parsed, TextError, UnknownField
from tripoint.words import number_of

_OTHER_NAMES = {
    "onnx": "onnxruntime",
    "ort": "onnxruntime",
    "trt": "tensorrt",
    "torch": "pytorch",
    "libtorch": "pytorch",
    "float": "TYPE_FP32",
    "half": "TYPE_FP16",
    "double": "TYPE_FP64",
    "bytes": "TYPE_STRING",
}


def unreadable(error: TextError, notes: Notes) -> None:
    """Note a text that is no configuration."""
    write = None
    if error.enum == "DataType":
        close = near(error.value.strip("\"'"), sorted(schema.data_types()))
        write = f"data_type: {close or 'TYPE_FP32'}, without quotes"
    elif error.enum is not None:
        write = "one of the values of the schema, without quotes"
    notes.error("config-text", f"not a configuration: {error.message}", write, line=error.line)


def near(word: str, words: Sequence[str]) -> str | None:
    """The one of some words that was probably meant, None if none is like it."""
    lower = {each.lower(): each for each in words}
    short = word.lower().removeprefix("type_")
    other = {**DATA_TYPES, **_OTHER_NAMES}.get(short)
    if other in words:
        return other
    for text in (word.lower(), f"type_{short}"):
        for close in difflib.get_close_matches(text, lower, n=1, cutoff=0.7):
            return lower[close]
    return None


def check(parsed: Parsed, folder: str, notes: Notes) -> None:
    """Note what Triton refuses, or reads otherwise than it is meant, in any configuration."""
    for unknown in parsed.unknown:
        _unknown_field(unknown, notes)
    config = parsed.config
    if config.name and config.name != folder:
        notes.error(
            "model-name",
            f"the name {config.name!r} is not that of the folder, {folder!r}",
            f'name: "{folder}"',
            line=parsed.line("name"),
        )
    if config.max_batch_size < 0:
        notes.error(
            "max-batch-size",
            f"max_batch_size is {config.max_batch_size}",
            "max_batch_size: 0 for a model that does not batch",
            line=parsed.line("max_batch_size"),
        )
    _check_batching(parsed, notes)
    _check_version_policy(parsed, notes)
    _check_names(parsed, notes)
    for which in ("input", "output"):
        for index, tensor in enumerate(getattr(config, which)):
            _check_tensor(tensor, which, index, parsed, notes)


def _unknown_field(unknown: UnknownField, notes: Notes) -> None:
    close = difflib.get_close_matches(unknown.name, unknown.fields, n=1, cutoff=0.75)
    if close:
        notes.error(
            "unknown-field", f"there is no field {unknown.name!r}", close[0], line=unknown.line
        )
    else:
        notes.skip(
            f"{unknown.name} in line {unknown.line}",
            "no field of that name is known here; a Triton that does not know it either refuses "
            "the whole configuration",
        )


def _check_batching(parsed: Parsed, notes: Notes) -> None:
    config = parsed.config
    if not config.HasField("dynamic_batching"):
        return
    line = parsed.line("dynamic_batching", 0, "preferred_batch_size")
    if config.max_batch_size == 0:
        notes.warning(
            "dynamic-batching",
            "dynamic_batching has no effect with max_batch_size 0",
            "a max_batch_size above 0, or no dynamic_batching",
            line=parsed.line("dynamic_batching"),
        )
        return
    for size in config.dynamic_batching.preferred_batch_size:
        if not 1 <= size <= config.max_batch_size:
            notes.error(
                "dynamic-batching",
                f"preferred_batch_size {size} is not between 1 and max_batch_size, "
                f"{config.max_batch_size}",
                f"a size of at most {config.max_batch_size}",
                line=line,
            )


def _check_version_policy(parsed: Parsed, notes: Notes) -> None:
    policy = parsed.config.version_policy
    if policy.HasField("latest") and policy.latest.num_versions == 0:
        notes.error(
            "version-policy",
            "latest with num_versions 0 loads no version",
            "version_policy: { latest: { num_versions: 1 } }",
            line=parsed.line("version_policy"),
        )


def _check_names(parsed: Parsed, notes: Notes) -> None:
    for which in ("input", "output"):
        seen: set[str] = set()
        for index, tensor in enumerate(getattr(parsed.config, which)):
            if tensor.name and tensor.name in seen:
                notes.error(
                    "tensor-name",
                    f"{which} {tensor.name!r} is listed a second time",
                    f"each {which} once",
                    line=parsed.line(which, index, "name"),
                )
            seen.add(tensor.name)


def _check_tensor(tensor: Any, which: str, index: int, parsed: Parsed, notes: Notes) -> None:
    def line(field: str) -> int | None:
        return parsed.line(which, index, field)

    called = f"{which} {tensor.name!r}"
    if not tensor.name:
        notes.error("tensor-name", f"{which} {index} has no name", 'name: "..."', line=line("name"))
    if tensor.data_type == 0:
        notes.error(
            "data-type",
            f"{called} has no data_type",
            "data_type: TYPE_FP32, or what it is",
            line=line("data_type"),
        )
    if not tensor.dims:
        notes.error("dims", f"{called} has no dims", _NO_DIMS, line=line("dims"))
    odd = [size for size in (*tensor.dims, *tensor.reshape.shape) if size < 1 and size != -1]
    if odd:
        notes.error(
            "dims",
            f"{called} has the size {odd[0]}",
            "a size of 1 or more, or -1 where it varies",
            line=line("dims"),
        )
    elif tensor.HasField("reshape"):
        _check_reshape(tensor, called, parsed.config.max_batch_size, line, notes)
    if which == "input" and tensor.format != 0 and len(tensor.dims) != 3:
        notes.error(
            "format",
            f"{called} has {number_of(len(tensor.dims), 'dim')}; "
            "FORMAT_NCHW and FORMAT_NHWC take 3, those of one image",
            "no format; it changes nothing but this",
            line=line("format"),
        )


_NO_DIMS = "dims with the batch axis if max_batch_size is 0, without it else; [1] for a scalar"


def _check_reshape(
    tensor: Any, called: str, size: int, line: Callable[[str], int | None], notes: Notes
) -> None:
    shape = tensor.reshape.shape
    if not shape and size == 0:
        notes.error(
            "reshape",
            f"{called} has an empty reshape, which stands for one value in a batch; with "
            "max_batch_size 0 Triton refuses it",
            "dims: [1] without reshape (ONNX Runtime), or give the tensor an axis (TensorRT)",
            line=line("reshape"),
        )
    elif _parts(tensor.dims) != _parts(shape):
        notes.error(
            "reshape",
            f"{called} has dims {list(tensor.dims)} and reshape {list(shape)}, which do not hold "
            "the same number of values",
            line=line("reshape"),
        )


def _parts(sizes: Sequence[int]) -> list[int]:
    """Number of values before, between and after the sizes that vary."""
    parts: list[list[int]] = [[]]
    for size in sizes:
        if size == -1:
            parts.append([])
        else:
            parts[-1].append(size)
    return [math.prod(part) for part in parts]
