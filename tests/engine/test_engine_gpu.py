"""Engines that really run. Needs a CUDA device, TensorRT and cuda-bindings."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from tests.helpers.marks import needs_tensorrt
from tripoint.engine import builder, inspect
from tripoint.errors import ExternalStepError, InputError
from tripoint.model import Model
from tripoint.profiles import profile
from tripoint.spec import Spec
from tripoint.trt import array_ipc, gpu
from tripoint.trt import execute as runner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu.absence() is not None, reason=f"no GPU: {gpu.absence()}"),
    needs_tensorrt,
]


def model_of(text: str) -> Model:
    return Model(ir.from_onnx_text('<ir_version: 8, opset_import: ["": 17]>\n' + text))


def eca(size: str) -> Model:
    return model_of(
        f"""
        eca (float[{size},3,5,5] x) => (float[{size},3,5,5] y, float[{size},3,1,1] gate)
        <float[1,1,3,1] w = {{0.25, 0.5, 0.25}}>
        {{ mean = GlobalAveragePool (x)
           across = Transpose <perm = [0, 2, 1, 3]> (mean)
           conv = Conv <kernel_shape = [3, 1], pads = [1, 0, 1, 0]> (across, w)
           back = Transpose <perm = [0, 2, 1, 3]> (conv)
           gate = Sigmoid (back)
           y = Mul (x, gate) }}
        """
    )


def reference(model: Model, fed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        ir.to_proto(model.ir).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, fed), strict=True))


def built(model: Model, folder, shapes=None, dims=()):
    ranges = [profile.from_spec(shapes, Spec.parse(dims=dims))] if shapes else []
    return builder.build(model, folder / "model.plan", profiles=ranges).engine


def uniform(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def test_devices_are_described():
    found = gpu.probe()
    assert found.reason is None
    assert found.driver
    major, minor = found.devices[0].compute_capability.split(".")
    assert int(major) >= 7
    assert minor.isdigit()
    assert found.devices[0].memory > 1 << 30


def test_static_engine_agrees_with_onnxruntime(tmp_path):
    model = eca("1")
    fed = {"x": uniform(1, 3, 5, 5)}
    (found,) = runner.execute(built(model, tmp_path), [fed], timeout=300)
    wanted = reference(model, fed)
    assert list(found) == ["y", "gate"]
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def test_dynamic_engine_over_its_profile(tmp_path):
    model = eca("N")
    plan = built(model, tmp_path, {"x": ("N", 3, 5, 5)}, ["N=1..4..9"])
    points = [{"x": uniform(size, 3, 5, 5)} for size in (1, 4, 9, 6, 1)]
    found = runner.execute(plan, points, timeout=300)
    for fed, outputs in zip(points, found, strict=True):
        for name, array in reference(model, fed).items():
            np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-6)
    with pytest.raises(
        InputError, match="axis 0 of input 'x' is 10; the engine takes 1 to 9 there"
    ):
        runner.execute(plan, [{"x": uniform(10, 3, 5, 5)}], timeout=300)


def test_dtypes_scalars_and_shape_outputs(tmp_path):
    model = model_of(
        """
        g (float16[N,4] h, int64[N] i, bool[N] b, int32[N] j)
          => (float16[N,4] h2, int64[N] i2, bool[N] b2, int32[N] j2, float16 total, int64[2] size)
        { h2 = Add (h, h)
          i2 = Add (i, i)
          b2 = Not (b)
          j2 = Add (j, j)
          total = ReduceSum <keepdims = 0> (h)
          size = Shape (h) }
        """
    )
    shapes = {"h": ("N", 4), "i": ("N",), "b": ("N",), "j": ("N",)}
    plan = built(model, tmp_path, shapes, ["N=1..3..8"])
    fed = {
        "h": np.arange(12, dtype=np.float16).reshape(3, 4),
        "i": np.array([1, -(1 << 40), 3]),
        "b": np.array([True, False, True]),
        "j": np.array([1, 2, -3], np.int32),
    }
    (found,) = runner.execute(plan, [fed], timeout=300)
    for name, array in reference(model, fed).items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array, name)


def test_bfloat16(tmp_path):
    model = model_of("g (bfloat16[4] x) => (bfloat16[4] y) { y = Add (x, x) }")
    fed = {"x": np.array([1, 2, 3, 4]).astype(array_ipc.dtype("bfloat16"))}
    (found,) = runner.execute(built(model, tmp_path), [fed], timeout=300)
    assert found["y"].dtype == array_ipc.dtype("bfloat16")
    np.testing.assert_array_equal(found["y"].astype(np.float32), [2, 4, 6, 8])


def test_names_that_are_no_file_names(tmp_path):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["a/b:0"], ["file"])],
        "g",
        [value("a/b:0", onnx.TensorProto.FLOAT, [2, 2])],
        [value("file", onnx.TensorProto.FLOAT, [2, 2])],
    )
    proto = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    transposed = np.array([[1, 2], [3, 4]], np.float32).T
    plan = built(Model(ir.from_proto(proto)), tmp_path)
    (found,) = runner.execute(plan, [{"a/b:0": transposed}], timeout=300)
    np.testing.assert_array_equal(found["file"], -transposed)


@pytest.mark.parametrize(
    ("fed", "message"),
    [
        ({}, "input 'x' of the engine was not given"),
        ({"x": uniform(1, 3, 5, 5), "z": uniform(1)}, "the engine has no input 'z'; it has x"),
        ({"x": uniform(1, 3, 5, 5).astype(np.float64)}, "'x' is float64, the engine takes float32"),
        ({"x": uniform(2, 3, 5, 5)}, "axis 0 of input 'x' is 2; the engine takes 1 there"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path, fed, message):
    with pytest.raises(InputError, match=message):
        runner.execute(built(eca("1"), tmp_path), [fed], timeout=300)


def test_plan_describes_itself(tmp_path):
    plan = built(eca("N"), tmp_path, {"x": ("N", 3, 5, 5)}, ["N=1..4..9"])
    found = inspect.inspect_plan(plan, load=True, timeout=300)
    assert found.loaded
    assert [(t.name, t.dtype, t.shape) for t in found.network.inputs] == [
        ("x", "float32", (-1, 3, 5, 5))
    ]
    assert [t.name for t in found.network.outputs] == ["y", "gate"]


def test_broken_plan_is_an_error(tmp_path):
    plan = built(eca("1"), tmp_path)
    content = plan.read_bytes()
    broken = tmp_path / "broken.plan"
    for damaged in (b"not a plan", content[: len(content) // 2]):
        broken.write_bytes(damaged)
        with pytest.raises(ExternalStepError) as raised:
            inspect.inspect_plan(broken, load=True, timeout=300)
        assert str(broken) in str(raised.value)
        with pytest.raises(ExternalStepError):
            runner.execute(broken, [{"x": uniform(1, 3, 5, 5)}], timeout=300)


def test_tf32_is_what_was_asked_for(tmp_path) -> None:
    """TensorRT-RTX 1.6.1 heeds NVIDIA_TF32_OVERRIDE at build and execution, not the flag."""
    random = np.random.default_rng(0)
    values = random.standard_normal((256, 64), dtype=np.float32)
    graph = onnx.parser.parse_graph(
        "product (float[64,256] x, float[256,64] w) => (float[64,64] y) { y = MatMul (x, w) }"
    )
    del graph.input[1]
    graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    imports = [onnx.helper.make_opsetid("", 17)]
    model = Model(ir.from_proto(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)))
    x = random.standard_normal((64, 256), dtype=np.float32)
    plan = tmp_path / "product.plan"
    exact = x.astype(np.float64) @ values
    built = builder.build(model, plan, tf32=False)
    assert built.manifest["flags"]["tf32"] is False
    environment = built.manifest["environment"]
    (full,) = runner.execute(plan, [{"x": x}], environment=environment)
    error = np.abs(full["y"] - exact).max() / np.abs(exact).max()
    assert error < 2.0**-16, "TF32 would leave about 2**-11"
    with pytest.raises(ExternalStepError, match="execution context"):
        runner.execute(plan, [{"x": x}], environment={"NVIDIA_TF32_OVERRIDE": None})
