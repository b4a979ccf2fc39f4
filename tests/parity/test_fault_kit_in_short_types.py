"""The fault kit in float16 and bfloat16: all that is larger than their cost is found."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.helpers.fault_models import branches, detector, encoder, torch_of
from tests.helpers.faults import FAULTS, LARGER, Fault
from tests.helpers.short_types import TYPES, retyped
from tests.parity.test_fault_kit import sizes_of
from tripoint.model import Model
from tripoint.numeric.in_float32 import exactly, in_float32
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.numeric.ort import Session
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.parity.results import TENSORRT, Verification
from tripoint.parity.verify import verify
from tripoint.shape_inference import truth
from tripoint.sources.python import TorchModel

pytestmark = pytest.mark.needs_torch

TIMES = 8.0
"""Two right results lie up to twice as far apart as each errs; a fault is four times that."""
PLAIN = 4.0
"""Outputs in which a fault is so many times larger still are all named."""
ALL = "TRIPOINT_EVERY_FAULT" in os.environ
"""Whether every fault is tried in both types, which takes a few minutes."""


def short(model: Model, low: ir.DataType) -> Model:
    graph = model.ir.clone()
    truth.annotate(graph)
    return Model(retyped(graph, low))


@functools.cache
def good_in(make: Callable[[], Model], kind: str) -> Model:
    return short(make(), TYPES[kind])


def torch_in(make: Callable[[], Model], kind: str) -> TorchModel:
    return TorchModel.of(torch_of(make()).module.to(getattr(torch, kind)))


def points_of(model: Model) -> list[Point]:
    specs = inputs_of(model)
    return [
        Point(sizes, generate(specs, sizes, seed, model=model), seed)
        for seed, sizes in enumerate(sizes_of(model))
    ]


def sizes_in(fault: Fault, kind: str) -> dict[str, float]:
    """By output how much larger a fault is than what rounding to the type costs.

    Both are measured without rounding anything to the type, but the weights and inputs. Infinite
    where nothing but the fault moves an output, or names, shapes or places of NaN differ.
    """
    low = TYPES[kind]
    good = good_in(fault.model, kind)
    broken = short(fault.broken(fault.model()), low)
    exact, wrong = (Session(Model(exactly(each.ir))) for each in (good, broken))
    rounded = Session(Model(in_float32(good.ir, low)))
    most: dict[str, float] = {}
    for point in points_of(good):
        wide = {
            name: array.astype(np.float32) if array.dtype == low.numpy() else array
            for name, array in point.inputs.items()
        }
        a, b = (dict(zip(s.outputs, s.run(wide), strict=True)) for s in (exact, wrong))
        made = dict(zip(rounded.outputs, rounded.run(point.inputs), strict=True))
        for name in {*a, *b}:
            most[name] = max(most.get(name, 0.0), _times(a.get(name), b.get(name), made.get(name)))
    return most


def _times(right: np.ndarray | None, wrong: np.ndarray | None, rounded: np.ndarray | None) -> float:
    if right is None or wrong is None or rounded is None or right.shape != wrong.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        fault, cost = (np.abs(right.astype(np.float64) - each) for each in (wrong, rounded))
    if not np.array_equal(np.isfinite(right), np.isfinite(wrong)):
        return np.inf
    size = float(fault[np.isfinite(fault)].max(initial=0.0))
    costs = float(cost[np.isfinite(cost)].max(initial=0.0))
    return 0.0 if not size else size / costs if costs else np.inf


def compared(fault: Fault, kind: str) -> Verification:
    good = good_in(fault.model, kind)
    broken = short(fault.broken(fault.model()), TYPES[kind])
    engine = OnnxRuntimeLeg(broken, name=TENSORRT)
    legs = [OnnxRuntimeLeg(good), fault.leg(engine) if fault.leg else engine]
    return compare_legs(good, inputs_of(good), legs, points_of(good))


TOO_SMALL = {
    "one changed weight": (0.94, 0.081),
    "one changed weight of the first layer": (0.95, 0.11),
    "a changed row of the embedding": (1.5, 0.73),
    "another epsilon": (1.5, 0.19),
    "epsilon of another framework": (0.013, 0.0017),
    "scale of attention": (0.0, 0.0),
    "Gelu by tanh": (0.55, 0.048),
    "each row leaks into the next": (None, 3.4),
    "random numbers in the graph": (None, 2.0),
    "float16 where float32 was": (0.0, 0.0),
}
"""Faults that float16 and bfloat16 hide, with their size in what the type costs; None if it does
not hide them. Those of size 0 are none there: a rounded weight is the same, or all is float16."""
CASES = [
    pytest.param(fault, kind, id=f"{fault.name}-{kind}")
    for number, fault in enumerate([*FAULTS, *LARGER])
    for kind in (TYPES if ALL else [list(TYPES)[number % 2]])
]


@pytest.mark.parametrize(("fault", "kind"), CASES)
def test_a_fault_larger_than_what_the_type_costs_is_found(fault: Fault, kind: str) -> None:
    beyond = fault.leg is not None or "inf" in fault.outputs.values()
    sizes = dict.fromkeys(fault.outputs, np.inf) if beyond else sizes_in(fault, kind)
    largest = max(sizes.values())
    hidden = TOO_SMALL.get(fault.name, (None, None))[list(TYPES).index(kind)]
    if hidden is not None:
        # The figure depends on the inputs that are made up.
        assert hidden / 2 <= largest <= min(2 * hidden, TIMES)
    else:
        assert largest > TIMES
    result = compared(fault, kind)
    wrong = [entry for point in result.points for entry in point.outputs if entry.wrong]
    named = {entry.name for entry in wrong}
    assert (result.verdict == "different") or hidden is not None
    assert named >= {name for name, size in sizes.items() if size > PLAIN * TIMES}
    assert named <= {name for name, size in sizes.items() if size}
    assert {(entry.name, entry.status) for entry in wrong} <= set(fault.outputs.items())
    assert (
        hidden is not None
        or not fault.permutation
        or (result.permutation is not None and result.permutation.outputs == fault.permutation)
    )
    failed = {entry.check for entry in result.metamorphic if entry.status == "different"}
    assert failed <= set(fault.checks)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("make", [detector, encoder, branches], ids=lambda make: make.__name__)
def test_without_a_fault_there_is_no_alarm(make: Callable[[], Model], kind: str) -> None:
    model = good_in(make, kind)
    sizes = sizes_of(model)
    for seed in range(40 if ALL else 2):
        at = [sizes[seed % len(sizes)]]
        result = verify(model, torch=torch_in(make, kind), bindings=at, seed=1000 * seed)
        wrong = [entry for point in result.points for entry in point.outputs if entry.wrong]
        # Of numbers that are equal in the type, either may be the largest; and the square of a
        # hundred is beyond float16 in PyTorch, which is told.
        ties = [entry for entry in wrong if entry.name == "best"]
        beyond = [entry for entry in wrong if (entry.name, kind) == ("energy", "float16")]
        assert len(ties) + len(beyond) == len(wrong), result.reasons
        assert all((entry.agreement or 0.0) >= 0.9 for entry in ties)
        assert {entry.status for entry in beyond} <= {"inf"}
        assert {leg.status for leg in result.legs if leg.name != TENSORRT} == {"ran"}
