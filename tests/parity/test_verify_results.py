"""What a comparison says, keeps and saves, and how much memory it takes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import tripoint
from tests.helpers.fault_models import branches, detector, torch_of
from tests.helpers.faults import FAULTS, changed, followed, only_at, renamed_outputs
from tests.helpers.graphs import build, onnx_text
from tests.helpers.paths import ROOT
from tripoint.cli import app
from tripoint.engine import builder, manifest
from tripoint.errors import ExternalStepError, InputError, OutputError, UsageError
from tripoint.model import Model, save
from tripoint.numeric import npz
from tripoint.numeric.inputs import inputs_of
from tripoint.parity import rebuild
from tripoint.parity.classes import looks_like_classes, top_agreement
from tripoint.parity.compare import compare_outputs
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs import Leg
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.parity.results import Verification
from tripoint.parity.verify import Engine, verify
from tripoint.report.verification import verification
from tripoint.sources.flatten import flatten
from tripoint.sources.python import TorchModel
from tripoint.spec import Range, Spec
from tripoint.testing import assert_equivalent
from tripoint.tolerance.derivation import Tolerance
from tripoint.trt import execute as runner
from tripoint.trt import gpu

pytestmark = pytest.mark.needs_torch

LOOSE = Tolerance(1e-3, 1e-3, "for this test")
SIZES = [{"N": 1}, {"N": 3}, {"N": 4}]
Array = np.ndarray[Any, Any]


def compared(a: Array, b: Array, name: str = "y") -> Any:
    (entry,) = compare_outputs({name: a}, {name: b}, {name: LOOSE}, pair="A / B")
    return entry


# Single outputs


def test_integers_and_booleans_are_exact_with_a_rate() -> None:
    ints = np.arange(10)
    wrong = np.where(ints == 4, 7, ints)
    entry = compared(ints, wrong)
    assert (entry.status, entry.agreement, entry.max_abs, entry.index) == (
        "different",
        0.9,
        3,
        (4,),
    )
    assert entry.detail == "90.0000% of the elements agree"
    assert compared(ints, ints.copy()).agreement == 1.0
    flags = np.array([True, False, True, True])
    entry = compared(flags, ~flags)
    assert (entry.status, entry.agreement) == ("different", 0.0)
    large = np.array([2**53, 2**63 - 1])
    entry = compared(large, large - np.array([0, 1]))
    assert (entry.status, entry.agreement) == ("different", 0.5)


@pytest.mark.parametrize("name", ["int4", "uint4", "float8_e4m3fn", "bfloat16", "float16"])
def test_rare_dtypes(name: str) -> None:
    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, name, name))
    a = np.array([1, 2, 3], np.float32).astype(dtype)
    assert compared(a, a.copy()).status == "equal"
    entry = compared(a, np.array([1, 2, 4], np.float32).astype(dtype))
    assert entry.status == "different"
    assert (entry.agreement is not None) == ("int" in name)


def test_complex_numbers_are_compared_in_both_parts() -> None:
    a = np.array([1 + 2j, 3 - 1j], np.complex64)
    assert compared(a, a.copy()).status == "equal"
    assert compared(a, a.conj()).status == "different"


def test_how_much_is_told_against_what_is_allowed_there() -> None:
    reference = np.array([[0.0, 1000.0]], np.float32)
    entry = compared(reference, np.array([[0.005, 1000.5]], np.float32))
    assert entry.max_abs == 0.5
    assert entry.excess == pytest.approx(5.0)
    assert entry.index == (0, 0)


def test_which_side_is_not_finite() -> None:
    fine, bad = np.ones(4, np.float32), np.array([1, np.nan, np.inf, np.nan], np.float32)
    entry = compared(fine, bad)
    assert (entry.status, entry.detail) == ("nan", "2 of 4 nan in B")
    assert compared(bad, fine).detail == "2 of 4 nan in A"
    infinite = np.array([1, np.inf, 1, 1], np.float32)
    same = compared(infinite, infinite)
    assert (same.status, same.detail) == ("equal", "1 of 4 are NaN or infinite in both")
    assert compared(infinite, -infinite).status == "inf"
    assert compared(infinite, np.array([1, 1, np.inf, 1], np.float32)).status == "inf"


def test_axes_in_another_order_are_named() -> None:
    a = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    assert compared(a, a.transpose(0, 2, 1, 3)).axes == (0, 2, 1, 3)
    moved = compared(a, a.transpose(0, 3, 1, 2))
    assert (moved.status, moved.axes) == ("shape", (0, 3, 1, 2))
    assert moved.detail == "[2, 3, 3, 4] and [2, 4, 3, 3]; its axes are in the order [0, 3, 1, 2]"
    assert compared(a, a + 1).axes is None
    assert compared(a, a.transpose(0, 2, 1, 3) + 1).axes is None


def test_rankings_are_told_beside_the_verdict() -> None:
    logits = np.eye(20, dtype=np.float32)[[3, 7, 11, 2]]
    other = logits.copy()
    other[0, 5] = 1.0005
    entry = compared(logits, other)
    assert (entry.status, entry.top.rows, entry.top.top1, entry.top.top5) == (
        "different",
        4,
        0.75,
        1,
    )
    barely = logits.copy()
    barely[0, 5] = 1.0
    assert compared(logits, barely).status == "different"
    few = top_agreement(logits[:, :4], logits[:, :4])
    assert (few.top1, few.top5) == (1.0, None)
    assert looks_like_classes("out", logits)
    assert not looks_like_classes("out", logits[None])
    assert looks_like_classes("cls_logits", logits[None])
    assert not looks_like_classes("scores", logits[:, :1])
    assert not looks_like_classes("scores", logits[0])


# Memory


def peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["equal", "different"])
def test_comparing_takes_no_copy(shift: float) -> None:
    reference = np.ones((64, 512, 512), np.float32)
    other = reference + np.float32(shift)
    taken = peak(lambda: compared(reference, other))
    assert taken < reference.nbytes / 2


class Large:
    """A leg whose output is much larger than its input."""

    version, device, tf32 = "1", "cpu", False

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": np.full((3072, 3072), inputs["x"][0], np.float32)}

    def run_many(self, points: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        return map(self.run, points)


def test_three_legs_take_twice_the_largest_output() -> None:
    model = onnx_text(
        "g (float[1] x) => (float[3072,3072] y) <int64[2] s = {3072, 3072}>{ y = Expand(x, s) }"
    )
    points = [Point({}, {"x": np.array([n], np.float32)}, n) for n in range(1, 3)]
    legs: list[Leg] = [Large("PyTorch"), Large("ONNX Runtime"), Large("ONNX Runtime (fixed)")]
    taken = peak(lambda: compare_legs(model, inputs_of(model), legs, points))
    # Twice, and a few parts that are at work.
    assert taken < 2 * 3072 * 3072 * 4 + 16_000_000


# Verdicts


def test_a_size_at_which_no_leg_runs_is_passed_over() -> None:
    model = onnx_text(
        "g (float[N] x) => (float[M,4] y) <int64[2] s = {-1, 4}>{ y = Reshape(x, s) }"
    )

    class Rows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(-1, 4)

    sizes = [{"N": size} for size in (4, 6, 8, 12)]
    result = verify(model, torch=TorchModel.of(Rows()), bindings=sizes)
    assert [leg.status for leg in result.legs] == ["ran", "ran", "not run"]
    assert [point.sizes["N"] for point in result.points] == [4, 8, 12]
    (_, note) = result.notes
    assert note.startswith("no leg runs at x:6: PyTorch: forward failed: RuntimeError")


def test_a_leg_that_fails_at_one_size_says_where() -> None:
    model = onnx_text("g (float[N] x) => (float[N] y) { y = Relu(x) }")

    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert len(x) != 6, "not six"
            return x.relu()

    sizes = [{"N": size} for size in (4, 6, 8)]
    result = verify(model, torch=TorchModel.of(Picky()), bindings=sizes)
    assert result.verdict == "unproven"
    assert result.reasons[0].startswith("PyTorch failed: at x:6: forward failed: AssertionError")
    assert len(result.points) == 3
    assert [len(point.outputs) for point in result.points] == [1, 0, 1]


def test_rows_that_every_leg_mixes_are_what_the_model_does() -> None:
    model = onnx_text(
        "g (float[N,2] x) => (float[N,2] y) <int64[1] a = {0}>"
        "{ m = ReduceMean <keepdims = 1> (x, a)  y = Sub(x, m) }"
    )

    class Centred(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0, keepdim=True)

    result = verify(model, torch=TorchModel.of(Centred()), bindings=SIZES)
    assert result.verdict == "unproven"
    assert "PyTorch: same row twice is different in y (off by" in " ".join(result.reasons)


def test_nan_in_every_leg_proves_nothing() -> None:
    model = onnx_text("g (float[N] x) => (float[N] y) { z = Sub(x, x)  y = Div(z, z) }")
    result = verify(model, fixed=model, bindings=[{"N": 40}])
    assert (result.verdict, result.unsuited) == ("unproven", True)
    assert any(
        reason.startswith("ONNX Runtime: no NaN or Inf is different in y (")
        for reason in result.reasons
    )
    given = verify(model, fixed=model, inputs=[{"x": np.ones(3, np.float32)}])
    assert given.points[0].outputs[0].status == "covered"
    assert any("y is covered" in reason for reason in given.reasons)


def test_nan_that_is_meant_is_no_difference() -> None:
    model = onnx_text("g (float[N] x) => (float[N] y) { y = Sqrt(x) }")
    result = verify(model, fixed=model, inputs=[{"x": np.array([-1, 4, -1], np.float32)}])
    (entry,) = result.points[0].outputs
    assert (entry.status, entry.detail) == ("equal", "2 of 3 are NaN or infinite in both")
    assert all("was not run" in reason for reason in result.reasons)


def test_a_mask_of_infinities_is_no_difference_and_hides_none() -> None:
    text = """g (float[N,8] x, bool[N,8] m) => (float[N,8] y)
        <float fill = {-inf}, float by = {%s}> { z = Add(x, by)  y = Where(m, z, fill) }"""
    right, wrong = (onnx_text(text % by) for by in ("0.0", "0.5"))
    assert "different" not in verify(right, fixed=right, bindings=[{"N": 5}]).verdict
    assert verify(right, fixed=wrong, bindings=[{"N": 5}]).verdict == "different"


def test_the_report_says_which_sizes_and_how_much() -> None:
    model = detector()
    broken = changed(followed("anchors_conv", only_at(3)))(model)
    result = verify(broken, torch=torch_of(model), bindings=SIZES)
    text = "\n".join(verification(result))
    assert "sizes tried: N=1, 3, 4" in text
    assert "different at x:3x3x8x8" in text
    assert "top-1 100.00%" in text
    (reason, *_) = result.reasons
    assert reason.startswith(
        "PyTorch / ONNX Runtime: output anchors is different at 1 of 3 points: "
        "off by 0.1 at x:3x3x8x8"
    )
    assert "times what is allowed" in reason
    static = verify(onnx_text("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert "those of the model, with 3 sets of inputs" in "\n".join(verification(static))


# Failing cases


@pytest.fixture
def cli() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A model and the same with two outputs swapped, as files."""
    good = save(detector(), tmp_path / "good.onnx")
    bad = changed(renamed_outputs({"boxes": "anchors", "anchors": "boxes"}))(detector())
    return good.path or Path(), save(bad, tmp_path / "a bad one.onnx").path or Path()


def test_a_failing_case_is_saved_and_repeats(
    cli: Callable[..., Result], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    good, bad = pair
    folder = tmp_path / "case"
    call = ("verify", good, "--fixed", bad, "--dim", "N=1..2..4", "-q", "--save-failing", folder)
    first = cli(*call, "--rtol", "1e-6")
    assert first.exit_code == 1, first.output
    assert {path.name for path in folder.iterdir()} == {
        "case.json",
        "inputs.npz",
        "ONNX-Runtime.npz",
        "ONNX-Runtime-fixed.npz",
    }
    case = json.loads((folder / "case.json").read_text())
    assert case["model"]["path"] == str(good)
    assert case["differs"] == ["ONNX Runtime / ONNX Runtime (fixed)"]
    assert f"repeat it: {case['command']}" in first.stdout
    outputs = {leg: npz.load(folder / name) for leg, name in case["outputs"].items()}
    one, other = outputs["ONNX Runtime"], outputs["ONNX Runtime (fixed)"]
    assert np.array_equal(one["boxes"], other["anchors"])
    program, *arguments = shlex.split(case["command"])
    assert program == "tripoint"
    assert arguments[-2:] == ["--rtol", "1e-06"]
    again = cli(*arguments, "-q")
    assert again.exit_code == 1
    assert "anchors holds boxes" in again.stdout
    kept = (folder / "case.json").read_bytes()
    assert cli(*call).exit_code == 2
    assert (folder / "case.json").read_bytes() == kept
    (folder / "mine.txt").write_text("mine")
    fine = cli("verify", good, "--fixed", good, *call[4:], "--force")
    assert fine.exit_code == 0, fine.output
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_case_of_objects_keeps_the_model_and_no_command(tmp_path: Path) -> None:
    good = detector()
    broken = changed(followed("anchors_conv", only_at(3)))(good)
    folder = tmp_path / "deep" / "case"
    result = tripoint.verify(broken, torch=torch_of(good), points=SIZES, save_failing=folder)
    assert result.failing is not None
    assert result.failing.command is None
    assert npz.load(folder / "inputs.npz")["x"].shape == (3, 3, 8, 8)
    assert tripoint.load(folder / "model.onnx").nodes == broken.nodes


def test_no_case_no_folder(tmp_path: Path) -> None:
    model = detector()
    result = tripoint.verify(model, fixed=model, points=SIZES, save_failing=tmp_path / "case")
    assert result.failing is None
    assert not (tmp_path / "case").exists()


def test_a_check_that_fails_is_saved_too(tmp_path: Path) -> None:
    rows = "float[N,4] x | int64 axis = {0}"
    model = build(rows, "y = CumSum(x, axis)", 17, "float[N,4] y")
    result = tripoint.verify(model, points=SIZES, save_failing=tmp_path / "case")
    assert any(check.status == "different" for check in result.metamorphic)
    before = npz.load(tmp_path / "case" / "ONNX-Runtime-before.npz")
    after = npz.load(tmp_path / "case" / "ONNX-Runtime-after.npz")
    assert not np.array_equal(before["y"], after["y"])


def test_a_case_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "case").write_text("a file")
    good = detector()
    broken = changed(followed("anchors_conv", only_at(3)))(good)
    with pytest.raises(OutputError, match="is a file"):
        tripoint.verify(broken, torch=torch_of(good), points=SIZES, save_failing=tmp_path / "case")


# Rebuilt engines


class Engines:
    """Stands in for the execution of plans; each holds a number to add to one output."""

    def execute(self, plan: Path, points: list[dict[str, Array]], **_: object) -> list[Any]:
        leg = OnnxRuntimeLeg(detector())
        add = np.float32(plan.read_text())
        return [{k: v + add if k == "boxes" else v for k, v in leg.run(p).items()} for p in points]


@pytest.mark.parametrize(("second", "status"), [("0", "equal"), ("0.5", "different")])
def test_a_rebuilt_engine_is_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, second: str, status: str
) -> None:
    monkeypatch.setattr(runner, "execute_each", Engines().execute)
    monkeypatch.setattr(gpu, "absence", lambda: None)
    (tmp_path / "one.plan").write_text("0")
    (tmp_path / "two.plan").write_text(second)
    result = verify(
        detector(),
        engine=Engine(tmp_path / "one.plan"),
        rebuilt=Engine(tmp_path / "two.plan"),
        bindings=SIZES,
    )
    (check,) = [entry for entry in result.metamorphic if entry.check == "rebuild agrees"]
    assert (check.status, check.leg) == (status, "TensorRT")
    assert result.verdict == ("different" if status == "different" else "unproven")
    refused = verify(detector(), rebuilt="no engine was given", bindings=SIZES)
    (check,) = [entry for entry in refused.metamorphic if entry.check == "rebuild agrees"]
    assert (check.status, check.reason) == ("not applicable", "no engine was given")


def test_an_engine_is_built_again_as_its_manifest_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = save(detector(), tmp_path / "model.onnx")
    plan = tmp_path / "model.plan"
    asked: dict[str, Any] = {}

    def build(_: Model, output: Path, **options: Any) -> Any:
        asked.update(options)
        return SimpleNamespace(engine=output)

    monkeypatch.setattr(builder, "build", build)
    engine = Engine(plan, tensorrt="tensorrt", tf32=False)
    assert "is not there" in str(rebuild.again(engine, model, tmp_path))
    content = {
        "schema_version": "1.0",
        "model": {"sha256": model.sha256},
        **{key: {} for key in ("engine", "tensorrt", "inputs", "outputs")},
        "flags": {"tf32": False, "optimization_level": 2},
        "profiles": [[{"name": "x", "min": [1, 3], "opt": [2, 3], "max": [4, 3]}]],
        "target": {"compute_capabilities": ["9.0"]},
    }
    manifest.path_for(plan).write_text(json.dumps(content))
    again = rebuild.again(engine, model, tmp_path)
    assert isinstance(again, Engine)
    assert again.plan == tmp_path / "rebuilt.plan"
    assert again.tf32 is False
    assert asked["profiles"][0].inputs[0].max == (4, 3)
    assert asked["options"].optimization_level == 2
    assert (asked["tf32"], asked["compute_capabilities"]) == (False, ["9.0"])
    assert rebuild.again(engine, detector(), tmp_path) == "the engine was built from another file"

    def refuse(*_: object, **__: object) -> None:
        raise ExternalStepError("out of memory")

    monkeypatch.setattr(builder, "build", refuse)
    assert rebuild.again(engine, model, tmp_path) == "it could not be built again: out of memory"


@pytest.mark.gpu
def test_a_real_engine_agrees_with_its_rebuild(tmp_path: Path) -> None:
    model = save(detector(), tmp_path / "model.onnx")
    spec = Spec(dims={"N": Range(1, 2, 4)})
    tripoint.build(model, tmp_path / "model.plan", spec=spec)
    result = tripoint.verify(model, engine=tmp_path / "model.plan", spec=spec, rebuild=True)
    checks = {check.check: check.status for check in result.metamorphic if check.leg == "TensorRT"}
    assert checks["rebuild agrees"] == "equal"


GPU_FAULTS = [
    fault
    for fault in FAULTS
    if fault.leg is None and fault.name not in ("random numbers in the graph",)
]


@pytest.mark.gpu
@pytest.mark.parametrize("fault", GPU_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_in_a_real_engine(fault: Any, tmp_path: Path) -> None:
    model = fault.model()
    ranges = {"N": Range(1, 8, 32)} | ({"L": Range(1, 6, 12)} if "ids" in inputs_of(model) else {})
    spec = Spec(dims=ranges)
    broken = save(fault.broken(model), tmp_path / "broken.onnx")
    tripoint.build(broken, tmp_path / "broken.plan", spec=spec, tf32=False)
    result = tripoint.verify(model, engine=tmp_path / "broken.plan", spec=spec)
    assert result.verdict == "different", result.reasons
    wrong = {e.name: e.status for p in result.points for e in p.outputs if not e.equal}
    assert dict(fault.outputs).items() <= wrong.items()
    # What is chosen may change with what it is chosen by.
    exact = {each.name for each in model.ir.graph.outputs if each.dtype == ir.DataType.INT64}
    assert wrong.keys() - fault.outputs.keys() <= exact
    found = result.permutation.outputs if result.permutation else None
    assert found == fault.permutation


# In a test suite


def test_the_assertion_passes_and_returns_what_was_found(tmp_path: Path) -> None:
    model = save(branches(), tmp_path / "branches.onnx")
    module = torch_of(branches()).module
    result = assert_equivalent(module, model.path or "", dims={"N": (1, 3)})
    assert isinstance(result, Verification)
    assert {point.sizes["N"] for point in result.points} == {1, 2, 3}
    assert_equivalent(None, model, fixed=model, dims={"N": (1, 2, 4)})


def test_the_assertion_fails_with_the_report(tmp_path: Path) -> None:
    good = detector()
    broken = changed(renamed_outputs({"boxes": "anchors", "anchors": "boxes"}))(good)
    with pytest.raises(AssertionError) as failure:
        assert_equivalent(torch_of(good), broken, dims={"N": 2})
    text = str(failure.value)
    assert text.startswith("not equivalent\n")
    assert "permutation (PyTorch / ONNX Runtime): " in text
    assert "verdict: different" in text
    with pytest.raises(UsageError, match="nothing to compare"):
        assert_equivalent(None, good)
    with pytest.raises(InputError, match="no such file"):
        assert_equivalent(None, good, tmp_path / "none.plan", dims={"N": 2})


def test_a_leg_that_is_given_must_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "probe", lambda: SimpleNamespace(devices=(), reason="no GPU here"))
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"a plan")
    model = detector()
    with pytest.raises(AssertionError, match="TensorRT was not run: no GPU here"):
        assert_equivalent(torch_of(model), model, plan, dims={"N": 2})
    result = assert_equivalent(torch_of(model), model, plan, dims={"N": 2}, allow_unproven=True)
    assert result.verdict == "unproven"


SUITE = """
import pytest
from torch import nn

def test_passes(assert_equivalent):
    assert_equivalent(nn.ReLU(), {good!r}, dims={{"N": (1, 3)}})

def test_fails(assert_equivalent):
    assert_equivalent(nn.Sigmoid(), {good!r}, dims={{"N": (1, 3)}})
"""


def test_pytest_has_the_fixture(tmp_path: Path) -> None:
    model = onnx_text("g (float[N] input) => (float[N] y) { y = Relu(input) }")
    path = save(model, tmp_path / "relu.onnx").path
    (tmp_path / "test_export.py").write_text(SUITE.format(good=str(path)))
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, sys.path))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tripoint.pytest_plugin", "-q", "test_export.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "AssertionError: not equivalent" in ran.stdout
    assert "output y is different at 3 of 3 points" in ran.stdout
    # The failure is shown where the test asserts, not inside tripoint.
    assert "def assert_equivalent(" not in ran.stdout


def test_the_entry_point_leads_to_the_plugin() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"tripoint": "tripoint.pytest_plugin"}


# Names of nested outputs


def cache_of(*layers: tuple[torch.Tensor, torch.Tensor] | None) -> SimpleNamespace:
    """As transformers has them: told by their attributes."""
    return SimpleNamespace(
        get_seq_length=lambda: 1,
        layers=[
            SimpleNamespace(
                is_initialized=layer is not None,
                keys=layer[0] if layer else None,
                values=layer[1] if layer else None,
            )
            for layer in layers
        ],
    )


def test_caches_are_flattened_to_layers() -> None:
    one = torch.ones(1)
    cache = cache_of((one, one), None, (one, one))
    names = ["logits", "past.0.keys", "past.0.values", "past.2.keys", "past.2.values"]
    assert list(flatten({"logits": one, "loss": None, "past": cache})) == names
    both = SimpleNamespace(
        self_attention_cache=cache_of((one, one)), cross_attention_cache=cache_of((one, one))
    )
    assert list(flatten({"past": both})) == [
        "past.self_attention.0.keys",
        "past.self_attention.0.values",
        "past.cross_attention.0.keys",
        "past.cross_attention.0.values",
    ]
    with pytest.raises(InputError, match="output past of the module is a SimpleNamespace"):
        flatten({"past": SimpleNamespace(layers=[one])})


@pytest.mark.parametrize("code", [3, 0], ids=["strict", "lenient"])
def test_strict_makes_unproven_a_failure(
    cli: Callable[..., Result], pair: tuple[Path, Path], code: int
) -> None:
    options = ["--strict"] if code else []
    result = cli("verify", pair[0], "--dim", "N=1..2..4", "-q", "--points", "2", *options)
    assert result.exit_code == code, result.output
    assert "sizes tried: N=1, 2" in result.stdout
