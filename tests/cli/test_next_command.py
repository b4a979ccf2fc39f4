"""The command that ``verify`` and ``run`` print where legs differ: it runs, and finds the node."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import tripoint
from tests.helpers.fault_models import detector, torch_of
from tests.helpers.faults import (
    attribute,
    changed,
    followed,
    gelu_tanh,
    noisy,
    only_at,
    replaced,
    stale,
)
from tests.helpers.graphs import build
from tripoint.cli import app
from tripoint.model import Model, save
from tripoint.numeric import npz
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.locate.command import Compared, next_command
from tripoint.parity.points import Point
from tripoint.parity.results import LegReport, Verification
from tripoint.spec import Spec
from tripoint.trt import bindings

pytestmark = pytest.mark.needs_torch

Cli = Callable[..., Result]
SIZE = ["--dim", "N=1..2..4"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments), "-q"])


def pair(good: Model, bad: Callable[[Model], Model]) -> None:
    save(good, Path("good.onnx"))
    save(bad(good), Path("a bad one.onnx"))


def printed(result: Result) -> list[str]:
    """The arguments of the command that a result ends with."""
    assert result.exit_code == 1, result.output
    lines = result.stdout.splitlines()
    verdict = next(index for index, line in enumerate(lines) if line.startswith("verdict: "))
    (line,) = [line for line in lines[verdict + 1 :] if line.startswith("next: ")]
    program, *arguments = shlex.split(line.removeprefix("next: "))
    assert program == "tripoint"
    assert arguments[0] == "locate"
    return arguments


def found(cli: Cli, arguments: Sequence[str]) -> dict[str, Any]:
    """What the command finds."""
    result = cli(*arguments, "--format", "json")
    assert result.exit_code == 1, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["verdict"] == "different"
    return document


# verify


def test_the_command_finds_the_node(cli: Cli) -> None:
    pair(detector(), changed(attribute("anchors_conv", "pads", [2, 1, 0, 1])))
    arguments = printed(cli("verify", "good.onnx", "--fixed", "a bad one.onnx", *SIZE))
    assert arguments == ["locate", "good.onnx", "--fixed", "a bad one.onnx", "--dim", "N=1"]
    assert found(cli, arguments)["culprit"]["node"] == "anchors_conv"


def test_json_has_the_same_command(cli: Cli) -> None:
    pair(detector(), changed(attribute("anchors_conv", "pads", [2, 1, 0, 1])))
    call = ["verify", "good.onnx", "--fixed", "a bad one.onnx", *SIZE]
    result = cli(*call, "--format", "json")
    command = json.loads(result.stdout)["next"]
    assert shlex.split(command)[1:] == printed(cli(*call))


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_where_nothing_differs_there_is_no_command(cli: Cli, strict: list[str]) -> None:
    save(detector(), Path("good.onnx"))
    result = cli("verify", "good.onnx", "--fixed", "good.onnx", *SIZE, *strict)
    assert "verdict: unproven" in result.stdout
    assert "next:" not in result.stdout
    shown = cli("verify", "good.onnx", "--fixed", "good.onnx", *SIZE, "--format", "json")
    assert json.loads(shown.stdout)["next"] is None


def test_the_point_that_differs_is_searched(cli: Cli) -> None:
    pair(detector(), changed(followed("anchors_conv", only_at(3))))
    arguments = printed(cli("verify", "good.onnx", "--fixed", "a bad one.onnx", "--dim", "N=1..4"))
    assert arguments[-4:-1] == ["--dim", "N=3", "--seed"]
    document = found(cli, arguments)
    assert document["culprit"]["node"] == "anchors_conv"
    assert document["shapes"]["x"][0] == 3


def test_the_seed_that_differs_is_used(cli: Cli) -> None:
    # The sum of four normal numbers is above 2.5 for few seeds.
    text = "s = ReduceSum<keepdims=1>(x, one); c = {}(s); y = Neg(c)"
    for name, operator in (("good", "Identity"), ("a bad one", "Clip")):
        body = text.format(operator).replace("Clip(s)", "Clip(s, , top)")
        model = build("float[4] x | int64[1] one = {0}, float top = {2.5}", body, 18, "float[1] y")
        save(model, Path(f"{name}.onnx"))
    call = ["verify", "good.onnx", "--fixed", "a bad one.onnx", "--seed"]
    seeds = [seed for seed in range(20) if cli(*call, seed).exit_code == 1]
    assert 0 < len(seeds) < 20
    for seed in seeds:
        arguments = printed(cli(*call, seed))
        document = found(cli, arguments)
        assert document["culprit"]["node"] == "c"
        assert document["seed"] == (int(arguments[-1]) if "--seed" in arguments else 0)


def test_values_are_handed_on(cli: Cli) -> None:
    # Only numbers above 100 are cut off.
    for name, operator in (("good", "Relu(a)"), ("a bad one", "Clip(a, zero, top)")):
        weights = "| float zero = {0}, float top = {100.0}"
        body = f"a = Identity(x); b = {operator}; y = Neg(b)"
        save(build(f"float[N,4] x {weights}", body, 18, "float[N,4] y"), Path(f"{name}.onnx"))
    call = ["verify", "good.onnx", "--fixed", "a bad one.onnx", *SIZE]
    assert cli(*call).exit_code == 0
    arguments = printed(cli(*call, "--values", "x:90..200"))
    assert arguments[arguments.index("--values") + 1] == "x:90..200"
    assert found(cli, arguments)["culprit"]["node"] == "b"


def test_given_inputs_are_handed_on(cli: Cli) -> None:
    pair(detector(), changed(attribute("anchors_conv", "pads", [2, 1, 0, 1])))
    npz.save(Path("in.npz"), {"x": np.ones((2, 3, 8, 8), np.float32)})
    arguments = printed(
        cli("verify", "good.onnx", "--fixed", "a bad one.onnx", "--inputs", "in.npz")
    )
    assert arguments[-2:] == ["--inputs", "in.npz"]
    assert found(cli, arguments)["culprit"]["node"] == "anchors_conv"


def test_a_case_that_was_saved_is_searched(cli: Cli) -> None:
    pair(detector(), changed(followed("anchors_conv", only_at(3))))
    call = ["verify", "good.onnx", "--fixed", "a bad one.onnx", "--dim", "N=1..4"]
    arguments = printed(cli(*call, "--save-failing", "case"))
    assert arguments[-2:] == ["--inputs", str(Path("case", "inputs.npz"))]
    assert found(cli, arguments)["culprit"]["node"] == "anchors_conv"


def test_values_of_a_shape_tensor_are_told(cli: Cli) -> None:
    weights = "| float big = {1.5}"
    for name, operator in (("good", "Identity(x)"), ("a bad one", "Mul(x, big)")):
        body = f"a = {operator}; y = Expand(a, size)"
        model = build(f"float[1,2] x, int64[2] size {weights}", body, 18, "float[p,q] y")
        save(model, Path(f"{name}.onnx"))
    call = ["verify", "good.onnx", "--fixed", "a bad one.onnx", "--input", "size=[3,2]..[5,2]"]
    arguments = printed(cli(*call))
    assert arguments[-2:] == ["--input", "size=[3,2]"]
    assert found(cli, arguments)["culprit"]["node"] == "a"


def test_tolerances_and_names_are_handed_on(cli: Cli) -> None:
    pair(detector(), changed(attribute("anchors_conv", "pads", [2, 1, 0, 1])))
    more = ["--atol", "boxes:1e-3", "--atol", "anchors:0.001", "--rtol", "0"]
    arguments = printed(cli("verify", "good.onnx", "--fixed", "a bad one.onnx", *SIZE, *more))
    assert arguments[-6:] == [
        *("--atol", "boxes:0.001", "--atol", "anchors:0.001"),
        *("--rtol", "0.0"),
    ]
    assert found(cli, arguments)["outputs"][1]["tolerance"]["atol"] == 0.001


MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(8, 3)

    def forward(self, x):
        h = nn.functional.gelu(self.a(x))
        # What a trace does not see.
        h = h if torch.jit.is_tracing() else h + 1
        return self.b(h)


def model():
    return Net(), torch.randn(2, 4)
"""


def test_pytorch_and_a_file_that_differs_from_it(cli: Cli) -> None:
    Path("code.py").write_text(MODULE)
    export = cli("export", "code.py:model", "-o", "net.onnx", "--exporter", "torchscript")
    assert export.exit_code == 0, export.output
    arguments = printed(cli("verify", "net.onnx", "--torch", "code.py:model"))
    assert arguments[:4] == ["locate", "net.onnx", "--torch", "code.py:model"]
    assert found(cli, arguments)["pair"] == "PyTorch / ONNX Runtime"


# run


@pytest.mark.skipif(not bindings.available(), reason="the rewrites are for a TensorRT that is here")
def test_run_ends_with_the_command(cli: Cli) -> None:
    Path("code.py").write_text(MODULE)
    result = cli("run", "code.py:model", "-o", "out", "--exporter", "torchscript")
    arguments = printed(result)
    assert arguments == [
        *("locate", "out/model.onnx", "--torch", "code.py:model"),
        *("--fixed", "out/model.fixed.onnx", "--inputs", "out/failing/inputs.npz"),
    ]
    report = json.loads(Path("out/report.json").read_text())
    assert report["next"] == report["verify"]["next"] == shlex.join(["tripoint", *arguments])
    assert found(cli, arguments)["pair"] == "PyTorch / ONNX Runtime"


# What a command line cannot say, and legs that did not run


def test_a_leg_that_differs_from_itself_only_is_not_searched() -> None:
    model = detector()
    inputs = inputs_of(model)
    points = [Point({"N": 2}, generate(inputs, {"N": 2}, 0, model=model), 0)]
    result = compare_legs(model, inputs, [stale("grid")(OnnxRuntimeLeg(model))], points)
    assert {each.check for each in result.metamorphic if each.status == "different"}
    assert result.verdict == "different"
    assert next_command(result, model.ir, Compared("m.onnx")) is None


def test_a_file_that_draws_is_not_searched(cli: Cli) -> None:
    save(changed(followed("boxes_conv", noisy))(detector()), Path("noisy.onnx"))
    result = cli("verify", "noisy.onnx", *SIZE)
    assert "verdict: unproven" in result.stdout
    assert "next:" not in result.stdout


def verified(*legs: LegReport) -> Verification:
    model = detector()
    bad = changed(replaced("relu", gelu_tanh))(model)
    result = tripoint.verify(model, fixed=bad, spec=Spec.parse([], ["N=2"]))
    reports = {leg.name: leg for leg in (*result.legs, *legs)}
    return Verification(
        result.verdict, result.reasons, tuple(reports.values()), result.points, None, (), ()
    )


def test_a_leg_that_did_not_run_is_left_out() -> None:
    everything = Compared("m.onnx", "net.py:Net", "f.onnx", "m.plan", options={"rtol": "0.1"})
    ran = [LegReport(name, "ran") for name in ("PyTorch", "TensorRT")]
    absent = [LegReport(name, "not run", reason="none") for name in ("PyTorch", "TensorRT")]
    graph = detector().ir
    assert shlex.split(next_command(verified(*ran), graph, everything) or "") == [
        *("tripoint", "locate", "m.onnx", "--torch", "net.py:Net", "--fixed", "f.onnx"),
        *("--engine", "m.plan", "--dim", "N=2", "--rtol", "0.1"),
    ]
    assert shlex.split(next_command(verified(*absent), graph, everything) or "") == [
        *("tripoint", "locate", "m.onnx", "--fixed", "f.onnx", "--dim", "N=2", "--rtol", "0.1")
    ]


def test_the_python_call_gives_no_command() -> None:
    assert verified().next is None
    model = detector()
    assert tripoint.verify(model, torch=torch_of(model), spec=Spec.parse([], ["N=2"])).next is None
