"""Ranges of symbols that an export recorded in the model.

==============================================================  ================================
``tripoint.dims`` in the metadata of the model                  ``tripoint export``, either
                                                                exporter: ``N=1..8..32 S=16..64``
``pkg.torch.export.ExportedProgram.range_constraints`` in the   ``torch.onnx.export`` with
metadata of the graph                                           ``dynamo=True``:
                                                                ``{s77: VR[1, 32]}``
==============================================================  ================================

PyTorch records the ranges under names of its own. Where a dim got a name, its range can be told
only if it is the only one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.spec import Range, parse_dim

KEY = "tripoint.dims"
_TORCH = "pkg.torch.export.ExportedProgram.range_constraints"
_CONSTRAINT = re.compile(r"(\w+): VR\[(\d+), (\d+|int_oo)\]")
_ASSUMED = 2
"""torch.export takes dims for at least 0 or 2 by itself, which says nothing of the graph."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Range that an export recorded of one symbol.

    Args:
        min: Smallest size, at least 1.
        opt: The size to tune for, None if that was not recorded.
        max: Largest size, None if there is no limit.
        by: Who recorded it.
    """

    min: int
    opt: int | None
    max: int | None
    by: str


def record(model: ir.Model, ranges: Mapping[str, Range]) -> None:
    """Leave ranges in a model.

    Args:
        model: Changed in place.
        ranges: Range by symbol.
    """
    if ranges:
        model.metadata_props[KEY] = " ".join(f"{name}={size}" for name, size in ranges.items())


def recorded(model: ir.Model, symbols: Collection[str]) -> dict[str, Recorded]:
    """Return the ranges that an export recorded, by symbol.

    Args:
        model: The model; what cannot be read in it is left out.
        symbols: The symbols of its inputs.
    """
    ranges: dict[str, Recorded] = {}
    constraints = _CONSTRAINT.findall(model.graph.metadata_props.get(_TORCH) or "")
    if len(constraints) == 1 == len(symbols):
        constraints = [(next(iter(symbols)), *constraints[0][1:])]
    for name, low, high in constraints:
        least, most = max(1, int(low)), None if high == "int_oo" else int(high)
        if name in symbols and (least > _ASSUMED if most is None else most >= least):
            ranges[name] = Recorded(least, None, most, "torch.export")
    for text in (model.metadata_props.get(KEY) or "").split():
        with contextlib.suppress(UsageError):
            name, size = parse_dim(text)
            if name in symbols:
                ranges[name] = Recorded(size.min, size.opt, size.max, "tripoint export")
    return ranges
