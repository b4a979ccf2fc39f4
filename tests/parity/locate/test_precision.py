"""Nodes by what a lower precision costs there, measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.helpers.graphs import build, execute
from tests.helpers.locating import net
from tripoint import api
from tripoint.errors import OutputError
from tripoint.model import Model
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.precision import rank
from tripoint.spec import Spec

TWO = Spec.parse([], ["N=2"])
CONSTANTS = "| float large = {30000.0}, float half = {0.5}, float one = {1.0}"


def overflowing() -> Model:
    body = (
        "a = Abs(x); b = Add(a, one); c = Mul(b, large); d = Mul(c, b); e = Sqrt(d); "
        "f = Mul(e, half); y = Neg(f)"
    )
    return build(f"float[N,8] x {CONSTANTS}", body, 18, "float[N,8] y")


def cancelling() -> Model:
    # What is left of a difference of large numbers is what rounding them took away.
    body = "a = Add(x, large); b = Sub(a, large); c = Mul(b, half); y = Tanh(c)"
    return build(f"float[N,8] x {CONSTANTS}", body, 18, "float[N,8] y")


def test_an_overflow_comes_first_and_is_kept() -> None:
    found = api.locate_precision(overflowing(), "fp16", spec=TWO)
    assert found.nodes[0].share == np.inf
    infinite = {cost.node for cost in found.nodes if cost.share == np.inf}
    assert infinite <= {"c", "d", "e"}
    assert set(found.keep) >= infinite
    assert found.all_rounded.share == np.inf
    assert found.met
    assert found.kept.share <= 1


def test_bfloat16_has_the_range_for_it() -> None:
    found = api.locate_precision(overflowing(), "bf16", spec=TWO)
    assert all(np.isfinite(cost.share) for cost in found.nodes)


def test_cancellation_dominates_and_the_set_is_the_smallest() -> None:
    found = api.locate_precision(cancelling(), "fp16", spec=TWO)
    assert {cost.node for cost in found.nodes[:2]} == {"a", "b"}
    assert set(found.keep) == {"a", "b"}
    assert found.kept.share <= 1 < found.all_rounded.share


def test_a_tolerance_decides_how_many_are_kept() -> None:
    sizes = [
        len(api.locate_precision(net(), "bf16", spec=TWO, atol=atol, rtol=0.0).keep)
        for atol in (1e3, 1e-2, 1e-7)
    ]
    assert sizes[0] == 0
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_what_is_not_rounded_is_what_the_model_computes() -> None:
    model = net()
    graph = Graph(model)
    feed = {"x": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    found = rank(graph, "fp16", [feed], atol=0.0, rtol=0.0)
    # With no node rounded nothing moves, so that even no tolerance at all is met.
    assert found.met
    assert found.kept.error == 0
    assert len(execute(model, feed)) == len(found.goal)


def test_one_node_rounded_is_what_numpy_rounds() -> None:
    body = "a = Relu(x); b = Mul(a, half); y = Neg(b)"
    model = build(f"float[N,8] x {CONSTANTS}", body, 18, "float[N,8] y")
    feed = {"x": np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)}
    found = rank(Graph(model), "fp16", [feed])
    # The other nodes only move numbers.
    assert [cost.node for cost in found.nodes] == ["b"]
    exact = np.maximum(feed["x"], 0)
    half = exact.astype(np.float16).astype(np.float32)
    low = (half * np.float32(0.5)).astype(np.float16).astype(np.float32)
    assert found.nodes[0].error == pytest.approx(np.abs(low - exact * 0.5).max(), rel=1e-6)


def test_the_list_has_one_node_on_a_line(tmp_path: Path) -> None:
    found = api.locate_precision(cancelling(), "fp16", spec=TWO, folder=tmp_path / "out")
    path = tmp_path / "out" / "keep-fp32.txt"
    assert found.file == str(path)
    assert path.read_text(encoding="utf-8").splitlines() == list(found.keep)
    with pytest.raises(OutputError, match="exists"):
        api.locate_precision(cancelling(), "fp16", spec=TWO, folder=tmp_path / "out")


def test_a_name_that_no_list_can_hold_is_said() -> None:
    model = cancelling()
    for node in model.ir.graph:
        node.name = f"odd\n{node.op_type}"
    found = api.locate_precision(model, "fp16", spec=TWO)
    assert found.keep == ()
    assert not found.met
    assert any("no list can hold" in note for note in found.notes)


def test_graph_outputs_in_the_middle_are_rounded_where_they_are_read() -> None:
    body = "a = Add(x, large); b = Sub(a, large); y = Tanh(b)"
    model = build(f"float[N,8] x {CONSTANTS}", body, 18, "float[N,8] y, float[N,8] a")
    found = api.locate_precision(model, "fp16", spec=TWO)
    # Rounding what the last node takes does not show in an output before it.
    assert {cost.node: cost.output for cost in found.nodes}["y"] == "y"
    assert {cost.node for cost in found.nodes} == {"a", "b", "y"}
    assert [value.name for value in model.ir.graph.outputs] == ["y", "a"]
    assert isinstance(model.ir, ir.Model)
