"""What holds for the loop whatever it applies: the view, the order, the selection, the bytes."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, build, fixed, operators, to_bytes
from tests.helpers.marks import installed
from tripoint import rewrites
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.fix import fix

SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]


def attention(names: str = "N,S") -> Model:
    """Heads split off and merged again by computed sizes, as exporters write it."""
    return build(
        f"float[{names},24] x, float[24,24] w_q | int64[1] i = {{0}}, int64[1] j = {{1}},"
        "int64[1] heads = {3}, int64[1] size = {8}, int64[1] open = {-1}",
        "s = Shape(x); n = Gather<axis = 0>(s, i); t = Gather<axis = 0>(s, j);"
        "q = MatMul(x, w_q); c = Concat<axis = 0>(n, t, heads, size); r = Reshape(q, c);"
        "h = Transpose<perm = [0,2,1,3]>(r); k = Transpose<perm = [0,2,3,1]>(r); m = MatMul(h, k);"
        "p = Softmax(m); o = MatMul(p, h); b = Transpose<perm = [0,2,1,3]>(o);"
        "d = Concat<axis = 0>(n, t, open); y = Reshape(b, d)",
        outputs="float[] y",
    )


def test_a_block_of_attention_has_no_shape_arithmetic_left() -> None:
    result = fixed(attention(), SIZES)
    found = operators(result.model)
    assert not {"Shape", "Gather", "Concat"} & set(found)
    assert {each.rewrite for each in result.applied} >= {"constant-sizes"}
    # Softmax of 7.1 flattens its input, and what reads it does not need the size that it loses.
    assert [each.tensor for each in result.remaining] == ["p"]
    assert "nothing downstream of it loses" in result.remaining[0].reason
    modern = tripoint.fix(attention(), target="8.6")
    assert (modern.after.lost_dims, modern.remaining) == (0, ())


@pytest.mark.parametrize("name", [each.name for each in rewrites.all_rewrites()])
def test_each_rewrite_works_alone_and_twice_changes_nothing(name: str) -> None:
    model = attention()
    safe = {each.name: each.safety == "safe" for each in rewrites.all_rewrites()}[name]
    result = fix(model, target="7.1", select=[name], unsafe=not safe)
    assert {each.rewrite for each in result.applied} <= {name}
    assert result.after.lost_dims <= result.before.lost_dims
    again = fix(result.model, target="7.1", select=[name], unsafe=not safe)
    assert again.applied == ()
    if result.applied:
        assert_same_function(model, result.model, SIZES)


def test_the_given_model_is_not_changed_and_the_result_is_the_same_every_time() -> None:
    model = attention()
    before = to_bytes(model)
    results = {to_bytes(tripoint.fix(model, target="7.1").model) for _ in range(3)}
    assert len(results) == 1
    assert to_bytes(model) == before


# A rewrite that makes the view worse


def computed_again(node: ir.Node, site: Site) -> Replacement | None:
    """Compute the constant operand of a Reshape, which TensorRT 7.x does not follow."""
    del site
    sizes = node.inputs[1]
    if sizes is None or sizes.producer() is not None:
        return None
    computed = ir.node("Identity", [sizes])
    new = ir.node("Reshape", [node.inputs[0], computed.outputs[0]])
    return Replacement([node], [node.outputs[0]], [computed, new], list(new.outputs))


def doubled(node: ir.Node, site: Site) -> Replacement | None:
    """A harmless rewrite of another operator."""
    del site
    new = ir.node("Mul", [node.inputs[0], node.inputs[0]])
    if node.inputs[0] is None or node.inputs[0].name != "c":
        return None
    return Replacement([node], [node.outputs[0]], [new], list(new.outputs))


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    known = (
        Rewrite(
            "computed-again", "", find=computed_again, may_match=lambda n: n.op_type == "Reshape"
        ),
        Rewrite("squared", "", find=doubled, may_match=lambda n: n.op_type == "Pow"),
    )
    monkeypatch.setattr(rewrites, "all_rewrites", lambda: known)


@pytest.mark.usefixtures("harmful")
def test_a_rewrite_that_makes_the_view_worse_is_taken_back_alone() -> None:
    model = build(
        "float[2,6] x | int64[2] a = {3,4}, int64[2] b = {6,2}, float two = {2.}",
        "r = Reshape(x, a); s = Neg(r); t = Reshape(s, b); c = Relu(t); y = Pow(c, two)",
    )
    result = tripoint.fix(model, target="7.1")
    assert [each.rewrite for each in result.applied] == ["squared"]
    assert operators(result.model) == ["Reshape", "Neg", "Reshape", "Relu", "Mul"]
    assert {(each.rewrite, each.node) for each in result.refused} == {
        ("computed-again", "r"),
        ("computed-again", "t"),
    }
    assert all("TensorRT would lose" in each.reason for each in result.refused)
    assert result.after.lost_dims == result.before.lost_dims == 0


@pytest.mark.usefixtures("harmful")
def test_a_rewrite_that_changes_numbers_is_refused() -> None:
    model = build("float[2,6] x | float three = {3.}", "c = Relu(x); y = Pow(c, three)")
    result = tripoint.fix(model, target="7.1")
    assert result.applied == ()
    (refused,) = result.refused
    assert refused.reason.startswith("the proof failed: differs by")


def test_a_recorded_log_is_no_target(tmp_path: Path) -> None:
    log = tmp_path / "trt.log"
    log.write_text("[TRT] nothing")
    with pytest.raises(UsageError, match="a log shows one model only"):
        tripoint.fix(attention(), target=str(log))


def test_names_and_metadata_of_what_stays() -> None:
    model = attention()
    for node in model.ir.graph:
        node.name = f"/m/{node.outputs[0].name}"
        node.metadata_props["trace"] = f"{node.outputs[0].name}.py"
    result = tripoint.fix(model, target="7.1")
    old = {node.name: node for node in model.ir.graph}
    for node in result.model.ir.graph:
        assert node.metadata_props["trace"].endswith(".py")
        if node.name in old:
            assert node.op_type == old[node.name].op_type
            assert node.metadata_props["trace"] == old[node.name].metadata_props["trace"]
    assert {node.name for node in result.model.ir.graph} < set(old)


def test_nested_graphs_stay_as_they_are() -> None:
    model = build(
        "float[2,3] x, bool c",
        "y = If (c) <then_branch = f () => (float[2,3] u) { a = Identity(x) s = Shape(a)"
        " u = Reshape(a, s) }, else_branch = g () => (float[2,3] w) { w = Abs(x) }>",
        outputs="float[2,3] y",
    )
    result = fixed(model)
    branches = next(iter(result.model.ir.graph)).attributes
    inside = [node.op_type for node in branches["then_branch"].as_graph()]
    assert inside == ["Identity", "Shape", "Reshape"]
    lost = [each for each in result.remaining if each.tensor == "u"]
    assert [each.reason for each in lost] == [
        "it is inside a nested graph, which no rewrite enters"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "y = Slice(x, k, k, far)",
        "y = Squeeze(x, far)",
        "y = Reshape(x, empty)",
        "y = Transpose<perm = [0,1,5]>(x)",
        "y = Split(x)",
        "y = Gather(x, far)",
        "y = Concat<axis = 9>(x, x)",
        "y = Where(x, x)",
        "y = Expand(x, f)",
    ],
)
@pytest.mark.parametrize("target", ["7.1", "8.6", installed])
def test_nodes_that_their_operator_does_not_allow(body: str, target: str) -> None:
    inputs = "float[N,3] x"
    constants = "int64[1] k = {7}, int64[1] far = {99}, int64[0] empty = {}, float[1] f = {2.5}"
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13]> g ({inputs}) => (float[] y) <{constants}>'
        f"{{ {body} }}"
    )
    result = tripoint.fix(Model(ir.from_proto(proto)), target=target)
    assert result.after.nodes <= result.before.nodes + 1
