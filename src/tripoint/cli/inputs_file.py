"""Reading inputs from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tripoint.errors import InputError


def read_inputs(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by input name out of a ``.npz`` file. Pickled objects are refused.

    Raises:
        InputError: If the file is missing or not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InputError("no such file").within(subject=str(path)) from error
    except Exception as error:
        raise InputError("not a .npz file of plain arrays").within(subject=str(path)) from error
