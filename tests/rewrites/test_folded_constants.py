"""What is computed from constants alone is computed once."""

from __future__ import annotations

import numpy as np
import pytest

import tripoint
from tests.helpers.graphs import build, fixed, operators

NAME = "folded-constants"

ACCEPTED = [
    ("c = Cast<to = 1>(k); q = Sqrt(c); y = Mul(x, q)", [[1.0, 2.0, 3.0]]),
    ("q = Cast<to = 1>(m); r = Identity(q); y = Mul(x, r)", [[4.0]]),
    ("a = Cast<to = 1>(k); y = Mul(x, a); b = Sqrt(a); z = Add(x, b)", [[1, 4, 9], [1, 2, 3]]),
]


@pytest.mark.parametrize(("body", "expected"), ACCEPTED, ids=lambda v: str(v)[:50])
def test_folded(body: str, expected: list[list[float]]) -> None:
    outputs = "y, z" if "z =" in body else "y"
    model = build("float[N,3] x | int64[3] k = {1,4,9}, int64[1] m = {4}", body, outputs=outputs)
    result = fixed(model, [{"N": n} for n in (1, 2, 3)], [NAME])
    assert len(operators(result.model)) == len(expected)
    read = [node.inputs[1] for node in result.model.ir.graph]
    found = [value.const_value for value in read if value is not None]
    assert [tensor.numpy().tolist() for tensor in found if tensor is not None] == expected


@pytest.mark.parametrize(
    "body",
    [
        "r = Identity(b); y = Mul(x, r)",
        "r = Sqrt(w_large); q = ReduceMax<keepdims = 0>(r); y = Mul(x, q)",
    ],
)
def test_inputs_and_large_weights_are_not_folded(body: str) -> None:
    model = build("float[N,3] x, float[3] b, float[300,300] w_large", body, outputs="float[N,3] y")
    assert fixed(model, [{"N": 2}], [NAME]).applied == ()


def test_random_numbers_are_not_folded() -> None:
    model = build("float[3] x, float[3] w_k", "r = RandomNormalLike(w_k); y = Mul(x, r)")
    assert tripoint.fix(model, target="7.1", select=[NAME]).applied == ()


def test_a_constant_that_is_a_graph_output_stays() -> None:
    model = build("float[3] x | float[3] k = {1.,4.,9.}", "y = Sqrt(k)")
    assert fixed(model, select=[NAME]).applied == ()


def test_the_elements_are_those_of_onnx_runtime() -> None:
    model = build("float[3] x, float[3] w_k", "e = Erf(w_k); y = Mul(x, e)")
    result = fixed(model, select=[NAME])
    (applied,) = result.applied
    assert applied.proof.numeric.max_abs_error == 0.0
    (node,) = result.model.ir.graph
    folded = node.inputs[1]
    assert folded is not None
    assert folded.const_value is not None
    assert folded.const_value.numpy().dtype == np.float32
