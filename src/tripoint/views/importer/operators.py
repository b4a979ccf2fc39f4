"""Operators that the importer of each TensorRT version can import, after its own table.

The data is located beside this file. Of each operator it has the versions at which something
changed; an operator with no rows is one that no version imports. Sources: the operator tables of
onnx-tensorrt at the tags 7.0 to 10.1, and the importers that are compiled in at the same tags.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DATA = Path(__file__).with_suffix(".json")

_TYPES: Mapping[str, str] = {"FP32": "FLOAT", "FP16": "HALF"}
"""Types that logs, and so the models of importers, call by another name than the tables."""


@dataclass(frozen=True, slots=True)
class Support:
    """Support of one operator by one version's importer.

    Args:
        supported: Whether the version has an importer for it.
        listed: Whether its table of operators says so; a few have an importer unlisted.
        types: Types that the table allows, by their names in logs (``"FLOAT"``, ``"HALF"``,
            ``"INT32"`` ...). Empty if the table does not say: those of 7.x never do.
        restrictions: What else the table says of it, in our words; empty if nothing.
        since: The oldest modelled version with an importer, for instance ``"8.5"``; None if
            there is none up to the newest.
    """

    supported: bool
    listed: bool
    types: tuple[str, ...]
    restrictions: str
    since: str | None


def support(version: str, op: str) -> Support | None:
    """Return the support of an operator by a version's importer.

    Args:
        version: One of :func:`versions`.
        op: Operator type.

    Returns:
        None if no version's table mentions such an operator.

    Raises:
        KeyError: If there is no table of that version.
    """
    ladder = versions()
    if version not in ladder:
        raise KeyError(version)
    rows = _data()["operators"].get(op)
    if rows is None:
        return None
    since = rows[0]["from"] if rows else None
    place = ladder.index(version)
    reached = [row for row in rows if ladder.index(row["from"]) <= place]
    if not reached:
        return Support(False, False, (), "", since)
    row = reached[-1]
    types = tuple(_TYPES.get(name, name) for name in row.get("types", "").split())
    return Support(True, row.get("listed", True), types, row.get("limits", ""), since)


def versions() -> tuple[str, ...]:
    """The versions that have a table, oldest first."""
    return tuple(_data()["opsets"])


def mentioned() -> tuple[str, ...]:
    """Every operator that some version's table mentions, supported or not."""
    return tuple(_data()["operators"])


def newest_opset(version: str) -> int:
    """The newest version of ONNX's default operator set that a TensorRT version was made for.

    Raises:
        KeyError: If there is no table of that version.
    """
    opset: int = _data()["opsets"][version]
    return opset


def absence(version: str, op: str) -> str:
    """Continues the sentence "TensorRT VERSION has no importer for OP": who has one."""
    supported = support(version, op)
    if supported is None:
        return f"no version up to {versions()[-1]} knows such an operator"
    if supported.since is None:
        return f"no version up to {versions()[-1]} has one"
    return f"TensorRT {supported.since} and later have one"


@functools.cache
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
    return data
