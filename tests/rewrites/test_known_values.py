"""Integer tensors that are the same for all sizes become constants."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.helpers.graphs import build, fixed, operators

NAME = "known-values"
SIZES = [{"N": n, "S": n + 2} for n in (1, 2, 5)]

ACCEPTED = [
    # (nodes that compute ``v`` from ``x``, the elements of ``v``)
    ("s = Shape(x); v = Gather(s, one)", 6),
    ("s = Shape(x); v = Gather<axis = 0>(s, ones)", [6]),
    ("s = Shape(x); v = Slice(s, ones, ends)", [6, 7]),
    ("s = Shape<start = 1, end = 3>(x); v = Mul(s, s)", [36, 49]),
    ("s = Shape(x); a = Gather(s, one); b = Gather(s, two); c = Mul(a, b); v = Div(c, two)", 21),
    (
        "s = Shape(x); a = Gather<axis = 0>(s, ones); n = Gather<axis = 0>(s, zeros);"
        "m = Sub(n, n); c = Concat<axis = 0>(a, m); v = Add(c, ones)",
        [7, 1],
    ),
    ("s = Shape(x); f = Cast<to = 1>(s); g = Cast<to = 7>(f); v = Gather(g, one)", 6),
    ("r = Reshape(x, flat); s = Shape(r); v = Gather(s, one)", 42),
]
CONSTANTS = (
    "int64 one = {1}, int64 two = {2}, int64[1] zeros = {0}, int64[1] ones = {1},"
    "int64[1] ends = {3}, int64[2] flat = {0,-1}"
)


@pytest.mark.parametrize(("body", "expected"), ACCEPTED, ids=lambda v: str(v)[:60])
def test_known_values(body: str, expected: object) -> None:
    model = build(f"float[N,6,7] x, int64[1] z | {CONSTANTS}", f"{body}; y = Mul(z, v)", opset=15)
    result = fixed(model, SIZES, [NAME])
    assert operators(result.model) == ["Mul"]
    assert [each.rewrite for each in result.applied] == [NAME]
    (node,) = result.model.ir.graph
    constant = node.inputs[1]
    assert constant is not None
    assert constant.const_value is not None
    np.testing.assert_array_equal(constant.const_value.numpy(), np.array(expected))
    assert constant.const_value.numpy().dtype == np.int64


REFUSED = [
    "s = Shape(x); v = Gather<axis = 0>(s, zeros)",
    "s = Shape(x); a = Gather<axis = 0>(s, zeros); v = Mul(a, ones)",
    "n = NonZero(x); s = Shape(n); v = Gather<axis = 0>(s, ones)",
]


@pytest.mark.parametrize("body", REFUSED)
def test_values_that_sizes_or_data_decide_stay(body: str) -> None:
    model = build(f"float[N,6,7] x, int64[1] z | {CONSTANTS}", f"{body}; y = Mul(z, v)")
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_a_value_that_is_a_graph_output_stays() -> None:
    model = build(f"float[N,6,7] x | {CONSTANTS}", "s = Shape(x); y = Gather<axis = 0>(s, ones)")
    assert fixed(model, SIZES, [NAME]).applied == ()


def test_an_initializer_that_the_caller_may_replace_is_no_constant() -> None:
    model = build("float[N,6,7] x, int64[3] z, int64[1] i", "r = Identity(i); y = Mul(z, r)")
    graph = model.ir.graph
    held = graph.inputs[2]
    held.const_value = ir.tensor(np.array([2], dtype=np.int64), name="i")
    graph.register_initializer(held)
    result = fixed(model, SIZES, [NAME])
    assert result.applied == ()
    assert [value.name for value in result.model.ir.graph.inputs] == ["x", "z", "i"]
