"""Outputs that are one number whatever the inputs, of which nothing is proven."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from tripoint.model import Model
from tripoint.parity.verify import verify


@pytest.mark.parametrize(
    ("body", "vacuous"),
    [
        ("{ n = Abs(x)  m = Neg(n)  y = Relu(m) }", ("y",)),
        ("<float k = {1000.}>{ n = Add(x, k)  y = Sigmoid(n) }", ("y",)),
        ("<float k = {1000.}>{ n = Sub(x, k)  b = Greater(n, x)  y = Cast<to = 1>(b) }", ("y",)),
        ("{ y = Relu(x) }", ()),
        ("<float k = {1000.}>{ y = Add(x, k) }", ()),
        # Which no input moves.
        ("{ s = Shape(x)  y = ConstantOfShape(s) }", ()),
    ],
)
def test_an_output_that_never_varies_is_vacuous(body: str, vacuous: tuple[str, ...]) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]>g (float[N,8] x) => (float[N,8] y) {body}'
    model = Model(ir.from_proto(onnx.parser.parse_model(text)))
    result = verify(model, fixed=model, bindings=[{"N": 2}, {"N": 3}])
    assert (result.verdict, result.vacuous) == ("unproven", vacuous)
    assert any("is vacuous: every element is" in reason for reason in result.reasons) == bool(
        vacuous
    )
