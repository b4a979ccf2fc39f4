"""Arrays by name in a ``.npz`` file, without anything that could execute.

================================  ==========================================================
member ``NAME.npy``               the array in NumPy's format, so that ``numpy.load`` reads it
comment of the member             name of its dtype, if that is none of NumPy's: ``bfloat16``,
                                  ``float8_e4m3fn``, ``int4``, as ml_dtypes calls them
================================  ==========================================================

NumPy's format has no word for these dtypes and keeps the bytes of their elements; so does
``numpy.load``, which knows of no comments. :func:`load` gives arrays back as they were.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tripoint import files
from tripoint.errors import InputError
from tripoint.numeric import dtypes
from tripoint.numeric.dtypes import Array

_SUFFIX = ".npy"


def save(path: Path, arrays: Mapping[str, Array], *, force: bool = False) -> None:
    """Write arrays under any name and of any dtype, a part at a time.

    Args:
        path: Where.
        arrays: Array by name.
        force: Whether an existing file may be replaced.

    Raises:
        OutputError: If the file exists without ``force``, or cannot be written.
    """
    with files.atomic(path, force=force) as temporary:
        write(temporary, arrays)


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """As :func:`save`, but in place.

    Raises:
        OSError: If the file cannot be written.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            plain = np.asarray(array)
            # numpy.savez takes names as keywords, and one of them is its own.
            info = zipfile.ZipInfo(f"{name}{_SUFFIX}")
            if dtypes.is_foreign(plain.dtype):
                info.comment = plain.dtype.name.encode()
                plain = dtypes.as_bytes(plain)
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, plain, allow_pickle=False)


def load(path: Path) -> dict[str, Array]:
    """Read arrays by name. Pickled objects are refused.

    Raises:
        InputError: If the file is missing or not such a file.
    """
    try:
        return read(path)
    except FileNotFoundError as error:
        raise InputError("no such file").within(subject=str(path)) from error
    except Exception as error:
        raise InputError("not a .npz file of plain arrays").within(subject=str(path)) from error


def read(path: Path) -> dict[str, Array]:
    """As :func:`load`, with errors as Python and NumPy raise them."""
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename.removesuffix(_SUFFIX): _member(archive, info)
            for info in archive.infolist()
        }


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        array = np.asarray(np.lib.format.read_array(member, allow_pickle=False))
    if not info.comment:
        return array
    dtype = dtypes.of_ml_dtypes(info.comment.decode(errors="replace"))
    return dtypes.restored({"": array}, {"": dtype})[""] if dtype is not None else array
