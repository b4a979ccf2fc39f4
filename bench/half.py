"""Check what is derived for float16 and bfloat16 against what these types really cost.

    python bench/half.py FOLDER [PATTERN ...]

FOLDER holds ONNX files in float32, with their weights. Every tensor of floats is made one of the
short type, as ``module.half()`` does. Two runs of ONNX Runtime on the same inputs and the same
rounded weights follow: one rounds each result of an operator to the short type; the other one
computes in float64, or in float32 where ONNX Runtime has no float64 kernels for a model. What
lies between the two is what the type costs. Printed per model, each the largest of its outputs and
points, are the numbers that ``Row`` describes.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.helpers.short_types import TYPES, limit_of, retyped

from tripoint import api
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.dtypes import epsilon
from tripoint.numeric.in_float32 import in_float32
from tripoint.numeric.inputs import Arrays, generate, inputs_of
from tripoint.numeric.ort import Session
from tripoint.parity.rounded import Rounded
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.tolerance.derivation import Budget, Products
from tripoint.tolerance.parts import Parts
from tripoint.tolerance.sensitivity import Sensitivity

DIMS = ("N=1..2..4", "H=64..96..128", "W=64..96..128", "S=16..32..64")


def exact(model: ir.Model, low: ir.DataType) -> tuple[Session, np.dtype[Any]]:
    """The graph without roundings to the short type, and what it computes in."""
    for wide in (ir.DataType.DOUBLE, ir.DataType.FLOAT):
        try:
            return Session(Model(retyped(model, low, wide))), wide.numpy()
        except TripointError:
            if wide == ir.DataType.FLOAT:
                raise
    raise AssertionError


def points(model: Model) -> Iterator[tuple[Mapping[str, int], Arrays]]:
    """Sizes and inputs."""
    known = truth.infer(model.ir).symbols
    spec = Spec.parse([], [each for each in DIMS if each.partition("=")[0] in known])
    specs = inputs_of(model, named=False)
    for seed, sizes in enumerate(api.sweep(model, spec)[:2]):
        yield sizes, generate(specs, sizes, seed, model=model)


def fed(inputs: Arrays, low: ir.DataType, stored: np.dtype[Any]) -> Arrays:
    """Inputs rounded to the short type."""
    return {
        name: array.astype(low.numpy()).astype(stored) if array.dtype == np.float32 else array
        for name, array in inputs.items()
    }


@dataclass(frozen=True)
class Row:
    """One output at one point.

    Args:
        rms: Root mean square of the error, in epsilons of a typical element.
        most: The largest error in the same unit.
        derived: The absolute part that is derived from the graph, in the same unit.
        of_derived: The largest error as a share of what is derived.
        of_allowed: The same of what is allowed after rounding was measured, at inputs that differ
            by a thousandth, so that each number is rounded another way than here.
    """

    rms: float
    most: float
    derived: float
    of_derived: float
    of_allowed: float


def measured(model: Model, low: ir.DataType) -> Iterator[Row]:
    """What the type costs each output at each point."""
    graph = truth.inlined(model.ir).clone()
    truth.annotate(graph)
    short = retyped(graph, low)
    reference, stored = exact(graph, low)
    rounded = Session(Model(in_float32(short, low)))
    budget, costs, sensitivity = Budget(short), Rounded(short), Sensitivity(short)
    eps = epsilon(low.numpy()) or 0.0
    for sizes, inputs in points(model):
        right = reference.run(fed(inputs, low, stored))
        made = rounded.run(fed(inputs, low, low.numpy()))
        named = {
            name: array.astype(low.numpy())
            for name, array in zip(reference.outputs, right, strict=True)
            if array.dtype == stored
        }
        other = {
            name: array * np.float32(1.001) if array.dtype == np.float32 else array
            for name, array in inputs.items()
        }
        here = fed(other, low, low.numpy())
        derived = budget.allowed(named, sizes)
        moved = sensitivity.at(here, sizes, Products.ROUNDED)
        allowed = budget.allowed(named, sizes, moved=moved, rounded=costs.at(here))
        for name, a, b in zip(reference.outputs, right, made, strict=True):
            if name not in named or a.shape != b.shape or not a.size:
                continue
            first, last = derived[name], allowed[name]
            parts = first.parts or Parts(None, (1.0,))
            wide = a.astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                off = np.abs(wide - b.astype(np.float64))
            finite = np.isfinite(off) & (np.abs(wide) < limit_of(low))
            off, wide = np.where(finite, off, 0.0), np.where(finite, np.abs(wide), 0.0)
            share = off / parts.spread(parts.scales) / eps
            yield Row(
                float(np.sqrt(np.square(share).mean())),
                float(share.max()),
                first.rtol / eps,
                float((off / (first.absolute + first.rtol * wide)).max()),
                float((off / (last.absolute + last.rtol * wide)).max()),
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("patterns", nargs="*", default=["*"])
    options = parser.parse_args(arguments)
    beyond = 0
    print("| model | type | rms | max | derived | of derived | of allowed |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(options.folder.glob("*.onnx")):
        if not any(fnmatch.fnmatch(path.stem, pattern) for pattern in options.patterns):
            continue
        for kind, low in TYPES.items():
            try:
                rows = list(measured(api.load(path), low))
            except TripointError as error:
                print(f"| {path.stem} | {kind} | {str(error)[:100]} |", flush=True)
                continue
            worst = [max(column) for column in zip(*map(astuple, rows), strict=True)]
            beyond += worst[-1] > 1
            numbers = " | ".join(f"{number:.2g}" for number in worst)
            print(f"| {path.stem} | {kind} | {numbers} |", flush=True)
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
