"""Faults in real engines, and the tensors between their kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tripoint
from tests.helpers.graphs import build
from tests.helpers.locating import FAULTS, net
from tripoint import model as models
from tripoint.engine.debugging import DebugRun, Settings
from tripoint.numeric.inputs import generate
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.locate import Pair, Point, locate
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.repro import Options, Target
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.tensorrt import TensorRT
from tripoint.spec import Spec
from tripoint.trt import bindings
from tripoint.trt.tf32 import for_build

pytestmark = pytest.mark.gpu

TWO = Spec.parse([], ["N=2"])
KINDS = ("weight", "epsilon", "axis", "Gelu by tanh", "slice off by one", "pads", "activation")


@pytest.fixture(scope="module")
def settings() -> Settings:
    binding = bindings.find(None)
    return Settings(binding.name, False, for_build(binding.kind, tf32=False), 300.0)


def searched(fault: str | None, settings: Settings, folder: Path | None = None) -> Location:
    graph = Graph(net())
    suspect = TensorRT(Graph(net(FAULTS[fault] if fault else None)), settings)
    reference = OnnxRuntime(graph, name="ONNX Runtime", limit=64)
    feed = generate(graph.specs, {"N": 2}, 0)
    pair = Pair(reference, suspect, graph, Options("engine", {"tf32": False}))
    target = Target(folder) if folder is not None else None
    return locate([pair], graph.specs, [Point(feed, 0)], folder=target)


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_in_an_engine_is_found_at_its_node(name: str, settings: Settings) -> None:
    found = searched(name, settings)
    assert found.verdict == "different"
    assert found.culprit is not None, found.reasons
    assert found.culprit.node == FAULTS[name].culprit
    # The fault is in the graph, so that no way of fusing makes it go away.
    assert found.culprit.vanishes_unfused in (False, None)


def test_without_a_fault_no_node_is_named(settings: Settings) -> None:
    found = searched(None, settings)
    assert found.verdict == "equal", found.reasons


def test_an_engine_shows_tensors_and_keeps_its_outputs(settings: Settings) -> None:
    graph = Graph(net())
    feed = generate(graph.specs, {"N": 2}, 0)
    sizes = [2, 3, 8, 8]
    profile = [{"name": "x", "min": sizes, "opt": sizes, "max": sizes}]
    with DebugRun(graph.model, feed, settings, profile=profile, listen=True) as run:
        assert run.shown
        assert not run.missed
        assert run.layers
        for name in run.shown:
            assert run.tensor(name).size
        shown = run.outputs()
    with DebugRun(graph.model, feed, settings, profile=profile) as plain:
        assert not plain.shown
        for name, array in plain.outputs().items():
            np.testing.assert_allclose(shown[name], array, rtol=1e-4, atol=1e-4)


def test_tensors_marked_as_outputs_are_given(settings: Settings) -> None:
    graph = Graph(net())
    feed = generate(graph.specs, {"N": 2}, 0)
    sizes = [2, 3, 8, 8]
    profile = [{"name": "x", "min": sizes, "opt": sizes, "max": sizes}]
    with DebugRun(graph.model, feed, settings, profile=profile, outputs=["r1", "nowhere"]) as run:
        assert run.unmarked == ["nowhere"]
        found = run.outputs()
    expected = dict(OnnxRuntime(graph, name="", limit=64).values(["r1"], feed))
    np.testing.assert_allclose(found["r1"], expected["r1"], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("listen", [False, True])
def test_a_shape_tensor_gets_its_values(listen: bool, settings: Settings) -> None:
    model = build(
        "float[N,3] x, int64[2] size", "r = Relu(x); y = Expand(r, size)", 18, "float[A,B] y"
    )
    x = np.arange(3, dtype=np.float32).reshape(1, 3)
    feed = {"x": x, "size": np.array([4, 3])}
    with DebugRun(model, feed, settings, listen=listen) as run:
        np.testing.assert_array_equal(run.outputs()["y"], np.broadcast_to(x, (4, 3)))


def test_a_repro_of_an_engine_shows_the_difference_again(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "repro"
    found = searched("weight", settings, folder)
    assert found.repro == str(folder)
    assert "--build" in (folder / "README.md").read_text(encoding="utf-8")
    with np.load(folder / "inputs.npz") as archive:
        inputs = dict(archive)
    with np.load(folder / "expected.npz") as archive:
        expected = dict(archive)
    again = tripoint.locate(
        folder / "model.onnx", expected=expected, inputs=[inputs], build_engine=True, tf32=False
    )
    assert again.culprit is not None
    assert again.culprit.op == "Conv"


def test_a_plan_that_is_right_is_equal_on_the_command_line(tmp_path: Path) -> None:
    model, plan = tmp_path / "model.onnx", tmp_path / "model.plan"
    models.save(net(), model)
    tripoint.build(model, plan, spec=TWO, tf32=False)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tripoint", "locate", str(model), "--engine", str(plan)),
            *("--dim", "N=2", "--format", "json", "-q"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "equal"


def test_a_plan_with_a_fault_is_found_through_the_model_that_it_is_from(tmp_path: Path) -> None:
    good, bad, plan = (tmp_path / name for name in ("good.onnx", "bad.onnx", "bad.plan"))
    models.save(net(), good)
    models.save(net(FAULTS["axis"]), bad)
    tripoint.build(bad, plan, spec=TWO, tf32=False)
    found = tripoint.locate(good, engine=plan, fixed=bad, spec=TWO)
    assert found.culprit is not None
    assert found.culprit.node == "p"
    # Searched with the model that it is not from, the engine built for the search is right.
    other = tripoint.locate(good, engine=plan, spec=TWO)
    assert other.verdict == "different"
    assert other.culprit is None
    assert any("another file" in note for note in other.notes)
