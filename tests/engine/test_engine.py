"""The child process, building, manifests and plans, through their public functions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx_ir as ir
import pytest

from tests.helpers.marks import RTX, needs_rtx
from tripoint.engine import builder, inspect, manifest
from tripoint.errors import (
    ExternalStepError,
    InputError,
    MissingDependencyError,
    OutputError,
    UsageError,
)
from tripoint.model import Model, sha256
from tripoint.profiles import profile
from tripoint.spec import Spec
from tripoint.trt import array_ipc, bindings, gpu, process
from tripoint.trt.gpu import Device

ODD_TENSORRT = """
import ctypes, enum, os, time
__version__ = "10.0.0"
class ILogger:
    class Severity(enum.Enum):
        ERROR = 1; WARNING = 2; INFO = 3; VERBOSE = 4
class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
class Network:
    num_layers = num_inputs = num_outputs = 0
class Builder:
    def __init__(self, logger): pass
    def create_network(self, flags): return Network()
class OnnxParser:
    num_errors = 0
    def __init__(self, network, logger): self.log = logger.log
    def parse_from_file(self, path):
        self.log(ILogger.Severity.VERBOSE, "Parsing node: /a/b [Conv]")
        return getattr(self, os.environ["ODD"])()
    def prints(self):
        os.write(1, b"native text without a newline")
        print("and from Python")
        return True
    def sleeps(self):
        time.sleep(60)
    def exhausts(self):
        self.log(ILogger.Severity.ERROR, "Requested amount of memory could not be allocated")
        raise MemoryError
    def exits(self):
        os._exit(7)
"""


def eca(size: str = "1") -> Model:
    return Model(
        ir.from_onnx_text(
            f"""<ir_version: 8, opset_import: ["": 17]>
            eca (float[{size},3,5,5] x) => (float[{size},3,5,5] y, float[{size},3,1,1] gate)
            <float[1,1,3,1] w = {{0.25, 0.5, 0.25}}>
            {{ mean = GlobalAveragePool (x)
               across = Transpose <perm = [0, 2, 1, 3]> (mean)
               conv = Conv <kernel_shape = [3, 1], pads = [1, 0, 1, 0]> (across, w)
               back = Transpose <perm = [0, 2, 1, 3]> (conv)
               gate = Sigmoid (back)
               y = Mul (x, gate) }}"""
        )
    )


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Calls the parse task with a stand-in for TensorRT that misbehaves in one way."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "tensorrt.py").write_text(ODD_TENSORRT)
    monkeypatch.syspath_prepend(folder)

    def call(behaviour, **options):
        monkeypatch.setenv("ODD", behaviour)
        request = {"task": "parse", "tensorrt": "tensorrt", "model": "none.onnx"}
        return process.call(request, **options)

    return call


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# The child process


def test_native_prints_do_not_reach_the_protocol(odd):
    assert odd("prints")["complete"] is True


def test_timeout_stops_the_child(odd):
    events = []
    with pytest.raises(
        process.WorkerError, match="stopped after 1 s while parsing node '/a/b'"
    ) as e:
        odd("sleeps", timeout=1.0, on_event=events.append)
    assert e.value.kind == "timeout"
    assert e.value.exit_code == 4
    assert not is_alive(events[0]["pid"])


def test_out_of_memory_is_named(odd):
    with pytest.raises(process.WorkerError, match="ran out of memory") as raised:
        odd("exhausts")
    assert raised.value.kind == "memory"
    assert "could not be allocated" in raised.value.native


def test_exit_without_a_result_is_an_error(odd):
    with pytest.raises(process.WorkerError, match=r"without a result \(exit code 7\)") as raised:
        odd("exits")
    assert raised.value.kind == "crash"


def test_kill_from_outside_is_an_error(odd):
    def kill(event):
        if event["event"] == "log":
            os.kill(event_pid[0], signal.SIGKILL)
        elif event["event"] == "started":
            event_pid.append(event["pid"])

    event_pid = []
    with pytest.raises(process.WorkerError, match="SIGKILL") as raised:
        odd("sleeps", on_event=kill)
    assert raised.value.kind == "memory"


def test_interrupt_stops_the_child(odd):
    pids = []

    def interrupt(event):
        pids.append(event.get("pid"))
        if event["event"] == "log":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        odd("sleeps", on_event=interrupt)
    assert not is_alive(pids[0])


@pytest.mark.skipif(sys.platform == "win32", reason="uses SIGKILL")
@pytest.mark.usefixtures("odd")
def test_child_leaves_when_its_parent_is_killed():
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from tripoint.trt import process\n"
        "process.call({'task': 'parse', 'tensorrt': 'tensorrt', 'model': 'none'},\n"
        "             on_event=lambda event: print(event.get('pid', 0), flush=True))\n"
    )
    environment = os.environ | {"ODD": "sleeps"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment
    ) as parent:
        pid = int(parent.stdout.readline())
        parent.stdout.readline()
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_modules_in_the_working_folder_are_not_imported(odd, tmp_path, monkeypatch):
    here = tmp_path / "here"
    (here / "tensorrt_rtx").mkdir(parents=True)
    for name in ("tensorrt", "json", "numpy", "tripoint"):
        (here / f"{name}.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(here)
    monkeypatch.setattr("sys.path", ["", str(here), *sys.path])
    assert odd("prints")["version"] == "10.0.0"
    # A folder that only has the name of a package is none.
    assert "tensorrt_rtx" not in [binding.name for binding in bindings.available()]


def test_package_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    request = {"task": "parse", "tensorrt": "tensorrt", "model": "none"}
    with pytest.raises(ExternalStepError, match="cannot be imported: libnvinfer") as raised:
        process.call(request)
    assert "--tensorrt" in raised.value.hint


def test_import_of_the_engine_loads_nothing_native():
    program = (
        "import sys, tripoint.engine.builder, tripoint.trt.execute, tripoint.engine.inspect\n"
        "from tripoint.trt import bindings, gpu\n"
        "bindings.available(); gpu.absence()\n"
        "print([m for m in sys.modules if m.split('.')[0] in\n"
        "       ('tensorrt', 'tensorrt_rtx', 'tensorrt_rtx_bindings', 'cuda', 'torch',\n"
        "        'onnxruntime', 'onnxruntime_ep_nv_tensorrt_rtx')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# Tensors between the processes


def test_exchange_keeps_names_dtypes_and_shapes(tmp_path):
    sent: dict[str, np.ndarray] = {
        "file": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "a/b:0": np.array(3, dtype=np.int64),
        "index": np.array([True, False]),
        "t0": np.zeros((0, 4), np.float16),
        "half": np.ones(3, array_ipc.dtype("bfloat16")),
    }
    array_ipc.save(tmp_path / "t.npz", sent)
    received = array_ipc.load(tmp_path / "t.npz")
    assert list(received) == list(sent)
    for name, array in sent.items():
        assert received[name].dtype == array.dtype
        np.testing.assert_array_equal(received[name], array)


# Building


@needs_rtx
@pytest.mark.parametrize("size", ["1", "N"])
def test_build_writes_plan_and_manifest(tmp_path, size):
    model = eca(size)
    spec = Spec.parse(dims=["N=1..2..4"] if size == "N" else [])
    ranges = profile.from_spec({"x": (1 if size == "1" else "N", 3, 5, 5)}, spec)
    phases = []
    output = tmp_path / "model.plan"
    result = builder.build(model, output, profiles=[ranges], tensorrt=RTX, on_phase=phases.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.manifest.json",
        "model.plan",
    ]
    assert result.bytes == output.stat().st_size > 0
    assert result.sha256 == sha256(output)
    outer = [phase for phase in phases if phase.name == "Building engine"]
    assert outer[0].parent is None
    assert outer[-1].done
    assert any(phase.parent == "Building engine" for phase in phases)
    assert all(0 <= phase.step <= phase.steps for phase in phases)
    batch = -1 if size == "N" else 1
    assert [(t.name, t.dtype, t.shape) for t in result.network.outputs] == [
        ("y", "float32", (batch, 3, 5, 5)),
        ("gate", "float32", (batch, 3, 1, 1)),
    ]
    assert result.network.layers >= 6

    content = manifest.read(manifest.path_for(output))
    assert content == json.loads(json.dumps(result.manifest))
    assert content["engine"] == {
        "file": "model.plan",
        "bytes": result.bytes,
        "sha256": result.sha256,
    }
    assert len(content["model"]["sha256"]) == 64
    assert content["flags"]["tf32"] is True
    assert content["environment"] == {"NVIDIA_TF32_OVERRIDE": None}
    assert content["flags"]["strongly_typed"] is True
    assert content["target"]["compute_capabilities"] is None
    assert content["profiles"][0][0]["max"] == [4 if size == "N" else 1, 3, 5, 5]
    assert [entry["name"] for entry in content["outputs"]] == ["y", "gate"]
    assert str(tmp_path) not in json.dumps(content)


@needs_rtx
def test_build_for_chosen_gpus(tmp_path):
    chosen = ["8.6", "12.0"]
    result = builder.build(eca(), tmp_path / "a.plan", tensorrt=RTX, compute_capabilities=chosen)
    assert result.manifest["target"]["compute_capabilities"] == chosen
    with pytest.raises(UsageError, match=r"compute capability '9\.9'") as raised:
        builder.build(eca(), tmp_path / "b.plan", tensorrt=RTX, compute_capabilities=["9.9"])
    assert "8.6" in raised.value.hint
    assert not (tmp_path / "b.plan").exists()


@needs_rtx
def test_build_replaces_only_when_told(tmp_path):
    output = tmp_path / "model.plan"
    beside = tmp_path / "model.manifest.json"
    beside.write_text("mine")
    with pytest.raises(OutputError, match=r"model\.manifest\.json exists"):
        builder.build(eca(), output, tensorrt=RTX)
    assert not output.exists()
    output.write_text("mine too")
    with pytest.raises(OutputError, match=r"exists"):
        builder.build(eca(), output, tensorrt=RTX)
    assert output.read_text() == "mine too"
    result = builder.build(eca(), output, tensorrt=RTX, force=True, tf32=False)
    assert sha256(output) == manifest.read(beside)["engine"]["sha256"] == result.sha256
    assert result.manifest["flags"]["tf32"] is False
    assert result.manifest["environment"] == {"NVIDIA_TF32_OVERRIDE": "0"}


@needs_rtx
def test_interrupted_build_leaves_nothing(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builder.build(eca(), tmp_path / "a.plan", tensorrt=RTX, on_phase=interrupt)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_dynamic_input_without_a_profile(tmp_path):
    with pytest.raises(UsageError, match="input 'x' has a dynamic axis 0 without a range"):
        builder.build(eca("N"), tmp_path / "a.plan", tensorrt=RTX)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_refused_model_names_the_node(tmp_path):
    model = Model(
        ir.from_onnx_text(
            '<ir_version: 8, opset_import: ["": 17]> '
            "g (float[2,3] x) => (int64[2,M] y) { [where] y = NonZero (x) }"
        )
    )
    with pytest.raises(builder.NotParsedError, match=r"node 'where' \(NonZero\)"):
        builder.build(model, tmp_path / "a.plan", tensorrt=RTX)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        builder.build(eca(), tmp_path / "none" / "a.plan", tensorrt=RTX)


@pytest.mark.skipif(gpu.absence() is None, reason="this machine has a GPU")
@pytest.mark.usefixtures("odd")
def test_full_tensorrt_without_a_gpu(tmp_path):
    with pytest.raises(ExternalStepError, match="builds only on a machine with a GPU"):
        builder.build(eca(), tmp_path / "a.plan", tensorrt="tensorrt")


# Plans and manifests


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"a plan")
    content = {
        "schema_version": "1.0",
        "model": {"path": "model.onnx", "sha256": "0"},
        "engine": {"file": path.name, "bytes": 6, "sha256": sha256(path)},
        "tensorrt": {"name": RTX, "kind": "rtx", "version": "1.6.1.120"},
        "target": {"compute_capabilities": ["8.6"], "gpu": None},
        "layers": 7,
        "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [-1, 3]}],
    }
    manifest.path_for(path).write_text(manifest.text(content))
    return path


def test_plan_is_described_by_its_manifest(plan):
    found = inspect.inspect_plan(plan)
    assert found.network.inputs == (inspect.IoTensor("x", "float32", (-1, 3)),)
    assert found.network.layers == 7
    assert not found.loaded


def test_plan_that_is_not_the_one_of_its_manifest(plan):
    plan.write_bytes(b"b plan")
    with pytest.raises(InputError, match=r"not the plan that model\.manifest\.json describes"):
        inspect.inspect_plan(plan)


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"", "is empty")])
def test_plan_that_is_none(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.plan").write_bytes(content)
    with pytest.raises(InputError, match=message):
        inspect.inspect_plan(tmp_path / "a.plan")


def test_plan_without_a_manifest(plan):
    manifest.path_for(plan).unlink()
    found = inspect.inspect_plan(plan)
    assert found.manifest is None
    assert found.network is None


@pytest.mark.parametrize("text", ["", "[]", '{"engine": 1}'])
def test_manifest_that_is_none(plan, text):
    manifest.path_for(plan).write_text(text)
    with pytest.raises(InputError, match=r"model\.manifest\.json: this is no"):
        inspect.inspect_plan(plan)


@needs_rtx
@pytest.mark.skipif(gpu.absence() is None, reason="this machine has a GPU")
def test_loading_a_plan_takes_a_gpu(plan):
    with pytest.raises(ExternalStepError, match="only where a GPU is"):
        inspect.inspect_plan(plan, load=True, tensorrt=RTX)


def test_differences_between_plan_and_machine(plan):
    content = manifest.read(manifest.path_for(plan))
    ours = bindings.Binding(RTX, "1.6.1.120", "rtx")
    ampere = Device(0, "RTX A4000", "8.6", 16 << 30)
    assert manifest.differences(content, manifest.Machine(ours, (ampere,))) == []
    hopper = Device(0, "H100", "9.0", 80 << 30)
    newer = bindings.Binding("tensorrt_rtx", "1.7.1", "rtx")
    assert manifest.differences(content, manifest.Machine(newer, (hopper,))) == [
        "built by tensorrt_rtx_bindings 1.6.1.120, here is tensorrt_rtx 1.7.1",
        "built for compute capability 8.6, H100 has 9.0",
    ]
    assert manifest.differences(content, manifest.Machine(ours, ())) == [
        "here is no GPU to run it on"
    ]


def test_devices_or_a_reason():
    found = gpu.probe()
    assert bool(found.devices) == (found.reason is None)


def test_unknown_tensorrt_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="'nothing'"):
        builder.build(eca(), tmp_path / "a.plan", tensorrt="nothing")


def test_missing_tensorrt_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(MissingDependencyError, match="no TensorRT is installed"):
        builder.build(eca(), tmp_path / "a.plan")
    assert list(tmp_path.iterdir()) == []
