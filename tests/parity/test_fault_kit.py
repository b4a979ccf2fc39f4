"""Every fault of the kit is found and named; without a fault there is no alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from tests.helpers.fault_models import branches, detector, encoder, torch_of
from tests.helpers.faults import FAULTS, Fault
from tripoint.model import Model
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.parity.results import TENSORRT, Verification
from tripoint.parity.verify import verify
from tripoint.profiles import points as sizes_to_try
from tripoint.spec import Range

pytestmark = pytest.mark.needs_torch

RANGES = {"detector": {"N": Range(1, 8, 32)}, "branches": {"N": Range(1, 2, 4)}}
RANGES["encoder"] = {"N": Range(1, 2, 8), "L": Range(1, 6, 12)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than these models take, where other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sizes_of(model: Model) -> list[dict[str, int]]:
    return sizes_to_try.sweep(RANGES[model.ir.graph.name or ""])


def stand_in(fault: Fault) -> Verification:
    """ONNX Runtime on the good model against ONNX Runtime, as TensorRT, on the broken one."""
    model = fault.model()
    specs = inputs_of(model)
    engine = OnnxRuntimeLeg(fault.broken(model), name=TENSORRT)
    points = [
        Point(sizes, generate(specs, sizes, seed, model=model), seed)
        for seed, sizes in enumerate(sizes_of(model))
    ]
    legs = [OnnxRuntimeLeg(model), fault.leg(engine) if fault.leg else engine]
    return compare_legs(model, specs, legs, points)


def check(fault: Fault, result: Verification, leg: str) -> None:
    assert result.verdict == "different", result.reasons
    wrong = [entry for point in result.points for entry in point.outputs if entry.wrong]
    assert {(entry.name, entry.status) for entry in wrong} == set(fault.outputs.items())
    named = result.permutation.outputs if result.permutation else None
    assert named == fault.permutation
    # A batch of one hides which of two axes of size 1 is which.
    axes = {entry.name: entry.axes for entry in wrong if entry.axes}
    assert axes == fault.axes
    failed = {entry.check for entry in result.metamorphic if entry.status == "different"}
    assert failed == set(fault.checks)
    assert {e.leg for e in result.metamorphic if e.status == "different"} <= {leg}
    for name, status in fault.outputs.items():
        assert any(f"output {name} is {status} at" in reason for reason in result.reasons)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_between_onnx_runtime_and_its_stand_in_for_tensorrt(fault: Fault) -> None:
    check(fault, stand_in(fault), TENSORRT)


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.in_the_file], ids=lambda fault: fault.name
)
def test_a_fault_between_pytorch_and_onnx_runtime(fault: Fault) -> None:
    model = fault.model()
    result = verify(fault.broken(model), torch=torch_of(model), bindings=sizes_of(model))
    if fault.name == "NaN in one branch":
        # Inputs follow the file: the operand of its root is positive at all points but one more.
        fault = replace(fault, checks=())
    check(fault, result, "ONNX Runtime")


# No fault, no alarm


def agree(model: Model, seed: int) -> None:
    """PyTorch and ONNX Runtime agree at three sets of inputs of one size."""
    every = sizes_of(model)
    sizes = every[seed % len(every)]
    result = verify(model, torch=torch_of(model), bindings=[sizes], seed=1000 * seed)
    assert result.verdict == "unproven", result.reasons
    # Of one key, attention is 1 for all inputs, which is told and no alarm.
    others = [reason for reason in result.reasons if " is vacuous: " not in reason]
    assert others == ["TensorRT was not run: no engine was given"]
    # Three, and those that move what the usual inputs do not.
    assert 3 <= len(result.points) <= 6
    statuses = {entry.status for point in result.points for entry in point.outputs}
    assert statuses <= {"equal", "vacuous"}
    assert ("vacuous" in statuses) == bool(result.vacuous)


@pytest.mark.parametrize("seed", range(67))
@pytest.mark.parametrize("make", [detector, encoder, branches], ids=lambda make: make.__name__)
def test_without_a_fault_there_is_no_alarm(make: Callable[[], Model], seed: int) -> None:
    agree(make(), seed)
