"""A folder with the smallest model that shows a difference, and the command that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from tripoint import commands, files
from tripoint import model as models
from tripoint.model import Model
from tripoint.numeric import npz
from tripoint.parity.locate.graph import Graph, Part
from tripoint.parity.locate.results import Culprit
from tripoint.sanitize import clean

MODEL, REFERENCE = "model.onnx", "reference.onnx"
INPUTS, EXPECTED, README = "inputs.npz", "expected.npz", "README.md"
NAMES = (MODEL, REFERENCE, INPUTS, EXPECTED, README)


@dataclass(frozen=True)
class Options:
    """Command-line options of the comparison of two legs of a kind.

    Args:
        kind: ``"model"`` for two graphs in ONNX Runtime, ``"engine"`` for a graph in ONNX
            Runtime and one in TensorRT, ``"recorded"`` where the reference has no graph.
        more: Further arguments of ``tripoint locate``.
    """

    kind: Literal["model", "engine", "recorded"]
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """Destination of a repro.

    Args:
        folder: The folder; it may exist.
        force: Whether files in it may be replaced.
    """

    folder: Path
    force: bool = False

    def refuse_overwrite(self) -> None:
        """Raise if a file is in the way; to be called before a long search.

        Raises:
            OutputError: If one exists without ``force``, or the folder is a file.
        """
        for name in NAMES:
            files.refuse_overwrite(self.folder / name, force=self.force)


@dataclass(frozen=True)
class Case:
    """Data that a repro is written from.

    Args:
        graph: The graph whose part is wrong.
        reference: That of the reference, None if it has none.
        part: The part.
        values: Those of the reference, by name of its inputs and outputs.
        title: The two legs.
    """

    graph: Graph
    reference: Graph | None
    part: Part
    values: Mapping[str, np.ndarray[Any, Any]]
    title: str


def write(target: Target, case: Case, options: Options, culprit: Culprit | None) -> Path:
    """Write the folder; weights of the part are copied into the model.

    Args:
        target: Where.
        case: What it is made from.
        options: How the two legs are compared.
        culprit: What the difference is, for the description.

    Returns:
        The folder.

    Raises:
        OutputError: If a file exists without ``force``, or cannot be written.
    """
    freeze = options.kind == "engine"
    model = _inlined(case.graph.cut(case.part, case.values, freeze=freeze))
    inputs = _inputs(model, case.values)
    expected = {value.name or "": case.values[value.name or ""] for value in case.part.outputs}
    reference = _reference(case, inputs, freeze=freeze)
    subject, arguments = _arguments(
        options, alone=case.reference is case.graph, reference=reference
    )
    with files.result_folder(target.folder) as folder:
        models.save(model, folder / MODEL, force=target.force)
        if reference is not None and subject == REFERENCE:
            models.save(reference, folder / REFERENCE, force=target.force)
        for name, arrays in ((INPUTS, inputs), (EXPECTED, expected)):
            npz.save(folder / name, arrays, force=target.force)
        text = _readme(case, commands.command("locate", subject, **arguments), culprit)
        files.write_text(folder / README, text, force=target.force)
    return target.folder


def _inlined(model: Model) -> Model:
    return Model(ir.external_data.load_to_model(model.ir))


def _inputs(
    model: Model, values: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the inputs of the model, in the types that it takes."""
    return {
        value.name or "": values[value.name or ""].astype(value.dtype.numpy(), copy=False)
        if value.dtype is not None
        else values[value.name or ""]
        for value in model.ir.graph.inputs
    }


def _reference(
    case: Case, inputs: Mapping[str, np.ndarray[Any, Any]], *, freeze: bool
) -> Model | None:
    """The same part of the other graph; None if it does not take the same inputs."""
    same = case.reference.counterpart(case.part) if case.reference is not None else None
    if case.reference is None or same is None:
        return None
    if any(value.name not in case.values for value in same.inputs):
        return None
    model = case.reference.cut(same, case.values, freeze=freeze)
    taken = {value.name: value for value in model.ir.graph.inputs}
    if taken.keys() != inputs.keys():
        return None
    for name, array in inputs.items():
        dtype = taken[name].dtype
        if dtype is not None and dtype.numpy() != array.dtype:
            return None
    return _inlined(model)


def _arguments(
    options: Options, *, alone: bool, reference: Model | None
) -> tuple[str, dict[str, object]]:
    """The model and the arguments of the command that shows the difference."""
    built = options.kind == "engine"
    model, other = MODEL, {"expected": EXPECTED}
    if built and alone:
        other = {}
    elif reference is not None and options.kind in ("engine", "model"):
        model, other = REFERENCE, {"fixed" if built else "against": MODEL}
    return model, {**other, "build": built, "inputs": INPUTS, **options.more}


def _readme(case: Case, command: str, culprit: Culprit | None) -> str:
    lines = [f"# {clean(case.title)}: {_count(len(case.part.nodes))}", ""]
    if culprit is not None:
        at = f", {culprit.source}" if culprit.source else ""
        allowed = f"{culprit.tolerance.atol:.3g} + {culprit.tolerance.rtol:.3g} · |reference|"
        detail = f" ({clean(culprit.detail)})" if culprit.detail else ""
        inside = "".join(f", inside {_code(each)}" for each in reversed(culprit.within))
        lines += [
            f"Node `{_code(culprit.node)}` ({_code(culprit.op)}){inside}{clean(at)} makes an error "
            f"in `{_code(culprit.tensor)}`: {culprit.error_alone:.3g}, where {allowed} is allowed"
            f"{detail}.",
            "",
        ]
    lines += [
        "Run this here; it exits with 1 where the difference is:",
        "",
        "```",
        command,
        "```",
        "",
        f"`{INPUTS}` has what the reference feeds these nodes with, `{EXPECTED}` what it makes of "
        "it.",
    ]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return clean(text).replace("`", "'")


def _count(nodes: int) -> str:
    return "a node that differs" if nodes == 1 else f"{nodes} nodes that differ together"
