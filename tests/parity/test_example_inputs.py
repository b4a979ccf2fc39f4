"""The module's own example inputs: a point of every comparison, and what made-up inputs follow."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from typer.testing import CliRunner

import tripoint
from tripoint.cli import app
from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.numeric import like
from tripoint.numeric.inputs import generate, inputs_of, told
from tripoint.parity.points import EXAMPLE
from tripoint.parity.verify import verify
from tripoint.report.verification import verification
from tripoint.sources.python import TorchModel
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

CODE = """
import torch
from torch import nn

class Time(nn.Module):
    def __init__(self, most=None):
        super().__init__()
        torch.manual_seed(1)
        self.most = most
        self.linear = nn.Linear(8, 8)
    def forward(self, sample, timestep):
        t = timestep if self.most is None else timestep.clamp(max=self.most)
        return sample + self.linear(torch.sin(t[:, None] * torch.arange(8) / 64))

EXAMPLE = torch.zeros(3, 8), torch.tensor([1, 500, 999])
def right():
    return Time(), EXAMPLE
def wrong():
    return Time(1), EXAMPLE
def seldom():
    return Time(998), (torch.randn(3, 8), torch.tensor([1, 500, 999]))
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(CODE)
    tripoint.export("m.py:right", tmp_path / "t.onnx")
    return tmp_path


def model_of(source: str) -> Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]>g {source}'
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


def called(words: str) -> Any:
    return CliRunner().invoke(app, shlex.split(words))


# what is drawn


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (np.array([1, 500, 999]), "integers 1..999 like the example"),
        (np.arange(-32, 32), "integers -32..31 like the example"),
        (np.array([500]), "integers 1..500 like the example"),
        (np.array(-7, np.int32), "integers -7..-1 like the example"),
        (np.array([0, 200], np.uint8), "integers 0..200 like the example"),
        (np.linspace(0, 255, 64, dtype=np.float32), "floats 0..255 like the example"),
        (np.linspace(0.5, 2, 64, dtype=np.float16), "floats 0.5..2 like the example"),
        (np.ones((2, 4), np.float32), "floats 0..1 like the example"),
        (np.full(1, 1000.0), "floats 0..1000 like the example"),
        (np.array([3.0, 100.0]), "floats 3..100 like the example"),
        (np.array([0.0, -np.inf] * 8), "floats -inf..0, 2 values of the example"),
    ],
)
def test_inputs_are_drawn_like_the_example(example: np.ndarray[Any, Any], text: str) -> None:
    found = like.of(example, ir.DataType.from_numpy(example.dtype))
    assert found is not None
    assert found.text == text
    drawn = found.draw(np.random.default_rng(0), (2, 400))
    assert drawn.shape == (2, 400)
    low, high = map(float, text.split()[1].rstrip(",").split(".."))
    assert low <= drawn.min() <= drawn.max() <= high
    assert low <= example.min() <= example.max() <= high
    assert len(np.unique(drawn)) > 1


@pytest.mark.parametrize(
    "example",
    [
        np.array([0, 1, 1]),
        np.array([True]),
        np.zeros((4, 4), np.float32),
        np.array([0.3, 0.2], np.float32),
        np.zeros((0, 3), np.float32),
    ],
)
def test_an_example_that_says_little_changes_nothing(example: np.ndarray[Any, Any]) -> None:
    assert like.of(example, ir.DataType.from_numpy(example.dtype)) is None


def test_floats_are_spread_as_those_of_the_example() -> None:
    example = np.random.default_rng(1).exponential(size=4096)
    found = like.of(example, ir.DataType.DOUBLE)
    assert found is not None
    drawn = found.draw(np.random.default_rng(2), (4096,))
    assert np.median(drawn) == pytest.approx(np.median(example), rel=0.1)


def test_what_is_known_otherwise_goes_before_the_example() -> None:
    model = model_of(
        "(int64[N] ids, int64[N] step, float[N] x, int64[N] mask, uint8[1,2,2] image, bool[N] b)"
        " => (float[N] y) <float[5] table = {1.,2.,3.,4.,5.}>"
        "{ e = Gather(table, ids)  f = Cast<to = 1>(step)  g = Add(e, f)  h = Cast<to = 1>(mask)"
        "  i = Add(g, h)  y = Add(i, x) }"
    )
    examples = {
        "ids": np.array([2, 3]),
        "step": np.array([4, 90]),
        "x": np.linspace(1, 9, 16, dtype=np.float32),
        "mask": np.array([1, 1]),
        "image": np.zeros((1, 2, 2), np.uint8),
    }
    specs = inputs_of(model)
    values = {"x": (5.0, 6.0)}
    said = told(specs, model=model, values=values, like=examples)
    assert said == {
        "ids": "integers 0..4 of the table that it indexes",
        "step": "integers 4..90 like the example",
        "x": "floats 5..6 as given",
        "mask": "integers 0 or 1",
        "image": "pixels 0..255",
        "b": "True or False",
    }
    drawn = generate(specs, {"N": 500}, 0, model=model, values=values, like=examples)
    assert (drawn["ids"].min(), drawn["ids"].max()) == (0, 4)
    assert (drawn["step"].min(), drawn["step"].max()) == (4, 90)
    assert 5 <= drawn["x"].min() < drawn["x"].max() <= 6
    assert set(drawn["mask"]) == {0, 1}


# the example as a point


@pytest.mark.usefixtures("code")
def test_a_fault_at_the_example_only_is_found() -> None:
    result = tripoint.verify("t.onnx", torch="m.py:seldom")
    example = [point for point in result.points if point.example]
    assert [point.seed for point in example] == [None]
    assert result.verdict == "different"
    assert EXAMPLE in result.notes
    assert any(entry.wrong for entry in example[0].outputs)
    assert len(result.points) == 3


@pytest.mark.usefixtures("code")
def test_inputs_follow_the_example_and_the_output_says_how() -> None:
    result = tripoint.verify("t.onnx", torch="m.py:wrong")
    # Each point tells the two apart, not the example alone.
    assert [point.outputs[0].status for point in result.points] == ["different"] * 3
    assert result.inputs["timestep"] == "integers 1..999 like the example"
    assert "input timestep: integers 1..999 like the example" in verification(result)
    assert tripoint.verify("t.onnx", torch="m.py:right").verdict == "unproven"


@pytest.mark.usefixtures("code")
def test_the_next_command_repeats_the_example() -> None:
    shown = called("verify t.onnx --torch m.py:seldom -q --format json")
    command = json.loads(shown.stdout)["next"]
    assert command == "tripoint locate t.onnx --torch m.py:seldom --inputs m.py:seldom"
    found = called(command.removeprefix("tripoint ") + " -q")
    assert found.exit_code == 1, found.stderr
    assert "verdict: different" in found.stdout


@pytest.mark.usefixtures("code")
def test_the_next_command_repeats_what_is_like_the_example() -> None:
    arguments = "t.onnx --torch m.py:wrong --seed 5 -q"
    found = called(f"locate {arguments}")
    assert (found.exit_code, "verdict: different" in found.stdout) == (1, True)


def test_given_inputs_stay_the_only_ones(code: Path) -> None:
    np.savez(code / "i.npz", sample=np.ones((3, 8), np.float32), timestep=np.array([0, 1, 0]))
    result = tripoint.verify("t.onnx", torch="m.py:wrong", inputs="i.npz")
    assert [point.example for point in result.points] == [False]
    assert result.inputs == {"sample": "given, 1..1", "timestep": "given, 0..1"}
    taken = tripoint.verify("t.onnx", torch="m.py:wrong", inputs="m.py:right")
    assert (len(taken.points), taken.verdict) == (1, "different")


class Log(torch.nn.Module):
    def forward(self, power: torch.Tensor) -> torch.Tensor:
        return power.log10() * 10


LOG = (
    "(float[N,T] power) => (float[N,T] output) <float ten = {10.}, float k = {2.3025851}>"
    "{ a = Log(power)  b = Div(a, k)  output = Mul(b, ten) }"
)


def test_a_positive_input_stays_positive() -> None:
    torch_model = TorchModel.of(Log(), torch.rand(2, 16) + 1e-3)
    sizes = [{"N": 1, "T": 4}, {"N": 2, "T": 16}, {"N": 3, "T": 7}]
    result = verify(model_of(LOG), torch=torch_model, bindings=sizes)
    assert not result.unsuited
    assert not any("do not suit" in note for note in result.notes)
    assert not any(entry.same_nan for point in result.points for entry in point.outputs)
    # In place of the one of its sizes.
    assert [point.example for point in result.points] == [False, True, False]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([{"N": 4, "T": 16}, {"N": 8, "T": 16}], "have N=2, which is not within 4..8"),
        ([{"N": 1, "T": 16}, {"N": 8, "T": 16}], None),
    ],
)
def test_an_example_outside_of_the_range_is_no_point(
    sizes: list[dict[str, int]], said: str | None
) -> None:
    torch_model = TorchModel.of(Log(), torch.rand(2, 16) + 1e-3)
    result = verify(model_of(LOG), torch=torch_model, bindings=sizes)
    examples = [point for point in result.points if point.example]
    if said is None:
        assert [point.sizes for point in examples] == [{"N": 2, "T": 16}]
        assert len(result.points) == 4
    else:
        assert not examples
        assert any(said in note for note in result.notes)


def test_an_example_of_another_dtype_is_no_point() -> None:
    torch_model = TorchModel.of(Log(), torch.rand(2, 16, dtype=torch.float64) + 1e-3)
    result = verify(model_of(LOG), torch=torch_model, bindings=[{"N": 2, "T": 16}])
    assert any("is float64, the file takes float32" in note for note in result.notes)
    assert result.inputs["power"].endswith("like the example")


# the other commands

RAW = (
    "(float[N,16] image) => (float[N,16] y) <float large = {4.}>"
    "{ s = Mul(image, image)  y = Mul(s, large) }"
)
PIXELS = {"image": (0.0, 255.0)}


class Raw(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * image * 4


@pytest.mark.parametrize("kind", ["values", "inputs", "torch"])
def test_what_fp16_costs_is_measured_at_what_was_given(kind: str, tmp_path: Path) -> None:
    example = np.linspace(0, 255, 64, dtype=np.float32).reshape(4, 16)
    ways: dict[str, dict[str, Any]] = {
        "values": {"values": PIXELS},
        "inputs": {"inputs": [{"image": example}]},
        "torch": {"torch": TorchModel.of(Raw(), torch.from_numpy(example))},
    }
    given = ways[kind]
    spec = Spec.parse([], ["N=1..2..4"])
    plain = tripoint.build(model_of(RAW), tmp_path / "a.plan", spec=spec, precision="fp16")
    assert plain.engine.exists()
    with pytest.raises(ExternalStepError, match=r"Mul.* is the first whose result is not finite"):
        tripoint.build(model_of(RAW), tmp_path / "b.plan", spec=spec, precision="fp16", **given)


SHIFTED = (
    "(float[N,4] x) => (float[N,4] y) <float low = {100.}>"
    "{ p = Softplus(x)  a = Sub(p, low)  b = Sqrt(a)  i = Identity(b)  y = Neg(i) }"
)


@pytest.mark.parametrize("sizes", [[], ["N=1..2..4"]])
@pytest.mark.parametrize("kind", ["values", "inputs", "torch"])
def test_a_fix_is_proven_at_what_was_given(kind: str, sizes: list[str]) -> None:
    # The usual inputs, and those that are looked for, give nothing but NaN.
    model = model_of(SHIFTED)
    assert tripoint.fix(model, spec=Spec.parse([], sizes)).undecided
    example = np.linspace(101, 200, 8, dtype=np.float32).reshape(2, 4)
    ways: dict[str, dict[str, Any]] = {
        "values": {"values": {"x": (101.0, 200.0)}},
        "inputs": {"inputs": [{"x": example}, {"x": example + 1}]},
        "torch": {"torch": TorchModel.of(X(), torch.from_numpy(example))},
    }
    given = ways[kind]
    result = tripoint.fix(model, spec=Spec.parse([], sizes), **given)
    assert (result.proven, result.undecided) == (True, False)
    assert result.proof is not None
    assert "NaN" not in result.proof.numeric.reason
    assert len(result.proof.numeric.points) == (2 if kind == "inputs" else 3 if not sizes else 4)


class X(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x - 100).sqrt()


@pytest.mark.parametrize(
    "command", ["fix t.onnx -o f.onnx", "build t.onnx -o b.plan", "run t.onnx -o r"]
)
@pytest.mark.usefixtures("code")
def test_the_options_are_those_of_verify(command: str) -> None:
    wrong = called(f"{command} --values unknown:0..1 -q")
    assert wrong.exit_code == 2
    assert "the model has no input named 'unknown'" in wrong.stderr
    missing = called(f"{command} --inputs none.npz --force -q")
    assert (missing.exit_code, "none.npz" in missing.stderr) == (2, True)


def test_a_run_says_what_was_given(code: Path) -> None:
    np.savez(code / "i.npz", sample=np.ones((3, 8), np.float32), timestep=np.array([7, 1, 0]))
    ran = called("run m.py:right -o r --inputs i.npz -q --format json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["verify"]["inputs"]["timestep"] == "given, 0..7"
    ran = called("run m.py:right -o s --values timestep:0..20 -q --format json")
    assert json.loads(ran.stdout)["verify"]["inputs"]["timestep"] == "integers 0..20 as given"
