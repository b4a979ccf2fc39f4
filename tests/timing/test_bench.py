"""Measuring in turns, and the command that does."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from tests.helpers.fake_machine import Cuda, Port, TensorRT
from tests.helpers.fake_machine import Plan as EnginePlan
from tripoint.api import timed_legs
from tripoint.api.timing import bench
from tripoint.cli import app
from tripoint.model import load
from tripoint.report import bench as report
from tripoint.spec import Spec
from tripoint.timing import legs
from tripoint.timing.interleave import MOST_RUNS, Plan, Summary, interleave, order, summarize
from tripoint.trt import bindings, devices, gpu, process
from tripoint.trt import cuda as cuda_task
from tripoint.trt.gpu import Device, Probe

QUICK = Plan(rounds=2, warm_up=1, seconds=0.0)


@pytest.fixture
def model(tmp_path) -> Path:
    graph = onnx.parser.parse_graph("g (float[N,4] x) => (float[N,4] y) { y = Relu (x) }")
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    path = tmp_path / "relu.onnx"
    onnx.save(proto, path)
    return path


@pytest.fixture
def module(tmp_path) -> str:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        print('noise')\n"
        "        return torch.relu(x)\n"
        "class Broken(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        raise RuntimeError('it broke')\n"
    )
    return f"{path}:Net"


# Turns


def test_every_leg_has_a_turn_in_every_round_and_another_begins():
    events: list[str] = []

    def turn(name):
        def run(runs):
            events.append(f"{name}{runs}")
            return runs * (1e-3 if name == "a" else 2e-3)

        return run

    found = interleave(
        [turn("a"), turn("b")], [3, 5], 3, lambda leg: events.append(f"before {leg}")
    )
    assert events[1::2] == ["a3", "b5", "b5", "a3", "a3", "b5"]
    assert events[::2] == [f"before {leg}" for leg in (0, 1, 1, 0, 0, 1)]
    assert found == [pytest.approx([1, 1, 1]), pytest.approx([2, 2, 2])]


def test_drift_hits_all_alike():
    """A machine that gets slower with every turn does not favour who comes first."""
    clock = iter(range(1, 100))
    found = interleave([lambda _: next(clock), lambda _: next(clock)], [1, 1], 20)
    a, b = (summarize(samples).median for samples in found)
    assert a == pytest.approx(b, rel=0.05)


@pytest.mark.parametrize(
    ("count", "number", "wanted"), [(0, 3, []), (1, 3, [0]), (3, 4, [1, 2, 0])]
)
def test_order(count, number, wanted):
    assert order(count, number) == wanted


@pytest.mark.parametrize(
    ("one", "runs"), [(0.01, 5), (1.0, 1), (0.0, MOST_RUNS), (1e-9, MOST_RUNS), (0.049, 1)]
)
def test_runs_of_a_turn(one, runs):
    assert Plan(seconds=0.05).runs(one) == runs


def test_summary():
    assert summarize([4, 1, 2, 3, 5]) == Summary(3, 2, 4, 1, 5)
    assert summarize([7.0]) == Summary(7, 7, 7, 7, 7)


# Legs


def names(result) -> list[tuple[str, str]]:
    return [(leg.name, leg.status) for leg in result.legs]


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "probe", lambda: Probe((), "there is none"))


@pytest.mark.usefixtures("without_gpu")
def test_legs_that_cannot_run_are_listed(model):
    result = bench(load(model), spec=Spec.parse(dims=["N=1..2..4"]), plan=QUICK)
    assert names(result) == [
        ("PyTorch", "not run"),
        ("PyTorch (torch.compile)", "not run"),
        ("ONNX Runtime", "timed"),
        ("TensorRT (exported graph)", "not run"),
        ("TensorRT (fixed graph)", "not run"),
    ]
    assert result.reference == "ONNX Runtime"
    (timed,) = (leg for leg in result.legs if leg.status == "timed")
    assert timed.ratio == 1
    assert timed.milliseconds.min <= timed.milliseconds.median <= timed.milliseconds.max
    assert all(leg.reason for leg in result.legs if leg.status != "timed")
    assert result.shapes == {"x": (2, 4)}


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("at", "size"), [("min", 1), ("opt", 2), ("max", 4)])
def test_sizes(model, at, size):
    result = bench(load(model), spec=Spec.parse(dims=["N=1..2..4"]), at=at, plan=QUICK)
    assert result.shapes == {"x": (size, 4)}


@pytest.mark.needs_torch
@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("copies", [False, True])
def test_pytorch_is_timed(model, module, copies):
    result = bench(
        load(model), torch=module, spec=Spec.parse(dims=["N=2"]), plan=QUICK, copies=copies
    )
    found = {leg.name: leg for leg in result.legs}
    assert found["PyTorch"].status == "timed"
    assert result.reference == "PyTorch"
    assert found["ONNX Runtime"].ratio == pytest.approx(
        found["ONNX Runtime"].milliseconds.median / found["PyTorch"].milliseconds.median
    )
    # Compiling takes a compiler, which may be missing; either way the leg says so.
    compiled = found["PyTorch (torch.compile)"]
    assert compiled.status == "timed" or compiled.reason
    assert ("NumPy" in result.timed) == copies


@pytest.mark.needs_torch
@pytest.mark.usefixtures("without_gpu")
def test_module_that_raises_is_a_leg_that_failed(model, module):
    broken = module.replace(":Net", ":Broken")
    result = bench(load(model), torch=broken, spec=Spec.parse(dims=["N=2"]), plan=QUICK)
    found = {leg.name: leg for leg in result.legs}
    assert found["PyTorch"].status == "failed"
    assert "it broke" in found["PyTorch"].reason
    assert found["ONNX Runtime"].status == "timed"


@pytest.mark.needs_torch
@pytest.mark.usefixtures("without_gpu")
def test_leg_that_takes_the_process_down_is_left_out(model, tmp_path):
    path = tmp_path / "kills.py"
    path.write_text(
        "import os, signal, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    result = bench(load(model), torch=f"{path}:Net", spec=Spec.parse(dims=["N=2"]), plan=QUICK)
    found = {leg.name: leg for leg in result.legs}
    for name in ("PyTorch", "PyTorch (torch.compile)"):
        assert found[name].status == "failed"
        assert signal.Signals.SIGSEGV.name in found[name].reason
        assert f"preparing {name}" in found[name].reason
    assert found["ONNX Runtime"].status == "timed"


@pytest.mark.needs_torch
def test_time_that_is_up_ends_the_command(model, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "probe", lambda: Probe((), "there is none"))
    path = tmp_path / "sleeps.py"
    path.write_text(
        "import time, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        time.sleep(100)\n"
    )
    with pytest.raises(process.WorkerError, match="stopped after"):
        bench(load(model), torch=f"{path}:Net", spec=Spec.parse(dims=["N=2"]), timeout=3)


def test_engines_that_need_different_environments(model, tmp_path, monkeypatch):
    device = Device(0, "Fake", "9.0", 1)
    monkeypatch.setattr(gpu, "probe", lambda: Probe((device,), None))
    monkeypatch.setattr(bindings, "find", lambda _: bindings.Binding("t", "1", "rtx"))
    paths = []
    for name, value in (("a", None), ("b", "0"), ("c", None)):
        path = tmp_path / f"{name}.plan"
        path.write_bytes(b"plan")
        keys = ("model", "engine", "tensorrt", "inputs", "outputs")
        content = {"schema_version": "1.0", **{key: {} for key in keys}}
        content["environment"] = {"NVIDIA_TF32_OVERRIDE": value}
        path.with_name(f"{name}.manifest.json").write_text(json.dumps(content))
        paths.append(path)
    found = timed_legs.engine_legs(load(model), paths, Spec(), None, tmp_path, None, print)
    assert [leg.name for leg in found] == [f"TensorRT ({path.name})" for path in paths]
    assert [leg.request is not None for leg in found] == [True, False, True]
    assert "another environment" in found[1].reason


def doubling(values_decide=False):
    """x to twice that, and a size that values decide if that is asked for."""
    size = -1 if values_decide else 2
    return EnginePlan(
        [Port("x", (2,))],
        [Port("y", (size,))],
        lambda *_: {"y": (size,)},
        lambda fed: {"y": 2 * fed["x"]},
    )


@pytest.mark.parametrize(
    ("plan", "graphs", "copies", "clock", "how"),
    [
        (doubling(), 8, False, "CUDA events", "CUDA graph"),
        (doubling(), 0, False, "CUDA events", "no CUDA graph"),
        (doubling(), 8, True, "wall clock", "CUDA graph"),
        (doubling(True), 8, False, "CUDA events", "no CUDA graph; asks for the memory"),
        (doubling(True), 8, True, "wall clock", "no CUDA graph; values decide the size"),
    ],
)
def test_engine_leg(tmp_path, monkeypatch, plan, graphs, copies, clock, how):
    cuda = Cuda()
    trt = TensorRT(cuda, plan)
    monkeypatch.setattr(bindings, "load", lambda _: trt)
    monkeypatch.setattr(cuda_task, "runtime", lambda: cuda)
    monkeypatch.setattr(devices, "describe", lambda *_: {"name": "Fake"})
    path = tmp_path / "model.plan"
    path.write_bytes(b"plan")
    x = np.array([1, 2], np.float32)
    leg = legs.EngineLeg(path, "fake", {"x": x}, graphs=graphs, copies=copies, tf32=True)
    assert leg.facts["clock"] == clock
    assert leg.facts["how"].startswith(how)
    assert leg.facts["device"] == "Fake"
    cuda.calls.clear()
    seconds = leg.turn(5)
    assert ("cudaMemcpyAsync" in cuda.calls) == copies
    if not copies:
        assert seconds == pytest.approx(5e-3), "five runs, each one thing that is queued"


# The command


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


QUICKLY = ("--rounds", "2", "--warm-up", "1", "--turn", "0")


@pytest.mark.usefixtures("without_gpu")
def test_command_prints_all_legs(model):
    done = invoke(model, "--dim", "N=2", *QUICKLY, "-q")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("relu.onnx at x 2x4")
    assert lines[1].startswith("timed without copies")
    assert any(line.lstrip().startswith("ONNX Runtime  cpu") for line in lines)
    assert "  PyTorch: not run: no PyTorch module was given" in lines
    assert any("TensorRT (fixed graph): not run: " in line for line in lines)


@pytest.mark.usefixtures("without_gpu")
def test_json(model, tmp_path):
    target = tmp_path / "bench.json"
    arguments = (model, "--dim", "N=2", *QUICKLY, "--format", "json", "--output-file", target)
    assert invoke(*arguments, "-q").exit_code == 0
    found = json.loads(target.read_text())
    assert found["command"] == "bench"
    assert found["rounds"] == 2
    assert found["copies"] is False
    legs = {leg["name"]: leg for leg in found["legs"]}
    assert legs["ONNX Runtime"]["milliseconds"].keys() == {"median", "low", "high", "min", "max"}
    assert legs["PyTorch"]["milliseconds"] is None
    again = invoke(*arguments)
    assert again.exit_code == 2
    assert "--force" in again.output


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "without a range"),
        (("--dim", "M=2"), 2, "no dimension named M"),
        (("--dim", "N=2", "--engine", "none.plan"), 2, "no such file"),
        (("--dim", "N=2", "--torch", "none.py:Net"), 2, "none.py"),
        (("--dim", "N=2", "--tensorrt", "x"), 2, "no TensorRT is known by the name"),
        (("--dim", "N=2", "--rounds", "0"), 2, "rounds"),
    ],
)
def test_usage(model, arguments, code, message):
    done = invoke(model, *arguments, *([] if "--rounds" in arguments else QUICKLY))
    assert done.exit_code == code, done.output
    assert message in done.output
    assert "Traceback" not in done.output


@pytest.mark.usefixtures("without_gpu")
def test_nothing_to_time_is_a_failure(tmp_path):
    graph = onnx.parser.parse_graph("g (float[4] x) => (float[4] y) { y = Nonsense (x) }")
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    path = tmp_path / "nonsense.onnx"
    onnx.save(proto, path)
    done = invoke(path, *QUICKLY)
    assert done.exit_code == 4, done.output
    assert "ONNX Runtime: failed: " in done.output


def test_names_are_cleaned():
    from tripoint.timing.results import Bench, LegTiming

    leg = LegTiming("bad\x1b[2J", "failed", "so\x1b[31m")
    result = Bench({"x\x1b": (1,)}, False, "t", 1, 1, None, (leg,))
    assert "\x1b" not in os.linesep.join(report.bench("m\x1b", result))
