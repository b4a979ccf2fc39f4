"""The first node that parts two legs: found, and never found where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.graphs import build
from tests.helpers.locating import FAULTS, Fused, chain, net
from tripoint import model as models
from tripoint.errors import OutputError, UsageError
from tripoint.model import Model
from tripoint.numeric.inputs import generate
from tripoint.parity.locate import onnxruntime
from tripoint.parity.locate.deviation import measure
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.legs import Fusion
from tripoint.parity.locate.locate import Pair, Point, locate
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.repro import Options
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.tensor_cache import Shelf
from tripoint.spec import Spec
from tripoint.tolerance.derivation import Tolerance

TWO = Spec.parse([], ["N=2"])


def against(model: Model, other: Model, **options: Any) -> Location:
    return tripoint.locate(model, against=other, spec=TWO, **options)


def searched(graph: Graph, suspect: Fused, size: int = 2) -> Location:
    feed = generate(graph.specs, {"N": size}, 0)
    reference = OnnxRuntime(graph, name="reference", limit=8)
    pair = Pair(reference, suspect, graph, Options("model"))
    return locate([pair], graph.specs, [Point(feed, 0)])


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_at_its_node(name: str) -> None:
    fault = FAULTS[name]
    found = against(net(), net(fault))
    assert found.verdict == "different"
    assert found.culprit is not None
    assert found.culprit.node == fault.culprit
    assert found.culprit.error_before == 0
    assert found.culprit.error_alone > 0
    assert found.others == ()
    assert fault.culprit not in {each.node for each in found.passed_on}
    assert found.accumulation is None


@pytest.mark.parametrize("seed", range(5))
def test_without_a_fault_no_node_is_named(seed: int) -> None:
    found = against(net(), net(), seed=seed)
    assert found.verdict == "equal"
    assert found.culprit is None
    assert [leg.status for leg in found.legs] == ["ran", "ran"]


def test_those_that_pass_an_error_on_are_told_from_the_one_that_makes_it() -> None:
    found = against(net(), net(FAULTS["activation"]))
    assert {each.node for each in found.passed_on} >= {"r2", "q", "scores", "n", "soft", "y", "w"}
    assert all(each.error_alone == 0 for each in found.passed_on)
    assert all(each.error > 0 for each in found.passed_on)


def test_of_several_faults_the_first_is_the_culprit_and_the_rest_are_listed() -> None:
    second = FAULTS["axis"]
    both = net(FAULTS["epsilon"])
    softmax = next(node for node in both.ir.graph if node.outputs[0].name == "p")
    softmax.attributes["axis"] = ir.AttrInt64("axis", -2)
    found = against(net(), both)
    assert found.culprit is not None
    assert found.culprit.node == second.culprit
    assert [each.node for each in found.others] == ["n"]


@pytest.mark.parametrize("at", [0, 1, 25, 48, 49])
def test_a_fault_in_a_chain_of_50_nodes_is_found(at: int) -> None:
    def body(index: int) -> str:
        return ("Mul({}, up)", "Mul({}, down)", "Neg({})", "Add({}, one)")[index % 4]

    def wrong(index: int) -> str:
        return "Sub({}, down)" if index == at else body(index)

    good, bad = chain(50, body), chain(50, wrong)
    found = against(good, bad)
    assert found.culprit is not None
    assert found.culprit.node == ("y" if at == 49 else f"t{at + 1}")


def test_an_error_that_only_adds_up_is_said_to_do_so() -> None:
    good = chain(50, lambda _: "Mul({}, one)")
    bad = chain(50, lambda _: "Mul({}, off)")
    found = against(good, bad)
    assert found.verdict == "different"
    assert found.culprit is None
    assert found.accumulation is not None
    assert found.accumulation.error_after > found.accumulation.error_before
    assert any("accumulation" in reason for reason in found.reasons)


def test_one_larger_step_in_an_accumulation_is_where_it_grows_the_most() -> None:
    good = chain(60, lambda _: "Mul({}, one)")
    bad = chain(60, lambda _: "Mul({}, off)")
    # Two steps in one node are still within what a single rounding may cost.
    double = ir.Value(
        name="double",
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape([]),
        const_value=ir.tensor(np.float32(1.000001), name="double"),
    )
    bad.ir.graph.register_initializer(double)
    step = next(node for node in bad.ir.graph if node.outputs[0].name == "t30")
    step.replace_input_with(1, double)
    found = against(good, bad)
    assert found.culprit is None
    assert found.accumulation is not None
    assert found.accumulation.node == "t30"


def test_a_fault_at_one_batch_size_is_found_at_that_size() -> None:
    # Only the third row of a batch is wrong, so that sizes below three agree.
    constants = "| int64[1] zero = {0}, int64[1] row = {2}, int64[1] end = {9}, float off = {0.5}"
    body = "a = Relu(x); b = Mul(a, a); y = Neg(b)"
    good = build(f"float[N,4] x {constants}", body, 18, "float[N,4] y")
    bad = build(
        f"float[N,4] x {constants}",
        "a = Relu(x); h = Slice(a, zero, row, zero); t = Slice(a, row, end, zero); "
        "s = Mul(t, off); c = Concat<axis=0>(h, s); b = Mul(a, c); y = Neg(b)",
        18,
        "float[N,4] y",
    )
    found = tripoint.locate(good, against=bad, spec=Spec.parse([], ["N=1..2..4"]))
    assert found.culprit is not None
    assert found.culprit.node == "b"
    assert found.shapes["x"][0] > 2


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [("float[N,4] y", "output z is missing"), ("float[N,4] y, float[N,4] q", "output q is extra")],
)
def test_outputs_that_do_not_match_are_a_difference_without_a_culprit(
    outputs: str, reason: str
) -> None:
    body = "y = Relu(x); z = Neg(x); q = Abs(x)"
    good = build("float[N,4] x", body, 18, "float[N,4] y, float[N,4] z")
    bad = build("float[N,4] x", body, 18, outputs)
    found = against(good, bad)
    assert found.verdict == "different"
    assert found.culprit is None
    assert any(reason in text for text in found.reasons)


def test_minus_infinity_in_a_mask_is_no_error() -> None:
    constants = "| float[4] mask = {0, 0, -inf, -inf}"
    text = "m = Add(x, mask); p = Softmax<axis=-1>(m); y = {}(p)"
    good = build(
        f"float[N,4] x {constants.replace('-inf', '-1e30')}",
        text.format("Sqrt"),
        18,
        "float[N,4] y",
    )
    bad = build(
        f"float[N,4] x {constants.replace('-inf', '-1e30')}", text.format("Exp"), 18, "float[N,4] y"
    )
    for model in (good, bad):
        mask = model.ir.graph.initializers["mask"]
        mask.const_value = ir.tensor(np.array([0, 0, -np.inf, -np.inf], np.float32), name="mask")
    found = against(good, bad)
    assert found.culprit is not None
    assert found.culprit.node == "y"
    assert found.others == ()


def test_a_leg_that_does_not_run_leaves_it_unproven() -> None:
    good = build("float[N,4] x", "y = Relu(x)", 18, "float[N,4] y")
    # Shapes that do not fit are noticed when the graph runs.
    bad = build("float[N,4] x | int64[1] size = {7}", "y = Reshape(x, size)", 18, "float[N] y")
    found = against(good, bad)
    assert found.verdict == "unproven"
    assert [leg.status for leg in found.legs] == ["failed"]


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        tripoint.locate(net(), spec=TWO)


@pytest.mark.parametrize("shown", [(), ("stem", "r1", "r2", "n"), ("c1", "v", "up")])
@pytest.mark.parametrize("name", ["weight", "pads", "axis", "slice off by one", "Gelu by tanh"])
def test_a_leg_that_shows_few_tensors_is_searched_by_halves(
    name: str, shown: Sequence[str]
) -> None:
    graph = Graph(net())
    suspect = Fused(graph, Graph(net(FAULTS[name])), shown)
    # The nodes of the engine are believed to be right, so the fault has to be replayed from it.
    suspect._only_with = {FAULTS[name].culprit}
    found = searched(graph, suspect)
    assert found.culprit is not None
    assert found.culprit.node == FAULTS[name].culprit
    assert found.culprit.nodes == (FAULTS[name].culprit,)
    assert found.culprit.fused_layer == "fused"
    assert len(suspect.replayed) < 20


def test_an_error_that_only_the_whole_makes_is_placed() -> None:
    graph = Graph(net())
    suspect = Fused(graph, Graph(net(FAULTS["weight"])), ("r1", "c2", "r2"), only_with=("never",))
    found = searched(graph, suspect)
    assert found.verdict == "different"
    assert found.culprit is None
    (reason,) = [each for each in found.reasons if "the rest of the engine" in each]
    assert reason.startswith("c2 is the first that differs although all that it reads agrees")


def test_a_fault_that_only_shows_where_nodes_are_fused_is_narrowed_to_them() -> None:
    graph = Graph(net())
    suspect = Fused(graph, Graph(net(FAULTS["axis"])), ("r2", "n"), only_with=("scores", "p"))
    found = searched(graph, suspect)
    assert found.culprit is not None
    assert set(found.culprit.nodes) >= {"scores", "p"}
    assert "n" not in found.culprit.nodes
    assert found.culprit.node == "p"
    assert found.culprit.vanishes_unfused is True


def test_a_fault_that_stays_when_fusion_is_broken_is_said_to_stay() -> None:
    graph = Graph(net())

    class Stubborn(Fused):
        def fusion(self, part: Any, feed: Any) -> Any:  # noqa: ARG002
            return Fusion("fused", self._wrong(feed))

    suspect = Stubborn(graph, Graph(net(FAULTS["axis"])), ("r2",), only_with=("p",))
    found = searched(graph, suspect)
    assert found.culprit is not None
    assert found.culprit.vanishes_unfused is False


def test_an_engine_that_agrees_when_it_is_built_again_is_said_to_do_so() -> None:
    graph = Graph(net())

    class Moody(Fused):
        runs = 0

        def values(self, tensors: Any, feed: Any) -> Any:
            self.runs += 1
            if self.runs == 1:
                return super().values(tensors, feed)
            return OnnxRuntime.values(self, tensors, feed)

    found = searched(graph, Moody(graph, Graph(net(FAULTS["weight"]))))
    assert found.verdict == "different"
    assert found.culprit is None
    assert any("belongs to the plan" in reason for reason in found.reasons)


@pytest.mark.parametrize("limit", [2, 6, 64])
def test_few_tensors_are_made_at_a_time(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    run = onnxruntime.run

    def counted(*arguments: Any) -> Any:
        result = run(*arguments)
        made.append(len(result))
        return result

    monkeypatch.setattr(onnxruntime, "run", counted)
    graph = Graph(net())
    feed = generate(graph.specs, {"N": 2}, 0)
    values = dict(OnnxRuntime(graph, name="", limit=limit).values(graph.comparable, feed))
    assert list(values) == graph.comparable
    # Half of the limit is asked for, and what later nodes read comes on top.
    assert max(made) <= limit // 2 + 3
    assert sum(made) < 2 * len(values)


def test_slices_compute_what_the_whole_computes() -> None:
    model = net()
    graph = Graph(model)
    feed = generate(graph.specs, {"N": 2}, 0)
    whole = dict(OnnxRuntime(graph, name="", limit=1000).values(graph.comparable, feed))
    sliced = dict(OnnxRuntime(graph, name="", limit=2).values(graph.comparable, feed))
    for name, array in whole.items():
        np.testing.assert_array_equal(sliced[name], array)


def test_a_shelf_holds_few_and_gives_all_back() -> None:
    import ml_dtypes

    with Shelf(2) as shelf:
        arrays = {f"/t:{n}": np.full((3,), n, np.float32) for n in range(5)}
        arrays["low"] = np.array([1.5], ml_dtypes.bfloat16)
        for name, array in arrays.items():
            shelf.put(name, array)
        assert len(shelf._held) == 2
        for name, array in arrays.items():
            np.testing.assert_array_equal(shelf.get(name), array)
        shelf.drop("/t:0")
        assert "/t:0" not in shelf
        folder = Path(shelf._folder.name) if shelf._folder else None
        assert folder is not None
        assert folder.is_dir()
    assert not folder.exists()


EXACT = Tolerance(0.0, 0.0, "for this test")
LOOSE = Tolerance(0.1, 0.0, "for this test")


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "status"),
    [
        ([1.0, np.nan], [1.0, np.nan], EXACT, "equal"),
        ([1.0, np.inf], [1.0, np.inf], EXACT, "equal"),
        ([1.0, np.inf], [1.0, -np.inf], EXACT, "inf"),
        ([1.0, np.inf], [1.0, 3.0], LOOSE, "inf"),
        ([1.0, 2.0], [np.nan, 2.0], LOOSE, "nan"),
        ([1.0, 2.0], [1.05, 2.0], LOOSE, "equal"),
        ([1.0, 2.0], [1.2, 2.0], LOOSE, "different"),
    ],
)
def test_measure_of_numbers(a: list[float], b: list[float], tolerance: Any, status: str) -> None:
    assert measure(np.array(a), np.array(b), tolerance).status == status


def test_measure_of_shapes_and_types() -> None:
    assert measure(np.zeros((2, 3)), np.zeros((3, 2)), LOOSE).status == "shape"
    assert measure(np.zeros(3), np.zeros(3, np.int64), LOOSE).status == "dtype"
    big = np.array([2**53 + 1])
    assert measure(big, big - 1, LOOSE).status == "different"
    assert measure(np.ones(3, np.float32), np.ones(3, np.float16), LOOSE).status == "equal"
    assert measure(np.array(["a"]), np.array(["a"]), LOOSE).status == "dtype"
    assert measure(np.zeros((0, 3)), np.zeros((0, 3)), LOOSE).status == "equal"


@pytest.fixture
def faulty(tmp_path: Path) -> tuple[Path, Path]:
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    models.save(net(), good)
    models.save(net(FAULTS["weight"]), bad)
    return good, bad


def test_a_repro_shows_the_difference_again(faulty: tuple[Path, Path], tmp_path: Path) -> None:
    good, bad = faulty
    folder = tmp_path / "repro"
    found = tripoint.locate(good, against=bad, spec=TWO, folder=folder)
    assert found.repro == str(folder)
    part = models.load(folder / "model.onnx")
    assert [node.op_type for node in part.ir.graph] == ["Conv"]
    with np.load(folder / "inputs.npz") as archive:
        inputs = {name: archive[name] for name in archive.files}
    assert list(inputs) == ["r1"]
    with np.load(folder / "expected.npz") as archive:
        expected = {name: archive[name] for name in archive.files}
    again = tripoint.locate(
        folder / "reference.onnx", against=folder / "model.onnx", inputs=[inputs]
    )
    assert again.culprit is not None
    assert again.culprit.node == "c2"
    recorded = tripoint.locate(folder / "model.onnx", expected=expected, inputs=[inputs])
    assert recorded.culprit is not None
    right = tripoint.locate(folder / "reference.onnx", expected=expected, inputs=[inputs])
    assert right.verdict == "equal"


def test_a_repro_replaces_nothing_without_force(faulty: tuple[Path, Path], tmp_path: Path) -> None:
    good, bad = faulty
    folder = tmp_path / "repro"
    folder.mkdir()
    (folder / "inputs.npz").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        tripoint.locate(good, against=bad, spec=TWO, folder=folder)
    assert [path.name for path in folder.iterdir()] == ["inputs.npz"]
    assert (folder / "inputs.npz").read_text() == "mine"
    tripoint.locate(good, against=bad, spec=TWO, folder=folder, force=True)
    assert (folder / "README.md").is_file()


def test_no_repro_where_all_agree(tmp_path: Path) -> None:
    assert against(net(), net(), folder=tmp_path / "repro").repro is None
    assert not (tmp_path / "repro").exists()


def test_weights_stay_in_their_file_until_a_part_needs_them(tmp_path: Path) -> None:
    stored = {}
    for name, model in (("good", net()), ("bad", net(FAULTS["weight"]))):
        path = tmp_path / name / "model.onnx"
        path.parent.mkdir()
        ir.save(model.ir, path, external_data="weights.bin", size_threshold_bytes=0)
        stored[name] = models.load(path)
    graph = Graph(stored["good"])
    part = graph.between([graph.values["c2"]], {graph.values["r1"]})
    cut = graph.cut(part, {"r1": np.zeros((2, 4, 8, 8), np.float32)})
    assert isinstance(cut.ir.graph.initializers["w_c"].const_value, ir.ExternalTensor)
    found = against(stored["good"], stored["bad"], folder=tmp_path / "repro")
    assert found.culprit is not None
    assert found.culprit.node == "c2"
    assert not list((tmp_path / "repro").glob("weights*"))
