"""The in-process runner on a real device. Needs a CUDA device, TensorRT and cuda-bindings."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import tripoint
from tests.helpers.marks import needs_tensorrt
from tripoint.api import timing
from tripoint.engine import builder
from tripoint.errors import InputError, UsageError
from tripoint.model import Model
from tripoint.profiles import profile
from tripoint.spec import Spec
from tripoint.timing.interleave import Plan
from tripoint.trt import bindings, gpu

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu.absence() is not None, reason=f"no GPU: {gpu.absence()}"),
    needs_tensorrt,
]

NET = """
net (float[N,3,H,H] x, float[8,3,3,3] w, float[8] b) => (float[N,8,H,H] y, float[N,8] mean)
{ conv = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  y = Relu (conv)
  pooled = GlobalAveragePool (y)
  axes = Constant <value = int64[2] {2, 3}> ()
  mean = Squeeze (pooled, axes) }
"""
DIMS = ("N=1..4..8", "H=8..16..32")


def model_of(text: str) -> Model:
    return Model(ir.from_onnx_text('<ir_version: 8, opset_import: ["": 17]>\n' + text))


def net() -> Model:
    graph = onnx.parser.parse_graph(NET)
    random = np.random.default_rng(1)
    for name, sizes in (("w", (8, 3, 3, 3)), ("b", (8,))):
        del graph.input[1]
        array = random.standard_normal(sizes, np.float32) / 5
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    imports = [onnx.helper.make_opsetid("", 17)]
    return Model(ir.from_proto(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)))


def images(count: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, side, side), np.float32)


@pytest.fixture(scope="module")
def reference():
    proto = ir.to_proto(net().ir).SerializeToString()
    session = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
    return lambda x: dict(zip(("y", "mean"), session.run(["y", "mean"], {"x": x}), strict=True))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("runner") / "net.plan"
    known = {"x": ("N", 3, "H", "H")}
    ranges = profile.from_spec(known, Spec.parse(dims=DIMS))
    return builder.build(net(), path, profiles=[ranges]).engine


def agree(found, wanted) -> None:
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        # TF32 is on, as it is by default.
        np.testing.assert_allclose(found[name], array, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("graphs", [0, 2])
def test_numpy_over_the_profile(plan, reference, graphs):
    with tripoint.Engine(plan, graphs=graphs) as engine:
        for turn in range(4):
            for count, side in ((1, 8), (4, 16), (8, 32), (3, 11), (8, 8)):
                x = images(count, side, turn)
                agree(engine(x=x), reference(x))
        if graphs:
            assert engine.not_captured is None


def test_graphs_are_captured_and_launched(plan, reference):
    with tripoint.Engine(plan) as engine:
        for seed in range(5):
            x = images(4, 16, seed)
            agree(engine(x=x), reference(x))
        assert engine.captured == 1, engine.not_captured


def test_sizes_outside_the_profile(plan, reference):
    with tripoint.Engine(plan) as engine:
        with pytest.raises(InputError, match="axis 0 of input 'x' is 9; the engine takes 1 to 8"):
            engine(x=images(9, 16))
        with pytest.raises(InputError, match=r"axis 2 of input 'x' is 33; .* 8 to 32 there"):
            engine(x=images(1, 33))
        agree(engine(x=images(2, 8)), reference(images(2, 8)))


def test_enqueue_without_waiting(plan, reference):
    with tripoint.Engine(plan) as engine:
        first = engine.enqueue({"x": images(4, 16, 1)})
        second = engine.enqueue({"x": images(4, 16, 2)})
        agree(second.wait(), reference(images(4, 16, 2)))
        with pytest.raises(UsageError, match="overwrote"):
            first.wait()


def test_other_threads(plan, reference):
    with tripoint.Engine(plan) as engine:
        engine(x=images(1, 8))
        found = []
        thread = threading.Thread(target=lambda: found.append(engine(x=images(2, 16))))
        thread.start()
        thread.join()
        agree(found[0], reference(images(2, 16)))


def test_device_arrays_without_torch(plan, reference):
    with tripoint.Engine(plan) as engine, tripoint.Engine(plan) as other:
        made = other.enqueue({"x": images(4, 16)})
        x = images(4, 16)
        source = Copied(x)
        for _ in range(3):
            found = engine(x=source.array)
            agree({name: value.numpy() for name, value in found.items()}, reference(x))
        agree(made.wait(), reference(x))


class Copied:
    """A NumPy array in device memory, by cuda-bindings alone."""

    def __init__(self, array: np.ndarray) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        status, self._address = runtime.cudaMalloc(array.nbytes)
        assert int(status) == 0
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        (status,) = runtime.cudaMemcpy(self._address, array.ctypes.data, array.nbytes, kind)
        assert int(status) == 0
        self.array = tripoint.DeviceArray(self._address, array.shape, array.dtype, owner=self)

    def __del__(self) -> None:
        self._runtime.cudaFree(self._address)


@pytest.mark.parametrize("stream", ["default", "other"])
@pytest.mark.parametrize("graphs", [0, 8])
def test_torch_tensors(plan, reference, stream, graphs):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    chosen = torch.cuda.default_stream() if stream == "default" else torch.cuda.Stream()
    with tripoint.Engine(plan, graphs=graphs) as engine, torch.cuda.stream(chosen):
        x = torch.empty((4, 3, 16, 16), device="cuda")
        for seed in range(6):
            array = images(4, 16, seed)
            x.copy_(torch.from_numpy(array))
            found = engine.enqueue({"x": x}).on_device
            assert all(value.is_cuda for value in found.values())
            # Work of PyTorch that follows sees the outputs without anybody waiting.
            doubled = {name: (2 * value).cpu().numpy() / 2 for name, value in found.items()}
            agree(doubled, reference(array))
            owned = engine(x=x)
            x.zero_()
            agree({name: value.cpu().numpy() for name, value in owned.items()}, reference(array))
        assert bool(engine.captured) == bool(graphs), engine.not_captured
        given = torch.zeros((4, 8), device="cuda")
        x.copy_(torch.from_numpy(images(4, 16)))
        assert engine.run({"x": x}, outputs={"mean": given})["mean"] is given
        np.testing.assert_allclose(
            given.cpu().numpy(), reference(images(4, 16))["mean"], rtol=5e-3, atol=5e-3
        )


@pytest.mark.parametrize("graphs", [0, 8])
def test_bound_run(plan, reference, graphs):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    with tripoint.Engine(plan, graphs=graphs) as engine, torch.cuda.stream(torch.cuda.Stream()):
        x = torch.zeros((4, 3, 16, 16), device="cuda")
        bound = engine.bind({"x": x})
        assert bound.captured == bool(graphs), engine.not_captured
        for seed in range(4):
            array = images(4, 16, seed)
            agree(engine(x=images(2, 8, seed)), reference(images(2, 8, seed)))
            x.copy_(torch.from_numpy(array))
            bound.launch()
            found = {name: value.cpu().numpy() for name, value in bound.outputs.items()}
            agree(found, reference(array))


def test_bfloat16_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    model = model_of("g (bfloat16[4] x) => (bfloat16[4] y) { y = Add (x, x) }")
    path = builder.build(model, tmp_path / "bf16.plan").engine
    with tripoint.Engine(path) as engine:
        x = torch.tensor([1.0, 2, 3, 4], dtype=torch.bfloat16, device="cuda")
        found = engine(x=x)["y"]
        assert found.dtype == torch.bfloat16
        assert found.tolist() == [2, 4, 6, 8]
        host = engine(x=np.array([1, 2, 3, 4]).astype(ml_dtypes.bfloat16))["y"]
        np.testing.assert_array_equal(host.astype(np.float32), [2, 4, 6, 8])


def test_inputs_without_elements_are_refused_by_the_profile(plan):
    with (
        tripoint.Engine(plan) as engine,
        pytest.raises(InputError, match="axis 0 of input 'x' is 0"),
    ):
        engine(x=images(0, 8))


def test_poison(plan, reference):
    with tripoint.Engine(plan, poison=True) as engine:
        for _ in range(3):
            agree(engine(x=images(4, 16)), reference(images(4, 16)))


def test_other_environment_is_refused_before_loading(tmp_path):
    """The variable counts when the process starts, so this one runs in a process of its own."""
    model = model_of("g (float[4] x) => (float[4] y) { y = Add (x, x) }")
    path = builder.build(model, tmp_path / "exact.plan", tf32=False).engine
    code = textwrap.dedent(
        """
        import sys, numpy, tripoint
        try:
            with tripoint.Engine(sys.argv[1]) as engine:
                print(engine(x=numpy.ones(4, numpy.float32))["y"].tolist())
        except tripoint.TripointError as error:
            print(error.fact)
        """
    )
    for value, wanted in ((None, "NVIDIA_TF32_OVERRIDE set to 0"), ("0", "[2.0, 2.0, 2.0, 2.0]")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            env=environment(value),
        )
        assert wanted in done.stdout, done.stderr


def environment(value: str | None) -> dict[str, str]:
    found = {name: given for name, given in os.environ.items() if name != "NVIDIA_TF32_OVERRIDE"}
    found["PYTHONPATH"] = os.pathsep.join(sys.path)
    return found | ({"NVIDIA_TF32_OVERRIDE": value} if value is not None else {})


def test_shape_tensor_by_value(tmp_path):
    text = """
    g (float[12] x, int64[2] size) => (float[A,B] y) { y = Reshape (x, size) }
    """
    path = tmp_path / "reshape.onnx"
    ir.save(model_of(text).ir, path)
    trt = bindings.load(bindings.find(None).name)
    logger = trt.Logger(trt.Logger.ERROR)
    made = trt.Builder(logger)
    network = made.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(path))
    config = made.create_builder_config()
    chosen = made.create_optimization_profile()
    chosen.set_shape_input("size", [1, 1], [3, 4], [12, 12])
    assert config.add_optimization_profile(chosen) >= 0
    serialized = made.build_serialized_network(network, config)
    assert serialized is not None
    plan = tmp_path / "reshape.plan"
    plan.write_bytes(serialized)
    with tripoint.Engine(plan) as engine:
        x = np.arange(12, dtype=np.float32)
        for size in ([3, 4], [2, 6], [3, 4], [3, 4], [3, 4], [2, 6]):
            np.testing.assert_array_equal(engine(x=x, size=size)["y"], x.reshape(size))
        with pytest.raises(InputError, match="value 1 of input 'size' is 13"):
            engine(x=x, size=[1, 13])


def test_several_profiles(tmp_path, reference):
    path = tmp_path / "net.onnx"
    ir.save(net().ir, path)
    trt = bindings.load(bindings.find(None).name)
    logger = trt.Logger(trt.Logger.ERROR)
    made = trt.Builder(logger)
    network = made.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(path))
    config = made.create_builder_config()
    for low, high in ((1, 4), (8, 16)):
        chosen = made.create_optimization_profile()
        chosen.set_shape("x", *((count, 3, 16, 16) for count in (low, low, high)))
        assert config.add_optimization_profile(chosen) >= 0
    serialized = made.build_serialized_network(network, config)
    assert serialized is not None
    plan = tmp_path / "net.plan"
    plan.write_bytes(serialized)
    with tripoint.Engine(plan) as engine:
        assert engine.profiles == 2
        for count in (1, 8, 4, 16, 8, 8, 8, 2, 2, 2, 16):
            x = images(count, 16, count)
            agree(engine(x=x), reference(x))
        with pytest.raises(InputError, match="5; the profiles of the engine take 1 to 4, 8 to 16"):
            engine(x=images(5, 16))


def test_output_whose_size_the_values_decide(tmp_path):
    """TensorRT-RTX 1.6.1 refuses NonZero and Compress, but slices up to an index that it found."""
    graph = onnx.parser.parse_graph(
        """
        g (float[1,16] x) => (float[1,K] y, int64[1] last)
        { last = ArgMax <axis = 1, keepdims = 0> (x)
          first = Constant <value = int64[1] {0}> ()
          axis = Constant <value = int64[1] {1}> ()
          y = Slice (x, first, last, axis) }
        """
    )
    imports = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    path = builder.build(Model(ir.from_proto(proto)), tmp_path / "slice.plan").engine
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with tripoint.Engine(path) as engine:
        for place in (5, 15, 0, 1, 5, 5, 5, 9):
            x = np.zeros((1, 16), np.float32) - np.arange(16, dtype=np.float32)
            x[0, place] = 3
            found = engine(x=x)
            wanted = dict(zip(("y", "last"), session.run(["y", "last"], {"x": x}), strict=True))
            for name, array in wanted.items():
                assert found[name].shape == array.shape
                np.testing.assert_array_equal(found[name], array)
        assert engine.captured == 0
        assert "values decide the size of output 'y'" in engine.not_captured


def test_bench_times_engines_before_and_after_fix(tmp_path):
    path = tmp_path / "net.onnx"
    ir.save(net().ir, path)
    result = timing.bench(
        tripoint.load(path),
        spec=Spec.parse(dims=DIMS),
        plan=Plan(rounds=3, warm_up=2, seconds=0.01),
        timeout=500,
    )
    legs = {leg.name: leg for leg in result.legs}
    exported = legs["TensorRT (exported graph)"]
    assert exported.status == "timed", exported.reason
    assert exported.how == "CUDA graph"
    assert exported.clock == "CUDA events"
    assert exported.milliseconds.median > 0
    fixed = legs["TensorRT (fixed graph)"]
    assert fixed.status == "timed" or "changes nothing" in fixed.reason
    assert legs["ONNX Runtime"].status == "timed"
