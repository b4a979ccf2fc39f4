from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tripoint.errors import OutputError
from tripoint.files import atomic, refuse_overwrite, result_folder, write_text


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_atomic_writes_and_replaces_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "ö\n")
    assert path.read_bytes() == b"\xc3\xb6\n"
    with pytest.raises(OutputError, match=r"exists[\s\S]*--force"):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "ö\n"
    write_text(path, "new", force=True)
    assert path.read_text(encoding="utf-8") == "new"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        assert os.umask(mask) == 0o027
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("old", ["old", None])
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "x")])
def test_an_exception_leaves_the_old_file(
    tmp_path: Path, old: str | None, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old, encoding="utf-8")
    expected = OutputError if isinstance(error, OSError) else type(error)

    def write_half() -> None:
        with atomic(path, force=True) as temporary:
            assert temporary.parent == tmp_path
            temporary.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(expected):
        write_half()
    assert {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir()} == (
        {"a.txt": "old"} if old else {}
    )


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
@pytest.mark.parametrize("step", ["create", "write", "replace"])
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str, step: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    owner, name = {
        "create": (tempfile, "mkstemp"),
        "write": (Path, "write_text"),
        "replace": (Path, "replace"),
    }[step]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing(number))
        with pytest.raises(OutputError) as caught:
            write_text(path, "new", force=True)
    assert str(caught.value) == f"cannot write {path}: {words}"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text(encoding="utf-8") == "old"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, force, message in [
        (tmp_path, True, "is a folder, not a file"),
        (tmp_path / "absent" / "a.txt", False, "No such file or directory"),
        (tmp_path / "file" / "a.txt", False, "Not a directory"),
    ]:
        with pytest.raises(OutputError, match=message):
            write_text(path, "x", force=force)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        write_text(tmp_path / ("n" * 300), "x")
    with (
        pytest.raises(OutputError, match="File name too long"),
        result_folder(tmp_path / ("n" * 300)),
    ):
        pass


def test_folder_that_may_not_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "stat", failing(errno.EACCES))
    with pytest.raises(OutputError, match="permission denied"):
        refuse_overwrite(tmp_path / "a", force=False)


def test_refuse_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a"
    refuse_overwrite(path, force=False)
    path.touch()
    refuse_overwrite(path, force=True)
    with pytest.raises(OutputError, match="exists"):
        refuse_overwrite(path, force=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"), result_folder(tmp_path):
        raise AssertionError("entered")
    with pytest.raises(OutputError, match="permission denied"):
        write_text(tmp_path / "a", "")


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_result_folder_at_or_below_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("old", encoding="utf-8")
    entered = False
    with (
        pytest.raises(OutputError, match=r"not a folder|Not a directory") as caught,
        result_folder(tmp_path / "file" / below),
    ):
        entered = True
    assert not entered
    assert str(tmp_path / "file") in str(caught.value)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"


def test_result_folder_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(errno.ENOSPC))
    with pytest.raises(OutputError, match="the disk is full"), result_folder(tmp_path / "out"):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("exists", "writes", "stays"),
    [(False, False, False), (False, True, True), (True, False, True)],
)
def test_result_folder_after_a_failure(
    tmp_path: Path, exists: bool, writes: bool, stays: bool, error: type[BaseException]
) -> None:
    path = tmp_path / "out"
    if exists:
        path.mkdir()

    def fail() -> None:
        with result_folder(path) as folder:
            assert folder.is_dir()
            if writes:
                (folder / "a").touch()
            raise error

    with pytest.raises(error):
        fail()
    assert path.exists() == stays


def test_result_folder_stays_after_success(tmp_path: Path) -> None:
    with result_folder(tmp_path / "a" / "b") as folder:
        pass
    assert list(folder.iterdir()) == []
