"""Outputs of a module that have no names, or other names than the file: matched in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx_ir as ir
import pytest
import torch
from typer.testing import CliRunner

from tripoint import model as models
from tripoint.cli import app
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.parity.verify import verify
from tripoint.sources.pairing import pair_outputs
from tripoint.sources.python import TorchModel

pytestmark = pytest.mark.needs_torch


RUNNER = CliRunner()
TEXT = """<ir_version: 8, opset_import: ["": 17]>
net (float[2] x) => (float[2] plus, float[2] times, float[2] less)
<float one = {1.0}, float two = {2.0}>
{ plus = Add (x, one) times = Mul (x, two) less = Sub (x, two) }"""
EXPECTED = {"plus", "times", "less"}


class Named(NamedTuple):
    first: Any
    second: Any
    third: Any


SHAPES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "tuple": lambda a, b, c: (a, b, c),
    "list": lambda a, b, c: [a, b, c],
    "nested": lambda a, b, c: (a, (b, [c])),
    "nested first": lambda a, b, c: ((a, b), c),
    "with None": lambda a, b, c: (None, a, b, None, c),
    "None inside": lambda a, b, c: (a, (None, b), c),
    "dict": lambda a, b, c: {"p": a, "q": b, "r": c},
    "dict in a tuple": lambda a, b, c: (a, {"q": b, "r": c}),
    "named tuple": Named,
}


class Returns(torch.nn.Module):
    def __init__(self, form: Callable[[Any, Any, Any], Any], order: str = "plus times less"):
        super().__init__()
        self.form, self.order = form, order.split()

    def forward(self, x):
        made = {"plus": x + 1, "times": x * 2, "less": x - 2}
        return self.form(*(made[name] for name in self.order))


def net() -> Model:
    return Model(ir.from_onnx_text(TEXT))


def compared(module: Any, model: Model | None = None, **options: Any):
    return verify(model or net(), torch=TorchModel.of(module), **options)


@pytest.mark.parametrize("form", SHAPES.values(), ids=SHAPES)
def test_what_has_no_names_is_compared_in_order(form: Callable[..., Any]) -> None:
    result = compared(Returns(form))
    found = {each.name: each.status for point in result.points for each in point.outputs}
    assert found == dict.fromkeys(EXPECTED, "equal")
    (note,) = [note for note in result.notes if "in order" in note]
    assert "with plus" in note


@pytest.mark.parametrize("form", ["tuple", "list", "nested", "dict"])
@pytest.mark.parametrize(
    ("order", "moved"),
    [
        ("times plus less", {"plus": "times", "times": "plus"}),
        ("less plus times", {"plus": "times", "times": "less", "less": "plus"}),
    ],
)
def test_values_in_another_order_are_a_permutation(
    form: str, order: str, moved: dict[str, str]
) -> None:
    module = Returns(SHAPES[form], order)
    result = compared(module)
    assert result.verdict == "different"
    assert result.permutation is not None
    assert result.permutation.outputs == moved
    (note,) = [note for note in result.notes if "--output-names" in note]
    again = compared(module, output_names=note.split()[-1].split(","))
    assert all(each.equal for point in again.points for each in point.outputs)


def test_a_number_that_is_wrong_is_no_permutation() -> None:
    module = Returns(lambda a, b, c: (a, b + 1, c))
    result = compared(module)
    assert (result.verdict, result.permutation) == ("different", None)
    wrong = {each.name for point in result.points for each in point.outputs if not each.equal}
    assert wrong == {"times"}


def test_another_number_of_outputs_is_refused_with_both_counts() -> None:
    module = Returns(lambda a, b, _: (a, b))
    message = "PyTorch returns 2 outputs without names, and the ONNX file has 3: plus, times, less"
    with pytest.raises(UsageError, match=message) as caught:
        compared(module)
    assert "--output-names with 2 names" in (caught.value.hint or "")
    named = compared(module, output_names=["plus", "times"])
    statuses = {each.name: each.status for each in named.points[0].outputs}
    assert statuses == {"plus": "equal", "times": "equal", "less": "extra"}


@pytest.mark.parametrize(
    ("own", "file", "expected"),
    [
        (["output_0", "output_1"], ["output_1", "output_0"], {}),
        (["output_0", "output_1"], ["output_0", "b"], {"output_1": "b"}),
        (["output_0", "output_1.0"], ["a", "b"], {"output_0": "a", "output_1.0": "b"}),
        (["a", "b"], ["b", "a"], {}),
        (["a", "b"], ["a", "c"], {}),
        (["a", "b"], ["c", "d"], {"a": "c", "b": "d"}),
        (["a"], ["z"], {"a": "z"}),
        (["a", "b"], ["c"], {}),
    ],
)
def test_pairs(own: list[str], file: list[str], expected: dict[str, str]) -> None:
    names, _ = pair_outputs(own, file, None)
    assert names == {name: expected.get(name, name) for name in own}


def test_a_name_at_another_place_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="output output_1 of the ONNX file has another place"):
        pair_outputs(["output_0", "output_1"], ["output_1", "b"], None)


@pytest.mark.parametrize(("factor", "verdict"), [(2, "different"), (1, "unproven")])
def test_an_output_that_the_file_lists_twice(factor: int, verdict: str) -> None:
    twice = """<ir_version: 8, opset_import: ["": 17]>
    net (float[2] x) => (float[2] y, float[2] y) <float one = {1.0}> { y = Add (x, one) }"""
    module = Returns(lambda a, *_: (a, a * factor))
    assert compared(module, Model(ir.from_onnx_text(twice))).verdict == verdict


MODULE = """
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return {result}


def model():
    return Net()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(net(), tmp_path / "net.onnx")
    for name, result in (
        ("good", "x + 1, (x * 2, [x - 2])"),
        ("swapped", "x * 2, (x + 1, [x - 2])"),
        ("wrong", "x + 1, (x * 3, [x - 2])"),
    ):
        (tmp_path / f"{name}.py").write_text(MODULE.format(result=result), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", ["verify", "locate"])
@pytest.mark.parametrize(("name", "code"), [("good", 0), ("swapped", 1), ("wrong", 1)])
def test_verify_and_locate_on_the_command_line(
    folder: Path, command: str, name: str, code: int
) -> None:
    arguments = [command, folder / "net.onnx", "--torch", f"{folder / name}.py:model", "-q"]
    result = RUNNER.invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    assert "compared in order" in result.output
    places = "plus holds times; times holds plus" in result.output
    assert places == (name == "swapped")


def test_the_fixture_takes_what_has_no_names(
    folder: Path, assert_equivalent: Callable[..., Any]
) -> None:
    assert_equivalent(Returns(SHAPES["nested"]), folder / "net.onnx")
    with pytest.raises(AssertionError, match="plus holds times; times holds plus"):
        assert_equivalent(Returns(SHAPES["tuple"], "times plus less"), folder / "net.onnx")


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("form", ["tuple", "list", "nested", "with None", "dict"])
def test_the_exporters_of_pytorch_keep_the_order(tmp_path: Path, form: str, dynamo: bool) -> None:
    path = tmp_path / "net.onnx"
    module = Returns(SHAPES[form]).eval()
    names = ["c", "a", "b"]
    x = (torch.ones(2),)
    torch.onnx.export(
        module, x, path, dynamo=dynamo, input_names=["x"], output_names=names, verbose=False
    )
    loaded = models.load(path)
    assert [value.name for value in loaded.ir.graph.outputs] == names
    result = compared(module, loaded)
    assert {each.status for point in result.points for each in point.outputs} == {"equal"}


def test_json_says_so(folder: Path) -> None:
    arguments = ["verify", folder / "net.onnx", "--torch", f"{folder / 'good'}.py:model"]
    result = RUNNER.invoke(app, [*map(str, arguments), "--format", "json", "-q"])
    assert any("compared in order" in note for note in json.loads(result.output)["notes"])
