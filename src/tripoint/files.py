"""Writing files so that nothing is half-written and nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tripoint.errors import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
}


def reason(error: OSError) -> str:
    """Say in words why the operating system refused.

    Args:
        error: The error as Python raised it.
    """
    text = _REASONS.get(error.errno or 0)
    return text or (error.strerror or str(error))


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise if ``path`` exists and may not be replaced.

    Raises:
        OutputError: If the path is a folder, or exists and ``force`` is false.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a folder, not a file")
    if not force:
        raise OutputError(f"{path} exists", hint="give --force to replace it")


def in_folder(folder: Path, location: str) -> Path:
    """The path of a file below a folder, whose own folders are made where they lack.

    Raises:
        OutputError: If they cannot be made.
    """
    path = folder / location
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    return path


def refuse_same(source: Path, target: Path) -> None:
    """Raise if a result would take the place of what it is made from, forced or not.

    Raises:
        OutputError: If both paths lead to the same file.
    """
    if source.exists() and target.exists() and source.samefile(target):
        raise OutputError(f"{target} is the input itself", hint="choose another place")


@contextlib.contextmanager
def result_folder(path: Path) -> Iterator[Path]:
    """Create a folder for results and make sure that it can be written to.

    Args:
        path: The folder; it may exist.

    Yields:
        The same path. If the block fails before it wrote anything, a folder that was created
        for it is removed again.

    Raises:
        OutputError: If it is a file, cannot be created or cannot be written to.
    """
    created = _make_folder(path)
    try:
        yield path
    except BaseException:
        if created:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _make_folder(path: Path) -> bool:
    """Return whether the folder was created, because it was not there before."""
    try:
        try:
            path.mkdir(parents=True)
            created = True
        except FileExistsError as error:
            if not path.is_dir():
                raise OutputError(f"{path} is a file, not a folder") from error
            created = False
        with tempfile.TemporaryFile(dir=path):
            return created
    except OSError as error:
        raise OutputError(f"cannot write to {path}: {reason(error)}") from error


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, which is removed if it is still there at the end.

    Args:
        path: Where the result will belong.

    Raises:
        OutputError: If no file can be made there.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Let a temporary file take the place of ``path``, with the rights of a new file."""
    temporary.chmod(0o666 & ~_umask())
    temporary.replace(path)


@contextlib.contextmanager
def atomic(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends well.

    Args:
        path: Where the result belongs.
        force: Whether an existing file may be replaced.

    Yields:
        The temporary path. The block writes it; on any error it is removed and ``path`` is
        as it was.

    Raises:
        OutputError: If ``path`` exists without ``force``, or cannot be written.
    """
    refuse_overwrite(path, force=force)
    with temporary(path) as here:
        try:
            yield here
            publish(here, path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}") from error


@contextlib.contextmanager
def lock(path: Path, *, timeout: float = 0.0) -> Iterator[bool]:
    """Be the only process that works on ``path``, as long as all ask here.

    The lock is a hidden file beside it, which goes with the block. A process that dies holds it
    no more.

    Args:
        path: What to work on; it need not exist.
        timeout: Seconds to wait for another process.

    Yields:
        False if another process still holds the lock.

    Raises:
        OSError: If no file can be made there.
    """
    from filelock import FileLock, Timeout

    path.parent.stat()  # the library would make a folder that is not there
    beside = path.with_name(f".{path.name}.lock")
    holder = FileLock(beside, timeout=timeout)
    try:
        holder.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: who waits on a file that was removed takes a new one.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        holder.release()


def write_text(path: Path, text: str, *, force: bool = False) -> None:
    """Write ``text`` as UTF-8, atomically.

    Raises:
        OutputError: As :func:`atomic`.
    """
    with atomic(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
