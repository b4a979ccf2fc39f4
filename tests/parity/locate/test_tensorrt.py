"""What can be said of TensorRT's tensors and layers without a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tripoint
from tests.helpers.building import STAND_IN
from tests.helpers.graphs import build
from tests.helpers.locating import net
from tests.helpers.marks import RTX, needs_rtx
from tripoint import model as models
from tripoint.engine import debugging
from tripoint.engine.debugging import EngineLayer, Settings, read_layers
from tripoint.errors import ExternalStepError, UsageError
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.tensorrt import TensorRT, map_tensors
from tripoint.spec import Spec
from tripoint.tasks import debug_tensors, listening
from tripoint.trt import array_ipc, bindings, gpu, native, process

TWO = Spec.parse([], ["N=2"])
without_gpu = pytest.mark.skipif(gpu.absence() is None, reason="there may be a GPU")


def test_layers_are_read_from_what_the_inspector_says() -> None:
    described = [
        {
            "Name": "fused",
            "Metadata": "[ONNX Layer: /a/Conv]\x1f[ONNX Layer: b[0]]\x1e[ONNX Layer: c]",
            "Outputs": [{"Name": "t", "Dimensions": [1, 2]}],
        },
        {"Name": "bare"},
        {"Name": "plain", "Outputs": ["u"], "Metadata": None},
    ]
    assert list(read_layers(described)) == [
        EngineLayer("fused", ("/a/Conv", "b[0]", "c"), ("t",)),
        EngineLayer("bare", (), ()),
        EngineLayer("plain", (), ("u",)),
    ]


def test_tensors_between_kernels_are_matched_by_name_and_by_layer() -> None:
    graph = Graph(net())
    layers = [
        EngineLayer("one", ("stem", "c1", "a1", "r1"), ("internal_1",)),
        EngineLayer("two", ("q", "k"), ("internal_2",)),
        EngineLayer("three", ("v",), ("v",)),
        EngineLayer("four", ("n",), ("internal_3", "internal_4")),
        EngineLayer("five", ("a2",), ("twice",)),
        EngineLayer("six", ("r2",), ("twice",)),
    ]
    shown = ["internal_1", "internal_2", "internal_3", "v", "twice", "unheard of"]
    # Two nodes of the second layer are read outside, so its output could be either.
    assert map_tensors(shown, layers, graph) == {"v": "v", "r1": "internal_1"}


def test_an_address_may_be_a_number_or_a_capsule() -> None:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    assert listening.pointer_of(4660) == 4660
    assert listening.pointer_of(new(4660, None, None)) == 4660
    assert listening.pointer_of(new(4660, b"a name", None)) == 4660


def stand_in() -> Any:
    spec = importlib.util.spec_from_file_location("stand_in", STAND_IN / "tensorrt_rtx.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built_as_far_as_it_goes(
    folder: Path,
    *,
    listen: bool,
    profile: Sequence[Mapping[str, Any]] = (),
    outputs: Sequence[str] = (),
) -> list[str]:
    """Build ``model.onnx`` of a folder, which cannot be loaded; returns what was begun."""
    at: list[str] = []
    with pytest.raises(ExternalStepError, match="cudaGetDevice failed"):
        process.call(
            {
                "task": "debug_tensors",
                "tensorrt": RTX,
                "model": str(folder / "model.onnx"),
                "profile": list(profile),
                "tf32": False,
                "environment": {},
                "listen": listen,
                "outputs": list(outputs),
                "folder": str(folder),
            },
            on_event=lambda event: at.append(event.get("at", "")),
        )
    return at


class _Tensor:
    def __init__(self, name: str) -> None:
        self.name = name


class _Network:
    """As much of a network as marking outputs needs."""

    def __init__(self, layers: list[list[str]], outputs: list[str]) -> None:
        self._layers = [[_Tensor(name) for name in names] for names in layers]
        self.outputs = [_Tensor(name) for name in outputs]
        self.num_layers = len(layers)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_output(self, index: int) -> _Tensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Any:
        tensors = self._layers[index]

        class Layer:
            num_outputs = len(tensors)

            def get_output(self, position: int) -> _Tensor:
                return tensors[position]

        return Layer()

    def mark_output(self, tensor: _Tensor) -> None:
        self.outputs.append(tensor)


def test_tensors_are_marked_once_and_unknown_ones_are_told() -> None:
    network = _Network([["a"], ["b", "c"], ["y"]], ["y"])
    assert debug_tensors.mark_outputs(network, ["c", "y", "nowhere"]) == ["nowhere"]
    assert [tensor.name for tensor in network.outputs] == ["y", "c"]


def test_sizes_that_a_graph_computes_are_constants_of_a_part() -> None:
    body = (
        "s = Shape(x); n = Gather(s, zero); n1 = Unsqueeze(n, axes); d = Concat<axis=0>(n1, rest); "
        "r = Reshape(x, d); y = Relu(r)"
    )
    constants = "| int64 zero = {0}, int64[1] axes = {0}, int64[1] rest = {-1}"
    graph = Graph(build(f"float[N,2,3] x {constants}", body, 18, "float[N,k] y"))
    part = graph.between([graph.values["r"]], {graph.values["d"]})
    feed = {"x": np.zeros((2, 2, 3), np.float32), "d": np.array([2, -1])}
    assert [value.name for value in graph.cut(part, feed).ir.graph.inputs] == ["x", "d"]
    cut = graph.cut(part, feed, freeze=True)
    assert [value.name for value in cut.ir.graph.inputs] == ["x"]
    assert list(cut.ir.graph.initializers) == ["d"]
    assert cut.ir.graph.inputs[0].shape == [2, 2, 3]


def test_given_integers_stay_inputs_of_a_part() -> None:
    body = "e = Gather(w_t, ids); y = Relu(e)"
    graph = Graph(build("int64[N,3] ids, float[9,4] w_t", body, 18, "float[N,3,4] y"))
    part = graph.between([graph.values["e"]], set())
    cut = graph.cut(part, {"ids": np.zeros((2, 3), np.int64)}, freeze=True)
    assert [value.name for value in cut.ir.graph.inputs] == ["ids"]


@without_gpu
def test_without_a_gpu_it_is_unproven_and_nothing_is_built() -> None:
    found = tripoint.locate(net(), build_engine=True, spec=TWO)
    assert found.verdict == "unproven"
    assert [(leg.name, leg.status) for leg in found.legs] == [("TensorRT", "not run")]


@without_gpu
@needs_rtx
def test_a_leg_without_a_gpu_says_so() -> None:
    graph = Graph(net())
    feed = generate(graph.specs, {"N": 2}, 0)
    with pytest.raises(ExternalStepError, match="needs a GPU"):
        list(TensorRT(graph, Settings(RTX)).values(graph.comparable, feed))


@without_gpu
@needs_rtx
@pytest.mark.parametrize("listen", [False, True])
def test_an_engine_with_marks_is_built_even_where_none_can_run(
    listen: bool, tmp_path: Path
) -> None:
    models.save(net(), tmp_path / "model.onnx")
    graph = Graph(models.load(tmp_path / "model.onnx"))
    feed = generate(graph.specs, {"N": 2}, 0)
    array_ipc.save(tmp_path / "in.npz", feed)
    sizes = [2, 3, 8, 8]
    at = built_as_far_as_it_goes(
        tmp_path,
        listen=listen,
        profile=[{"name": "x", "min": sizes, "opt": sizes, "max": sizes}],
        outputs=["r1", "nowhere"],
    )
    assert "loading the engine" in at


EXPAND = ("float[N,3] x, int64[2] size", "y = Expand(x, size)", 18, "float[A,B] y")
EXPANDED = {"x": np.zeros((2, 3), np.float32), "size": np.array([2, 3])}


@pytest.mark.parametrize("given", [False, True])
def test_a_shape_tensor_gets_values(given: bool, tmp_path: Path) -> None:
    trt = stand_in()
    models.save(build(*EXPAND), tmp_path / "model.onnx")
    logger = native.make_logger(trt, lambda _: None)
    parsed = native.parse(trt, logger, str(tmp_path / "model.onnx"))
    profile = [
        {"name": "x", "min": [1, 3], "opt": [2, 3], "max": [4, 3], "values": False},
        {"name": "size", "min": [1, 3], "opt": [2, 3], "max": [4, 3], "values": True},
    ]
    request = {"profile": profile if given else [], "tf32": False, "listen": False}
    plan = json.loads(debug_tensors.build(trt, logger, parsed, request, EXPANDED))
    ends = [[1, 3], [2, 3], [4, 3]] if given else [[2, 3]] * 3
    assert plan["profiles"] == [{"x": ["shape", *ends], "size": ["values", *ends]}]
    assert "TF32" not in plan["flags"]


def test_a_profile_without_the_values_of_a_shape_tensor_is_refused(tmp_path: Path) -> None:
    trt = stand_in()
    models.save(build(*EXPAND), tmp_path / "model.onnx")
    logger = native.make_logger(trt, lambda _: None)
    parsed = native.parse(trt, logger, str(tmp_path / "model.onnx"))
    profile = [{"name": "x", "min": [1, 3], "opt": [2, 3], "max": [4, 3]}]
    request = {"profile": profile, "tf32": True, "listen": False}
    with pytest.raises(UsageError, match="'size' is a shape tensor"):
        debug_tensors.build(trt, logger, parsed, request, EXPANDED)


@without_gpu
@needs_rtx
def test_an_engine_with_a_shape_tensor_is_built_even_where_none_can_run(tmp_path: Path) -> None:
    models.save(build(*EXPAND), tmp_path / "model.onnx")
    array_ipc.save(tmp_path / "in.npz", EXPANDED)
    at = built_as_far_as_it_goes(tmp_path, listen=True)
    assert "loading the engine" in at


@needs_rtx
def test_a_model_that_is_refused_says_which_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "absence", lambda: None)
    model = build("float[4] x", "y = Erf(x); z = Bernoulli(y)", 18, "float[4] z")
    with pytest.raises(ExternalStepError, match="Bernoulli"):
        debugging.DebugRun(model, {"x": np.zeros(4, np.float32)}, Settings(RTX))


def test_engines_of_a_search_have_the_range_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error may show only in an engine for a range, so one size at a time would hide it."""
    model = build("float[N,3] x", "y = Relu(x)", 18, "float[N,3] y")
    asked: list[Any] = []

    def record(*_: Any, **options: Any) -> None:
        asked.append(options["profile"])
        raise ExternalStepError("enough")

    monkeypatch.setattr(
        gpu, "probe", lambda: SimpleNamespace(devices=[SimpleNamespace(name="H")], reason=None)
    )
    monkeypatch.setattr(
        bindings, "find", lambda _: bindings.Binding("tensorrt_rtx", "1.6.1", "rtx")
    )
    monkeypatch.setattr("tripoint.parity.locate.tensorrt.DebugRun", record)
    spec = Spec.parse([], ["N=1..2..4"])
    found = tripoint.locate(model, build_engine=True, spec=spec)
    assert found.verdict == "unproven"
    (entry, *_) = asked[0]
    sizes = [entry[end][0] for end in ("min", "opt", "max")]
    assert (entry["name"], sizes) == ("x", [1, 2, 4])
    given = [generate(inputs_of(model), {"N": 3}, 0, model=model)]
    tripoint.locate(model, build_engine=True, inputs=given)
    assert asked[-1] == ()
