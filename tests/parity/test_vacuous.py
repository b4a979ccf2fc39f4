"""Outputs that other inputs do not move, of which nothing is proven."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from tripoint import testing
from tripoint.cli import app
from tripoint.model import Model
from tripoint.parity import vacuous
from tripoint.parity.results import Verification
from tripoint.parity.verify import verify
from tripoint.report.verification import verification
from tripoint.sources.python import TorchModel

pytestmark = pytest.mark.needs_torch

FLOATS = "float[N,8] x) => (float[N,8] y)"
SCALAR = "float[N,8] x) => (float y)"
ZEROS = ",".join(["0."] * 7)


def model_of(body: str, ports: str = FLOATS) -> Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]>g ({ports} {body}'
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


def verified(model: Model, *sizes: int) -> Verification:
    return verify(model, fixed=model, bindings=[{"N": size} for size in sizes or (2, 3)])


def statuses(result: Verification) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for point in result.points:
        for entry in point.outputs:
            found.setdefault(entry.name, set()).add(entry.status)
    return found


@pytest.mark.parametrize(
    ("body", "ports"),
    [
        ("{ n = Abs(x)  m = Neg(n)  y = Relu(m) }", FLOATS),
        ("<float k = {1000.}>{ n = Add(x, k)  y = Sigmoid(n) }", FLOATS),
        ("<float k = {1000.}>{ n = Sub(x, k)  b = Greater(n, x)  y = Cast<to = 1>(b) }", FLOATS),
        (
            "<float k = {1e6}, float l = {0.}, float h = {6.}>{ n = Add(x, k)  y = Clip(n, l, h) }",
            FLOATS,
        ),
        (f"<float[8] k = {{1e6,{ZEROS}}}>{{ n = Add(x, k)  y = Softmax<axis = -1>(n) }}", FLOATS),
        ("<float[8] k = {1e6,-1e6,1e6,1e6,1e6,1e6,1e6,1e6}>{ n = Add(x, k)  y = Tanh(n) }", FLOATS),
        # More than what is allowed is what is larger than the rounding of such numbers.
        ("<float[8] k = {1e12,2e12,3e12,4e12,5e12,6e12,7e12,8e12}>{ y = Add(x, k) }", FLOATS),
        ("<float k = {1e9}>{ y = Greater(x, k) }", "float[N,8] x) => (bool[N,8] y)"),
        (
            "<float s = {1.}, float k = {1e6}, uint8 z = {0}>{ n = Add(x, k)"
            "  y = QuantizeLinear(n, s, z) }",
            "float[N,8] x) => (uint8[N,8] y)",
        ),
        (
            f"<float[8] k = {{1e6,{ZEROS}}}>{{ n = Add(x, k)  y = ArgMax<axis = 1>(n) }}",
            "float[N,8] x) => (int64[N,1] y)",
        ),
        (
            "<float k = {-1e9}>{ s = ReduceSum<keepdims = 0>(x)  y = Greater(s, k) }",
            "float[N,8] x) => (bool y)",
        ),
    ],
)
def test_an_output_that_nothing_moves_is_vacuous(body: str, ports: str) -> None:
    result = verified(model_of(body, ports))
    assert (result.verdict, result.vacuous) == ("unproven", ("y",))
    assert statuses(result) == {"y": {"vacuous"}}
    assert result.variation["y"].unchanged == 1.0
    lines = verification(result)
    assert any(
        "output y is vacuous: " in line and "inputs tried move none" in line for line in lines
    )
    assert any("0 of 1 output equal, 1 vacuous" in line for line in lines)
    assert not any("all equal" in line for line in lines)


@pytest.mark.parametrize("rows", ["N", "3"])
@pytest.mark.parametrize(
    ("body", "ports", "values"),
    [
        (
            "<float k = {5.}>{ q = Sum(x)  y = Greater(q, k) }",
            "float[N,8] x) => (bool[N,8] y)",
            "x:-10..10",
        ),
        ("<float k = {30.}>{ q = Sum(x)  n = Add(q, k)  y = Sigmoid(n) }", FLOATS, "x:-100..100"),
        ("<float k = {-8.}>{ q = Sum(x)  n = Add(q, k)  y = Relu(n) }", FLOATS, "x:0..255"),
    ],
)
def test_inputs_that_move_an_output_are_looked_for(
    body: str, ports: str, values: str, rows: str
) -> None:
    result = verified(model_of(body, ports.replace("N", rows)), 1, 2, 3)
    assert result.vacuous == ()
    assert statuses(result) == {"y": {"equal"}}
    assert any(f"do not move output y; also used: --values {values}" in n for n in result.notes)
    assert {"x": tuple(map(float, values[2:].split("..")))} in [p.values for p in result.points]


@pytest.mark.parametrize(
    ("body", "ports", "depends"),
    [
        ("{ y = Relu(x) }", FLOATS, "values"),
        ("<float k = {1000.}>{ y = Add(x, k) }", FLOATS, "values"),
        ("{ r = Relu(x)  z = NonZero(r)  y = Size(z) }", "float[N,8] x) => (int64 y)", "values"),
        (
            "{ s = ReduceSum<keepdims = 0>(x)  y = Sigmoid(s) }",
            "float[N,8] x) => (float y)",
            "values",
        ),
        ("{ s = Shape(x)  y = ConstantOfShape(s) }", FLOATS, "sizes"),
        ("{ y = Shape(x) }", "float[N,8] x) => (int64[2] y)", "sizes"),
        ("{ i = Identity(x)  y = Sub(x, i) }", FLOATS, "sizes"),
        ("<float k = {0.}>{ y = Mul(k, x) }", FLOATS, "sizes"),
        ("<float k = {0.}>{ y = Mul(k, x) }", FLOATS.replace("N", "3"), "nothing"),
        ("<float[2] k = {1., 2.}>{ y = Identity(k) }", "float[N,8] x) => (float[2] y)", "nothing"),
    ],
)
def test_what_varies_or_cannot_is_equal(body: str, ports: str, depends: str) -> None:
    result = verified(model_of(body, ports))
    assert result.vacuous == ()
    assert statuses(result) == {"y": {"equal"}}
    assert result.variation["y"].depends == depends
    said = {"sizes": "depends on sizes only", "nothing": "is constant"}
    told = [line for line in verification(result) if line.startswith("output y: ")]
    assert [said[depends] in line for line in told] == ([True] if depends in said else [])


def test_a_share_that_never_changes_is_told_and_changes_no_verdict() -> None:
    model = model_of("<float[8] k = {1.,1.,1.,0.,0.,0.,0.,0.}>{ y = Mul(x, k) }")
    result = verified(model, 1, 2, 3)
    assert result.variation["y"].unchanged == pytest.approx(0.625)
    assert result.vacuous == ()
    assert statuses(result) == {"y": {"equal"}}
    assert any("output y: 62% of its elements are the same" in e for e in verification(result))


def test_no_other_inputs_are_tried_where_some_are_given() -> None:
    import numpy as np

    model = model_of("<float k = {5.}>{ n = Sub(x, k)  y = Relu(n) }")
    given = [{"x": np.full((2, 8), number, np.float32)} for number in (0.5, 1.5)]
    result = verify(model, fixed=model, inputs=given)
    assert (len(result.points), result.vacuous) == (2, ("y",))
    given[1]["x"][0, 0] = 6
    assert verify(model, fixed=model, inputs=given).vacuous == ()


def test_a_vacuous_output_is_never_proven(tmp_path: Path) -> None:
    model = model_of("{ n = Abs(x)  m = Neg(n)  y = Relu(m)  z = Neg(x) }")
    model.ir.graph.outputs.append(next(n for n in model.ir.graph if n.op_type == "Neg").outputs[0])
    result = verified(model)
    assert statuses(result) == {"y": {"vacuous"}, "m": {"equal"}}
    # As if all legs had run.
    ran = tuple(dataclasses.replace(leg, status="ran") for leg in result.legs)
    proven = dataclasses.replace(result, verdict="equal", reasons=(), legs=ran, vacuous=())
    assert vacuous.judged(proven).verdict == "unproven"
    path = tmp_path / "zero.onnx"
    onnx.save(ir.to_proto(model.ir), path)
    command = ["verify", str(path), "--fixed", str(path), "--dim", "N=1..4", "-q"]
    assert CliRunner().invoke(app, [*command, "--strict"]).exit_code == 3
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "1 of 2 outputs equal, 1 vacuous" in done.stdout
    with pytest.raises(AssertionError, match="output y is vacuous"):
        testing.assert_equivalent(None, path, dims={"N": (1, 4)}, fixed=path)
    testing.assert_equivalent(None, path, dims={"N": (1, 4)}, fixed=path, allow_unproven=True)


def test_inputs_that_one_leg_refuses_are_not_used() -> None:
    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if float(x.abs().max()) > 6:
                raise ValueError("numbers of 6 and less only")
            return x > 7

    model = model_of(
        "<float k = {7.}>{ q = Max(x)  y = Greater(q, k) }", "float[N,8] x) => (bool[N,8] y)"
    )
    result = verify(model, torch=TorchModel.of(Picky()), bindings=[{"N": 2}, {"N": 3}])
    assert [leg.status for leg in result.legs] == ["ran", "ran", "not run"]
    assert result.vacuous == ("y",)
