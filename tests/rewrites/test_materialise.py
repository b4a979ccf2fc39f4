"""The last resort: a Reshape that changes nothing, where TensorRT lost a size."""

from __future__ import annotations

import pytest

from tests.helpers.graphs import build, fixed, interface, operators

NAME = "materialise"
SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]
SOFTMAX = "p = Softmax(x); m = Relu(p); y = Neg(m)"


def test_one_reshape_behind_the_origin_is_enough() -> None:
    model = build("float[N,12,S,64] x", SOFTMAX)
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Softmax", "Reshape", "Relu", "Neg"]
    reshape = list(result.model.ir.graph)[1]
    sizes = reshape.inputs[1]
    assert sizes is not None
    assert sizes.const_value is not None
    assert list(sizes.const_value.numpy()) == [0, 12, 0, 64]
    assert reshape.outputs[0].name == "p"
    assert result.before.lost_dims == 6
    (remaining,) = result.remaining
    assert (remaining.tensor, remaining.lost) == ("p.softmax", (1, 3))
    assert remaining.reason == "Softmax loses it here; a Reshape makes it known from `p` on"


def test_a_graph_output_keeps_its_name_and_is_known() -> None:
    model = build("float[N,12,S] x", "y = Softmax(x)")
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Softmax", "Reshape"]
    assert interface(result.model) == interface(model)
    assert result.facts_after.table.by_name["y"].lost == ()


def test_what_others_read_of_a_node_stays_with_it() -> None:
    model = build(
        "float[N,12] x",
        "a, b = Split<axis = 1>(x); y = Neg(a); z = Neg(b); w = Abs(b)",
        outputs="float[] y, float[] z, float[] w",
        opset=11,
    )
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model).count("Reshape") == 2
    known = result.facts_after.table.by_name
    assert not any(known[name].lost for name in ("a", "b", "y", "z", "w"))


def test_a_loss_that_nothing_takes_over_is_only_named() -> None:
    model = build("float[N,12,S] x", "p = Softmax(x); s = Size(p); y = Neg(s)")
    result = fixed(model, SIZES, [NAME])
    assert result.applied == ()
    (remaining,) = result.remaining
    assert "nothing downstream of it loses a dim through it" in remaining.reason


def test_a_size_of_zero_is_refused() -> None:
    model = build("float[N,0,3] x", "y = Softmax(x)")
    result = fixed(model, select=[NAME])
    assert result.applied == ()
    (refused,) = result.refused
    assert "is 0" in refused.reason


@pytest.mark.parametrize("body", ["y = Neg(x)", "p = Relu(x); y = Neg(p)"])
def test_nothing_is_added_where_nothing_is_lost(body: str) -> None:
    assert fixed(build("float[N,12,S] x", body), SIZES, [NAME]).applied == ()
