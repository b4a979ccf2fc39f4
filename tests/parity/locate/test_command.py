"""``tripoint locate`` on the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.graphs import build
from tests.helpers.locating import FAULTS, net
from tripoint import model as models
from tripoint.cli import app
from tripoint.trt import gpu

RUNNER = CliRunner()
SIZE = ["--dim", "N=2", "-q"]
MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(8, 3)

    def forward(self, x):
        return self.b(nn.functional.gelu(self.a(x)))


def model():
    return Net(), torch.randn(2, 4)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(net(), tmp_path / "good.onnx")
    models.save(net(FAULTS["weight"]), tmp_path / "bad.onnx")
    return tmp_path


def run(*arguments: object, code: int) -> str:
    result = RUNNER.invoke(app, ["locate", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_a_culprit_exits_with_1_and_is_named_in_json(folder: Path) -> None:
    good, bad, out = folder / "good.onnx", folder / "bad.onnx", folder / "found.json"
    form = ["--format", "json", "--output-file", out]
    run(good, "--against", bad, *SIZE, *form, "-o", folder / "repro", code=1)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["command"] == "locate"
    assert found["verdict"] == "different"
    assert found["culprit"].keys() >= {
        *("node", "op", "tensor", "source", "error_before", "error_after", "tolerance"),
        *("fused_layer", "vanishes_unfused"),
    }
    assert found["culprit"]["node"] == "c2"
    assert found["culprit"]["tolerance"].keys() == {"atol", "rtol", "reason", "atols"}
    assert found.keys() >= {"passed_on", "others", "repro", "legs", "accumulation", "reasons"}
    assert found["repro"] == str(folder / "repro")
    assert {leg["status"] for leg in found["legs"]} == {"ran"}


def test_the_text_names_the_culprit_and_those_that_pass_it_on(folder: Path) -> None:
    text = run(folder / "good.onnx", "--against", folder / "bad.onnx", *SIZE, code=1)
    assert "culprit: c2 (Conv)" in text
    assert "pass the error on:" in text
    assert "verdict: different" in text


def test_no_difference_exits_with_0(folder: Path) -> None:
    text = run(folder / "good.onnx", "--against", folder / "good.onnx", *SIZE, code=0)
    assert "verdict: equal" in text


@pytest.mark.skipif(gpu.absence() is None, reason="there may be a GPU")
@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 3)])
def test_a_leg_that_cannot_run_is_unproven(folder: Path, strict: tuple[str], code: int) -> None:
    text = run(folder / "good.onnx", "--build", *SIZE, *strict, code=code)
    assert "verdict: unproven" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to compare"),
        (("--against", "missing.onnx"), "no such file"),
        (("--engine", "missing.plan"), "no such file"),
        (("--expected", "some.npz"), "--inputs"),
        (("--precision", "fp16", "--build"), "does not go with"),
        (("--engine", "a.plan", "--build"), "does not go with"),
        (("--against", "{bad}", "--dim", "K=1"), "K"),
    ],
)
def test_what_cannot_be_carried_out_exits_with_2(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = [argument.format(bad=folder / "bad.onnx") for argument in arguments]
    text = run(folder / "good.onnx", *SIZE, *given, code=2)
    assert message in text


def test_a_repro_is_not_replaced_without_force(folder: Path) -> None:
    arguments = [folder / "good.onnx", "--against", folder / "bad.onnx", *SIZE]
    arguments += ["-o", folder / "repro"]
    run(*arguments, code=1)
    before = (folder / "repro" / "README.md").read_bytes()
    assert "exists" in run(*arguments, code=2)
    assert (folder / "repro" / "README.md").read_bytes() == before
    run(*arguments, "--force", code=1)


@pytest.mark.needs_torch
def test_the_command_of_a_repro_shows_the_difference(folder: Path) -> None:
    repro = folder / "repro"
    run(folder / "good.onnx", "--against", folder / "bad.onnx", *SIZE, "-o", repro, code=1)
    text = (repro / "README.md").read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("tripoint "))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=repro,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "culprit: c2 (Conv)" in done.stdout


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    body = "a = Relu(x); y = {}(a)"
    for name, operator in (("good", "Neg"), ("bad", "Abs")):
        model = build("float[N,4] x", body.format(operator), 18, "float[N,4] y")
        for node in model.ir.graph:
            node.name = f"\x1b[31m{node.op_type if node.op_type == 'Relu' else 'last'}`\n# h"
        models.save(model, tmp_path / f"{name}.onnx")
    repro = tmp_path / "repro"
    text = run(
        tmp_path / "good.onnx", "--against", tmp_path / "bad.onnx", *SIZE, "-o", repro, code=1
    )
    assert "\x1b" not in text
    assert "culprit: \\x1b[31mlast" in text
    readme = (repro / "README.md").read_text(encoding="utf-8")
    assert "\x1b" not in readme
    assert "\n# h" not in readme


@pytest.mark.needs_torch
def test_code_is_exported_and_compared_with_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    text = run("code.py:model", "-q", code=0)
    assert "PyTorch" in text
    assert "verdict: equal" in text


def test_precision_lists_nodes_to_keep(folder: Path) -> None:
    out = folder / "found.json"
    form = ["--format", "json", "--output-file", out, "-o", folder / "keep"]
    tight = ["--atol", "1e-7", "--rtol", "0"]
    run(folder / "good.onnx", "--precision", "bf16", *SIZE, *tight, *form, code=1)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["precision"] == "bf16"
    listed = (folder / "keep" / "keep-fp32.txt").read_text(encoding="utf-8").splitlines()
    assert listed == found["keep"]
    assert set(listed) <= {entry["node"] for entry in found["nodes"]}
    shares = [float(entry["share"]) for entry in found["nodes"]]
    assert shares == sorted(shares, reverse=True)
    loose = run(folder / "good.onnx", "--precision", "fp16", "--atol", "1e6", *SIZE, code=0)
    assert "all nodes in fp16" in loose


def test_given_inputs_are_used(folder: Path) -> None:
    arrays = {"x": np.zeros((2, 3, 8, 8), np.float32)}
    np.savez(folder / "in.npz", **arrays)
    arguments = ["--against", folder / "bad.onnx", "--inputs", folder / "in.npz", "-q"]
    # A weight that is multiplied by nothing but zeros makes no difference.
    run(folder / "good.onnx", *arguments, code=0)
