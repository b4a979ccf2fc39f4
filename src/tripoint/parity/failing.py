"""A failing case, saved so that it can be looked at and repeated.

============================  =====================================================
``inputs.npz``                the inputs of the first point at which legs differ
``PyTorch.npz`` ...           what each leg that differs there gave
``case.json``                 the model, the legs, what differs and the command
``model.onnx``                the model, if it has no file of its own
============================  =====================================================

:mod:`tripoint.numeric.npz` says what the ``.npz`` files hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tripoint import commands, files
from tripoint._version import __version__
from tripoint.errors import TripointError
from tripoint.model import Model, save
from tripoint.numeric import npz
from tripoint.numeric.inputs import Arrays
from tripoint.parity.results import LegReport, SavedCase
from tripoint.tolerance.derivation import Given

CASE = "case.json"
INPUTS = "inputs.npz"


@dataclass(frozen=True)
class Subject:
    """Subject of a comparison, as a command names it.

    Args:
        model: The ONNX model.
        torch: Reference to the module, None if there is none.
        fixed: The rewritten model.
        engine: The plan.
        options: Further arguments of the command; see :func:`options`.
    """

    model: Model
    torch: str | None = None
    fixed: Model | None = None
    engine: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass
class FailingCase:
    """Takes the first case that fails.

    Args:
        folder: Where it is written; made when there is something to write.
        subject: What is compared.
        force: Whether files of an earlier case may be replaced.

    Raises:
        OutputError: If the folder is a file, or holds a case already and ``force`` is false.
    """

    folder: Path
    subject: Subject
    force: bool = False
    _inputs: Arrays | None = field(default=None, init=False)
    _written: dict[str, str] = field(default_factory=dict, init=False)
    _differs: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        files.refuse_overwrite(self.folder / CASE, force=self.force)
        if self.force:
            _forget(self.folder)

    def keep(self, inputs: Arrays, outputs: Mapping[str, Arrays], what: str) -> None:
        """Save a case, unless one at other inputs is saved already.

        Args:
            inputs: Array by input name.
            outputs: By leg, array by output name.
            what: The pair or the check that fails.

        Raises:
            OutputError: If the files cannot be written.
        """
        if self._inputs is not None and self._inputs is not inputs:
            return
        with files.result_folder(self.folder):
            if self._inputs is None:
                self._inputs = inputs
                npz.save(self.folder / INPUTS, inputs, force=True)
            for leg, arrays in outputs.items():
                if leg not in self._written:
                    self._written[leg] = f"{_file_name(leg)}.npz"
                    npz.save(self.folder / self._written[leg], arrays, force=True)
        self._differs.append(what)

    def finish(self, legs: Sequence[LegReport]) -> SavedCase | None:
        """Describe the case, if there was one."""
        if self._inputs is None:
            return None
        path = self.subject.model.path
        if path is None:
            path = self.folder / "model.onnx"
            save(self.subject.model, path, force=True)
        command = self._command(path)
        case: dict[str, Any] = {
            "tool": {"name": "tripoint", "version": __version__},
            "model": {"path": str(path), "sha256": self.subject.model.sha256},
            "torch": self.subject.torch,
            "fixed": _path(self.subject.fixed),
            "engine": str(self.subject.engine) if self.subject.engine else None,
            "differs": self._differs,
            "inputs": INPUTS,
            "outputs": self._written,
            "legs": [asdict(leg) for leg in legs],
            "command": command,
        }
        text = json.dumps(case, indent=2, ensure_ascii=False)
        files.write_text(self.folder / CASE, text + "\n", force=True)
        return SavedCase(str(self.folder), command)

    def _command(self, model: Path) -> str | None:
        subject = self.subject
        if subject.torch is not None and not _is_reference(subject.torch):
            return None
        if subject.fixed is not None and subject.fixed.path is None:
            return None
        return commands.command(
            "verify",
            str(model),
            torch=subject.torch,
            fixed=subject.fixed.path if subject.fixed else None,
            engine=subject.engine,
            inputs=self.folder / INPUTS,
            **subject.options,
        )


def options(
    atol: Given,
    rtol: Given,
    output_names: Sequence[str] | None,
    tensorrt: str | None,
    input_names: Sequence[str] | None = None,
) -> dict[str, object]:
    """Return arguments of :func:`tripoint.verify` as :func:`tripoint.commands.options` has them."""
    by_name = {"atol": atol, "rtol": rtol}
    return {
        **{
            name: [f"{output}:{x}" for output, x in each.items()]
            if isinstance(each, Mapping)
            else each
            for name, each in by_name.items()
        },
        "input_names": ",".join(input_names or ()),
        "output_names": ",".join(output_names or ()),
        "tensorrt": tensorrt,
    }


def _forget(folder: Path) -> None:
    """Remove the files of an earlier case, and no others."""
    path = folder / CASE
    try:
        case = json.loads(path.read_text(encoding="utf-8"))
        names = [INPUTS, *case["outputs"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for name in names:
        if isinstance(name, str) and name == f"{_file_name(name.removesuffix('.npz'))}.npz":
            (folder / name).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _file_name(leg: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", leg).strip("-")


def _is_reference(text: str) -> bool:
    from tripoint.sources import reference

    try:
        return isinstance(reference.parse(text), reference.PythonReference)
    except TripointError:
        return False


def _path(model: Model | None) -> str | None:
    return str(model.path) if model is not None and model.path is not None else None
