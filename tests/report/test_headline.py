"""The first line of ``verify``: what it comes to, and which fault would have been seen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from tripoint.cli import app
from tripoint.model import Model
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.parity.results import Verification
from tripoint.parity.verify import verify
from tripoint.report.headline import headline

Array = np.ndarray[Any, Any]

NET = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,8] x) => (float[N,8] p, float[N,8] q, int64[N,1] best)
<float[8] big = {3e3,-2e3,1e3,4e3,-5e3,2e3,3e3,-1e3}>
{ p = Sin(x)  w = Mul(x, big)  q = Sin(w)  best = ArgMax<axis = 1>(x) }"""


def net(text: str = NET) -> Model:
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


class Faulty(OnnxRuntimeLeg):
    """One element of an output is off by a share of the typical element."""

    def __init__(self, model: Model, output: str, share: float) -> None:
        super().__init__(model, name="TensorRT")
        self._at = output, share

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = {name: array.copy() for name, array in super().run(inputs).items()}
        name, share = self._at
        array = outputs[name]
        scale = float(np.sqrt((array.astype(np.float64) ** 2).mean()))
        typical = np.abs(np.abs(array) - scale).argmin()
        array.flat[typical] += np.asarray(share * scale, array.dtype)
        return outputs

    def run_many(self, points: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        return map(self.run, points)


def with_fault(model: Model, output: str, share: float) -> Verification:
    specs = inputs_of(model)
    points = [
        Point({"N": size}, generate(specs, {"N": size}, size, model=model), size) for size in (3, 5)
    ]
    return compare_legs(model, specs, [OnnxRuntimeLeg(model), Faulty(model, output, share)], points)


def all_ran(result: Verification) -> Verification:
    """As if every leg had run."""
    legs = tuple(dataclasses.replace(leg, status="ran") for leg in result.legs)
    return dataclasses.replace(result, legs=legs, verdict="equal", reasons=())


@pytest.mark.parametrize("output", ["p", "q"])
def test_a_fault_that_is_told_as_visible_is_seen(output: str) -> None:
    model = net()
    result = with_fault(model, output, 0.0)
    assert result.verdict == "equal"
    visible = result.visible[output]
    assert 0 < visible < 0.1
    assert with_fault(model, output, 1.1 * visible).verdict == "different"
    assert with_fault(model, output, 0.2 * visible).verdict == "equal"


def test_the_sine_of_large_numbers_hides_more_and_is_named() -> None:
    result = with_fault(net(), "p", 0.0)
    assert result.visible["q"] > 100 * result.visible["p"]
    assert result.visible["best"] == 0.0
    (line,) = headline(result)
    assert line.startswith("equal: 3 outputs, 2 points, faults above 0.000")
    assert line.endswith(" % of q) would have been seen")
    (line,) = headline(dataclasses.replace(result, visible={"p": 0.000151, "best": 0.0}))
    assert line == (
        "equal: 3 outputs, 2 points, faults above 0.016 % of an element would have been seen"
    )
    (line,) = headline(dataclasses.replace(result, visible={"best": 0.0}))
    assert line == "equal: 3 outputs, 2 points, any change of an element would have been seen"


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.5, "50 %"),
        (0.101, "11 %"),
        (0.02, "2 %"),
        (0.0000021, "0.00021 %"),
        (2e-9, "0.0000002 %"),
    ],
)
def test_a_share_is_rounded_up_and_has_no_exponent(share: float, said: str) -> None:
    result = dataclasses.replace(with_fault(net(), "p", 0.0), visible={"p": share})
    assert f"faults above {said} of an element would" in headline(result)[0]


def test_what_differs_is_named_with_the_worst() -> None:
    result = with_fault(net(), "p", 0.5)
    (line,) = headline(result)
    assert line.startswith("different: 1 of 3 outputs (p), by ")
    assert line.endswith(" times what is allowed, ONNX Runtime / TensorRT")


def test_the_cause_of_what_is_unproven_comes_first() -> None:
    model = net()
    result = verify(model, fixed=model, bindings=[{"N": 2}, {"N": 3}])
    first, *more = headline(result)
    assert first.startswith("unproven: PyTorch and TensorRT were not run")
    assert "what was compared is equal: 3 outputs, 3 points" in " ".join([first, *more])
    assert more[-1].strip().startswith("faults above ")
    assert all(len(line) <= 80 for line in (first, *more))

    nothing = net(NET.replace("p = Sin(x)", "a = Abs(x)  m = Neg(a)  p = Relu(m)"))
    first, *more = headline(verify(nothing, fixed=nothing, bindings=[{"N": 2}, {"N": 3}]))
    assert first.startswith("unproven: output p says nothing, no inputs move it; PyTorch and ")
    assert more[0].strip().startswith("equal: 2 of 3 outputs, 3 points")
    alone = verify(model, bindings=[{"N": 2}])
    assert headline(alone) == ["unproven: PyTorch and TensorRT were not run"]


def test_the_headline_is_the_first_line_and_a_key(tmp_path: Path) -> None:
    model = net()
    path = tmp_path / "net.onnx"
    onnx.save(ir.to_proto(model.ir), path)
    command = ["verify", str(path), "--fixed", str(path), "--dim", "N=1..3", "-q"]
    text = CliRunner().invoke(app, command).stdout
    found = json.loads(CliRunner().invoke(app, [*command, "--format", "json"]).stdout)
    assert text.startswith("unproven: PyTorch and TensorRT were not run")
    assert found["headline"].startswith("unproven: PyTorch and TensorRT were not run")
    assert found["headline"].endswith("would have been seen")
    assert set(found["visible"]) == {"p", "q", "best"}
