"""A graph that draws random numbers: it is named, and nothing behind it is accused."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

import tripoint
from tripoint.model import Model
from tripoint.parity.locate.results import Location

DRAWS = {
    "normal": "r = RandomNormalLike(h)",
    "uniform": "r = RandomUniform<shape = [2, 4]>()",
    "coins": "p = Sigmoid(h) r = Bernoulli(p)",
}


def model(draw: str, bias: float = 0.5, last: float = 2.0) -> Model:
    text = f"""<ir_version: 9, opset_import: ["" : 20]>
        g (float[2, 4] x) => (float[2, 4] y) <float b = {{{bias}}}, float k = {{{last}}}> {{
            h = Add(x, b)
            {draw}
            s = Add(h, r)
            y = Mul(s, k)
        }}"""
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


def located(one: Model, other: Model) -> Location:
    return tripoint.locate(one, against=other)


@pytest.mark.parametrize("name", DRAWS)
def test_nothing_behind_a_draw_is_accused(name: str) -> None:
    found = located(model(DRAWS[name]), model(DRAWS[name], last=3.0))
    assert found.verdict == "different"
    assert found.culprit is None
    assert (found.others, found.passed_on, found.accumulation) == ((), (), None)
    assert any("draws new numbers" in reason for reason in found.reasons)
    assert not any("accumulation" in reason for reason in found.reasons)


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_wrong_before_a_draw_is_found(name: str) -> None:
    found = located(model(DRAWS[name]), model(DRAWS[name], bias=0.75))
    assert found.culprit is not None
    assert found.culprit.op == "Add"
    assert found.culprit.tensor == "h"
    assert any("draws new numbers" in reason for reason in found.reasons)


def test_a_graph_without_draws_is_searched_as_ever() -> None:
    found = located(model("r = Sigmoid(h)"), model("r = Sigmoid(h)", last=3.0, bias=0.75))
    assert found.culprit is not None
    assert not any("draws" in reason for reason in found.reasons)
