"""Looks for mistakes in a Triton model repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tripoint.errors import ExternalStepError, InputError
from tripoint.files import reason
from tripoint.table import format_shape
from tripoint.triton import (
    against,
    backends,
    ensemble,
    exporting,
    fields,
    interface,
    plan,
    repository,
    text,
)
from tripoint.triton.config import FILES
from tripoint.triton.ensemble import Member
from tripoint.triton.findings import Checked, CheckedModel, Notes
from tripoint.triton.interface import Interface
from tripoint.triton.plan import Plan
from tripoint.triton.repository import ModelFile
from tripoint.triton.text import Parsed


def check(folder: Path) -> Checked:
    """Look for mistakes in a repository, without Triton and without a GPU.

    A configuration is compared with the manifest beside its plan, or with its ONNX model, which
    ONNX Runtime loads. Nothing outside of the repository is read.

    Args:
        folder: The repository: the folder around the folders of the models.

    Returns:
        The mistakes, and what could not be compared with why.

    Raises:
        InputError: If the folder cannot be read, or is no repository.
    """
    folders = repository.model_folders(folder)
    models: list[CheckedModel] = []
    members: dict[str, Member] = {}
    noted: list[Notes] = []
    for each in folders:
        notes = Notes(each.name, f"{each.name}/{exporting.CONFIG}")
        members[each.name] = Member(None)
        try:
            models.append(_check_model(each, folder, members, notes))
        except OSError as error:
            notes.error("unreadable", f"it cannot be read: {reason(error)}", file=each.name)
            models.append(CheckedModel(each.name, None, (), ()))
        noted.append(notes)
    for index, (model, notes) in enumerate(zip(models, noted, strict=True)):
        parsed = members[model.name].parsed
        if model.backend == "ensemble" and parsed is not None:
            compared = ensemble.check(parsed, model.name, members, notes)
            models[index] = replace(model, compared=compared)
    findings = [finding for notes in noted for finding in notes.findings]
    unchecked = [skipped for notes in noted for skipped in notes.unchecked]
    return Checked(folder, models, findings, unchecked)


def _check_model(
    folder: Path, root: Path, members: dict[str, Member], notes: Notes
) -> CheckedModel:
    if elsewhere := repository.outside(folder, root):
        notes.warning(
            "outside",
            f"the folder is a link to {elsewhere}, outside the repository",
            file=folder.name,
        )
        notes.skip("the whole model", "it lies outside the repository")
        return CheckedModel(folder.name, None, (), ())
    if folder.name.startswith("."):
        notes.warning(
            "folder-name",
            "Triton takes every folder of a repository for a model, hidden ones, too",
            "keep it outside the repository",
            file=folder.name,
        )
        return CheckedModel(folder.name, None, (), ())
    content = repository.read_config(folder, root, notes)
    parsed = None
    if content is not None:
        try:
            parsed = text.parse(content)
            fields.check(parsed, folder.name, notes)
        except text.TextError as error:
            fields.unreadable(error, notes)
            content = None
    if content is None:
        notes.skip("inputs, outputs and batching", "there is no configuration that can be read")
    versions = repository.read_versions(folder, notes)
    members[folder.name] = Member(parsed, versions)
    backend = backends.backend_of(parsed, repository.infer_backend(folder, versions), notes)
    compared: list[str] = []
    if backend in FILES:
        if parsed is not None:
            _check_policy(parsed, versions, notes)
            backends.check(parsed, backend, notes)
        config = parsed.config if parsed is not None else None
        for file in repository.model_files(folder, root, backend, versions, config, notes):
            described = _interface(file, backend, root, notes)
            members[folder.name] = Member(parsed, versions, described)
            compared += _compare(described, parsed, notes)
    elif backend is not None and backend != "ensemble":
        notes.skip("the model", f"tripoint does not know the models of the backend {backend!r}")
    return CheckedModel(folder.name, backend, versions, compared)


def _check_policy(parsed: Parsed, versions: list[int], notes: Notes) -> None:
    for number in parsed.config.version_policy.specific.versions:
        if number not in versions:
            notes.error(
                "version-policy",
                f"version {number} is to be loaded, and there is no folder {number}",
                f"one of {', '.join(map(str, versions))}" if versions else None,
                line=parsed.line("version_policy", 0, "specific", 0, "versions"),
            )


def _interface(file: ModelFile, backend: str, root: Path, notes: Notes) -> Interface | None:
    if backend == "tensorrt":
        return _of_plan(file, root, notes)
    return _of_onnx(file.path, file.shown, notes)


def _compare(described: Interface | None, parsed: Parsed | None, notes: Notes) -> list[str]:
    """Compare a configuration with one model file; the files that it was compared with."""
    if described is None or parsed is None:
        return []
    if parsed.config.max_batch_size < 0:
        notes.skip("the tensors", "max_batch_size is negative")
        return []
    against.check(parsed, described, notes)
    return [described.source]


def _of_plan(file: ModelFile, root: Path, notes: Notes) -> Interface | None:
    """Return a plan's inputs and outputs: by its manifest, else by the ONNX model beside it."""
    described = plan.manifest_path(file.path)
    shown = str(Path(file.shown).with_name(described.name))
    if described.is_file() and not repository.outside(described, root):
        try:
            built = plan.read(file.path)
        except InputError as error:
            notes.error("manifest", error.fact, error.hint, file=shown)
            notes.skip(file.shown, "its manifest cannot be used")
            return None
        if built is not None:
            _check_machine(built, file, notes)
            return replace(built.interface, source=shown)
    beside = file.path.with_suffix(".onnx")
    if beside.is_file() and not repository.outside(beside, root):
        shown = str(Path(file.shown).with_suffix(".onnx"))
        of_model = _of_onnx(beside, shown, notes)
        if of_model is not None:
            notes.skip(
                file.shown, f"it has no manifest; {shown} was taken for its model, without profiles"
            )
            return replace(of_model, backend="tensorrt", bounded=False)
    notes.skip(
        file.shown,
        f"there is no {described.name} beside it, and a plan does not say what it takes and gives "
        "without a GPU; tripoint build writes both",
    )
    return None


def _check_machine(built: Plan, file: ModelFile, notes: Notes) -> None:
    if built.rtx:
        notes.error("rtx-plan", exporting.rtx(built), file=file.shown)
    else:
        notes.skip(
            f"the TensorRT of Triton, for {file.shown}",
            f"it has to be {built.version}, which built the plan",
        )


def _of_onnx(path: Path, shown: str, notes: Notes) -> Interface | None:
    try:
        loaded = interface.load_model(path)
    except InputError as error:
        notes.error("file-content", error.fact, error.hint, file=shown)
        return None
    except ExternalStepError as error:
        notes.skip(shown, error.fact)
        return None
    for name, said in loaded.untrue.items():
        true = loaded.shapes.get(name) or ()
        if len(said) != len(true):
            notes.error(
                "declared-rank",
                f"output {name!r} is declared {format_shape(said)}, and the graph gives "
                f"{format_shape(true)}: ONNX Runtime then knows no axes of it, and Triton refuses "
                "any dims but those of a scalar",
                "declare the true shape; tripoint triton export writes a copy that does",
                file=shown,
            )
    return replace(loaded.interface, source=shown)
