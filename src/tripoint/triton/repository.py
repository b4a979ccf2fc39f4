"""The folders of a model repository, read without leaving it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.errors import InputError
from tripoint.files import reason
from tripoint.triton.config import FILES
from tripoint.triton.exporting import CONFIG
from tripoint.triton.findings import Notes

_LARGEST_CONFIG = 1 << 20
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_OTHER_FOLDERS = frozenset({"warmup", "initial_state", "configs"})
_SUFFIXES = {"tensorrt": (".plan", ".engine", ".trt"), "onnxruntime": (".onnx",)}
_LFS = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The model file of one version.

    Args:
        version: The version.
        path: The file; it exists and is not empty.
        shown: Its path relative to the repository.
    """

    version: int
    path: Path
    shown: str


def model_folders(repository: Path) -> list[Path]:
    """The folders of a repository, which Triton takes for models.

    Raises:
        InputError: If it is no folder, cannot be read, or is not a repository.
    """
    try:
        entries = sorted(repository.iterdir())
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        fact = "no such folder" if missing else f"cannot be read: {reason(error)}"
        raise InputError(fact).within(subject=str(repository)) from error
    if (repository / CONFIG).is_file():
        raise InputError(
            f"this is the folder of one model: {CONFIG} lies in it",
            hint=f"give the folder around it: tripoint triton check {repository.parent}",
        ).within(subject=str(repository))
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise InputError(
            "there is no model in this folder", hint="tripoint triton export writes one"
        ).within(subject=str(repository))
    return folders


def outside(path: Path, repository: Path) -> Path | None:
    """Return the target of a path if that is out of the repository, by a link or its own parts."""
    try:
        # Unlike Path.resolve, it takes links in a circle for what they are: no file.
        target = Path(os.path.realpath(path))
    except ValueError:  # a NUL in a name
        return None
    return None if target.is_relative_to(repository.resolve()) else target


def read_config(folder: Path, repository: Path, notes: Notes) -> str | None:
    """The text of a model's configuration; None, with a finding, if there is none to read."""
    path = folder / CONFIG
    if not path.is_file():
        _missing_config(folder, notes)
        return None
    if elsewhere := outside(path, repository):
        notes.warning("outside", f"the file is a link to {elsewhere}, outside the repository")
        notes.skip(CONFIG, "it lies outside the repository")
        return None
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            notes.error(
                "config-text",
                f"the file has {path.stat().st_size} bytes, which no configuration has",
            )
            return None
        return path.read_text(encoding="utf-8")
    except OSError as error:
        notes.error("config-text", f"the file cannot be read: {reason(error)}")
    except UnicodeDecodeError as error:
        notes.error("config-text", f"the file is not UTF-8 text: byte {error.start} is odd")
    return None


def _missing_config(folder: Path, notes: Notes) -> None:
    inside = [path for path in sorted(folder.glob(f"*/{CONFIG}")) if path.is_file()]
    alike = [path for path in sorted(folder.glob("[cC]onfig*")) if path.is_file()]
    if inside:
        notes.error(
            "config-place",
            f"Triton reads {CONFIG} in the folder of the model, not in {inside[0].parent.name}/",
            f"move it to {notes.config}",
        )
    elif alike:
        notes.error(
            "config-place",
            f"Triton reads {CONFIG}, not {alike[0].name}",
            f"rename it to {notes.config}",
        )
    else:
        notes.warning(
            "missing-config",
            f"there is no {CONFIG}: Triton makes one up from the model, with no say on batching, "
            "and its outputs in the order of the plan",
            "write one, such as with tripoint triton export",
        )


def read_versions(folder: Path, notes: Notes) -> list[int]:
    """The versions of a model, smallest first."""
    versions: list[int] = []
    ignored: list[str] = []
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name in _OTHER_FOLDERS:
            continue
        if _VERSION.fullmatch(entry.name):
            versions.append(int(entry.name))
        else:
            ignored.append(entry.name)
    for name in ignored:
        notes.warning(
            "version-name",
            f"Triton reads no version from the folder {name!r}",
            "name version folders 1, 2, 3 and so on, without leading zeros",
            file=f"{notes.model}/{name}",
        )
    if not versions:
        files = [path.name for path in sorted(folder.iterdir()) if _is_model(path)]
        write = f"move {files[0]} to" if files else "put the model file into"
        notes.error(
            "missing-version",
            "there is no version folder, so Triton has nothing to load",
            f"{write} {notes.model}/1/",
            file=notes.model,
        )
    return sorted(versions)


def _is_model(path: Path) -> bool:
    return path.suffix in {s for suffixes in _SUFFIXES.values() for s in suffixes}


def infer_backend(folder: Path, versions: list[int]) -> str | None:
    """The backend that Triton takes where the configuration names none, by the model file."""
    for version in versions[:1]:
        for backend, name in FILES.items():
            if (folder / str(version) / name).is_file():
                return backend
    return None


def model_files(
    folder: Path, repository: Path, backend: str, versions: list[int], config: Any, notes: Notes
) -> Iterator[ModelFile]:
    """The model files that Triton will load, with a finding for each that it will not find."""
    default = FILES[backend]  # type: ignore[index]
    default_name = (config.default_model_filename if config is not None else "") or default
    for version in versions:
        place = folder / str(version)
        others = dict(config.cc_model_filenames) if config is not None else {}
        for name in dict.fromkeys((default_name, *(others[key] for key in sorted(others)))):
            path, shown = place / name, f"{notes.model}/{version}/{name}"
            if elsewhere := outside(path, repository):
                notes.warning(
                    "outside",
                    f"{name!r} leads to {elsewhere}, outside the repository",
                    "copy the file into the version folder",
                    file=f"{notes.model}/{version}",
                )
                notes.skip(shown, "it lies outside the repository")
            elif not path.is_file():
                if backend == "onnxruntime" and (path / default).is_file():
                    notes.skip(shown, "a model that is a folder")
                else:
                    _missing_file(place, name, backend, version, notes)
            elif _has_content(path, shown, notes):
                yield ModelFile(version, path, shown)


def _missing_file(place: Path, name: str, backend: str, version: int, notes: Notes) -> None:
    shown = f"{notes.model}/{version}"
    others = sorted(
        path.name
        for path in place.iterdir()
        if path.suffix in _SUFFIXES[backend] and path.is_file()
    )
    if others:
        notes.error(
            "file-name",
            f"Triton looks for {name!r} here, and finds {', '.join(map(repr, others))}",
            f'rename it to {name}, or write default_model_filename: "{others[0]}"',
            file=shown,
        )
        return
    for other, file in FILES.items():
        if other != backend and (place / file).is_file():
            notes.error(
                "file-name",
                f"the backend {backend} looks for {name!r} here, and finds {file!r}, which is "
                f"for {other}",
                f'backend: "{other}" without a platform',
                file=shown,
            )
            return
    notes.error(
        "missing-file",
        f"there is no {name!r}",
        f"put the model file at {shown}/{name}",
        file=shown,
    )


def _has_content(path: Path, shown: str, notes: Notes) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_LFS))
    except OSError as error:
        notes.error("file-content", f"the file cannot be read: {reason(error)}", file=shown)
        return False
    if not start:
        notes.error("file-content", "the file is empty", "copy it again", file=shown)
    elif start == _LFS:
        notes.error(
            "file-content",
            "the file is a pointer of Git LFS, not the model",
            "run git lfs pull",
            file=shown,
        )
    return bool(start) and start != _LFS
