"""Arrays by name in a ``.npz`` file, without anything that could execute."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tripoint import files
from tripoint.errors import InputError


def save(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], *, force: bool = False) -> None:
    """Write arrays under any name, a part at a time.

    Args:
        path: Where.
        arrays: Array by name. The format forgets the dtypes of ml_dtypes; whoever reads them
            knows from the model what they are.
        force: Whether an existing file may be replaced.

    Raises:
        OutputError: If the file exists without ``force``, or cannot be written.
    """
    with files.atomic(path, force=force) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            # numpy.savez takes names as keywords, and one of them is its own.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def load(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read arrays by name. Pickled objects are refused.

    Raises:
        InputError: If the file is missing or not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError as error:
        raise InputError("no such file").within(subject=str(path)) from error
    except Exception as error:
        raise InputError("not a .npz file of plain arrays").within(subject=str(path)) from error
