"""The document that the project was made from: graph A, graph B and what it printed for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.graphs import GRAPH_A, GRAPH_B, execute, feed, operators, to_bytes
from tests.helpers.marks import installed
from tripoint.engine.network import NetworkDescription
from tripoint.model import Model
from tripoint.rewrites.base import FixResult
from tripoint.trt import bindings

LOG = {
    "4": (1, 5, 5, 5),
    "5": (1, 5, 1, 1),
    "6": (1, 5, 1),
    "7": (1, 1, 5),
    "8": (1, 1, 5),
    "9": (1, 5, 1),
    "10": (1, 5, 1, 1),
    "11": (1, 5, 1, 1),
    "12": (4,),
    "13": (-1, -1, -1, -1),
    "14": (-1, 5, 5, 5),
    "15": (-1, 5, 5, 5),
}
"""Output shape of each layer of graph A, as TensorRT 7.1.3.4 logged it."""


@pytest.fixture(scope="module")
def fixed() -> FixResult:
    return tripoint.fix(GRAPH_A, target="7.1")


def wiring(model: Model) -> list[tuple[str, dict[str, Any], list[object]]]:
    """Operator, attributes and operands of each node, independent of tensor names."""
    known: dict[ir.Value | None, object] = {
        value: ("input", index) for index, value in enumerate(model.ir.graph.inputs)
    }
    for name, value in model.ir.graph.initializers.items():
        assert value.const_value is not None
        known[value] = (name, tuple(value.const_value.shape), value.const_value.tobytes())
    found = []
    for index, node in enumerate(model.ir.graph):
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        found.append((node.op_type, attributes, [known[value] for value in node.inputs]))
        known.update((value, ("node", index, i)) for i, value in enumerate(node.outputs))
    found.append(("outputs", {}, [known[value] for value in model.ir.graph.outputs]))
    return found


def printed(network: object) -> list[str]:
    assert isinstance(network, NetworkDescription)
    return [
        f"{kind} {index} | Name: {tensor.name} | Shape: {tensor.shape}"
        for kind, tensors in (("Input", network.inputs), ("Output", network.outputs))
        for index, tensor in enumerate(tensors)
    ]


def test_shapes_of_graph_a_are_those_of_the_log() -> None:
    table = tripoint.shapes(GRAPH_A, target="7.1")
    assert {f.name: f.tensorrt for f in table.tensors if f.op} == LOG
    assert [f.name for f in table.tensors] == ["input.1", *LOG]
    assert {f.name: f.lost for f in table.tensors if f.lost} == {
        "13": (0, 1, 2, 3),
        "14": (0,),
        "15": (0,),
    }
    assert table.summary.lost_dims == 6
    assert table.refusals == ()
    assert str(table.target) == "TensorRT 7.1 (modelled)"


def test_only_origin_is_the_expand() -> None:
    (chain,) = tripoint.shapes(GRAPH_A, target="7.1").chains
    assert (chain.tensor, chain.origin, chain.reaches) == ("13", "13", ("15",))
    assert [(step.tensor, step.op) for step in chain.back] == [("13", "Expand"), ("12", "Shape")]
    assert "`12`" in chain.back[0].reason
    assert "Shape" in chain.back[0].reason
    assert "(1, 5, 5, 5)" in chain.back[1].reason
    whole = tripoint.why(GRAPH_A, "15", target="7.1")
    assert (whole.tensor, whole.origin, whole.reaches) == ("15", "13", ("15",))
    assert [step.tensor for step in whole.back] == ["15", "14", "13", "12"]
    assert whole.back[2:] == chain.back


def test_fix_turns_graph_a_into_graph_b(fixed: FixResult) -> None:
    assert operators(fixed.model) == [
        *("Conv", "GlobalAveragePool", "Transpose", "Conv", "Transpose", "Sigmoid", "Mul", "Conv")
    ]
    assert wiring(fixed.model) == wiring(tripoint.load(GRAPH_B))
    convolution = list(fixed.model.ir.graph)[3]
    assert list(convolution.attributes["kernel_shape"].value) == [3, 1]
    assert list(convolution.attributes["pads"].value) == [1, 0, 1, 0]
    assert (fixed.before.nodes, fixed.after.nodes) == (12, 8)
    assert (fixed.before.lost_dims, fixed.after.lost_dims) == (6, 0)
    assert (fixed.remaining, fixed.refused) == ((), ())
    assert [(each.rewrite, each.nodes) for each in fixed.applied] == [
        ("conv1d-between-squeezes", ("6", "7", "8", "9", "10")),
        ("redundant-expand", ("13", "14")),
    ]


def test_both_rewrites_and_the_whole_are_proven(fixed: FixResult) -> None:
    assert fixed.proven
    assert fixed.proof is not None
    for proof in (fixed.proof, *(each.proof for each in fixed.applied)):
        assert (proof.symbolic, proof.numeric.status, proof.reason) == ("holds", "holds", "")
        assert len(proof.numeric.points) >= 3
        assert proof.numeric.max_abs_error is not None
        assert proof.numeric.max_abs_error <= (proof.numeric.tolerance or 0.0) < 1e-4


def test_numbers_are_the_same(fixed: FixResult) -> None:
    a, b = tripoint.load(GRAPH_A), tripoint.load(GRAPH_B)
    for seed in range(8):
        inputs: Mapping[str, Any] = feed(a, seed)
        (expected,), (actual,), (other,) = (execute(m, inputs) for m in (a, fixed.model, b))
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(actual, other)


def test_graph_a_is_not_changed() -> None:
    content, model = GRAPH_A.read_bytes(), tripoint.load(GRAPH_A)
    before = to_bytes(model)
    result = tripoint.fix(model, target="7.1")
    assert to_bytes(model) == before != to_bytes(result.model)
    assert GRAPH_A.read_bytes() == content


@pytest.mark.parametrize("target", ["7.1", installed])
def test_graph_b_has_nothing_to_fix(target: str) -> None:
    result = tripoint.fix(GRAPH_B, target=target)
    assert (result.applied, result.refused, result.remaining) == ((), (), ())
    assert result.proven
    table = tripoint.shapes(GRAPH_B, target=target)
    assert table.summary.lost_dims == table.summary.not_seen == 0
    assert table.chains == ()
    assert all(facts.shape == facts.tensorrt for facts in table.tensors)


def test_network_descriptions(fixed: FixResult) -> None:
    first = "Input 0 | Name: input.1 | Shape: (1, 3, 5, 5)"
    before = tripoint.inspect(GRAPH_A, target="7.1")
    assert printed(before) == [first, "Output 0 | Name: 15 | Shape: (-1, 5, 5, 5)"]
    for target in ("7.1", *(["installed"] if bindings.available() else [])):
        after = tripoint.inspect(fixed.model, target=target)
        assert printed(after) == [first, "Output 0 | Name: 15 | Shape: (1, 5, 5, 5)"]


@pytest.mark.parametrize("target", [installed])
def test_an_installed_tensorrt_folds_graph_a(target: str) -> None:
    table = tripoint.shapes(GRAPH_A, target=target)
    assert table.target.kind == "installed"
    assert table.summary.lost_dims == 0
    assert table.origins == ()
    assert table.layers is not None
    assert {f.name: f.tensorrt for f in table.tensors if f.op and f.tensorrt is not None} == {
        f.name: f.shape for f in table.tensors if f.op and f.tensorrt is not None
    }
    assert table.by_name["15"].tensorrt == (1, 5, 5, 5)
    result = tripoint.fix(GRAPH_A, target=target)
    assert wiring(result.model) == wiring(tripoint.load(GRAPH_B))
    assert (result.before.lost_dims, result.after.lost_dims) == (0, 0)
    assert result.proven
    assert printed(tripoint.inspect(GRAPH_A, target=target)) == [
        "Input 0 | Name: input.1 | Shape: (1, 3, 5, 5)",
        "Output 0 | Name: 15 | Shape: (1, 5, 5, 5)",
    ]
