"""The view of a TensorRT that wrote a verbose log, without the model that it read.

A log holds names, operators, connections and shapes, and neither attributes nor weights. The graph
is rebuilt from it. A size that the parser printed is taken as true; what stands behind a -1 is
decided as far as the log decides it, see :mod:`tripoint.views.log.infer`. Of a -1 that
cannot change from run to run it is known that its dim is lost, even if its size is not.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from tripoint import files
from tripoint.errors import InputError
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.shape_inference.truth import Truth
from tripoint.table import Target, View
from tripoint.views.log import lines, reconstruct, record

_HINT = (
    "record one with trtexec --verbose, trt.Logger(trt.Logger.VERBOSE) or polygraphy convert -vv"
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One model of a log.

    Args:
        version: The TensorRT that wrote it, as far as the log tells: ``"7.1"``, ``"8.2-8.6"``.
        evidence: How the version is known, in one sentence.
        model: The graph, without attributes and weights.
        view: What TensorRT printed.
        truth: What follows from the log about true shapes.
        notes: Sentences about what the log does not show.
    """

    version: str
    evidence: str
    model: Model
    view: View
    truth: Truth
    notes: tuple[str, ...]


def read(path: str | os.PathLike[str]) -> tuple[Recording, ...]:
    """Read every model of a verbose log.

    Args:
        path: The log: of trtexec, a Python program, Polygraphy or any logger that prints the
            parser's lines; copied from a page, too.

    Raises:
        InputError: If the file cannot be read, or no line of a TensorRT parser is in it.
    """
    try:
        with Path(path).open("rb") as stream:
            return read_stream(stream, os.fspath(path))
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        fact = "no such file" if missing else f"cannot be read: {files.reason(error)}"
        raise InputError(fact).within(subject=os.fspath(path)) from error


def read_stdin() -> tuple[Recording, ...]:
    """Return the result of :func:`read`, from stdin.

    Raises:
        InputError: As :func:`read`.
    """
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        return read_stream(copy, "stdin")


def read_stream(stream: BinaryIO, name: str) -> tuple[Recording, ...]:
    """Return the result of :func:`read`, from an open file that allows to seek.

    Args:
        stream: The log.
        name: What to call it.
    """
    recordings = tuple(_recordings(stream, name))
    if not recordings:
        raise InputError("no line of a TensorRT parser is in this file", hint=_HINT).within(
            subject=name
        )
    return recordings


def _recordings(stream: BinaryIO, name: str) -> Iterator[Recording]:
    for each in record.records(lines.read(stream)):
        if not each.events:
            continue
        version, evidence = each.evidence.version()
        built = reconstruct.rebuild(each, Target(name, "log", version))
        yield Recording(version, evidence, built.model, built.view, built.truth, built.notes)


def join(recording: Recording, model: Model) -> View:
    """The recorded view of a model whose file is at hand; tensors are matched by name.

    Args:
        recording: One model of a log.
        model: The model; it is not changed.

    Raises:
        InputError: If no tensor of the log is in the model.
    """
    names = {value.name for value in truth.values(model.ir) if value.name}
    view = recording.view
    shapes = {name: shape for name, shape in view.shapes.items() if name in names}
    if view.shapes and not shapes:
        raise InputError(
            f"none of the {len(view.shapes)} tensors of the log {view.target.name} is in the model",
            hint="the log must have been recorded from this very file; tripoint log shows it",
        )
    reasons = {name: reason for name, reason in view.reasons.items() if name in names}
    return replace(view, shapes=shapes, reasons=reasons)


def of_model(recordings: Sequence[Recording], model: Model) -> View:
    """The view of the recorded model that shares most tensors with a model; see :func:`join`.

    Args:
        recordings: The models of a log.
        model: The model; it is not changed.

    Raises:
        InputError: If no tensor of the log is in the model.
    """
    names = {value.name for value in truth.values(model.ir)}
    nearest = max(recordings, key=lambda each: len(names & each.view.shapes.keys()))
    view = join(nearest, model)
    absent = missing(nearest, model)
    if not absent:
        return view
    listed = f"`{absent[0]}`" + (f" and {len(absent) - 1} more" if len(absent) > 1 else "")
    return replace(view, notes=(f"the log has tensors that the model lacks: {listed}",))


def missing(recording: Recording, model: Model) -> tuple[str, ...]:
    """Tensors of the log that the model lacks, in the order of the log."""
    names = {value.name for value in truth.values(model.ir)}
    return tuple(name for name in recording.view.shapes if name not in names)
