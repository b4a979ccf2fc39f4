"""Comparing legs: by name, with a derived tolerance, and never silently equal."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.helpers.graphs import onnx_text
from tests.helpers.paths import EXAMPLES
from tripoint.errors import ExternalStepError, UsageError
from tripoint.model import Model
from tripoint.numeric.inputs import bindings_of, generate, inputs_of
from tripoint.parity import metamorphic
from tripoint.parity.assignment import find_permutation
from tripoint.parity.compare import compare_outputs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.legs.torch import TorchLeg
from tripoint.parity.results import Verification
from tripoint.parity.verify import Engine, verify
from tripoint.shape_inference import truth
from tripoint.sources.python import TorchModel, load_module
from tripoint.sources.reference import PythonReference
from tripoint.sources.torch_export import export
from tripoint.spec import Spec
from tripoint.tolerance.derivation import (
    Chain,
    Products,
    Tolerance,
    chains,
    derive,
    override,
    products_of,
)
from tripoint.trt import execute as runner
from tripoint.trt import gpu

pytestmark = pytest.mark.needs_torch

EXAMPLE = PythonReference(EXAMPLES / "three_outputs.py", "model")
SIZES = [{"N": 1}, {"N": 2}, {"N": 4}]
LOOSE = Tolerance(1e-3, 1e-3, "for this test")
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def detector() -> TorchModel:
    return load_module(EXAMPLE)


@pytest.fixture(scope="module")
def exported(detector: TorchModel, tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    spec = Spec.parse(["x:Nx3x16x16"], ["N=1..2..4"])
    return export(detector, path, spec=spec, exporter="torchscript").model


@pytest.fixture
def changed(exported: Model) -> Model:
    """A copy of the model to spoil."""
    return Model(exported.ir.clone(deep_copy=True))


def rename(model: Model, names: Mapping[str, str]) -> None:
    outputs = {value.name: value for value in model.ir.graph.outputs}
    for old, new in names.items():
        outputs[old].name = new


def statuses(result: Verification) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for point in result.points:
        for entry in point.outputs:
            found.setdefault(entry.name, set()).add(entry.status)
    return found


# Verdicts


def test_two_legs_that_agree_prove_nothing_about_tensorrt(
    exported: Model, detector: TorchModel
) -> None:
    result = verify(exported, torch=detector, bindings=SIZES, no_engine="no NVIDIA GPU")
    assert statuses(result) == {name: {"equal"} for name in ("boxes", "scores", "anchors")}
    assert result.verdict == "unproven"
    assert result.reasons == ("TensorRT was not run: no NVIDIA GPU",)
    assert [(leg.name, leg.status) for leg in result.legs] == [
        ("PyTorch", "ran"),
        ("ONNX Runtime", "ran"),
        ("TensorRT", "not run"),
    ]
    assert result.legs[0].version == torch.__version__
    assert result.legs[0].tf32 is False
    assert [point.shapes["x"][0] for point in result.points] == [1, 2, 4]
    assert result.permutation is None


def test_a_file_alone_is_unproven(exported: Model) -> None:
    result = verify(exported, bindings=SIZES)
    assert result.verdict == "unproven"
    assert len(result.reasons) == 2
    assert all(not point.outputs for point in result.points)


def test_swapped_outputs_are_reported_as_that_permutation(
    changed: Model, detector: TorchModel
) -> None:
    rename(changed, {"boxes": "anchors", "anchors": "boxes"})
    result = verify(changed, torch=detector, bindings=SIZES)
    assert result.verdict == "different"
    assert statuses(result) == {
        "boxes": {"different"},
        "scores": {"equal"},
        "anchors": {"different"},
    }
    assert result.permutation is not None
    assert result.permutation.pair == "PyTorch / ONNX Runtime"
    assert result.permutation.outputs == {"boxes": "anchors", "anchors": "boxes"}


def test_outputs_of_different_shape_can_be_swapped_too(
    changed: Model, detector: TorchModel
) -> None:
    rename(changed, {"boxes": "scores", "scores": "boxes"})
    result = verify(changed, torch=detector, bindings=SIZES)
    assert statuses(result)["boxes"] == {"shape"}
    assert result.permutation is not None
    assert result.permutation.outputs == {"boxes": "scores", "scores": "boxes"}


def test_missing_and_extra_outputs_are_failures(changed: Model, detector: TorchModel) -> None:
    rename(changed, {"boxes": "corners"})
    result = verify(changed, torch=detector, bindings=SIZES)
    assert result.verdict == "different"
    assert statuses(result)["boxes"] == {"missing"}
    assert statuses(result)["corners"] == {"extra"}
    assert result.permutation is None
    assert "PyTorch / ONNX Runtime: output boxes is missing at 3 of 3 points" in result.reasons


def test_a_changed_weight_is_different_and_no_permutation(
    exported: Model, changed: Model, detector: TorchModel
) -> None:
    weight = changed.ir.graph.initializers["boxes.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * 1.001, name="boxes.weight")
    result = verify(exported, fixed=changed, torch=detector, bindings=SIZES)
    assert result.verdict == "different"
    assert result.permutation is None
    wrong = {
        (entry.pair, entry.name)
        for point in result.points
        for entry in point.outputs
        if not entry.equal
    }
    assert wrong == {("PyTorch / ONNX Runtime (fixed)", "boxes")}
    forgiving = verify(changed, torch=detector, bindings=SIZES, rtol={"boxes": 0.1}, atol=0.1)
    assert forgiving.verdict == "unproven"
    (boxes, *_) = forgiving.points[0].outputs
    assert boxes.tolerance == Tolerance(0.1, 0.1, "given")


def test_nan_in_both_at_the_same_places_is_no_difference() -> None:
    model = onnx_text("g (float[2] x) => (float[2] y) { y = Sqrt(x) }")

    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x)

    inputs = [{"x": np.array([-1.0, 4.0], np.float32)}]
    result = verify(model, torch=TorchModel.of(Root()), inputs=inputs)
    assert statuses(result) == {"y": {"equal"}}
    assert result.points[0].outputs[0].detail == "1 of 2 are NaN or infinite in both"
    assert result.verdict == "unproven"
    assert all("was not run" in reason for reason in result.reasons)
    assert result.notes == ("the only outputs, output and y, are compared",)
    assert result.points[0].seed is None


def test_a_static_model_is_compared_with_three_seeds() -> None:
    model = onnx_text("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    result = verify(model, torch=TorchModel.of(nn.ReLU()))
    assert [point.seed for point in result.points] == [0, 1, 2]
    assert "the parameter input of forward" in result.notes[0]


def test_a_leg_that_fails_is_never_equal(exported: Model) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(f"out of luck at {x.dim()} dims")

    result = verify(exported, torch=TorchModel.of(Broken()), bindings=SIZES)
    assert result.verdict == "unproven"
    assert result.legs[0].status == "failed"
    assert "RuntimeError: out of luck at 4 dims (" in (result.legs[0].reason or "")
    assert "test_compare_legs.py:" in (result.legs[0].reason or "")


class Engines:
    """Stands in for the execution of a plan on a GPU."""

    def __init__(self, model: Model, spoil: float = 0.0) -> None:
        self._leg = OnnxRuntimeLeg(model)
        self._spoil = spoil

    def execute(self, _: Path, points: list[dict[str, Array]], **__: object) -> list[Any]:
        return [
            {name: array + np.float32(self._spoil) for name, array in self._leg.run(point).items()}
            for point in points
        ]


@pytest.mark.parametrize(("spoil", "verdict"), [(0.0, "equal"), (0.1, "different")])
def test_equal_needs_all_three_legs(
    exported: Model,
    detector: TorchModel,
    monkeypatch: pytest.MonkeyPatch,
    spoil: float,
    verdict: str,
) -> None:
    monkeypatch.setattr(runner, "execute_each", Engines(exported, spoil).execute)
    monkeypatch.setattr(gpu, "absence", lambda: None)
    engine = Engine(Path("model.plan"), version="1.6", device="a GPU")
    result = verify(exported, torch=detector, fixed=exported, engine=engine, bindings=SIZES)
    assert result.verdict == verdict
    assert {entry.pair for entry in result.points[0].outputs} == {
        "PyTorch / ONNX Runtime",
        "PyTorch / ONNX Runtime (fixed)",
        "PyTorch / TensorRT",
        "ONNX Runtime (fixed) / TensorRT",
    }
    assert bool(result.reasons) == (verdict == "different")


def test_an_engine_that_crashes_leaves_the_verdict_open(
    exported: Model, detector: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ExternalStepError("the engine crashed")

    monkeypatch.setattr(runner, "execute_each", crash)
    monkeypatch.setattr(gpu, "absence", lambda: None)
    engine = Engine(Path("model.plan"))
    result = verify(exported, torch=detector, engine=engine, bindings=SIZES)
    assert result.verdict == "unproven"
    assert result.reasons == ("TensorRT failed: the engine crashed",)
    monkeypatch.setattr(gpu, "absence", lambda: "no /dev/nvidia0")
    result = verify(exported, torch=detector, engine=engine, bindings=SIZES)
    assert result.legs[-1].status == "not run"


# Names


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x * 2


PAIR = """g (float[2] x, float one, float two) => (float[2] plus, float[2] times)
<float one = {1.0}, float two = {2.0}> { plus = Add(x, one)  times = Mul(x, two) }"""


def test_a_tuple_has_the_order_of_the_file_unless_names_are_given() -> None:
    model = onnx_text(PAIR)
    assert list(inputs_of(model)) == ["x"]
    torch_model = TorchModel.of(Pair())
    ordered = verify(model, torch=torch_model)
    assert statuses(ordered) == {"plus": {"equal"}, "times": {"equal"}}
    assert any("output_0 with plus, output_1 with times" in note for note in ordered.notes)
    right = verify(model, torch=torch_model, output_names=["plus", "times"])
    assert statuses(right) == {"plus": {"equal"}, "times": {"equal"}}
    wrong = verify(model, torch=torch_model, output_names=["times", "plus"])
    assert wrong.permutation is not None
    with pytest.raises(UsageError, match="1 output names are given, PyTorch returns 2"):
        verify(model, torch=torch_model, output_names=["plus"])


def test_several_inputs_are_never_matched_by_position() -> None:
    model = onnx_text("g (float[2] a, float[2] b) => (float[2] y) { y = Sub(a, b) }")

    class Minus(nn.Module):
        def forward(self, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            return p - q

    with pytest.raises(UsageError, match="forward takes p, q; the ONNX file takes a, b"):
        verify(model, torch=TorchModel.of(Minus()))


# Comparison


def test_statuses_of_a_comparison() -> None:
    one = np.ones(3, np.float32)
    reference = {
        "equal": one,
        "different": one,
        "missing": one,
        "nan": one,
        "inf": one,
        "shape": one,
        "dtype": one,
        "ints": np.array([2**53 + 1]),
        "empty": np.zeros((0, 3), np.float32),
    }
    other = {
        "equal": one * np.float32(1.0001),
        "different": one * 2,
        "extra": one,
        "nan": np.array([1, np.nan, 1], np.float32),
        "inf": np.array([1, np.inf, 1], np.float32),
        "shape": one[:2],
        "dtype": one.astype(np.float64),
        "ints": np.array([2**53]),
        "empty": np.zeros((0, 3), np.float32),
    }
    tolerances = dict.fromkeys(reference, LOOSE)
    found = {entry.name: entry for entry in compare_outputs(reference, other, tolerances)}
    assert {name: entry.status for name, entry in found.items()} == {
        **{name: name for name in ("equal", "different", "missing", "nan", "inf", "shape")},
        "dtype": "dtype",
        "extra": "extra",
        "ints": "different",
        "empty": "equal",
    }
    assert found["different"].max_abs == 1.0
    assert found["different"].max_rel == 1.0
    assert found["different"].cosine == pytest.approx(1.0)
    assert found["nan"].max_abs is None
    assert found["shape"].detail == "[3] and [2]"


# Assignment


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_permutation_of_distinct_arrays_is_recovered(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    shapes = data.draw(st.lists(st.sampled_from([(4,), (2, 3)]), min_size=count, max_size=count))
    order = data.draw(st.permutations(range(count)))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    names = [f"output {index}" for index in range(count)]
    reference = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in zip(names, shapes, strict=True)
    }
    noise = np.float32(1 + 1e-6)
    other = {names[to]: reference[names[held]] * noise for to, held in enumerate(order)}
    expected = {names[to]: names[held] for to, held in enumerate(order) if to != held}
    found = find_permutation(reference, other, dict.fromkeys(names, LOOSE))
    assert found == (expected or None)


def test_a_numeric_error_is_not_explained_away() -> None:
    a, b = np.ones(4, np.float32), np.arange(4, dtype=np.float32)
    tolerances = dict.fromkeys("ab", LOOSE)
    assert find_permutation({"a": a, "b": b}, {"a": b, "b": a}, tolerances) == {"a": "b", "b": "a"}
    assert find_permutation({"a": a, "b": b}, {"a": b, "b": a * 2}, tolerances) is None
    assert find_permutation({"a": a, "b": b}, {"a": b}, tolerances) is None
    twins = {"a": a, "b": a}
    assert find_permutation(twins, twins, tolerances) is None


# Tolerance


def chain_of(text: str, products: Products = Products.ROUNDED, **sizes: int) -> Chain:
    graph = onnx_text(text).ir
    truth.annotate(graph)
    (chain,) = chains(graph, sizes, products=products).values()
    return chain


CONV = "g (float[N,3,8,8] x, float[5,3,3,3] w) => (float[N,5,8,8] y) { %s }"


def test_the_tolerance_follows_the_reductions() -> None:
    eps = float(np.finfo(np.float32).eps)
    conv = chain_of(CONV % "y = Conv <pads = [1, 1, 1, 1]> (x, w)", N=2)
    assert (conv.terms, conv.reductions, conv.others) == (27, 1, 0)
    assert conv.variance == pytest.approx((8 + 27 / 24) * eps**2)
    more = chain_of(
        CONV % "a = Conv <pads = [1, 1, 1, 1]> (x, w)  b = Sigmoid(a)  y = Relu(b)", N=2
    )
    assert (more.terms, more.others) == (27, 1)
    rows = chain_of("g (float[N,K] x) => (float[N,1] y) { y = ReduceSum(x) }", N=2, K=50)
    assert rows.terms == 100
    recurrent = chain_of(LOOP_OF_SUMS, L=6, N=2)
    assert recurrent.terms == 6 * 7
    assert recurrent.variance == pytest.approx(6 * (8 + 7 / 24) * eps**2)
    moved = chain_of("g (float[2,3] x) => (float[3,2] y) { y = Transpose(x) }")
    assert moved == Chain()
    reference = np.full((2, 5), 3.0, np.float32)
    tolerance = derive(conv, reference)
    assert tolerance.rtol == pytest.approx(8 * math.sqrt(8 + 27 / 24) * eps)
    assert tolerance.atol == pytest.approx(3 * tolerance.rtol)
    assert "27 terms in 1 reductions" in tolerance.reason
    assert "TF32 off" in tolerance.reason


LOOP_OF_SUMS = """g (float[L,N,3] x, float[1,4,3] w, float[1,4,4] r) => (float[L,1,N,4] y)
{ y = RNN <hidden_size = 4> (x, w, r) }"""


def test_products_on_a_gpu_and_reduced_precision_widen_the_tolerance() -> None:
    text = CONV % "y = Conv <pads = [1, 1, 1, 1]> (x, w)"
    full, gpu, tf32 = (chain_of(text, products, N=1) for products in Products)
    assert gpu.variance == pytest.approx(full.variance + (27 / 16 * 2.0**-23) ** 2)
    assert tf32.variance == pytest.approx(gpu.variance + 2.0**-21)
    rounded, reduced = chain_of(LOOP_OF_SUMS, L=6), chain_of(LOOP_OF_SUMS, Products.TF32, L=6)
    assert reduced.variance - rounded.variance == pytest.approx(6 * 2.0**-21, rel=1e-4)
    sums = "g (float[N,9] x) => (float[N,1] y) { y = ReduceSum(x) }"
    assert chain_of(sums, Products.TF32, N=2) == chain_of(sums, N=2)
    half = chain_of("g (float[4] x) => (float16[4] y) { y = Cast <to = 10> (x) }")
    assert half.variance == pytest.approx(float(np.finfo(np.float16).eps) ** 2 / 12)
    assert derive(Chain(), np.zeros(3, np.int64)).atol == 0.0


ATTENTION = """g (float[2,H,S,8] q, float[2,H,T,8] k, float[2,H,T,8] v) => (float[2,H,S,8] y)
{ y = Attention(q, k, v) }"""


def test_attention_adds_up_the_head_and_the_keys() -> None:
    assert chain_of(ATTENTION, H=3, S=5, T=7).terms == 8 + 7
    flat = ATTENTION.replace("2,H,", "2,").replace(",8]", ",24]")
    flat = flat.replace("Attention(", "Attention <q_num_heads = 3, kv_num_heads = 3> (")
    assert chain_of(flat, S=5, T=7).terms == 8 + 7


@pytest.mark.parametrize(
    ("legs", "products"),
    [
        ([("cpu", False)], Products.ROUNDED),
        ([("cpu", False), ("a GPU", False)], Products.TENSOR_CORES),
        ([("a GPU", True), ("cpu", False)], Products.TF32),
    ],
)
def test_the_less_precise_leg_counts(legs: list[tuple[str, bool]], products: Products) -> None:
    assert products_of(SimpleNamespace(device=d, tf32=t) for d, t in legs) == products


def test_given_numbers_replace_derived_ones() -> None:
    derived = Tolerance(1e-6, 1e-5, "derived")
    assert override(derived) is derived
    assert override(derived, atol=1.0, rtol=0.5) == Tolerance(1.0, 0.5, "given")
    partly = override(derived, rtol=0.5)
    assert (partly.atol, partly.rtol) == (1e-6, 0.5)
    assert partly.reason.startswith("rtol given")


# Inputs

EMBED = """g (int64[N,4] ids, bool[N,4] keep, int32[N,4] attention_mask, float[N,2] x, int64[3] n)
=> (float[N,4,2] y, bool[N,4] z, int32[N,4] m, float[N,2] w, int64[3] k)
<float[9,2] table> {
  shifted = Unsqueeze(ids, axes)  y4 = Gather(table, shifted)  y = Squeeze(y4, axes)
  z = Identity(keep)  m = Identity(attention_mask)  w = Identity(x)  k = Identity(n)
}""".replace("<float[9,2] table>", "<float[9,2] table, int64[1] axes = {1}>")


def test_inputs_are_such_that_the_model_can_take_them() -> None:
    model = onnx_text(EMBED)
    specs = inputs_of(model)
    assert specs["ids"] == ("int64", ("N", 4))
    arrays = generate(specs, {"N": 64}, 0, model=model)
    assert arrays["ids"].dtype == np.int64
    assert (arrays["ids"].min(), arrays["ids"].max()) == (0, 8)
    assert arrays["keep"].dtype == np.bool_
    assert set(np.unique(arrays["attention_mask"])) == {0, 1}
    assert arrays["attention_mask"].any(axis=-1).all()
    assert abs(float(arrays["x"].mean())) < 0.5
    again, other = (generate(specs, {"N": 64}, seed, model=model) for seed in (0, 1))
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert not np.array_equal(arrays["x"], other["x"])
    assert bindings_of(specs, arrays) == {"N": 64}
    with pytest.raises(UsageError, match="dimension N of input 'ids' has no size"):
        generate(specs, {}, 0, model=model)


def test_given_inputs_must_fit(exported: Model) -> None:
    for inputs, message in (
        ({"y": np.zeros(1, np.float32)}, "the model takes x"),
        ({"x": np.zeros((1, 3, 16, 16))}, "given as float64, the model takes float32"),
        ({"x": np.zeros((1, 4, 16, 16), np.float32)}, "the model takes Nx3x16x16"),
    ):
        with pytest.raises(UsageError, match=message):
            verify(exported, inputs=[inputs])


# Legs and metamorphic checks


def test_bfloat16_goes_through_pytorch() -> None:
    import ml_dtypes

    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    (output,) = TorchLeg(TorchModel.of(nn.Identity())).run({"input": array}).values()
    assert output.dtype == array.dtype
    assert np.array_equal(output, array)


class Restless:
    """A leg that adds something else each time."""

    name, version, device, tf32 = "restless", "1", "cpu", False

    def __init__(self) -> None:
        self._count = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._count += 1
        return {"y": inputs["x"] + self._count}

    def run_many(self, points: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        return map(self.run, points)


def test_a_leg_that_does_not_repeat_is_found() -> None:
    points = [{"x": np.zeros((2, 3), np.float32)}]
    plan = metamorphic.plan(points, {"x": ("N", 3)}, {"y": ("N", 3)})
    assert not plan.refused
    leg = Restless()
    before = leg.run(points[0])
    checks = [
        metamorphic.judge(probe.check, leg.name, before, leg.run(probe.inputs), {"y": LOOSE})
        for probe in plan.probes
    ]
    assert {check.check: check.status for check in checks} == {
        "second run repeats": "different",
        "same row twice": "different",
        "permuted batch": "different",
    }
    assert checks[0].reason == "in y (off by 1)"


@pytest.mark.parametrize(
    ("rows", "output", "reason"),
    [
        (1, ("N", 3), "no point has a batch of 2"),
        (2, (3, "N"), "the first dim of y is no symbol"),
        (2, ("M", 3), "do not share their first dim"),
        (2, None, "the first dim of y is no symbol"),
    ],
)
def test_batch_checks_need_a_batch(rows: int, output: Any, reason: str) -> None:
    points = [{"x": np.zeros((rows, 3), np.float32)}]
    plan = metamorphic.plan(points, {"x": ("N", 3)}, {"y": output})
    assert [probe.check for probe in plan.probes] == ["second run repeats"]
    assert {check.status for check in plan.refused} == {"not applicable"}
    assert all(reason in check.reason for check in plan.refused)


def test_batch_checks_take_the_smallest_batch_of_three_or_more() -> None:
    points = [{"x": np.zeros((rows, 3), np.float32)} for rows in (1, 2, 8, 4)]
    assert metamorphic.plan(points, {"x": ("N", 3)}, {"y": ("N", 3)}).point == 3
    assert metamorphic.plan(points[:2], {"x": ("N", 3)}, {"y": ("N", 3)}).point == 1


def test_importing_parity_imports_no_runtime() -> None:
    code = (
        "import sys; import tripoint.parity.verify\n"
        "assert not {'torch', 'onnxruntime', 'tensorrt', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
