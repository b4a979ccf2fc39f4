"""The in-process runner, executed for real on a device that lives in host memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tripoint
from tests.helpers.fake_machine import Cuda, Format, Plan, Port, TensorRT
from tripoint.errors import ExternalStepError, InputError, UsageError
from tripoint.trt import bindings, devices, gpu
from tripoint.trt import cuda as cuda_task
from tripoint.trt.bindings import Binding

ROW = ((1, 3), (4, 3), (8, 3))


def doubling(*profiles, dtype="float32", **options) -> Plan:
    """x of shape (N, 3) to twice that and its sum."""
    found = profiles or (ROW,)
    return Plan(
        [Port("x", (-1, 3), dtype, found)],
        [Port("y", (-1, 3), dtype), Port("total", (), dtype)],
        lambda shapes, _: {"y": shapes["x"], "total": ()},
        lambda fed: {"y": fed["x"] + fed["x"], "total": fed["x"].sum()},
        len(found),
        **options,
    )


def nonzero(**options) -> Plan:
    """The positions of what is not zero: a size that values decide."""
    return Plan(
        [Port("x", (-1,), profiles=[((1,), (4,), (64,))])],
        [Port("where", (-1,), "int64"), Port("n", (1,), "int64")],
        lambda *_: {"where": (-1,), "n": (1,)},
        lambda fed: {
            "where": np.flatnonzero(fed["x"]),
            "n": np.array([np.count_nonzero(fed["x"])]),
        },
        **options,
    )


def reshaping() -> Plan:
    """x to the shape that the values of ``size`` say; the shape comes back as well."""
    return Plan(
        [
            Port("x", (12,)),
            Port("size", (2,), "int64", host=True, values=[((1, 1), (3, 4), (12, 6))]),
        ],
        [Port("y", (-1, -1)), Port("again", (2,), "int64", host=True)],
        lambda _, host: {"y": tuple(int(v) for v in host["size"]), "again": (2,)},
        lambda fed: {"y": fed["x"].reshape(fed["size"]), "again": fed["size"]},
    )


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes engines of plans, on a device in host memory."""
    device = Cuda()
    found = SimpleNamespace(cuda=device, plan=tmp_path / "model.plan", trt=None)
    description = {"index": 0, "name": "Fake", "compute_capability": "9.0", "memory": 1}
    monkeypatch.setattr(gpu, "absence", lambda: None)
    monkeypatch.setattr(bindings, "find", lambda _=None: Binding("tensorrt_rtx", "1.0", "rtx"))
    monkeypatch.setattr(bindings, "load", lambda _: found.trt)
    monkeypatch.setattr(cuda_task, "runtime", lambda: device)
    monkeypatch.setattr(devices, "describe", lambda *_: description)
    engines = []

    def make(plan: Plan, content: bytes = b"plan", **options) -> tripoint.Engine:
        found.trt = TensorRT(device, plan)
        found.plan.write_bytes(content)
        engines.append(tripoint.Engine(found.plan, **options))
        return engines[-1]

    found.engine = make
    yield found
    for engine in engines:
        engine.close()


def rows(count: int, seed: int = 0, dtype="float32") -> np.ndarray:
    return np.random.default_rng(seed).integers(-9, 9, (count, 3)).astype(dtype)


def on_device(machine, array: np.ndarray, **options) -> tripoint.DeviceArray:
    _, address = machine.cuda.cudaMalloc(array.nbytes)
    memory = machine.cuda.memory[address]
    offset = address - memory.ctypes.data
    memory[offset : offset + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
    return tripoint.DeviceArray(address, array.shape, array.dtype, **options)


# Running


def test_package_offers_the_engine_without_importing_anything():
    code = (
        "import sys, tripoint; tripoint.Engine; tripoint.DeviceArray; "
        "print([m for m in ('torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', "
        "'tensorrt_rtx_bindings', 'cuda.bindings') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_outputs_over_the_profile_in_any_order(machine):
    with machine.engine(doubling()) as engine:
        for count in (4, 1, 8, 1, 4, 4, 4, 8):
            x = rows(count, count)
            found = engine(x=x)
            assert list(found) == ["y", "total"]
            np.testing.assert_array_equal(found["y"], 2 * x)
            assert found["total"].shape == ()
            assert found["total"] == x.sum()


def test_outputs_belong_to_the_caller(machine):
    engine = machine.engine(doubling())
    first = engine(x=rows(4, 1))
    kept = first["y"].copy()
    engine(x=rows(4, 2))
    np.testing.assert_array_equal(first["y"], kept)


def test_memory_is_reused_between_calls(machine):
    engine = machine.engine(doubling(), graphs=0)
    engine(x=rows(8))
    before = len(machine.cuda.memory)
    machine.cuda.calls.clear()
    for count in (1, 8, 3, 8):
        engine(x=rows(count))
    assert len(machine.cuda.memory) == before
    assert not [call for call in machine.cuda.calls if "Malloc" in call or "Free" in call]


def test_memory_is_given_back(machine):
    with machine.engine(doubling()) as engine:
        for _ in range(3):
            engine(x=rows(4))
        assert machine.cuda.graphs
    assert not machine.cuda.memory
    assert not machine.cuda.graphs
    assert set(machine.cuda.streams) == {0, 1, 77, 88}
    with pytest.raises(UsageError, match="closed"):
        engine(x=rows(4))
    engine.close()


def test_array_that_is_not_row_major(machine):
    engine = machine.engine(doubling())
    x = np.asfortranarray(rows(4))
    np.testing.assert_array_equal(engine(x=x)["y"], 2 * x)
    np.testing.assert_array_equal(engine(x=x[::2])["y"], 2 * x[::2])


def test_input_may_change_once_enqueue_returned(machine):
    engine = machine.engine(doubling())
    x = rows(4)
    wanted = 2 * x
    pending = engine.enqueue({"x": x})
    x[:] = 0
    np.testing.assert_array_equal(pending.wait()["y"], wanted)


def test_later_call_does_not_spoil_what_is_still_being_copied(machine):
    engine = machine.engine(doubling(), graphs=0)
    targets = [on_device(machine, np.zeros((4, 3), np.float32)) for _ in range(3)]
    for seed, y in enumerate(targets):
        engine.enqueue({"x": rows(4, seed)}, outputs={"y": y})
    engine.synchronize()
    for seed, y in enumerate(targets):
        np.testing.assert_array_equal(y.numpy(), 2 * rows(4, seed))


def test_overwritten_outputs_are_refused(machine):
    engine = machine.engine(doubling())
    first = engine.enqueue({"x": rows(4)})
    arrived = engine.enqueue({"x": rows(4)})
    with pytest.raises(UsageError, match="overwrote"):
        first.wait()
    assert arrived.wait().keys() == {"y", "total"}
    engine.enqueue({"x": rows(4, 5)})
    assert arrived.wait()["total"] == rows(4).sum()


def test_inputs_without_elements(machine):
    plan = doubling(((0, 3), (4, 3), (8, 3)))
    found = machine.engine(plan)(x=rows(0))
    assert found["y"].shape == (0, 3)
    assert found["total"] == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "int64", "float8_e4m3fn"])
def test_dtypes(machine, dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    x = np.array([[1, 2, 3]]).astype(kind)
    found = machine.engine(doubling(dtype=dtype))(x=x)
    assert found["y"].dtype == kind
    np.testing.assert_array_equal(found["y"].astype(np.float32), [[2, 4, 6]])


# What is refused


@pytest.mark.parametrize(
    ("fed", "message"),
    [
        ({}, "input 'x' of the engine was not given"),
        ({"x": rows(4), "z": rows(1)}, "the engine has no input 'z'; it has x"),
        ({"x": rows(4).astype(np.float64)}, "input 'x' is float64, the engine takes float32"),
        ({"x": rows(9)}, "axis 0 of input 'x' is 9; the engine takes 1 to 8 there"),
        ({"x": np.zeros((4, 2), np.float32)}, "axis 1 of input 'x' is 2; the engine takes 3"),
        ({"x": np.zeros(3, np.float32)}, r"'x' has 1 axes, 3; the engine takes 2, \?x3"),
        ({"x": np.float32(1)}, "'x' has 0 axes, a scalar"),
        ({"x": "text"}, "input 'x' is a str"),
        ({"x": [[1, 2], [3]]}, "no array of numbers"),
        ({"x": None}, "input 'x' is a NoneType"),
    ],
)
def test_inputs_that_do_not_fit(machine, fed, message):
    engine = machine.engine(doubling())
    with pytest.raises(InputError, match=message):
        engine.run(fed)
    assert engine(x=rows(2))["y"].shape == (2, 3), "a refusal leaves the engine usable"


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (Port("x", (4,), "int4"), "'x' of this engine has dtype INT4, which NumPy cannot hold"),
        (Port("x", (4,), layout=Format.CHW32), "memory layout CHW32"),
    ],
)
def test_tensors_that_no_array_holds(machine, port, message):
    plan = Plan([port], [], lambda *_: {}, lambda _: {})
    with pytest.raises(ExternalStepError, match=message):
        machine.engine(plan)


def test_int64_becomes_int32_if_it_fits(machine):
    engine = machine.engine(doubling(dtype="int32"))
    np.testing.assert_array_equal(engine(x=rows(2, dtype="int64"))["y"], 2 * rows(2))
    with pytest.raises(InputError, match="'x' has values outside int32"):
        engine(x=np.full((2, 3), 1 << 40))
    with pytest.raises(InputError, match="is int64 on the device, the engine takes int32"):
        engine(x=on_device(machine, rows(2, dtype="int64")))


def test_list_of_numbers_takes_the_dtype_of_the_engine(machine):
    assert machine.engine(doubling())(x=[[1, 2, 3]])["total"] == 6
    engine = machine.engine(doubling(dtype="int32"))
    assert engine(x=[[1, 2, 3]])["total"] == 6
    with pytest.raises(InputError, match="do not fit int32"):
        engine(x=[[1.5, 2, 3]])
    with pytest.raises(InputError, match="do not fit int32"):
        engine(x=[[1 << 40, 2, 3]])


def test_failure_of_the_engine_names_what_tensorrt_said(machine):
    engine = machine.engine(doubling(executes=False), graphs=0)
    with pytest.raises(ExternalStepError, match="something went wrong in a kernel"):
        engine(x=rows(2))


def test_no_memory_is_an_error_and_not_the_end(machine):
    engine = machine.engine(doubling())
    machine.cuda.limit = 50
    with pytest.raises(ExternalStepError, match="cudaErrorMemoryAllocation"):
        engine(x=rows(8))
    machine.cuda.limit = None
    np.testing.assert_array_equal(engine(x=rows(8))["y"], 2 * rows(8))


# Profiles


def test_profile_that_holds_the_shapes_and_least_else_is_used(machine):
    wide, narrow = ((1, 3), (4, 3), (64, 3)), ((8, 3), (8, 3), (16, 3))
    engine = machine.engine(doubling(wide, narrow), graphs=0)
    (context,) = machine.trt.contexts
    for count, profile in ((2, 0), (8, 1), (16, 1), (17, 0), (9, 1)):
        np.testing.assert_array_equal(engine(x=rows(count))["y"], 2 * rows(count))
        assert context.active_optimization_profile == profile


def test_refusal_names_what_every_profile_takes(machine):
    engine = machine.engine(doubling(((1, 3), (2, 3), (4, 3)), ((8, 3), (8, 3), (16, 3))))
    message = "axis 0 of input 'x' is 5; the profiles of the engine take 1 to 4, 8 to 16 there"
    with pytest.raises(InputError, match=message):
        engine(x=rows(5))


def test_other_profile_is_told_all_shapes_again(machine):
    plan = Plan(
        [
            Port("a", (-1,), profiles=[((1,), (1,), (2,)), ((5,), (5,), (6,))]),
            Port("b", (-1,), profiles=[((1,), (1,), (9,)), ((1,), (5,), (9,))]),
        ],
        [Port("c", (-1,))],
        lambda shapes, _: {"c": shapes["b"]},
        lambda fed: {"c": fed["a"].sum() + fed["b"]},
        2,
    )
    engine = machine.engine(plan)
    b = np.arange(3, dtype=np.float32)
    for size in (2, 5, 1, 6):
        found = engine(a=np.ones(size, np.float32), b=b)
        np.testing.assert_array_equal(found["c"], b + size)


def test_inputs_that_fit_only_different_profiles(machine):
    plan = Plan(
        [
            Port("a", (-1,), profiles=[((1,), (1,), (2,)), ((5,), (5,), (6,))]),
            Port("b", (-1,), profiles=[((1,), (1,), (2,)), ((5,), (5,), (6,))]),
        ],
        [Port("c", (-1,))],
        lambda shapes, _: {"c": shapes["a"]},
        lambda fed: {"c": fed["a"]},
        2,
    )
    engine = machine.engine(plan)
    with pytest.raises(InputError, match=r"profile 0: axis 0 of input 'b'.*profile 1: axis 0 of"):
        engine(a=np.zeros(2, np.float32), b=np.zeros(5, np.float32))


# Sizes and shapes that values decide


def test_output_whose_size_the_values_decide(machine):
    engine = machine.engine(nonzero())
    for x in ([0, 1, 0, 2], [0, 0, 0, 0], list(range(64)), [5], [0, 1, 0, 2]):
        found = engine(x=np.array(x, np.float32))
        np.testing.assert_array_equal(found["where"], np.flatnonzero(x))
        assert found["n"] == [np.count_nonzero(x)]
    for _ in range(4):
        engine(x=np.array(x, np.float32))
    assert engine.captured == 0
    assert engine.not_captured == "values decide the size of output 'where'"
    with pytest.raises(UsageError, match="values of a run decide the size of output 'where'"):
        engine.run({"x": np.ones(4, np.float32)}, outputs={"where": np.zeros(4, np.int64)})


def test_no_memory_for_such_an_output(machine):
    engine = machine.engine(nonzero())
    engine(x=np.ones(2, np.float32))
    machine.cuda.limit = 256
    with pytest.raises(ExternalStepError, match="cudaErrorMemoryAllocation"):
        engine(x=np.ones(64, np.float32))
    machine.cuda.limit = None
    assert engine(x=np.ones(64, np.float32))["where"].shape == (64,)


def test_shape_tensor_by_value(machine):
    engine = machine.engine(reshaping())
    x = np.arange(12, dtype=np.float32)
    for size in ([3, 4], [2, 6], [12, 1], [3, 4], [3, 4], [3, 4], [2, 6]):
        found = engine(x=x, size=size)
        np.testing.assert_array_equal(found["y"], x.reshape(size))
        np.testing.assert_array_equal(found["again"], size)
    with pytest.raises(InputError, match="value 1 of input 'size' is 7; the engine takes 1 to 6"):
        engine(x=x, size=[1, 7])
    device = on_device(machine, np.array([3, 4]))
    with pytest.raises(InputError, match="'size' is read in host memory"):
        engine(x=x, size=device)


def test_shape_tensor_may_change_once_enqueue_returned(machine):
    engine = machine.engine(reshaping(), graphs=0)
    x = np.arange(12, dtype=np.float32)
    targets = {size: on_device(machine, np.zeros(size, np.float32)) for size in [(3, 4), (2, 6)]}
    for size, y in targets.items():
        engine.enqueue({"x": x, "size": list(size)}, outputs={"y": y})
    engine.synchronize()
    for size, y in targets.items():
        np.testing.assert_array_equal(y.numpy(), x.reshape(size))


# Device memory and streams


def test_device_arrays_are_read_and_written_where_they_lie(machine):
    engine = machine.engine(doubling(), graphs=0)
    x = on_device(machine, rows(4))
    target = on_device(machine, np.zeros((4, 3), np.float32))
    machine.cuda.calls.clear()
    pending = engine.enqueue({"x": x}, outputs={"y": target})
    assert "cudaMemcpyAsync" not in machine.cuda.calls
    assert machine.cuda.waits() == 0
    assert pending.on_device["y"] is target
    assert pending.wait()["y"] is target
    np.testing.assert_array_equal(target.numpy(), 2 * rows(4))
    assert pending.on_device["total"].numpy() == rows(4).sum()
    (context,) = machine.trt.contexts
    assert context.addresses["x"] == x.address
    assert context.addresses["y"] == target.address


def test_device_outputs_of_run_belong_to_the_caller(machine):
    engine = machine.engine(doubling())
    first = engine(x=on_device(machine, rows(4, 1)))["y"]
    second = engine(x=on_device(machine, rows(4, 2)))["y"]
    assert isinstance(first, tripoint.DeviceArray)
    engine.close()
    np.testing.assert_array_equal(first.numpy(), 2 * rows(4, 1))
    np.testing.assert_array_equal(second.numpy(), 2 * rows(4, 2))


def test_engine_waits_for_the_stream_that_an_input_comes_from(machine):
    engine = machine.engine(doubling())
    x = on_device(machine, np.zeros((4, 3), np.float32), stream=77)
    source = rows(4)
    machine.cuda.cudaMemcpyAsync(x.address, source.ctypes.data, source.nbytes, None, 77)
    np.testing.assert_array_equal(engine(x=x)["y"].numpy(), 2 * source)


def test_two_engines_in_a_row(machine):
    first, second = machine.engine(doubling()), machine.engine(doubling())
    middle = first.enqueue({"x": on_device(machine, rows(4))}).on_device["y"]
    np.testing.assert_array_equal(second(x=middle)["y"].numpy(), 4 * rows(4))


def test_calls_on_other_streams_run_one_after_the_other(machine):
    engine = machine.engine(doubling(), graphs=0)
    x = on_device(machine, rows(4, 1))
    later = on_device(machine, rows(4, 2))
    target = on_device(machine, np.zeros((4, 3), np.float32))
    engine.enqueue({"x": x}, outputs={"y": target}, stream=77)
    pending = engine.enqueue({"x": later}, outputs={"y": target}, stream=SimpleNamespace(ptr=88))
    pending.wait()
    machine.cuda.cudaStreamSynchronize(77)
    np.testing.assert_array_equal(target.numpy(), 2 * rows(4, 2))


def test_default_stream_is_ordered_but_not_executed_on(machine):
    engine = machine.engine(doubling())
    x = on_device(machine, np.zeros((4, 3), np.float32))
    source = rows(4)
    machine.cuda.cudaMemcpyAsync(x.address, source.ctypes.data, source.nbytes, None, 0)
    found = engine.enqueue({"x": x}, stream=0)
    assert found.stream != 0
    machine.cuda.cudaStreamSynchronize(0)
    np.testing.assert_array_equal(found.on_device["y"].numpy(), 2 * source)


def test_object_that_is_no_stream(machine):
    with pytest.raises(UsageError, match="a str is no CUDA stream"):
        machine.engine(doubling()).run({"x": rows(4)}, stream="first")


@pytest.mark.parametrize("interface", ["strides", "dtype", "ok"])
def test_other_libraries_by_their_interface(machine, interface):
    engine = machine.engine(doubling())
    held = on_device(machine, rows(4))
    described = dict(held.__cuda_array_interface__)
    if interface == "strides":
        described["strides"] = (4, 16)
    if interface == "dtype":
        described["typestr"] = "<f8"
    foreign = SimpleNamespace(__cuda_array_interface__=described)
    if interface == "ok":
        np.testing.assert_array_equal(engine(x=foreign)["y"].numpy(), 2 * rows(4))
        return
    with pytest.raises(InputError, match=r"not row-major|is float64 on the device"):
        engine(x=foreign)


def test_dlpack_alone(machine):
    class Host:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    engine = machine.engine(doubling())
    np.testing.assert_array_equal(engine(x=Host(rows(4)))["y"], 2 * rows(4))
    device = SimpleNamespace(__dlpack_device__=lambda: (2, 0))
    with pytest.raises(InputError, match="DLPack only") as raised:
        engine(x=device)
    assert "tripoint.DeviceArray(" in raised.value.hint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.zeros((4, 3)), "output 'y' is float64, the engine writes float32"),
        (lambda: np.zeros((2, 3), np.float32), r"has shape \(2, 3\), the output has \(4, 3\)"),
        (lambda: np.broadcast_to(np.float32(0), (4, 3)), "cannot be written"),
        (lambda: [[1]], "neither a NumPy array nor device memory"),
    ],
)
def test_memory_that_does_not_fit_an_output(machine, make, message):
    with pytest.raises(UsageError, match=message):
        machine.engine(doubling()).run({"x": rows(4)}, outputs={"y": make()})


def test_given_memory(machine):
    engine = machine.engine(doubling())
    y = np.zeros((4, 3), np.float32)
    found = engine.run({"x": rows(4)}, outputs={"y": y})
    assert found["y"] is y
    np.testing.assert_array_equal(y, 2 * rows(4))
    with pytest.raises(UsageError, match="no output 'z'; it has y, total"):
        engine.run({"x": rows(4)}, outputs={"z": y})


# CUDA graphs


def test_graph_is_captured_when_a_shape_comes_back(machine):
    engine = machine.engine(doubling())
    for seed in range(5):
        np.testing.assert_array_equal(engine(x=rows(4, seed))["y"], 2 * rows(4, seed))
        assert engine.captured == (seed >= 1)
    assert engine.not_captured is None
    main, own = machine.trt.contexts
    assert (main.executed, own.executed) == (1, 2), "once plainly, once to warm up, once captured"
    assert own.config.dynamic_shapes_kernel_specialization_strategy == "EAGER"
    assert main.config.dynamic_shapes_kernel_specialization_strategy == "LAZY"
    assert main.scratch == own.scratch
    assert main.config.cache is own.config.cache


def test_graphs_keep_their_shapes_apart(machine):
    engine = machine.engine(doubling())
    for turn in range(4):
        for count in (1, 4, 8):
            x = rows(count, 10 * turn + count)
            np.testing.assert_array_equal(engine(x=x)["y"], 2 * x)
    assert machine.cuda.calls.count("cudaGraphLaunch") > 3


def test_number_of_graphs_is_bounded(machine):
    engine = machine.engine(doubling(), graphs=2)
    engine(x=rows(8))
    for turn in range(3):
        for count in (1, 2, 3, 4, 5):
            for again in range(3):
                x = rows(count, turn + again)
                np.testing.assert_array_equal(engine(x=x)["y"], 2 * x)
    assert engine.captured == 2
    assert len(machine.cuda.graphs) == 2
    assert len(machine.trt.contexts) == 3, "contexts of graphs that went are used again"


def test_graph_of_other_memory_is_not_launched(machine):
    engine = machine.engine(doubling())
    arrays = [on_device(machine, rows(4, seed)) for seed in range(3)]
    for _ in range(3):
        for seed, array in enumerate(arrays):
            np.testing.assert_array_equal(engine(x=array)["y"].numpy(), 2 * rows(4, seed))
    assert engine.captured == 3


def test_graph_that_writes_elsewhere_is_not_launched(machine):
    engine = machine.engine(doubling())
    targets = [on_device(machine, np.zeros((4, 3), np.float32)) for _ in range(2)]
    for seed in range(6):
        y = targets[seed % 2]
        engine.run({"x": rows(4, seed)}, outputs={"y": y})
        np.testing.assert_array_equal(y.numpy(), 2 * rows(4, seed))


def test_growing_memory_does_not_reach_old_graphs(machine):
    engine = machine.engine(doubling())
    for count in (2, 2, 2, 8, 2, 2, 2, 8, 8):
        x = rows(count, count)
        np.testing.assert_array_equal(engine(x=x)["y"], 2 * x)


def test_no_waiting_in_steady_state(machine):
    engine = machine.engine(doubling())
    x, y = on_device(machine, rows(4)), on_device(machine, rows(4))
    total = on_device(machine, np.zeros((), np.float32))
    given = {"y": y, "total": total}
    for _ in range(2):
        engine.enqueue({"x": x}, outputs=given)
    machine.cuda.calls.clear()
    for _ in range(10):
        engine.enqueue({"x": x}, outputs=given)
    assert set(machine.cuda.calls) == {"cudaGraphLaunch"}
    engine.synchronize()
    np.testing.assert_array_equal(y.numpy(), 2 * rows(4))


@pytest.mark.parametrize("why", ["tensorrt", "cuda", "off"])
def test_why_there_are_no_graphs(machine, why):
    engine = machine.engine(doubling(capturable=why != "tensorrt"), graphs=0 if why == "off" else 8)
    machine.cuda.refuse_capture = why == "cuda"
    for seed in range(4):
        np.testing.assert_array_equal(engine(x=rows(4, seed))["y"], 2 * rows(4, seed))
    assert engine.captured == 0
    wanted = {"tensorrt": "TensorRT says", "cuda": "CaptureInvalidated", "off": "switched off"}
    assert wanted[why] in engine.not_captured


def test_negative_number_of_graphs(machine):
    with pytest.raises(UsageError, match="graphs is -1"):
        machine.engine(doubling(), graphs=-1)


def test_poison_shows_what_is_not_written(machine):
    plan = doubling()
    plan.compute = lambda fed: {"total": fed["x"].sum()}
    engine = machine.engine(plan, poison=True)
    for _ in range(3):
        assert np.isnan(engine(x=rows(4))["y"]).all()
    written = machine.engine(nonzero(), poison=True)(x=np.ones(4, np.float32))
    np.testing.assert_array_equal(written["where"], range(4))


# Bound runs


@pytest.mark.parametrize("graphs", [0, 8])
def test_bound_run_reads_and_writes_the_same_memory(machine, graphs):
    engine = machine.engine(doubling(), graphs=graphs)
    x = on_device(machine, rows(4))
    bound = engine.bind({"x": x})
    assert bound.captured == bool(graphs)
    for seed in range(4):
        array = rows(4, seed)
        machine.cuda.cudaMemcpyAsync(x.address, array.ctypes.data, array.nbytes, None, bound.stream)
        other = rows(3, seed)
        np.testing.assert_array_equal(engine(x=other)["y"], 2 * other)
        bound.launch()
        np.testing.assert_array_equal(bound.outputs["y"].numpy(), 2 * array)
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        bound.launch()


@pytest.mark.parametrize(("graphs", "call"), [(8, {"cudaGraphLaunch"}), (0, set())])
def test_launch_is_one_call(machine, graphs, call):
    engine = machine.engine(doubling(), graphs=graphs)
    bound = engine.bind({"x": on_device(machine, rows(4))})
    machine.cuda.calls.clear()
    for _ in range(10):
        bound.launch()
    assert set(machine.cuda.calls) == call


def test_bound_run_with_memory_and_values_of_the_caller(machine):
    engine = machine.engine(reshaping())
    x = on_device(machine, np.arange(12, dtype=np.float32))
    y = on_device(machine, np.zeros((3, 4), np.float32))
    bound = engine.bind({"x": x, "size": [3, 4]}, outputs={"y": y})
    engine(x=np.zeros(12, np.float32), size=[2, 6])
    machine.cuda.cudaMemsetAsync(y.address, 0, y.nbytes, bound.stream)
    bound.launch()
    engine.synchronize()
    assert bound.outputs["y"] is y
    np.testing.assert_array_equal(y.numpy(), np.arange(12).reshape(3, 4))


def test_what_cannot_be_bound(machine):
    with pytest.raises(UsageError, match="input 'x' is in host memory"):
        machine.engine(doubling()).bind({"x": rows(4)})
    x = on_device(machine, np.ones(4, np.float32))
    with pytest.raises(UsageError, match="values decide the size of output 'where'"):
        machine.engine(nonzero()).bind({"x": x})


@pytest.mark.usefixtures("machine")
def test_bound_run_on_the_default_stream_of_torch(machine, torch):
    torch.on = 0
    engine = machine.engine(doubling())
    x = FakeTensor(machine, np.zeros((4, 3), np.float32))
    bound = engine.bind({"x": x})
    array = rows(4)
    machine.cuda.cudaMemcpyAsync(x.data_ptr(), array.ctypes.data, array.nbytes, None, 0)
    bound.launch()
    machine.cuda.cudaStreamSynchronize(0)
    np.testing.assert_array_equal(bound.outputs["y"].numpy(), 2 * array)


# Threads


def test_second_thread_is_refused_and_the_first_undisturbed(machine):
    entered, leave = threading.Event(), threading.Event()
    plan = doubling()
    shapes = plan.shapes

    def slow(given, host):
        entered.set()
        assert leave.wait(10)
        return shapes(given, host)

    plan.shapes = slow
    engine = machine.engine(plan)
    results = []
    first = threading.Thread(target=lambda: results.append(engine(x=rows(4))))
    first.start()
    assert entered.wait(10)
    for refused in (lambda: engine(x=rows(4)), engine.close):
        with pytest.raises(UsageError, match="in use by another thread"):
            refused()
    leave.set()
    first.join()
    np.testing.assert_array_equal(results[0]["y"], 2 * rows(4))
    assert "cudaSetDevice" in machine.cuda.calls, "CUDA keeps the device by thread"
    assert engine(x=rows(4))["total"] == rows(4).sum()


def test_threads_that_take_turns_by_chance_never_see_foreign_outputs(machine):
    engine = machine.engine(doubling(), graphs=0)
    wrong, refused = [], []

    def work(seed):
        for turn in range(30):
            x = rows(4, 100 * seed + turn)
            try:
                if not np.array_equal(engine(x=x)["y"], 2 * x):
                    wrong.append(turn)
            except UsageError as error:
                refused.append(error.fact)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert {*refused} <= {"this engine is in use by another thread"}


# Loading


def manifest_of(content: bytes, **changes) -> dict:
    found = {
        "schema_version": "1.0",
        "model": {},
        "engine": {"sha256": hashlib.sha256(content).hexdigest()},
        "tensorrt": {"name": "tensorrt_rtx", "kind": "rtx", "version": "1.0"},
        "inputs": [],
        "outputs": [],
    }
    return {**found, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({}, None, None),
        ({"engine": {"sha256": "0"}}, InputError, "not the plan that model.manifest.json"),
        (
            {"tensorrt": {"name": "tensorrt_rtx", "kind": "rtx", "version": "0.9"}},
            ExternalStepError,
            "does not fit this machine: built by tensorrt_rtx 0.9, here is tensorrt_rtx 1.0",
        ),
        (
            {"target": {"compute_capabilities": ["8.6"]}},
            ExternalStepError,
            "built for compute capability 8.6, Fake has 9.0",
        ),
        (
            {"environment": {"NVIDIA_TF32_OVERRIDE": "0"}},
            ExternalStepError,
            "built with NVIDIA_TF32_OVERRIDE set to 0",
        ),
    ],
)
def test_plan_that_does_not_fit_is_refused_before_it_is_loaded(
    machine, monkeypatch, changes, error, message
):
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    beside = machine.plan.with_name("model.manifest.json")
    beside.write_text(json.dumps(manifest_of(b"plan", **changes)))
    if error is None:
        assert machine.engine(doubling())(x=rows(2))["y"].shape == (2, 3)
        return
    with pytest.raises(error, match=message) as raised:
        machine.engine(doubling())
    assert machine.trt.loaded == []
    assert str(machine.plan) in str(raised.value)


def test_host_code_of_a_plan_is_never_allowed(machine):
    machine.engine(doubling())
    assert machine.trt.host_code_allowed == [False]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, InputError, "no such file"),
        (b"", InputError, "empty"),
        (b"broken", ExternalStepError, "cannot load this plan"),
    ],
)
def test_files_that_are_no_plan(machine, content, error, message):
    machine.trt = TensorRT(machine.cuda, doubling())
    if content is not None:
        machine.plan.write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        tripoint.Engine(machine.plan)
    assert str(machine.plan) in str(raised.value)


@pytest.mark.usefixtures("machine")
def test_folder_is_no_plan(tmp_path):
    with pytest.raises(InputError, match="folder"):
        tripoint.Engine(tmp_path)


def test_machine_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "absence", lambda: "there is none")
    (tmp_path / "model.plan").write_bytes(b"plan")
    with pytest.raises(ExternalStepError, match="an engine needs a GPU to run: there is none"):
        tripoint.Engine(tmp_path / "model.plan")


# PyTorch


class FakeTensor:
    """A CUDA tensor of PyTorch, as far as the runner looks at one."""

    is_cuda = True

    def __init__(self, machine, array, device=0, contiguous=True):
        self._held = on_device(machine, np.asarray(array))
        self._machine = machine
        self.shape = tuple(self._held.shape)
        self.dtype = f"torch.{self._held.dtype.name}"
        self.device = SimpleNamespace(index=device)
        self._contiguous = contiguous

    def is_contiguous(self):
        return self._contiguous

    def contiguous(self):
        return FakeTensor(self._machine, self.numpy())

    def data_ptr(self):
        return self._held.address

    def numpy(self):
        return self._held.numpy()


class FakeMemory(FakeTensor):
    """uint8 memory of which views are made; PyTorch would reuse it as soon as it is dropped."""

    dropped_in_use = 0

    def __init__(self, machine, size):
        super().__init__(machine, np.zeros(size, np.uint8))

    def __del__(self):
        stream = self._machine.cuda.streams[77]
        FakeMemory.dropped_in_use += stream.done < len(stream.queued)

    def __getitem__(self, part):
        return SimpleNamespace(
            view=lambda dtype: SimpleNamespace(reshape=lambda shape: self._view(dtype, shape))
        )

    def _view(self, dtype, shape):
        found = object.__new__(FakeTensor)
        found.__dict__.update(self.__dict__)
        found._held = tripoint.DeviceArray(self.data_ptr(), shape, dtype, owner=self)
        found.shape, found.dtype = tuple(shape), f"torch.{dtype}"
        return found


@pytest.mark.usefixtures("torch")
def test_torch_memory_is_not_dropped_while_it_is_in_use(machine):
    FakeMemory.dropped_in_use = 0
    engine = machine.engine(doubling())
    for count in (1, 4, 8):
        engine.enqueue({"x": FakeTensor(machine, rows(count))})
    engine.close()
    assert FakeMemory.dropped_in_use == 0


@pytest.fixture
def torch(machine, monkeypatch):
    found: Any = ModuleType("torch")
    found.Tensor = FakeTensor
    found.float32, found.uint8, found.int64 = "float32", "uint8", "int64"
    found.empty = lambda size, **_: FakeMemory(machine, size)
    found.from_numpy = lambda array: ("tensor of", array)
    found.cuda = SimpleNamespace(current_stream=lambda _: SimpleNamespace(cuda_stream=found.on))
    found.on = 77
    monkeypatch.setitem(sys.modules, "torch", found)
    return found


@pytest.mark.usefixtures("torch")
def test_torch_tensors_are_not_copied_and_run_on_the_current_stream(machine):
    engine = machine.engine(doubling())
    x = FakeTensor(machine, rows(4))
    machine.cuda.calls.clear()
    pending = engine.enqueue({"x": x})
    assert pending.stream == 77
    assert machine.cuda.waits() == 0
    assert "cudaMemcpyAsync" not in machine.cuda.calls
    assert isinstance(pending.on_device["y"], FakeTensor)
    pending.wait()
    np.testing.assert_array_equal(pending.on_device["y"].numpy(), 2 * rows(4))
    assert machine.trt.contexts[0].addresses["x"] == x.data_ptr()


def test_torch_on_the_default_stream(machine, torch):
    torch.on = 0
    engine = machine.engine(doubling())
    pending = engine.enqueue({"x": FakeTensor(machine, rows(4))})
    assert pending.stream != 0
    machine.cuda.cudaStreamSynchronize(0)
    np.testing.assert_array_equal(pending.on_device["y"].numpy(), 2 * rows(4))


@pytest.mark.usefixtures("torch")
def test_torch_outputs_of_run_are_new(machine):
    engine = machine.engine(doubling())
    x = FakeTensor(machine, rows(4))
    found = [engine(x=x)["y"] for _ in range(4)]
    assert engine.captured == 1
    assert len({tensor.data_ptr() for tensor in found}) == 4
    for tensor in found:
        np.testing.assert_array_equal(tensor.numpy(), 2 * rows(4))


@pytest.mark.usefixtures("torch")
def test_torch_output_views_are_made_once(machine):
    engine = machine.engine(doubling())
    x = FakeTensor(machine, rows(4))
    first, second = (engine.enqueue({"x": x}).on_device["y"] for _ in range(2))
    assert first is second


@pytest.mark.usefixtures("torch")
def test_torch_tensor_given_for_an_output(machine):
    engine = machine.engine(doubling())
    y = FakeTensor(machine, np.zeros((4, 3), np.float32))
    assert engine.run({"x": rows(4)}, outputs={"y": y})["y"] is y
    np.testing.assert_array_equal(y.numpy(), 2 * rows(4))
    scattered = FakeTensor(machine, np.zeros((4, 3), np.float32), contiguous=False)
    with pytest.raises(UsageError, match="not row-major"):
        engine.run({"x": rows(4)}, outputs={"y": scattered})


@pytest.mark.usefixtures("torch")
def test_torch_tensor_that_is_not_contiguous_is_copied(machine):
    x = FakeTensor(machine, rows(4), contiguous=False)
    found = machine.engine(doubling())(x=x)
    np.testing.assert_array_equal(found["y"].numpy(), 2 * rows(4))


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize(
    ("options", "array", "message"),
    [
        ({"device": 1}, rows(4), "'x' is on device 1, the engine on device 0"),
        ({}, rows(4).astype(np.float64), "is float64 on the device, the engine takes float32"),
    ],
)
def test_torch_tensors_that_do_not_fit(machine, options, array, message):
    with pytest.raises(InputError, match=message):
        machine.engine(doubling())(x=FakeTensor(machine, array, **options))


@pytest.mark.usefixtures("torch")
def test_host_outputs_beside_torch_tensors(machine):
    engine = machine.engine(reshaping())
    x = FakeTensor(machine, np.arange(12, dtype=np.float32))
    found = engine(x=x, size=[3, 4])
    assert found["again"][0] == "tensor of"
    np.testing.assert_array_equal(found["again"][1], [3, 4])
    np.testing.assert_array_equal(found["y"].numpy(), np.arange(12).reshape(3, 4))


@pytest.mark.needs_torch
def test_torch_tensors_in_host_memory_are_taken_as_arrays(machine):
    import torch

    engine = machine.engine(doubling(dtype="bfloat16"))
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16, requires_grad=True)
    found = engine(x=x)["y"]
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.astype(np.float32), [[2, 4, 6]])
