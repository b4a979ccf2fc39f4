"""Files whose inputs have other names than the parameters of the module that they came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import tripoint
from tripoint.cli import app
from tripoint.errors import UsageError

pytestmark = pytest.mark.needs_torch

CODE = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self, off=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.lin = nn.Linear(8, 8)
        with torch.no_grad():
            self.lin.bias += off

    def forward(self, a, b):
        return self.lin(a) - b

def model():
    return Two(), (torch.randn(3, 8), torch.randn(3, 8))

def off():
    return Two(1.0), (torch.randn(3, 8), torch.randn(3, 8))
"""
NAMES = ["--input-names", "image,mask"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("named")
    (found / "two.py").write_text(CODE)
    result = call("export", f"{found}/two.py:model", *NAMES, "-o", f"{found}/two.onnx", "-q")
    assert result[0] == 0, result[1]
    return found


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, result.output


def test_export_names_the_inputs(folder: Path) -> None:
    model = tripoint.load(folder / "two.onnx")
    assert [value.name for value in model.ir.graph.inputs] == ["image", "mask"]


@pytest.mark.parametrize("command", ["verify", "locate"])
@pytest.mark.parametrize("name", ["model", "off"])
def test_inputs_of_a_module_are_taken_under_these_names(
    command: str, name: str, folder: Path
) -> None:
    code = f"{folder}/two.py:{name}"
    model = f"{folder}/two.onnx"
    found, output = call(command, model, "--torch", code, "--inputs", code, *NAMES, "-q")
    assert found == (1 if name == "off" else 0), output
    assert ("different" in output) == (name == "off")


@pytest.mark.parametrize(
    "arguments", [("fix", "--target", "8.6", "-o", "fixed.onnx"), ("bench", "--rounds", "1")]
)
def test_other_commands_take_them_too(
    arguments: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *more = arguments
    code = f"{folder}/two.py:model"
    refused, output = call(command, f"{folder}/two.onnx", "--inputs", code, *more, "-q")
    assert refused == 2
    assert "give --input-names" in output
    found, output = call(command, f"{folder}/two.onnx", "--inputs", code, *NAMES, *more, "-q")
    assert found == 0, output


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["image"], "1 input name for 2 inputs"),
        (["image", "output"], "has 'output' already"),
        (["image", "image"], "has 'image' already"),
    ],
)
def test_names_that_do_not_fit(names: list[str], message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        tripoint.export(f"{folder}/two.py:model", folder / "no.onnx", input_names=names)
    assert not (folder / "no.onnx").exists()
